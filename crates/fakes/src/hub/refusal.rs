//! Error responses: a status, `{"error": ".."}`, and the headers `x-error-code` and
//! `x-error-message`, by which clients distinguish the cases. Statuses, codes and sentences are
//! those of the real Hub.

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
    plain: bool,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self { status, code: None, message: message.into(), retry_after: None, plain: false }
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

    pub(super) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, message)
    }

    pub(super) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, message)
    }

    /// Returns the response to a caller who must sign in.
    pub(super) fn not_signed_in() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Invalid username or password.")
    }

    /// Returns the response for a repo that does not exist or that this caller may not see. Callers
    /// without a token can't tell it from a repo that they must sign in for.
    ///
    /// The real Hub sends no code to them. The Python client takes its 401 for a missing repo all the
    /// same, but only behind `https://`, so that this Hub has to send the code.
    pub(super) fn no_repo(with_token: bool) -> Self {
        if with_token {
            Self::coded(StatusCode::NOT_FOUND, "RepoNotFound", "Repository not found")
        } else {
            Self { code: Some("RepoNotFound"), ..Self::not_signed_in() }
        }
    }

    /// Returns the response for a repo whose files only accepted, signed-in callers may read.
    pub(super) fn gated(repo: &str) -> Self {
        let message = format!(
            "Access to model {repo} is restricted. You must have access to it and be authenticated to access \
             it. Please log in."
        );
        Self::coded(StatusCode::UNAUTHORIZED, "GatedRepo", message)
    }

    pub(super) fn no_revision(revision: &str) -> Self {
        Self::coded(StatusCode::NOT_FOUND, "RevisionNotFound", format!("Invalid rev id: {revision}"))
    }

    pub(super) fn no_entry() -> Self {
        Self::coded(StatusCode::NOT_FOUND, "EntryNotFound", "Entry not found")
    }

    /// Returns the response of a file list for a path that the revision does not have.
    pub(super) fn no_path(path: &str, revision: &str) -> Self {
        Self { message: format!("{path} does not exist on \"{revision}\""), ..Self::no_entry() }
    }

    pub(super) fn retry_after(self, delay: Duration) -> Self {
        Self { retry_after: Some(delay), ..self }
    }

    /// Returns the response with its message as plain text, as the Hub answers outside of its API.
    pub(super) fn plain(self) -> Self {
        Self { plain: true, ..self }
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
        // A header holds one line.
        let message = HeaderValue::from_str(&self.message.replace('\n', " "));
        let mut response = if self.plain {
            (self.status, self.message).into_response()
        } else {
            (self.status, Json(serde_json::json!({ "error": self.message }))).into_response()
        };
        let headers = response.headers_mut();
        if let Some(code) = self.code {
            headers.insert(ERROR_CODE.clone(), HeaderValue::from_static(code));
        }
        if let Ok(message) = message {
            headers.insert(ERROR_MESSAGE.clone(), message);
        }
        if let Some(delay) = self.retry_after {
            headers.insert(header::RETRY_AFTER, delay.as_secs().into());
        }
        response
    }
}
