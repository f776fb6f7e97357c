//! Delivery of alerts: a durable consumer of the events, and a request for each alert.

use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::Message;
use futures::StreamExt;
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::message::{Alert, AlertFormat};
use crate::broker::{ALERT, BrokerError, ENDED, Event, Streams, keep_watching};
use crate::retry::Backoff;

/// Name of the durable consumer of alerts that all workers share.
const CONSUMER: &str = "alerts";
/// Time that one pull waits for a message.
const PULL_EXPIRES: Duration = Duration::from_secs(5);
/// Time that the receiver has for its answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Time until the broker gives an alert to another worker; longer than the receiver may take.
const ACK_WAIT: Duration = Duration::from_secs(30);
/// Pauses between attempts to deliver an alert.
const BACKOFF: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_secs(3600));

/// Receiver of alerts.
#[derive(Debug, Clone)]
pub struct AlertReceiver {
    /// Address that alerts are posted to. It may hold a key, as that of a webhook of Slack does.
    pub url: SecretString,
    /// Form of the body.
    pub format: AlertFormat,
    /// Address of the console, for links.
    pub console: Option<Url>,
}

/// Delivery of alerts to one receiver. Any number of workers deliver each alert once.
#[derive(Debug, Clone)]
pub struct Alerts {
    streams: Streams,
    receiver: AlertReceiver,
    client: reqwest::Client,
}

impl Alerts {
    /// Prepares the delivery.
    ///
    /// # Errors
    /// When the system has no certificates or no random numbers.
    pub fn new(streams: &Streams, receiver: AlertReceiver) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("autovalidate/", env!("CARGO_PKG_VERSION")))
            .timeout(DEADLINE)
            // The key in the address belongs to this host only.
            .redirect(Policy::none())
            .build()?;
        Ok(Self { streams: streams.clone(), receiver, client })
    }

    /// Delivers alerts until cancelled. An alert that the receiver does not take is kept on the broker and
    /// sent again after a growing pause.
    pub async fn run(&self, cancel: &CancellationToken) {
        let trouble = "can't read events for alerts";
        keep_watching(self.streams.connection(), cancel, trouble, || self.deliver()).await;
    }

    async fn deliver(&self) -> Result<(), BrokerError> {
        const WHAT: &str = "reading events for alerts";
        let names = self.streams.names();
        let config = pull::Config {
            durable_name: Some(CONSUMER.to_owned()),
            filter_subjects: vec![names.stage_subject(ENDED), names.stage_subject(ALERT)],
            // Nobody wants to hear of what happened before alerts were set up.
            deliver_policy: DeliverPolicy::New,
            ack_policy: AckPolicy::Explicit,
            ack_wait: ACK_WAIT,
            ..pull::Config::default()
        };
        let events = self.streams.events();
        let consumer: PullConsumer =
            events.create_consumer(config).await.map_err(BrokerError::request(WHAT))?;
        loop {
            let batch = consumer.batch().max_messages(10).expires(PULL_EXPIRES).messages().await;
            let mut batch = batch.map_err(BrokerError::request(WHAT))?;
            while let Some(message) = batch.next().await {
                let message = message.map_err(BrokerError::request(WHAT))?;
                let settled = self.settle(&message).await;
                message.ack_with(settled).await.map_err(BrokerError::request(WHAT))?;
            }
        }
    }

    /// Sends the alert that a message is worth, and returns the answer to the broker.
    async fn settle(&self, message: &Message) -> AckKind {
        let event = serde_json::from_slice::<Event>(&message.payload).ok();
        let Some(alert) = event.as_ref().and_then(Alert::of) else { return AckKind::Ack };
        let problem = match self.send(&alert).await {
            Ok(status) if status.is_success() => {
                tracing::info!(kind = %alert.kind, "an alert was delivered");
                return AckKind::Ack;
            }
            Ok(status) => format!("the receiver answered {status}"),
            // The address may hold a key.
            Err(error) => crate::failure::chain(&error.without_url()),
        };
        let deliveries = message.info().map_or(1, |info| info.delivered);
        let pause = BACKOFF.pause(u32::try_from(deliveries).unwrap_or(u32::MAX), rand::random());
        tracing::warn!(
            kind = %alert.kind,
            problem,
            again_in = ?pause,
            "an alert was not delivered; check ALERT_URL and its receiver"
        );
        AckKind::Nak(Some(pause))
    }

    async fn send(&self, alert: &Alert) -> Result<StatusCode, reqwest::Error> {
        let AlertReceiver { url, format, console } = &self.receiver;
        let body = alert.body(*format, console.as_ref());
        // The body of the answer is not read.
        Ok(self.client.post(url.expose_secret()).json(&body).send().await?.status())
    }
}
