//! Downloads: headers, and either the bytes or a link to the object store. Unlike the API, these
//! routes answer errors in plain text.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::hub::file::{File, Kind, pointer};
use crate::hub::refusal::Refusal;
use crate::hub::state::State;
use crate::hub::store;

static REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
static LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
static LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");
static XET_HASH: HeaderName = HeaderName::from_static("x-xet-hash");

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/{owner}/{name}/resolve/{revision}/{*path}", get(resolve))
        .route("/{owner}/{name}/raw/{revision}/{*path}", get(raw))
}

type Target = Path<(String, String, String, String)>;

/// A file that a request names, and the id of its commit.
struct Found {
    file: File,
    commit: HeaderValue,
}

/// Finds a file, or the response to a request for one that the revision does not have.
async fn find(
    state: &State,
    headers: &HeaderMap,
    target: &Target,
) -> Result<Result<Found, Response>, Refusal> {
    let Path((owner, name, revision, path)) = target;
    let repo = state.readable(headers, owner, name).await?;
    let commit = repo.revision(revision).ok_or_else(|| Refusal::no_revision(revision))?;
    let id = value(&commit.id)?;
    match commit.files.get(path) {
        Some(file) => Ok(Ok(Found { file: file.clone(), commit: id })),
        None => Ok(Err(([(REPO_COMMIT.clone(), id)], Refusal::no_entry().plain()).into_response())),
    }
}

async fn resolve(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Found { file, commit } = match find(&state, &headers, &target).await.map_err(Refusal::plain)? {
        Ok(found) => found,
        Err(absent) => return Ok(absent),
    };
    let etag = file.etag();
    let cached = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let etag = value(&etag)?;
    let known = [(REPO_COMMIT.clone(), commit.clone()), (header::ETAG, etag.clone())];
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
            let mut response = (StatusCode::FOUND, known, linked, Body::empty()).into_response();
            if let Some(hash) = &file.xet_hash {
                response.headers_mut().insert(XET_HASH.clone(), value(hash)?);
                response.headers_mut().insert(header::LINK, xet_links(&state, &target, hash, &commit)?);
            }
            Ok(response)
        }
    }
}

/// Returns the addresses that a client with Xet needs: of a token, and of the file's description.
fn xet_links(
    state: &State,
    Path((owner, name, ..)): &Target,
    hash: &str,
    commit: &HeaderValue,
) -> Result<HeaderValue, Refusal> {
    let commit = commit.to_str().unwrap_or_default();
    let token = format!("{}api/models/{owner}/{name}/xet-read-token/{commit}", state.url);
    let description = format!("{}v1/reconstructions/{hash}", state.cas_url);
    value(&format!("<{token}>; rel=\"xet-auth\", <{description}>; rel=\"xet-reconstruction-info\""))
}

/// Sends what git stores: the content, or an LFS file's pointer.
async fn raw(
    Shared(state): Shared<Arc<State>>,
    target: Target,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let Found { file, commit } = match find(&state, &headers, &target).await.map_err(Refusal::plain)? {
        Ok(found) => found,
        Err(absent) => return Ok(absent),
    };
    let mut response = match file.kind {
        Kind::Regular => store::send(&state, file.sha256, &method, headers.get(header::RANGE)).await?,
        Kind::Lfs => pointer(file.sha256, file.size).into_response(),
    };
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    let known = [(REPO_COMMIT.clone(), commit), (header::ETAG, value(&format!("\"{}\"", file.oid))?)];
    response.headers_mut().insert(header::CONTENT_TYPE, text);
    response.headers_mut().extend(known.map(|(name, value)| (Some(name), value)));
    Ok(response)
}

fn value(text: &str) -> Result<HeaderValue, Refusal> {
    HeaderValue::from_str(text).map_err(|_| Refusal::bad_request("not a valid header value"))
}
