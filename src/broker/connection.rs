//! Connection to the broker, with checks of its version and of JetStream.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::{Event, ServerError};
use tokio::sync::watch;

use super::embedded::{self, Server};
use super::error::BrokerError;
use super::remote::Remote;
use super::version::{OLDEST_SERVER, is_new_enough};

/// Time that the server has to accept a connection.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Time that the server has to answer one request. Every request of the JetStream context has this
/// deadline.
pub(super) const REQUEST_DEADLINE: Duration = Duration::from_secs(10);

/// Time that the messages sent so far have to leave this machine.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Choice of the broker: embedded or remote.
#[derive(Debug, Clone)]
pub enum Broker {
    /// A nats-server that this process supervises.
    Embedded(embedded::Options),
    /// A server or cluster that this process does not supervise.
    Remote(Remote),
}

/// A connection to a server that passed all checks. Clones share the connection.
/// [`Connection::close`] stops an embedded server; dropping the last clone kills it.
#[derive(Debug, Clone)]
pub struct Connection {
    client: async_nats::Client,
    jetstream: jetstream::Context,
    connects: watch::Receiver<u64>,
    server: Option<Arc<Server>>,
}

impl Connection {
    /// Starts the broker when it is embedded, connects, and checks the server's version and
    /// JetStream.
    ///
    /// # Errors
    /// Those of [`Server::start`], [`BrokerError::Connect`], [`BrokerError::Refused`],
    /// [`BrokerError::Credentials`], [`BrokerError::ServerTooOld`], [`BrokerError::TimedOut`],
    /// [`BrokerError::NotPermitted`], [`BrokerError::JetStreamUnavailable`].
    pub async fn open(broker: &Broker) -> Result<Self, BrokerError> {
        match broker {
            Broker::Embedded(options) => {
                let server = Server::start(options.clone()).await?;
                let token = server.token().cloned();
                let remote = Remote { urls: vec![server.url()], token, ..Remote::default() };
                Self::connect(&remote, Some(Arc::new(server))).await
            }
            Broker::Remote(remote) => Self::connect(remote, None).await,
        }
    }

    async fn connect(remote: &Remote, server: Option<Arc<Server>>) -> Result<Self, BrokerError> {
        let (connected, connects) = watch::channel(0);
        let (refused, mut refusals) = watch::channel(String::new());
        let options = async_nats::ConnectOptions::new()
            .name("autovalidate")
            .connection_timeout(CONNECT_DEADLINE)
            .request_timeout(Some(REQUEST_DEADLINE))
            .event_callback(move |event| {
                match event {
                    Event::Connected => {
                        tracing::info!("connected to NATS");
                        connected.send_modify(|count| *count += 1);
                    }
                    Event::Disconnected => {
                        tracing::info!("lost the connection to NATS; reconnecting")
                    }
                    // Sent for each failed attempt; `Disconnected` has been logged already.
                    Event::ClientError(error) => tracing::debug!(%error, "no connection to NATS yet"),
                    Event::Closed => tracing::debug!("the connection to NATS is closed"),
                    Event::ServerError(ServerError::Other(sentence)) => {
                        tracing::warn!(sentence, "the NATS server refuses something");
                        refused.send_replace(sentence);
                    }
                    event => tracing::warn!(%event, "NATS connection"),
                }
                std::future::ready(())
            });
        // The client uses the process-wide TLS provider. An error says that one is installed
        // already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let options = remote.apply(options).await?;
        let client = tokio::time::timeout(CONNECT_DEADLINE, Box::pin(options.connect(&remote.urls)))
            .await
            .map_err(|_| BrokerError::TimedOut { what: "connecting" })?
            .map_err(|source| BrokerError::connect(source, remote))?;

        let version = client.server_info().version;
        if !is_new_enough(&version) {
            return Err(BrokerError::ServerTooOld { found: version, needed: OLDEST_SERVER });
        }
        let context = ContextBuilder::new().timeout(REQUEST_DEADLINE);
        let jetstream = match &remote.domain {
            Some(domain) => context.domain(domain).build(client.clone()),
            None => context.build(client.clone()),
        };
        let account = tokio::select! {
            account = jetstream.query_account() => account,
            // The server answers a request that it does not permit with nothing but this.
            Ok(sentence) = refusals.wait_for(|sentence| is_permission(sentence)) => {
                return Err(BrokerError::NotPermitted { sentence: sentence.clone() });
            }
        };
        match account {
            Ok(_) => {}
            Err(error) if error.kind() == jetstream::context::AccountErrorKind::TimedOut => {
                return Err(BrokerError::TimedOut { what: "asking for the JetStream account" });
            }
            Err(error) => {
                let domain = remote.domain.clone();
                return Err(BrokerError::JetStreamUnavailable { domain, source: error.into() });
            }
        }
        Ok(Self { client, jetstream, connects, server })
    }

    /// Returns the core NATS client.
    pub fn client(&self) -> &async_nats::Client {
        &self.client
    }

    /// Returns the JetStream context. Each of its requests has a deadline.
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// Returns a watch on the number of connections made. A change means that messages awaited on
    /// the old connection may be lost.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        let mut connects = self.connects.clone();
        connects.mark_unchanged();
        connects
    }

    /// Returns the embedded server, if this process runs one.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_deref()
    }

    /// Returns the number of other clients of the embedded server, or `None` when this process runs
    /// none.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`].
    pub async fn other_clients(&self) -> Result<Option<usize>, BrokerError> {
        let Some(server) = &self.server else { return Ok(None) };
        // Read afterwards: a client that has just reconnected has a new id.
        let clients = server.clients().await?;
        Ok(Some(clients.other_than(self.client.server_info().client_id)))
    }

    /// Returns true when JetStream answers a small question.
    pub(crate) async fn answers(&self) -> bool {
        self.jetstream.query_account().await.is_ok()
    }

    /// Flushes all sent messages and stops the embedded server cleanly, even when other clones
    /// exist.
    pub async fn close(&self) {
        let flushed = tokio::time::timeout(FLUSH_DEADLINE, self.client.flush()).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("nats connection closed with unsent messages");
        }
        if let Some(server) = &self.server {
            server.stop().await;
        }
    }
}

/// Returns true for the server's sentence about a subject that a client may not use.
fn is_permission(sentence: &str) -> bool {
    sentence.to_ascii_lowercase().starts_with("permissions violation")
}
