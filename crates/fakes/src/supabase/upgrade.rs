//! Realtime's websocket upgrade, and its error responses.

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;
use super::frame::Framing;
use super::realtime::Session;

/// Size of the largest frame that a client may send, in bytes.
const MAX_FRAME_BYTES: usize = 5 << 20;

/// Handles `GET /realtime/v1/websocket?apikey=..&vsn=..`.
pub(super) async fn upgrade(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if let Some(status) = shared.faults.take_upgrade_refusal() {
        return refusal(&shared, status, reason(status)).await;
    }
    let query = query.unwrap_or_default();
    let parameter = |name: &str| {
        url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value)
    };
    let header = headers.get("x-api-key").and_then(|value| value.to_str().ok()).map(Into::into);
    let Some(key) = header.or_else(|| parameter("apikey")) else {
        return refusal(&shared, 401, "API key is missing").await;
    };
    if shared.keys.role(&key).is_none() {
        return refusal(&shared, 401, "The token provided is not a valid JWT").await;
    }
    let framing = Framing::of_version(parameter("vsn").as_deref());
    let key = key.into_owned();
    upgrade
        .max_message_size(MAX_FRAME_BYTES)
        .on_upgrade(move |socket| async move { Session::new(shared, framing, key).serve(socket).await })
}

/// Returns the server's message for this status.
fn reason(status: u16) -> &'static str {
    match status {
        401 => "Token has expired",
        403 => "Realtime was disabled for this tenant",
        404 => "Tenant not found",
        429 => "Too many connected users",
        _ => "An error occurred",
    }
}

async fn refusal(shared: &Shared, status: u16, error: &str) -> Response {
    tokio::time::sleep(shared.options.upgrade_error_delay).await;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"error": error}))).into_response()
}
