//! Answers of the fault switches.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::super::faults::RestFault;
use super::refusal::{Refusal, error};
use super::set;

/// Returns the answer that a fault gives in place of a service's, if it does.
pub(super) fn answer(fault: RestFault) -> Option<Response> {
    match fault {
        RestFault::Status(status) => Some(failed(status)),
        RestFault::Html(status) => Some(page(status)),
        RestFault::StatementTimeout => Some(cancelled().into_response()),
        RestFault::Truncated => None,
    }
}

/// Returns the error of a statement that took too long.
pub(super) fn cancelled() -> Refusal {
    error(500, "57014", "canceling statement due to statement timeout")
}

fn failed(status: u16) -> Response {
    let code = match status {
        401 => "PGRST301",
        503 => "PGRST001",
        _ => "",
    };
    let mut response = error(status, code, "injected").into_response();
    if status == 429 || status == 503 {
        set(&mut response, header::RETRY_AFTER, "1");
    }
    response
}

/// Returns a gateway's page.
pub(super) fn page(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    (status, [(header::CONTENT_TYPE, "text/html")], "<html><title>Bad gateway</title></html>").into_response()
}

/// Returns half of the body, as when a proxy cuts the response but closes the connection cleanly.
pub(super) async fn truncated(response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let whole = axum::body::to_bytes(body, usize::MAX).await.unwrap_or_default();
    Response::from_parts(parts, Body::from(whole.slice(..whole.len() / 2)))
}
