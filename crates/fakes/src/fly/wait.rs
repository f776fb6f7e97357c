//! The route that waits until a machine reaches a state.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::duration;
use super::limits::Action;
use super::machine::Machine;
use super::refusal::Refusal;
use super::request::MachinePath;
use super::shared::Shared;
use super::state::MachineState;

/// Longest wait, and the one without `timeout`.
const TIMEOUT: Duration = Duration::from_secs(60);

/// States that a client can wait for.
const STATES: [MachineState; 4] =
    [MachineState::Started, MachineState::Stopped, MachineState::Suspended, MachineState::Destroyed];

pub(super) async fn wait(
    State(shared): State<Arc<Shared>>,
    Path(path): MachinePath,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let machine = shared.find(&headers, &path, Action::Wait)?;
    let value = |name: &str| query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let timeout = value("timeout").map_or(Some(TIMEOUT), duration::parse);
    let in_range = |timeout: &Duration| (Duration::from_secs(1)..=TIMEOUT).contains(timeout);
    let timeout = timeout
        .filter(in_range)
        .ok_or_else(|| Refusal::invalid("invalid_argument: timeout must be between 1 and 60 seconds"))?;
    let mut states = Vec::new();
    for (_, text) in query.iter().filter(|(key, _)| key == "state") {
        let known = text.parse().ok().filter(|state| STATES.contains(state));
        states.push(known.ok_or_else(|| Refusal::invalid("invalid_argument: unknown state"))?);
    }
    if states.is_empty() {
        states.push(MachineState::Started);
    }
    match value("instance_id").or(value("version")) {
        Some(version) if version != machine.instance_id => {
            return Err(Refusal::invalid("invalid_argument: unknown instance_id"));
        }
        None if states.contains(&MachineState::Stopped) => {
            return Err(Refusal::invalid("invalid_argument: instance_id is required to wait for stopped"));
        }
        _ => {}
    }
    let reached = tokio::time::timeout(timeout, reach(&machine, &states));
    reached.await.map_err(|_| Refusal::timed_out())??;
    Ok(Json(json!({ "ok": true })))
}

/// Waits until the machine is in one of these states, or passes through one.
///
/// # Errors
/// 412 when the machine was on its way to `started` and came to rest instead.
async fn reach(machine: &Machine, states: &[MachineState]) -> Result<(), Refusal> {
    let mut versions = machine.versions();
    let (since, mut starting) = {
        let record = machine.record();
        (record.changes(), record.state == MachineState::Starting)
    };
    loop {
        {
            let record = machine.record();
            if record.saw(states, since) {
                return Ok(());
            }
            starting |= record.state == MachineState::Starting;
            let rests = matches!(record.state, MachineState::Stopped | MachineState::Failed);
            if let Some(desired) = states.first().filter(|_| starting && rests) {
                return Err(Refusal::state_missed(*desired, record.state));
            }
        }
        if versions.changed().await.is_err() {
            return Err(Refusal::timed_out());
        }
    }
}
