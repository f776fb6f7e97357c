//! Tokens of the Xet store. Clients get one before they upload, and the address to get one with each
//! file that they can download through Xet.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::extract::{Path, Query, State as Shared};
use axum::http::{HeaderMap, HeaderName};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;

use super::flag;
use crate::hub::cas::{Permission, token};
use crate::hub::refusal::Refusal;
use crate::hub::state::State;

static CAS_URL: HeaderName = HeaderName::from_static("x-xet-cas-url");
static ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-xet-access-token");
static TOKEN_EXPIRATION: HeaderName = HeaderName::from_static("x-xet-token-expiration");

/// Time for which a client keeps a token.
const LIFETIME: Duration = Duration::from_secs(900);

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}/xet-read-token/{revision}", get(read_token))
        .route("/api/models/{owner}/{name}/xet-write-token/{revision}", get(write_token))
}

async fn read_token(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    Ok(issued(&state, Permission::Read))
}

#[derive(Deserialize)]
struct WriteQuery {
    #[serde(default, deserialize_with = "flag::deserialize")]
    create_pr: bool,
}

async fn write_token(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    Query(query): Query<WriteQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    // For a pull request, the Python client asks for a revision that is named `None`.
    if !query.create_pr {
        repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    }
    Ok(issued(&state, Permission::Write))
}

/// Returns a token as JSON and as headers: clients read the one or the other.
fn issued(state: &State, permission: Permission) -> Response {
    let token = token(state, permission);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let until = (now + LIFETIME).as_secs();
    let url = state.cas_url.as_str().trim_end_matches('/').to_owned();
    let headers = [
        (CAS_URL.clone(), url.clone()),
        (ACCESS_TOKEN.clone(), token.clone()),
        (TOKEN_EXPIRATION.clone(), until.to_string()),
    ];
    (headers, Json(json!({ "accessToken": token, "exp": until, "casUrl": url }))).into_response()
}
