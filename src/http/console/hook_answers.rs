//! Number of hooks by the answer they got, since the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::Views;

/// Counts by HTTP status.
#[derive(Debug, Default)]
pub(super) struct HookAnswers(Mutex<BTreeMap<u16, u64>>);

impl HookAnswers {
    /// Returns the counts.
    pub(super) fn counts(&self) -> BTreeMap<u16, u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, status: u16) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(status).or_default() += 1;
    }
}

/// Counts the answers of the hooks.
pub(in crate::http) async fn count_hooks(
    State(views): State<Arc<Views>>,
    request: Request,
    next: Next,
) -> Response {
    let is_hook = request.uri().path().starts_with("/hooks/");
    let response = next.run(request).await;
    if is_hook {
        views.console.hook_answers.count(response.status().as_u16());
    }
    response
}

/// Returns the meaning of a hook's answer.
pub(super) fn meaning(status: u16) -> &'static str {
    match status {
        202 => "accepted",
        400 => "malformed",
        401 => "wrong secret",
        404 => "hooks are off",
        413 => "too large",
        422 => "another table",
        429 => "too many",
        503 => "about to exit",
        _ => "other",
    }
}
