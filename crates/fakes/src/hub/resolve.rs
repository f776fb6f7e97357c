//! Download route of the Hub: headers, and either the bytes or a link to the object store.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::refusal::Refusal;
use super::repos::Kind;
use super::state::State;
use super::store;

static REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
static LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
static LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");

pub(super) fn router() -> Router<Arc<State>> {
    Router::new().route("/{owner}/{name}/resolve/{revision}/{*path}", get(resolve))
}

async fn resolve(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision, path)): Path<(String, String, String, String)>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(Refusal::no_revision)?;
    let commit_id = value(&commit.id)?;
    let Some(file) = commit.files.get(&path) else {
        return Ok(([(REPO_COMMIT.clone(), commit_id)], Refusal::no_entry()).into_response());
    };
    let etag = file.etag();
    let cached = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let etag = value(&etag)?;
    let known = [(REPO_COMMIT.clone(), commit_id), (header::ETAG, etag.clone())];
    if cached {
        return Ok((StatusCode::NOT_MODIFIED, known).into_response());
    }
    match file.kind {
        Kind::Regular => {
            let mut response = store::send(&state, file.sha256, &method, headers.get(header::RANGE)).await?;
            response.headers_mut().extend(known.map(|(name, value)| (Some(name), value)));
            Ok(response)
        }
        Kind::Lfs => {
            let linked = [
                (header::LOCATION, value(&state.link("object", file.sha256, file.size))?),
                (LINKED_ETAG.clone(), etag),
                (LINKED_SIZE.clone(), HeaderValue::from(file.size)),
            ];
            Ok((StatusCode::FOUND, known, linked, Body::empty()).into_response())
        }
        Kind::Xet => {
            let message = "this content came through the Xet library, and no other client can read it";
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, message))
        }
    }
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| Refusal::bad_request("not a valid header value"))
}
