//! `/events`: the parts of a page that have changed, as server-sent events.
//!
//! Each event is a JSON array of pairs: the id of a part, and its content. The page shows the same parts
//! without it.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::convert::Infallible;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::access::Visitor;
use super::layout::Part;
use super::live::LiveRun;
use super::{home, pairs, run, runs};
use crate::broker::{BrokerError, JobId};
use crate::http::Views;
use crate::ingest::IngestStatus;

/// Time between a change and the look at it, so that many changes make one event.
const GATHER: Duration = Duration::from_millis(250);
/// Time between two looks without a notice: times pass, and another worker may have stored a pair.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A page whose parts are kept up to date.
enum LivePage {
    Overview,
    Runs,
    Run(JobId),
    Pairs,
}

impl LivePage {
    fn parse(path: &str) -> Option<Self> {
        Some(match path {
            "/" => Self::Overview,
            "/runs" => Self::Runs,
            "/pairs" => Self::Pairs,
            path => Self::Run(path.strip_prefix("/runs/")?.parse().ok()?),
        })
    }

    async fn parts(&self, views: &Views, visitor: &Visitor) -> Result<Vec<Part>, BrokerError> {
        let console = &views.console;
        match self {
            Self::Overview => Ok(Box::pin(home::parts(console)).await),
            Self::Runs => Ok(Box::pin(runs::parts(console, None)).await),
            Self::Run(id) => Box::pin(run::parts(console, id)).await,
            Self::Pairs => Ok(Box::pin(pairs::parts(console, visitor)).await),
        }
    }
}

/// State of one stream of updates.
struct Updates {
    views: Arc<Views>,
    visitor: Visitor,
    page: LivePage,
    live: watch::Receiver<LiveRun>,
    ingest: Option<watch::Receiver<IngestStatus>>,
    /// True after the first look, which waits for nothing.
    begun: bool,
    /// Hash of each part that the browser has.
    sent: BTreeMap<&'static str, u64>,
    _permit: OwnedSemaphorePermit,
}

/// Sends a page's parts, and from then on those that have changed.
pub(super) async fn stream(
    State(views): State<Arc<Views>>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<BTreeMap<String, String>>,
) -> Response {
    let Some(page) = query.get("page").and_then(|path| LivePage::parse(path)) else {
        return (StatusCode::NOT_FOUND, "no page of this name changes\n").into_response();
    };
    let Ok(permit) = Arc::clone(&views.console.update_streams).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many browsers receive updates\n").into_response();
    };
    let updates = Updates {
        live: views.console.live.subscribe(),
        ingest: views.console.ingest.clone(),
        begun: false,
        sent: BTreeMap::new(),
        _permit: permit,
        visitor,
        page,
        views,
    };
    let events = futures::stream::unfold(updates, |mut updates| async move {
        let event = updates.next().await?;
        Some((Ok::<_, Infallible>(event), updates))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(Duration::from_secs(15))).into_response()
}

impl Updates {
    /// Waits for changed parts. Returns `None` when the worker stops.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if self.begun && !self.wait().await {
                return None;
            }
            self.begun = true;
            let parts = match self.page.parts(&self.views, &self.visitor).await {
                Ok(parts) => parts,
                Err(error) => {
                    tracing::debug!(%error, "a page's parts can't be read");
                    continue;
                }
            };
            let mut changed = Vec::new();
            for (id, part) in parts {
                let html = part.into_string();
                let mut hasher = DefaultHasher::new();
                html.hash(&mut hasher);
                if self.sent.insert(id, hasher.finish()) != Some(hasher.finish()) {
                    changed.push((id, html));
                }
            }
            if !changed.is_empty()
                && let Ok(event) = Event::default().json_data(&changed)
            {
                return Some(event);
            }
        }
    }

    /// Waits for a notice, or a while. Returns false when the worker stops.
    async fn wait(&mut self) -> bool {
        let Self { views, live, ingest, .. } = self;
        let stop = &views.console.stop;
        let stored = async {
            match ingest {
                // Its end is the worker's.
                Some(ingest) => drop(ingest.changed().await),
                None => std::future::pending().await,
            }
        };
        let notice = async {
            tokio::select! {
                _ = live.changed() => {}
                () = stored => {}
            }
            tokio::time::sleep(GATHER).await;
        };
        tokio::select! {
            () = stop.cancelled() => false,
            () = notice => true,
            () = tokio::time::sleep(LOOK_EVERY) => true,
        }
    }
}
