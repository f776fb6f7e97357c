//! Leases: the right of one client to change a machine.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::ids;

/// A lease on a machine.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub(super) nonce: String,
    pub(super) owner: String,
    pub(super) description: String,
    pub(super) expires_at: Timestamp,
    version: String,
}

impl Lease {
    /// Returns a lease that ends after `ttl`.
    pub(super) fn new(owner: &str, description: &str, ttl: Duration) -> Self {
        Self {
            nonce: ids::nonce(),
            owner: owner.to_owned(),
            description: description.to_owned(),
            expires_at: Timestamp::now().saturating_add(ttl).unwrap_or(Timestamp::MAX),
            version: ids::version(),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "status": "success",
            "data": {
                "nonce": self.nonce,
                "expires_at": self.expires_at.as_second(),
                "owner": self.owner,
                "description": self.description,
                "version": self.version,
            },
        })
    }
}
