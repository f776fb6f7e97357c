//! Routes of the Machines API that read and change machines.

use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::StartReason;
use super::duration::{self, Time};
use super::life;
use super::limits::Action;
use super::order::Then;
use super::refusal::Refusal;
use super::request::{MachinePath, body, nonce};
use super::shared::Shared;
use super::spec::StopSignal;
use super::state::MachineState;
use super::{lease_routes, view, wait};

pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/apps/{app}/machines", get(list))
        .route("/v1/apps/{app}/machines/{id}", get(read))
        .route("/v1/apps/{app}/machines/{id}/events", get(events))
        .route("/v1/apps/{app}/machines/{id}/metadata", get(metadata))
        .route("/v1/apps/{app}/machines/{id}/start", post(start))
        .route("/v1/apps/{app}/machines/{id}/stop", post(stop))
        .route("/v1/apps/{app}/machines/{id}/suspend", post(suspend))
        .route("/v1/apps/{app}/machines/{id}/restart", post(restart))
        .route("/v1/apps/{app}/machines/{id}/wait", get(wait::wait))
        .route(
            "/v1/apps/{app}/machines/{id}/lease",
            get(lease_routes::read).post(lease_routes::acquire).delete(lease_routes::release),
        )
}

async fn list(
    State(shared): State<Arc<Shared>>,
    Path(app): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    shared.check_app(&headers, &app)?;
    shared.limit(&app, Action::List)?;
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let deleted = matches!(value("include_deleted"), Some("true" | "1"));
    let states: Vec<&str> = value("state").into_iter().flat_map(|list| list.split(',')).collect();
    let wanted = query.iter().filter_map(|(key, value)| Some((key.strip_prefix("metadata.")?, value)));
    let wanted: Vec<_> = wanted.collect();
    let machines = shared.machines(&app).into_iter().filter(|machine| {
        let state = machine.state();
        let metadata = view::metadata(&machine.spec);
        (deleted || state != MachineState::Destroyed)
            && (states.is_empty() || states.contains(&state.name()))
            && value("region").is_none_or(|region| region == machine.spec.region)
            && wanted.iter().all(|(key, value)| metadata.get(*key).is_some_and(|found| found == *value))
    });
    Ok(Json(machines.map(|machine| view::machine(&machine)).collect()))
}

async fn read(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    Ok(Json(view::machine(&*shared.find(&headers, &path, Action::Get)?)))
}

async fn events(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Get)?;
    let events = machine.record().events.iter().map(super::event::Event::json).collect();
    Ok(Json(events))
}

async fn metadata(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Get)?;
    Ok(Json(Value::Object(view::metadata(&machine.spec))))
}

async fn start(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Start)?;
    machine.record().check_lease(&machine.id, nonce(&headers))?;
    let previous = life::start(&machine, StartReason::Api)?;
    Ok(Json(json!({ "previous_state": previous, "migrated": false, "new_host": "" })))
}

/// Body of a stop.
#[derive(Debug, Default, Deserialize)]
struct Stop {
    signal: Option<String>,
    timeout: Option<Time>,
}

async fn stop(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
    content: Bytes,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Stop)?;
    let asked: Stop = body(&content)?;
    let signal = signal(asked.signal.as_deref())?;
    machine.record().check_lease(&machine.id, nonce(&headers))?;
    machine.stop(signal, asked.timeout.map(|Time(time)| time), Then::Rest, "user")?;
    Ok(Json(json!({ "ok": true })))
}

async fn suspend(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Suspend)?;
    machine.record().check_lease(&machine.id, nonce(&headers))?;
    machine.suspend("user")?;
    Ok(Json(json!({ "ok": true })))
}

/// Query of a restart.
#[derive(Debug, Default, Deserialize)]
struct Restart {
    signal: Option<String>,
    timeout: Option<String>,
    force_stop: Option<String>,
}

async fn restart(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    Query(query): Query<Restart>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Restart)?;
    let force = matches!(query.force_stop.as_deref(), Some("true" | "1"));
    let signal = if force { Some(StopSignal::Kill) } else { signal(query.signal.as_deref())? };
    let timeout = match query.timeout.as_deref() {
        Some(text) => Some(duration::parse(text).ok_or_else(|| Refusal::invalid("invalid timeout"))?),
        None => None,
    };
    machine.record().check_lease(&machine.id, nonce(&headers))?;
    if machine.state().is_startable() {
        life::start(&machine, StartReason::Restart)?;
    } else {
        machine.stop(signal, timeout, Then::Start, "user")?;
    }
    Ok(Json(json!({ "ok": true })))
}

fn signal(text: Option<&str>) -> Result<Option<StopSignal>, Refusal> {
    let named = text.filter(|text| !text.is_empty());
    named.map(|text| text.parse().map_err(|_| Refusal::invalid("invalid signal"))).transpose()
}
