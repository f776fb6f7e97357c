//! Status service, which answers `nats req training.status ''` with the worker's status, and tells
//! other workers that a trainer is up.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::service::ServiceExt;
use async_nats::service::error::Error as ServiceError;
use async_nats::{Request, StatusCode};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::connection::REQUEST_DEADLINE;
use super::error::BrokerError;
use super::names::Names;
use super::streams::Streams;

/// Returns the subject on which every status service of every worker answers with its metadata, as
/// NATS micro services do.
fn ping_subject(names: &Names) -> String {
    format!("$SRV.PING.{}", names.status_service())
}

/// Metadata of a service whose worker trains.
const TRAINS: (&str, &str) = ("trains", "yes");

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

/// The running service. Dropping this value stops the service soon; [`StatusService::stop`] waits
/// until it has stopped.
#[derive(Debug)]
pub struct StatusService {
    stop: DropGuard,
    answering: JoinHandle<()>,
}

impl StatusService {
    /// Starts the service, which answers each request with the current result of `status`. Every
    /// worker runs the service; a request gets one answer. `trains` says that the worker runs jobs.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub async fn start<F, S>(streams: &Streams, trains: bool, status: F) -> Result<Self, BrokerError>
    where
        F: Fn() -> BoxFuture<'static, Result<S, BrokerError>> + Send + Sync + 'static,
        S: Serialize + Send,
    {
        const WHAT: &str = "starting the status service";
        let (client, names) = (streams.connection().client(), streams.names());
        let service = client
            .service_builder()
            .description("Status of the AutoValidate trainer")
            .metadata(trains.then(|| (TRAINS.0.to_owned(), TRAINS.1.to_owned())).into_iter().collect())
            .start(names.status_service(), env!("CARGO_PKG_VERSION"))
            .await
            .map_err(BrokerError::request(WHAT))?;
        let mut endpoint = service
            .endpoint_builder()
            .name("status")
            .add(names.status_subject().to_owned())
            .await
            .map_err(BrokerError::request(WHAT))?;
        // A request right after this call must find the subscriptions in place. The server handles
        // what one client sends in order, so an answer to this ping proves it. A flush would not:
        // it only empties the client's buffer.
        let ping = format!("{}.{}", ping_subject(names), service.info().await.id);
        Box::pin(client.request(ping, Bytes::new())).await.map_err(BrokerError::request(WHAT))?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let answering = tokio::spawn(async move {
            loop {
                let request = tokio::select! {
                    () = stopped.cancelled() => break,
                    request = endpoint.next() => request,
                };
                let Some(request) = request else { break };
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
            // The client's own task answers pings until it is told to stop.
            if let Err(error) = service.stop().await {
                tracing::debug!(%error, "the status service had ended before");
            }
        });
        Ok(Self { stop: stop.drop_guard(), answering })
    }

    /// Stops the service. From then on, this worker is no trainer that is up.
    pub async fn stop(self) {
        drop(self.stop);
        if let Err(error) = self.answering.await {
            tracing::warn!(error = crate::failure::panic_message(error), "the status service failed");
        }
    }
}

/// An answer to a ping, as far as it matters here.
#[derive(Deserialize)]
struct Pong {
    #[serde(default)]
    metadata: HashMap<String, String>,
}

/// Returns true as soon as a worker that trains answers; false when no worker is there, or none that
/// trains answers within `deadline`.
///
/// # Errors
/// [`BrokerError::Request`].
pub async fn trainer_is_up(streams: &Streams, deadline: Duration) -> Result<bool, BrokerError> {
    let trains = |pong: &Pong| pong.metadata.get(TRAINS.0).is_some_and(|value| value == TRAINS.1);
    answers(streams, deadline, trains).await
}

/// Returns true as soon as any worker answers; false when none does within `deadline`.
///
/// # Errors
/// [`BrokerError::Request`].
pub async fn worker_is_up(streams: &Streams, deadline: Duration) -> Result<bool, BrokerError> {
    answers(streams, deadline, |_| true).await
}

/// Pings all workers until one answers as asked for.
async fn answers(
    streams: &Streams,
    deadline: Duration,
    is_meant: impl Fn(&Pong) -> bool,
) -> Result<bool, BrokerError> {
    const WHAT: &str = "asking for workers";
    let client = streams.connection().client();
    let inbox = client.new_inbox();
    let mut answers = client.subscribe(inbox.clone()).await.map_err(BrokerError::request(WHAT))?;
    let ping = ping_subject(streams.names());
    client.publish_with_reply(ping, inbox, Bytes::new()).await.map_err(BrokerError::request(WHAT))?;
    let first = async {
        while let Some(answer) = answers.next().await {
            if answer.status == Some(StatusCode::NO_RESPONDERS) {
                return false;
            }
            let pong: Option<Pong> = serde_json::from_slice(&answer.payload).ok();
            if pong.is_some_and(|pong| is_meant(&pong)) {
                return true;
            }
        }
        false
    };
    Ok(tokio::time::timeout(deadline, first).await.unwrap_or(false))
}

/// Asks any worker for its status. Returns `None` when no worker gives one within `deadline`.
///
/// # Errors
/// [`BrokerError::Request`].
pub async fn ask_status<S: DeserializeOwned>(
    streams: &Streams,
    deadline: Duration,
) -> Result<Option<S>, BrokerError> {
    let (client, subject) = (streams.connection().client(), streams.names().status_subject().to_owned());
    let request = Request::new().timeout(Some(deadline));
    let answer = match client.send_request(subject, request).await {
        Ok(answer) => answer,
        Err(error) => match error.kind() {
            RequestErrorKind::NoResponders | RequestErrorKind::TimedOut => return Ok(None),
            _ => return Err(BrokerError::request("asking for the status")(error)),
        },
    };
    // A worker of another version, or one that can't collect its status, gives none that can be read.
    Ok(serde_json::from_slice(&answer.payload).ok())
}
