//! Routes of the Machines API for leases.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::lease::Lease;
use super::limits::Action;
use super::refusal::Refusal;
use super::request::{MachinePath, body, nonce};
use super::shared::Shared;

/// Owner of the leases that the API grants.
const OWNER: &str = "local@tokens.fly.io";
/// Time of a lease without `ttl`.
const TTL: u64 = 30;
/// Longest time of a lease.
const MAX_TTL: u64 = 24 * 3_600;

/// Body or query of a lease.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    ttl: Option<u64>,
    description: Option<String>,
}

pub(super) async fn read(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Get)?;
    let record = machine.record();
    record.lease().map(|lease| Json(lease.json())).ok_or_else(no_lease)
}

/// Grants a lease, or renews the one whose nonce the request carries.
pub(super) async fn acquire(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    Query(query): Query<Asked>,
    headers: HeaderMap,
    content: Bytes,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let machine = shared.find(&headers, &path, Action::Lease)?;
    let asked: Asked = body(&content)?;
    let ttl = query.ttl.or(asked.ttl).unwrap_or(TTL);
    if !(1..=MAX_TTL).contains(&ttl) {
        return Err(Refusal::invalid("invalid ttl").of_lease());
    }
    let mut record = machine.record();
    record.check_lease(&machine.id, nonce(&headers)).map_err(Refusal::of_lease)?;
    let description = asked.description.or(query.description).unwrap_or_default();
    let description: String = description.chars().take(1_000).collect();
    let mut lease = Lease::new(OWNER, &description, Duration::from_secs(ttl));
    let renewed = record.lease().map(|held| held.nonce.clone());
    let status = if renewed.is_some() { StatusCode::OK } else { StatusCode::CREATED };
    if let Some(nonce) = renewed {
        lease.nonce = nonce;
    }
    let shown = lease.json();
    record.lease = Some(lease);
    Ok((status, Json(shown)))
}

pub(super) async fn release(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Lease)?;
    let mut record = machine.record();
    if record.lease().is_none() {
        return Err(no_lease());
    }
    record.check_lease(&machine.id, nonce(&headers)).map_err(Refusal::of_lease)?;
    record.lease = None;
    Ok(Json(json!({ "status": "success", "data": { "ok": true } })))
}

fn no_lease() -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, "lease not found").of_lease()
}
