//! Options of the stand-in.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use url::Url;

use super::faults::Faults;
use super::postgres::primary_key::IdType;
use super::postgres::timestamp::TimeType;

/// Options of the stand-in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; port 0 picks a free port.
    pub listen: SocketAddr,
    /// Schema of the table.
    pub schema: String,
    /// Name of the table.
    pub table: String,
    /// Type of the table's primary key.
    pub id_type: IdType,
    /// Type of the table's column `created_at`.
    pub time_type: TimeType,
    /// True when the texts are `not null check (.. <> '')`.
    pub required_texts: bool,
    /// PostgREST's `db-max-rows`: longer results are truncated silently.
    pub max_rows: usize,
    /// Interval at which Realtime polls the commit log.
    pub poll: Duration,
    /// Delay before Realtime rejects a websocket.
    pub upgrade_error_delay: Duration,
    /// Delay before Realtime rejects a join.
    pub join_error_delay: Duration,
    /// Time between a join's reply and `Subscribed to PostgreSQL`.
    pub subscribed_delay: Duration,
    /// Time without a client frame after which Realtime closes a socket.
    pub silence: Duration,
    /// Time without a channel after which Realtime closes a socket.
    pub idle: Duration,
    /// True when the table has `replica identity full`: events then carry the whole row before a
    /// change, not just its primary key.
    pub full_replica_identity: bool,
    /// True when the table has row-level security: the event of a deletion then carries the primary
    /// key only, and only the `service_role` can change rows.
    pub row_level_security: bool,
    /// Endpoint called for every inserted, updated and deleted row.
    pub webhook: Option<Webhook>,
    /// The fault switches. Keep a clone to flip them later.
    pub faults: Faults,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            schema: "public".to_owned(),
            table: "typo_training_dataset".to_owned(),
            id_type: IdType::BigInt,
            time_type: TimeType::WithZone,
            required_texts: false,
            max_rows: 1000,
            poll: Duration::from_millis(100),
            upgrade_error_delay: Duration::from_secs(2),
            join_error_delay: Duration::from_secs(5),
            subscribed_delay: Duration::from_millis(50),
            silence: Duration::from_secs(60),
            idle: Duration::from_secs(600),
            full_replica_identity: false,
            row_level_security: true,
            webhook: None,
            faults: Faults::default(),
        }
    }
}

/// A database webhook: its endpoint, and the header that carries the secret.
#[derive(Clone)]
pub struct Webhook {
    /// URL of the endpoint.
    pub url: Url,
    /// Name of the header.
    pub header: String,
    /// Value of the header.
    pub secret: String,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Webhook").field("header", &self.header).finish_non_exhaustive()
    }
}
