//! The worker's HTTP side: health, metrics and the webhook.
//!
//! Owns routes and what they answer. Never reads a row from a request: a webhook only hurries the sweep. Serves
//! nothing secret, so it needs no login of its own.
//!
//! ```text
//! metrics   what Prometheus reads
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

use crate::broker::{QueueError, QueueHealth};
use crate::failure::Failure;
use crate::ingest::webhook::{self, MAX_BODY_BYTES, SECRET_HEADER, WebhookError};
use crate::ingest::{IngestStatus, SweepTrigger, TableAccess};

/// What the routes look at.
pub struct Views {
    /// Whether all is well, asked anew for each request.
    pub queue_health: Box<dyn Fn() -> BoxFuture<'static, Result<QueueHealth, QueueError>> + Send + Sync>,
    /// What the ingest shows; `None` on a worker that only trains.
    pub ingest: Option<watch::Receiver<IngestStatus>>,
    /// Where webhooks go; `None` on a worker that only trains or has no secret set.
    pub webhook: Option<Hook>,
}

/// Where webhooks go.
pub struct Hook {
    /// The table they must be about.
    pub access: TableAccess,
    /// The secret they must carry.
    pub secret: SecretString,
    /// What they hurry.
    pub sweep_trigger: SweepTrigger,
}

/// A bound server that isn't answering yet, so that its address is known first.
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

    /// The address it is bound to.
    ///
    /// # Errors
    /// When the system doesn't say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(stop).await
    }
}

/// Healthy is a worker whose broker answers. What the ingest can't reach is in the metrics and in the status: a
/// restart would not mend it, so it doesn't make the worker unhealthy.
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

/// What the ingest shows of itself, troubles with what to do about them included. It holds no text of any row.
async fn ingest(State(views): State<Arc<Views>>) -> Response {
    match &views.ingest {
        Some(ingest) => Json(ingest.borrow().clone()).into_response(),
        None => (StatusCode::NOT_FOUND, "this worker doesn't listen\n").into_response(),
    }
}

/// Answers at once; the sweep it hurries reads the row.
async fn hook(State(views): State<Arc<Views>>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(hook) = &views.webhook else {
        return (StatusCode::NOT_FOUND, "no webhook here: set WEBHOOK_SECRET on a listener\n")
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
