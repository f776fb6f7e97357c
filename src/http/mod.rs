//! HTTP server of the worker: health, metrics, ingest status, and the webhook.
//!
//! Owns the routes and their responses. Never reads a row from a request: a webhook only triggers a
//! sweep earlier. Serves nothing secret, so it has no login of its own.
//!
//! ```text
//! metrics   metrics in Prometheus' text format
//! ```

mod metrics;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures::future::BoxFuture;
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::broker::{BrokerError, QueueHealth};
use crate::failure::Failure;
use crate::ingest::webhook::{self, MAX_BODY_BYTES, SECRET_HEADER, WebhookError};
use crate::ingest::{IngestStatus, SweepTrigger, TableAccess};

/// State that the routes read.
pub struct Views {
    /// Health check of the queue, called for each request.
    pub queue_health: Box<dyn Fn() -> BoxFuture<'static, Result<QueueHealth, BrokerError>> + Send + Sync>,
    /// Status of the ingest; `None` on a worker that only trains.
    pub ingest: Option<watch::Receiver<IngestStatus>>,
    /// Webhook settings; `None` on a worker that only trains or has no secret set.
    pub webhook: Option<Hook>,
}

/// Checks of incoming webhooks, and the trigger for valid ones.
pub struct Hook {
    /// The table that a webhook must name.
    pub access: TableAccess,
    /// The secret that a webhook must present.
    pub secret: SecretString,
    /// Trigger of the sweep that reads the new row.
    pub sweep_trigger: SweepTrigger,
}

/// A server that is bound but not serving yet, so that its address is known first.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Binds the address.
    ///
    /// # Errors
    /// When the address can't be bound.
    pub async fn bind(address: SocketAddr, views: Views) -> std::io::Result<Self> {
        let router = Router::new()
            .route("/healthz", get(health))
            .route("/metrics", get(metrics))
            .route("/ingest", get(ingest))
            .route("/hooks/supabase", post(hook).layer(DefaultBodyLimit::max(MAX_BODY_BYTES)))
            .with_state(Arc::new(views));
        Ok(Self { listener: TcpListener::bind(address).await?, router })
    }

    /// Returns the bound address.
    ///
    /// # Errors
    /// When the operating system does not report the address.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves requests until `stop` completes.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
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

async fn metrics(State(views): State<Arc<Views>>) -> Response {
    let queue_health = (views.queue_health)().await.ok();
    let ingest = views.ingest.as_ref().map(|ingest| ingest.borrow().clone());
    let text = metrics::render(queue_health, ingest.as_ref());
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Returns the status of the ingest, including its errors with advice. It contains no text of any
/// row.
async fn ingest(State(views): State<Arc<Views>>) -> Response {
    match &views.ingest {
        Some(ingest) => Json(ingest.borrow().clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "this worker has no listener role\n").into_response(),
    }
}

/// Handles a webhook. Responds at once, without reading the row: the triggered sweep reads it.
async fn hook(State(views): State<Arc<Views>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(hook) = &views.webhook else {
        return (StatusCode::NOT_FOUND, "the webhook is off: set WEBHOOK_SECRET on a listener\n")
            .into_response();
    };
    let presented = headers.get(SECRET_HEADER).map(|value| value.as_bytes());
    match webhook::receive(&hook.access, &hook.secret, presented, &body) {
        Ok(hint) => {
            tracing::debug!(row = hint.id, "webhook");
            match hint.id {
                Some(id) => hook.sweep_trigger.row(id),
                None => hook.sweep_trigger.sweep(),
            }
            StatusCode::ACCEPTED.into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "webhook refused");
            let status = match error {
                WebhookError::Secret => StatusCode::UNAUTHORIZED,
                WebhookError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                WebhookError::Body(_) => StatusCode::BAD_REQUEST,
                WebhookError::OtherTable => StatusCode::UNPROCESSABLE_ENTITY,
            };
            (status, format!("{error}. {}\n", error.advice())).into_response()
        }
    }
}
