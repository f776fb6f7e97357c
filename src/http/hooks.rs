//! Calls from outside that ask for work: the database webhook, and the tick of a scheduler.
//!
//! Both are answered at once. Neither carries data that is used: the sweep reads rows from the
//! table, and the trigger reads the broker.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use secrecy::SecretString;

use super::Views;
use super::gate::HookGate;
use crate::failure::Failure;
use crate::ingest::webhook::{self, SECRET_HEADER, WebhookError};
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
}

/// Handles a database webhook. Responds at once, without reading the row: the triggered sweep reads
/// it.
pub(super) async fn database_webhook(
    State(views): State<Arc<Views>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let Some(hooks) = &views.hooks else { return hooks_are_off() };
    match webhook::receive(&hooks.access, &hooks.secret, presented(&headers), &body) {
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
        Err(error) => refused(&error),
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
        Err(error) => refused(&error),
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
    (StatusCode::NOT_FOUND, "the hooks are off: set WEBHOOK_SECRET on a listener\n").into_response()
}

fn refused(error: &WebhookError) -> Response {
    tracing::warn!(%error, "hook refused");
    let status = match error {
        WebhookError::Secret => StatusCode::UNAUTHORIZED,
        WebhookError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        WebhookError::Body(_) => StatusCode::BAD_REQUEST,
        WebhookError::OtherTable => StatusCode::UNPROCESSABLE_ENTITY,
    };
    (status, format!("{error}. {}\n", error.advice())).into_response()
}
