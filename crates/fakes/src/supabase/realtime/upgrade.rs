//! The websocket's upgrade, and its error answers.

use std::sync::Arc;

use axum::Json;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::super::Shared;
use super::super::gateway;
use super::super::keys::is_opaque;
use super::channel::Access;
use super::frame::Framing;
use super::session::Session;

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
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(key) = header("x-api-key").map(Into::into).or_else(|| parameter("apikey")) else {
        return refusal(&shared, 401, "API key is missing").await;
    };
    // The gateway knows the keys. A token that is none of them is left to the server.
    if (is_opaque(&key) || shared.keys.find(&key).is_some())
        && let Err(refusal) = gateway::check(&shared, &key, header("user-agent"))
    {
        return refusal.into_response();
    }
    if let Err(unauthorized) = Access::of(&shared, &key) {
        let text = match unauthorized.text.starts_with("Token has expired") {
            true => "Token has expired",
            false => &unauthorized.text,
        };
        return refusal(&shared, 401, text).await;
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
        _ => "Error connecting to Realtime",
    }
}

async fn refusal(shared: &Shared, status: u16, error: &str) -> Response {
    tokio::time::sleep(shared.options.upgrade_error_delay).await;
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({"error": error}))).into_response()
}
