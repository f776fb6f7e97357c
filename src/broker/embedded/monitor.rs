//! Number of connected clients, from the server's monitoring endpoint `/connz`.

use std::time::Duration;

use serde::Deserialize;

use crate::answer::read_body;
use crate::broker::error::BrokerError;

/// Time that the endpoint has to answer. It is on the same machine.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Largest answer that is read, in bytes. A connection takes less than two kilobytes of it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Number of connections that are asked for by name.
const NAMED: usize = 8;

/// Purpose of the request, for errors.
pub(super) const WHAT: &str = "asking nats-server for its clients";

/// Clients that are connected to the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(in crate::broker) struct Clients {
    /// Number of connections.
    total: usize,
    /// The first of them.
    #[serde(default)]
    connections: Vec<Client>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Client {
    /// Id that the server gave the connection.
    cid: u64,
}

impl Clients {
    /// Returns the number of connections without the one with this id. When more are connected than
    /// the answer names, that one may count too.
    pub(in crate::broker) fn other_than(&self, own: u64) -> usize {
        self.total.saturating_sub(usize::from(self.connections.iter().any(|client| client.cid == own)))
    }
}

/// Asks the server on this monitoring port for its clients.
pub(super) async fn clients(port: u16) -> Result<Clients, BrokerError> {
    let asked = async {
        let client = reqwest::Client::builder().no_proxy().build().map_err(BrokerError::request(WHAT))?;
        let url = format!("http://127.0.0.1:{port}/connz?sort=cid&limit={NAMED}");
        let response = client
            .get(url)
            .send()
            .await
            .and_then(reqwest::Response::error_for_status)
            .map_err(BrokerError::request(WHAT))?;
        let body = read_body(response, MAX_ANSWER_BYTES).await.map_err(BrokerError::request(WHAT))?;
        serde_json::from_slice(&body).map_err(BrokerError::request(WHAT))
    };
    tokio::time::timeout(ANSWER_DEADLINE, asked).await.map_err(|_| BrokerError::TimedOut { what: WHAT })?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_connection_is_not_among_the_others() {
        let answer =
            r#"{"total":3,"num_connections":3,"connections":[{"cid":4,"name":"autovalidate"},{"cid":9}]}"#;
        let clients: Clients = serde_json::from_str(answer).unwrap();
        assert_eq!(clients.other_than(4), 2);
        assert_eq!(clients.other_than(5), 3, "the own connection is being restored");
        let none: Clients = serde_json::from_str(r#"{"total":0,"connections":[]}"#).unwrap();
        assert_eq!(none.other_than(4), 0);
    }
}
