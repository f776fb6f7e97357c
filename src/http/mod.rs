//! HTTP server of the worker: health, metrics, ingest status, the webhook, and the console.
//!
//! Owns the routes and their responses. Never reads a row from a request: a webhook only triggers a
//! sweep earlier. Everything but health and the hooks follows the console's rules of access.
//!
//! ```text
//! console/     pages and actions for people, and who may see them
//! connections  limits on connections and on the time that they take
//! metrics/     metrics in Prometheus' text format
//! hooks        calls from outside that ask for work: database webhook and tick
//! gate         promise behind an accepted call: the worker serves it before it exits
//! refusals     log of refused calls, which has a bound
//! ```

mod connections;
mod console;
mod gate;
mod hooks;
mod metrics;
mod refusals;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::BoxFuture;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broker::{BrokerError, QueueHealth, Runs};
use crate::corrections::Corrections;
use crate::ingest::{IngestStatus, webhook};

pub use connections::ConnectionLimits;
pub use console::{Console, ConsoleParts, Tryout};
pub use gate::HookGate;
pub use hooks::Hooks;
pub use metrics::registry;
pub use refusals::RefusalLog;

/// Size of the largest form, in bytes.
const MAX_FORM_BYTES: usize = 64 << 10;

/// State that the routes read.
pub struct Views {
    /// Health check of the queue, called for each request.
    pub queue_health: Box<dyn Fn() -> BoxFuture<'static, Result<QueueHealth, BrokerError>> + Send + Sync>,
    /// Status of the ingest; `None` on a worker that only trains.
    pub ingest: Option<watch::Receiver<IngestStatus>>,
    /// Settings of the hooks; `None` on a worker that only trains or has no secret set.
    pub hooks: Option<Hooks>,
    /// The console.
    pub console: Arc<Console>,
    /// Stored pairs.
    pub corrections: Corrections,
    /// Run records.
    pub runs: Runs,
    /// Numbers of this process.
    pub metrics: Registry,
}

/// A server that is bound but not serving yet, so that its address is known first.
pub struct Server {
    address: SocketAddr,
    /// The bound socket; `None` after it was closed.
    listener: Option<TcpListener>,
    router: Router,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(address: SocketAddr, views: Views) -> std::io::Result<Self> {
        let views = Arc::new(views);
        let router = Router::new()
            .route("/healthz", get(health))
            .route("/readyz", get(ready))
            .route("/metrics", get(metrics::show))
            .route("/ingest", get(ingest))
            .route(webhook::PATH, post(hooks::database_webhook))
            .route("/hooks/tick", post(hooks::tick))
            .merge(console::routes().layer(DefaultBodyLimit::max(MAX_FORM_BYTES)))
            .layer(from_fn_with_state(Arc::clone(&views), console::count_hooks))
            .layer(from_fn_with_state(Arc::clone(&views), console::guard))
            .with_state(views);
        let listener = TcpListener::bind(address).await?;
        // With port 0 the operating system chooses one, which a second bind must not change.
        Ok(Self { address: listener.local_addr()?, listener: Some(listener), router })
    }

    /// Returns the bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves requests until `stop` completes, then closes the socket and waits for the requests
    /// that have begun. Calling it again binds the same address again.
    ///
    /// # Errors
    /// When the address can't be bound again, or the listener fails.
    pub async fn serve(&mut self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        let listener = match self.listener.take() {
            Some(listener) => listener,
            None => TcpListener::bind(self.address).await?,
        };
        connections::serve(listener, self.router.clone(), ConnectionLimits::default(), stop).await
    }
}

/// Reports a worker as healthy when its broker answers. Failures of the ingest appear in the
/// metrics and in the status. They don't make the worker unhealthy, because a restart would not fix
/// them.
async fn health(State(views): State<Arc<Views>>) -> Response {
    match (views.queue_health)().await {
        Ok(_) => (StatusCode::OK, "ok\n").into_response(),
        Err(error) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", crate::failure::chain(&error))).into_response()
        }
    }
}

/// Reports a worker as ready when its broker answers and, if it listens, its first sweep has read the
/// table to the end.
async fn ready(State(views): State<Arc<Views>>) -> Response {
    let swept = views.ingest.as_ref().is_none_or(|ingest| ingest.borrow().sweeps > 0);
    match swept {
        true => health(State(views)).await,
        false => (StatusCode::SERVICE_UNAVAILABLE, "the first sweep is under way\n").into_response(),
    }
}

/// Returns the status of the ingest, including its errors with advice. It contains no text of any
/// row.
async fn ingest(State(views): State<Arc<Views>>) -> Response {
    match &views.ingest {
        Some(ingest) => Json(ingest.borrow().clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "this worker has no listener role\n").into_response(),
    }
}
