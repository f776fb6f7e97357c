//! Error responses: a status, `{"error": ".."}`, and the header `x-error-code`, by which clients
//! distinguish the cases.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

static ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
static ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// An error response to a request.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    code: Option<&'static str>,
    message: String,
    retry_after: Option<Duration>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), retry_after: None }
    }

    pub(super) fn coded(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(status, message) }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, message)
    }

    /// Returns the response for a repo that does not exist or that this caller may not see: 404
    /// with a token, 401 without.
    pub(super) fn no_repo(with_token: bool) -> Self {
        let status = if with_token { StatusCode::NOT_FOUND } else { StatusCode::UNAUTHORIZED };
        Self { code: Some("RepoNotFound"), ..Self::new(status, "Repository not found") }
    }

    pub(super) fn no_revision() -> Self {
        Self { code: Some("RevisionNotFound"), ..Self::not_found("Invalid rev id") }
    }

    pub(super) fn no_entry() -> Self {
        Self { code: Some("EntryNotFound"), ..Self::not_found("Entry not found") }
    }

    pub(super) fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        tracing::warn!(%error, "local hub can't read or write its directory");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the Hub can't read or write its directory")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = Json(serde_json::json!({ "error": self.message }));
        let mut response = (self.status, body).into_response();
        let headers = response.headers_mut();
        if let Some(code) = self.code {
            headers.insert(ERROR_CODE.clone(), HeaderValue::from_static(code));
        }
        if let Ok(message) = HeaderValue::from_str(&self.message) {
            headers.insert(ERROR_MESSAGE.clone(), message);
        }
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response
    }
}
