//! The repository on the Hub as it was last seen. A page never waits for the Hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::failure::{Failure, chain};
use crate::hub::{HubError, Repository, Version, versions};

/// Age from which a page asks the Hub again.
const FRESH: Duration = Duration::from_secs(60);
/// Pause after a failure.
const AFTER_FAILURE: Duration = Duration::from_secs(20);

/// The repository as it was last seen.
#[derive(Debug, Clone, Default)]
pub(super) struct HubView {
    /// Versions, newest first; `None` before the first answer.
    pub(super) versions: Option<Arc<Vec<Version>>>,
    /// Time of the last answer.
    pub(super) at: Option<Timestamp>,
    /// Error of the last question, with advice.
    pub(super) trouble: Option<(String, String)>,
    /// Number of changes that were known when the Hub was asked.
    changes: u64,
}

/// Observer of the repository, which asks the Hub only while somebody looks.
pub(super) struct HubWatch {
    pub(super) repository: Option<Arc<Repository>>,
    seen: watch::Sender<HubView>,
    asked: Notify,
    /// Number of times that a model may have been published.
    changes: AtomicU64,
}

impl HubWatch {
    pub(super) fn new(repository: Option<Arc<Repository>>) -> Self {
        Self { repository, seen: watch::Sender::default(), asked: Notify::new(), changes: AtomicU64::new(0) }
    }

    /// Returns the view, and asks the Hub again if the view is old.
    pub(super) fn look(&self) -> HubView {
        self.asked.notify_one();
        self.seen.borrow().clone()
    }

    /// Notes that a model may have been published: the view is old.
    pub(super) fn changed(&self) {
        self.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the view once it has all that was published, or after a moment.
    pub(super) fn whole_answer(&self, patience: Duration) -> BoxFuture<'_, HubView> {
        Box::pin(async move {
            let mut seen = self.seen.subscribe();
            let changes = self.changes.load(Ordering::Relaxed);
            let answered = |view: &HubView| {
                (view.versions.is_some() || view.trouble.is_some()) && view.changes >= changes
            };
            if self.repository.is_some() && !answered(&self.look()) {
                let _ = tokio::time::timeout(patience, seen.wait_for(answered)).await;
            }
            self.look()
        })
    }

    /// Asks the Hub whenever a page was shown and the view is old.
    pub(super) async fn follow(&self, cancel: &CancellationToken) {
        let Some(repository) = &self.repository else { return cancel.cancelled().await };
        let mut asked_at = None::<(Instant, Duration)>;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = self.asked.notified() => {}
            }
            let fresh = asked_at.is_some_and(|(at, pause)| at.elapsed() < pause);
            let changes = self.changes.load(Ordering::Relaxed);
            if fresh && changes == self.seen.borrow().changes {
                continue;
            }
            let answer = tokio::select! {
                () = cancel.cancelled() => return,
                answer = Box::pin(ask(repository)) => answer,
            };
            asked_at = Some((Instant::now(), if answer.is_ok() { FRESH } else { AFTER_FAILURE }));
            self.seen.send_modify(|view| match answer {
                Ok(versions) => {
                    let (versions, at) = (Some(Arc::new(versions)), Some(Timestamp::now()));
                    *view = HubView { versions, at, trouble: None, changes };
                }
                Err(error) => {
                    view.trouble = Some((chain(&error), error.advice()));
                    view.changes = changes;
                }
            });
        }
    }
}

async fn ask(repository: &Repository) -> Result<Vec<Version>, HubError> {
    let (releases, index) = tokio::try_join!(repository.releases(), repository.index())?;
    Ok(versions(&releases, &index))
}
