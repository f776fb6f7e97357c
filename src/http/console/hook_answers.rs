//! Number of hooks by the answer they got, since the start.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use strum::VariantArray;

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

/// Meaning of a hook's answer. Its name is a label of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::http) enum HookAnswer {
    Accepted,
    Malformed,
    WrongSecret,
    HooksAreOff,
    TooLarge,
    AnotherTable,
    TooMany,
    AboutToExit,
    Other,
}

impl HookAnswer {
    /// All answers.
    pub(in crate::http) const ALL: &[Self] = Self::VARIANTS;

    /// Returns the meaning of an HTTP status.
    pub(in crate::http) fn of(status: u16) -> Self {
        match status {
            202 => Self::Accepted,
            400 => Self::Malformed,
            401 => Self::WrongSecret,
            404 => Self::HooksAreOff,
            413 => Self::TooLarge,
            422 => Self::AnotherTable,
            429 => Self::TooMany,
            503 => Self::AboutToExit,
            _ => Self::Other,
        }
    }

    /// Returns the words for people.
    pub(super) fn words(self) -> String {
        <&str>::from(self).replace('_', " ")
    }
}
