//! Calls from outside that ask for work: the database webhook, and the tick of a scheduler.
//!
//! Both are answered at once. Neither carries data that is used: the sweep reads rows from the
//! table, and the trigger reads the broker.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;

use super::Views;
use super::gate::HookGate;
use super::refusals::RefusalLog;
use crate::failure::Failure;
use crate::ingest::webhook::{self, HOOKS_OFF, MAX_BODY_BYTES, SECRET_HEADER, WebhookError};
use crate::ingest::{SweepTrigger, TableAccess};

/// Checks of incoming hooks, and the work that valid ones ask for.
pub struct Hooks {
    /// The table that a database webhook must name.
    pub access: TableAccess,
    /// The secret that a hook must present.
    pub secret: SecretString,
    /// Trigger of the sweep that reads new rows.
    pub sweep_trigger: SweepTrigger,
    /// Called for a tick: makes everything look that waits for time to pass.
    pub look: Box<dyn Fn() + Send + Sync>,
    /// Gate that is closed while the worker decides to exit.
    pub gate: HookGate,
    /// Log of refused calls.
    pub refusals: RefusalLog,
}

/// Longest time that a body may take. A database sends one in a packet or two.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Handles a database webhook. Responds at once, without reading the row: the triggered sweep reads
/// it.
pub(super) async fn database_webhook(State(views): State<Arc<Views>>, request: Request) -> Response {
    let Some(hooks) = &views.hooks else { return hooks_are_off() };
    let (head, body) = request.into_parts();
    // The secret first: a stranger's body is not even read.
    if let Err(error) = webhook::authenticate(&hooks.secret, presented(&head.headers)) {
        return refused(hooks, &error);
    }
    let body = match tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(error)) if is_too_long(&error) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Ok(Err(_)) => return StatusCode::BAD_REQUEST.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    match webhook::receive(&hooks.access, &hooks.secret, presented(&head.headers), &body) {
        Ok(hint) => {
            tracing::debug!(hint = ?hint, "webhook");
            match hint.inserted {
                Some(id) => hooks.sweep_trigger.row(id),
                None if hint.changed.is_empty() && hint.deleted.is_none() => hooks.sweep_trigger.sweep(),
                None => {}
            }
            hint.changed.into_iter().for_each(|id| hooks.sweep_trigger.changed(id));
            hint.deleted.into_iter().for_each(|id| hooks.sweep_trigger.deleted(id));
            accepted(&hooks.gate)
        }
        Err(error) => refused(hooks, &error),
    }
}

/// Handles a tick, the regular call of a scheduler: asks for a sweep, and for a look at everything
/// that is due by time.
pub(super) async fn tick(State(views): State<Arc<Views>>, headers: HeaderMap) -> Response {
    let Some(hooks) = &views.hooks else { return hooks_are_off() };
    match webhook::authenticate(&hooks.secret, presented(&headers)) {
        Ok(()) => {
            tracing::debug!("tick");
            hooks.sweep_trigger.sweep();
            (hooks.look)();
            accepted(&hooks.gate)
        }
        Err(error) => refused(hooks, &error),
    }
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(SECRET_HEADER).map(|value| value.as_bytes())
}

fn accepted(gate: &HookGate) -> Response {
    if gate.pass() {
        StatusCode::ACCEPTED.into_response()
    } else {
        let again = [(header::RETRY_AFTER, "1"), (header::CONNECTION, "close")];
        (StatusCode::SERVICE_UNAVAILABLE, again, "the worker is about to exit: call again\n").into_response()
    }
}

fn hooks_are_off() -> Response {
    (StatusCode::NOT_FOUND, format!("{HOOKS_OFF}: set WEBHOOK_SECRET on a listener\n")).into_response()
}

/// Returns true when a body is longer than its limit, and not cut short or broken.
fn is_too_long(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

fn refused(hooks: &Hooks, error: &WebhookError) -> Response {
    hooks.refusals.tell(error);
    let status = match error {
        WebhookError::Secret => StatusCode::UNAUTHORIZED,
        WebhookError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        WebhookError::Body(_) => StatusCode::BAD_REQUEST,
        WebhookError::OtherTable => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, format!("{error}. {}\n", error.advice())).into_response()
}
