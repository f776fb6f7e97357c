//! Status service, which answers `nats req training.status ''` with the worker's status.

use async_nats::service::ServiceExt;
use async_nats::service::error::Error as ServiceError;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::task::AbortOnDropHandle;

use super::connection::{Connection, REQUEST_DEADLINE};
use super::error::BrokerError;
use super::job_id::JobId;
use super::runs::RunRecord;

/// Name of the service in `nats micro ls`.
pub const STATUS_SERVICE: &str = "training-status";
/// Subject that the service answers on.
pub const STATUS_SUBJECT: &str = "training.status";

/// Status of the worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Number of pairs that wait for the next run.
    pub pending: u64,
    /// Number of pairs that start a run.
    pub threshold: u64,
    /// Job in progress.
    pub current_job: Option<JobId>,
    /// Runs that wait, in the order in which they will be taken.
    #[serde(default)]
    pub queued: Vec<JobId>,
    /// Record of the last run that ended.
    pub last_run: Option<RunRecord>,
    /// Version of the worker.
    pub version: String,
}

/// Health of the queue. Collecting it takes a few small requests, however many runs exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueHealth {
    /// Number of pairs that wait for the next run.
    pub pending: u64,
    /// Number of pairs that start a run.
    pub threshold: u64,
    /// Number of jobs that are in progress or wait between two attempts.
    pub in_hand: u64,
    /// Number of jobs that wait to be taken.
    pub waiting: u64,
}

/// The running service. Dropping this value stops the service.
#[derive(Debug)]
pub struct StatusService {
    _answering: AbortOnDropHandle<()>,
}

impl StatusService {
    /// Starts the service, which answers each request with the current result of `status`. Every
    /// worker runs the service; a request gets one answer.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn start<F>(connection: &Connection, status: F) -> Result<Self, BrokerError>
    where
        F: Fn() -> BoxFuture<'static, Result<Status, BrokerError>> + Send + Sync + 'static,
    {
        const WHAT: &str = "starting the status service";
        let service = connection
            .client()
            .service_builder()
            .description("Status of the AutoValidate trainer")
            .start(STATUS_SERVICE, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(BrokerError::request(WHAT))?;
        let mut endpoint = service
            .endpoint_builder()
            .name("status")
            .add(STATUS_SUBJECT)
            .await
            .map_err(BrokerError::request(WHAT))?;
        // A request right after this call must find the subscription in place.
        connection.client().flush().await.map_err(BrokerError::request(WHAT))?;
        let answering = tokio::spawn(async move {
            // Owned by this task, because dropping the service ends it.
            let _service = service;
            while let Some(request) = endpoint.next().await {
                let answer = match tokio::time::timeout(REQUEST_DEADLINE, status()).await {
                    Ok(Ok(status)) => serde_json::to_vec(&status).map_err(BrokerError::from),
                    Ok(Err(error)) => Err(error),
                    Err(_) => Err(BrokerError::TimedOut { what: "collecting the status" }),
                };
                let answer = answer.map(Into::into).map_err(|error| {
                    tracing::warn!(error = crate::failure::chain(&error), "can't collect the status");
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
