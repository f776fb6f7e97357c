//! The status service: `nats req training.status ''` answers where the worker stands.

use async_nats::service::ServiceExt;
use async_nats::service::error::Error as ServiceError;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Connection, REQUEST_DEADLINE};
use super::error::QueueError;
use super::job_id::JobId;
use super::runs::RunRecord;

/// The service's name in `nats micro ls`.
pub const STATUS_SERVICE: &str = "training-status";
/// The subject it answers on.
pub const STATUS_SUBJECT: &str = "training.status";

/// Where the worker stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Pairs that wait for the next run.
    pub pending: u64,
    /// How many start one.
    pub threshold: u64,
    /// The job that is worked on.
    pub current_job: Option<JobId>,
    /// The runs that wait, the one to be worked on next first.
    #[serde(default)]
    pub queued: Vec<JobId>,
    /// The last run that ended.
    pub last_run: Option<RunRecord>,
    /// The worker's version.
    pub version: String,
}

/// Whether all is well, in a few small requests, however many runs there were.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHealth {
    /// Pairs that wait for the next run.
    pub pending: u64,
    /// How many start one.
    pub threshold: u64,
    /// Jobs that are worked on, or rest between two attempts.
    pub in_hand: u64,
    /// Jobs that wait to be taken.
    pub waiting: u64,
}

/// The running service. It ends when this is dropped.
#[derive(Debug)]
pub struct StatusService {
    _answering: AbortOnDropHandle<()>,
}

impl StatusService {
    /// Starts answering with what `status` says at that moment. Each worker answers; a request gets one answer.
    ///
    /// # Errors
    /// [`QueueError::Request`].
    pub async fn start<F>(connection: &Connection, status: F) -> Result<Self, QueueError>
    where
        F: Fn() -> BoxFuture<'static, Result<Status, QueueError>> + Send + Sync + 'static,
    {
        let failed = QueueError::request;
        let service = connection
            .client()
            .service_builder()
            .description("Where the AutoValidate trainer stands")
            .start(STATUS_SERVICE, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(failed("starting the status service"))?;
        let mut endpoint = service
            .endpoint_builder()
            .name("status")
            .add(STATUS_SUBJECT)
            .await
            .map_err(failed("starting the status service"))?;
        // A request that follows at once must find the subscription in place.
        connection
            .client()
            .flush()
            .await
            .map_err(|error| failed("starting the status service")(error.into()))?;
        let answering = tokio::spawn(async move {
            // Owned here: the service leaves the network when it is dropped.
            let _service = service;
            while let Some(request) = endpoint.next().await {
                let answer = match tokio::time::timeout(REQUEST_DEADLINE, status()).await {
                    Ok(Ok(status)) => serde_json::to_vec(&status).map_err(QueueError::from),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(QueueError::TimedOut { what: "collecting the status" }),
                };
                let answer = answer.map(Into::into).map_err(|error| {
                    tracing::warn!(error = crate::failure::chain(&error), "no status could be given");
                    ServiceError { code: 503, status: error.to_string() }
                });
                if let Err(error) = request.respond(answer).await {
                    tracing::warn!(%error, "a status request was not answered");
                }
            }
        });
        Ok(Self { _answering: AbortOnDropHandle::new(answering) })
    }
}
