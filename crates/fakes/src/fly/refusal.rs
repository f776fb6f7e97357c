//! Error responses of the Machines API: a status and `{"error": ".."}`.

use std::time::Duration;

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::json;

use super::state::MachineState;

/// An error response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<Duration>,
    /// Mark of the other body, `{"status": "error", "message": ".."}`, of the lease routes.
    of_lease: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), retry_after: None, of_lease: false }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn no_token() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Authenticate: token validation error")
    }

    pub(super) fn foreign_token() -> Self {
        Self::new(StatusCode::FORBIDDEN, "Authorize: not authorized to access this app")
    }

    pub(super) fn no_app() -> Self {
        Self::new(StatusCode::NOT_FOUND, "app not found")
    }

    pub(super) fn no_machine() -> Self {
        Self::new(StatusCode::NOT_FOUND, "machine not found")
    }

    pub(super) fn rate_limited() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rate limit exceeded")
    }

    pub(super) fn timed_out() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "deadline_exceeded: request timed out")
    }

    /// Returns the response to a wait that the machine's exit makes pointless.
    pub(super) fn state_missed(desired: MachineState, current: MachineState) -> Self {
        Self::precondition(format!("machine failed to reach desired state, {desired}, currently {current}"))
    }

    pub(super) fn precondition(message: impl AsRef<str>) -> Self {
        let message = format!("failed_precondition: {}", message.as_ref());
        Self::new(StatusCode::PRECONDITION_FAILED, message)
    }

    /// Returns the response to a start that the machine's state does not allow.
    pub(super) fn not_startable(state: MachineState) -> Self {
        match state {
            MachineState::Starting | MachineState::Restarting => {
                Self::new(StatusCode::CONFLICT, "aborted: machine still attempting to start")
            }
            MachineState::Replacing | MachineState::Updating => {
                Self::precondition("machine getting replaced, refusing to start")
            }
            state => Self::precondition(format!("unable to start machine from current state: '{state}'")),
        }
    }

    /// Returns the response to a start that comes before the last run has been cleaned up.
    pub(super) fn still_active() -> Self {
        Self::precondition("machine still active, refusing to start")
    }

    pub(super) fn host_full() -> Self {
        let message =
            "could not reserve resource for machine: insufficient memory available to fulfill request";
        Self::new(StatusCode::CONFLICT, format!("aborted: {message}"))
    }

    pub(super) fn region_full() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "insufficient resources available to fulfill request")
    }

    pub(super) fn leased(machine: &str, owner: &str, expires_at: Timestamp) -> Self {
        let expires_at = expires_at.strftime("%Y-%m-%dT%H:%M:%SZ");
        let message =
            format!("machine ID {machine} lease currently held by {owner}, expires at {expires_at}");
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(super) fn of_lease(self) -> Self {
        Self { of_lease: true, ..self }
    }

    pub(super) fn retry_after(self, delay: Option<Duration>) -> Self {
        Self { retry_after: delay, ..self }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = if self.of_lease {
            json!({ "status": "error", "message": self.message })
        } else {
            json!({ "error": self.message })
        };
        let mut response = (self.status, Json(body)).into_response();
        if let Some(delay) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response
    }
}
