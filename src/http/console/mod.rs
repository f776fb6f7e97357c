//! The console: pages that show the state of the installation, and actions on it.
//!
//! Owns the pages, their access, and the updates that they live from. Every page is made on the server
//! and reads without JavaScript. A page reads a bounded number of records, however many runs and pairs
//! there were. An action calls the same code as the command of its name, and never does more.
//!
//! ```text
//! access        rules of access, checked before any page
//! session       sessions of a browser, and the proof that a form is ours
//! form          form that a person sent from one of our pages
//! login         login and logout
//! layout        frame of every page
//! words         times, spans and numbers
//! overview      state of the installation, as the broker tells it
//! live          run in progress, as its events tell it
//! hub_view      repository on the Hub, as it was last seen
//! hook_answers  number of hooks by answer
//! home          the page `/`
//! next_run      reason why no run is in progress, and the time of the next one
//! runs          the page `/runs`
//! run           the page `/runs/<id>`
//! waterfall     plot of a run's stages over time
//! models        the page `/models`
//! pairs         the page `/pairs`
//! tryout        the page `/try`
//! actions       confirmation and performance of actions
//! updates       `/events`: parts of a page that have changed
//! console.css, console.js
//! ```

mod access;
mod actions;
mod form;
mod home;
mod hook_answers;
mod hub_view;
mod layout;
mod live;
mod login;
mod models;
mod next_run;
mod overview;
mod pairs;
mod run;
mod runs;
mod session;
mod tryout;
mod updates;
mod waterfall;
mod words;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use secrecy::SecretString;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::Views;
use crate::broker::{Jobs, Runs, Streams};
use crate::corrections::Corrections;
use crate::hub::Repository;
use crate::ingest::IngestStatus;
use crate::trigger::Trigger;
use access::Access;
use hook_answers::HookAnswers;
use hub_view::HubWatch;
use live::LiveRun;
use overview::OverviewCache;

pub(super) use access::guard;
pub(super) use hook_answers::{HookAnswer, count_hooks};
pub use tryout::Tryout;

/// Largest number of browsers that receive updates at the same time.
const MOST_STREAMS: usize = 16;

/// Everything that the console shows and acts on.
pub struct ConsoleParts {
    /// Streams of the broker.
    pub streams: Streams,
    /// Stored pairs.
    pub corrections: Corrections,
    /// Queue of job requests.
    pub jobs: Jobs,
    /// Run records.
    pub runs: Runs,
    /// Trigger that starts jobs.
    pub trigger: Trigger,
    /// Status of the ingest; `None` on a worker that only trains.
    pub ingest: Option<watch::Receiver<IngestStatus>>,
    /// Repository that models are published to, if it is known.
    pub repository: Option<Repository>,
    /// Models to try; `None` on a worker that runs none.
    pub tryout: Option<Tryout>,
    /// Folder for the worker's state.
    pub data_dir: PathBuf,
    /// Token that a visitor must show; without one, the console is on loopback only.
    pub token: Option<SecretString>,
    /// Address that the server listens on.
    pub address: SocketAddr,
}

/// The console of a worker.
pub struct Console {
    streams: Streams,
    corrections: Corrections,
    jobs: Jobs,
    runs: Runs,
    trigger: Trigger,
    ingest: Option<watch::Receiver<IngestStatus>>,
    tryout: Option<Tryout>,
    data_dir: PathBuf,
    access: Access,
    hub: HubWatch,
    hook_answers: HookAnswers,
    overview_cache: OverviewCache,
    live: watch::Sender<LiveRun>,
    update_streams: Arc<Semaphore>,
    /// Ends the updates, which no browser ends.
    stop: CancellationToken,
}

impl Console {
    /// Creates a console. Updates end when `stop` is cancelled.
    pub fn new(parts: ConsoleParts, stop: CancellationToken) -> Self {
        Self {
            access: Access::new(parts.token, parts.address),
            hub: HubWatch::new(parts.repository.map(Arc::new)),
            streams: parts.streams,
            corrections: parts.corrections,
            jobs: parts.jobs,
            runs: parts.runs,
            trigger: parts.trigger,
            ingest: parts.ingest,
            tryout: parts.tryout,
            data_dir: parts.data_dir,
            hook_answers: HookAnswers::default(),
            overview_cache: OverviewCache::default(),
            live: watch::Sender::default(),
            update_streams: Arc::new(Semaphore::new(MOST_STREAMS)),
            stop,
        }
    }

    /// Returns the number of hooks by the status of their answers.
    pub(super) fn hook_counts(&self) -> BTreeMap<u16, u64> {
        self.hook_answers.counts()
    }

    /// Returns the accuracy of the live model as the Hub was last seen. Does not wait for the Hub.
    pub(super) fn live_accuracy(&self) -> Option<f64> {
        self.hub.live_accuracy(jiff::Timestamp::now())
    }

    /// Follows the runs and the repository, until stopped.
    pub async fn follow(&self) {
        tokio::join!(
            Box::pin(live::follow(&self.streams, &self.live, || self.hub.changed(), &self.stop)),
            Box::pin(self.hub.follow(&self.stop)),
        );
    }
}

/// Returns the routes of the console.
pub(super) fn routes() -> Router<Arc<Views>> {
    Router::new()
        .route("/", get(home::show))
        .route("/runs", get(runs::show))
        .route("/runs/{id}", get(run::show))
        .route("/models", get(models::show))
        .route("/pairs", get(pairs::show))
        .route("/try", get(tryout::show).post(tryout::ask))
        .route("/actions/{action}", get(actions::confirm).post(actions::perform))
        .route("/events", get(updates::stream))
        .route("/login", get(login::show).post(login::begin))
        .route("/logout", post(login::end))
        .route("/console.css", get(style))
        .route("/console.js", get(script))
}

async fn style() -> impl IntoResponse {
    let style = concat!(include_str!("../../report/page.css"), include_str!("console.css"));
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")], style)
}

async fn script() -> impl IntoResponse {
    let script = include_str!("console.js");
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=300")],
        script,
    )
}
