//! Routes about the caller.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::hub::refusal::Refusal;
use crate::hub::state::{Access, State};

pub(super) fn router() -> Router<Arc<State>> {
    Router::new().route("/api/whoami-v2", get(whoami))
}

async fn whoami(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    let role = match state.access(&headers)? {
        Access::Anonymous => return Err(Refusal::not_signed_in()),
        Access::Read => "read",
        Access::Write => "write",
    };
    let auth = json!({ "type": "access_token", "accessToken": { "role": role, "displayName": "local" } });
    let name = &state.options.owner;
    Ok(Json(
        json!({ "type": "user", "id": "local", "name": name, "fullname": name, "orgs": [], "auth": auth }),
    ))
}
