//! Routes that create and list: create, whoami, info, tree, and paths-info.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, body};
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::repos::{Commit, File, Repo, pointer, valid_name};
use super::state::State;

/// Largest request body that these routes accept, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/repos/create", post(create))
        .route("/api/whoami-v2", get(whoami))
        .route("/api/validate-yaml", post(validate_yaml))
        .route("/api/models/{owner}/{name}", get(info))
        .route("/api/models/{owner}/{name}/revision/{revision}", get(info_at))
        .route("/api/models/{owner}/{name}/tree/{revision}", get(tree))
        .route("/api/models/{owner}/{name}/tree/{revision}/{*folder}", get(tree_below))
        .route("/api/models/{owner}/{name}/paths-info/{revision}", post(paths_info))
}

#[derive(Deserialize)]
struct NewRepo {
    name: String,
    organization: Option<String>,
    #[serde(default)]
    private: Option<bool>,
    #[serde(default)]
    visibility: Option<String>,
}

async fn create(
    Shared(state): Shared<Arc<State>>,
    headers: HeaderMap,
    Json(new): Json<NewRepo>,
) -> Result<Response, Refusal> {
    state.may_write(&headers)?;
    let owner = new.organization.unwrap_or_else(|| state.options.owner.clone());
    if !valid_name(&owner) || !valid_name(&new.name) {
        return Err(Refusal::bad_request("Invalid repo name"));
    }
    let private = new.private.unwrap_or(new.visibility.as_deref() == Some("private"));
    let url = format!("{}{owner}/{}", state.url, new.name);
    if state.repos.create(&owner, &new.name, private).await? {
        let answer = json!({ "url": url, "name": format!("{owner}/{}", new.name), "id": "local" });
        return Ok(Json(answer).into_response());
    }
    let error = "You already created this model repo";
    Ok((StatusCode::CONFLICT, Json(json!({ "error": error, "url": url }))).into_response())
}

async fn whoami(Shared(state): Shared<Arc<State>>, headers: HeaderMap) -> Result<Json<Value>, Refusal> {
    state.may_write(&headers)?;
    let auth = json!({ "accessToken": { "role": "write", "displayName": "local" } });
    Ok(Json(json!({ "type": "user", "name": state.options.owner, "orgs": [], "auth": auth })))
}

/// Accepts any front matter. The Python client calls this route before it commits a README.
async fn validate_yaml() -> Json<Value> {
    Json(json!({ "errors": [], "warnings": [] }))
}

async fn info(
    shared: Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    info_at(shared, Path((owner, name, "main".to_owned())), headers).await
}

async fn info_at(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(Refusal::no_revision)?;
    let siblings: Vec<_> = commit.files.keys().map(|path| json!({ "rfilename": path })).collect();
    Ok(Json(json!({
        "_id": "local", "id": repo.id(), "modelId": repo.id(), "author": owner, "sha": commit.id,
        "private": repo.private, "gated": false, "disabled": false, "downloads": 0, "likes": 0, "tags": [],
        "lastModified": commit.at.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        "createdAt": repo.created.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
        "siblings": siblings,
    })))
}

#[derive(Deserialize)]
struct TreeQuery {
    /// `true`, or `True` from the Python client before 1.0.
    #[serde(default)]
    recursive: String,
    /// Number of entries on the pages before this one.
    #[serde(default)]
    cursor: usize,
    limit: Option<usize>,
}

async fn tree(
    shared: Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    query: Query<TreeQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    tree_below(shared, Path((owner, name, revision, String::new())), query, headers).await
}

async fn tree_below(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision, folder)): Path<(String, String, String, String)>,
    Query(query): Query<TreeQuery>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let repo = state.readable(&headers, &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(Refusal::no_revision)?;
    let folder = folder.trim_matches('/');
    let entries = entries(commit, folder, query.recursive.eq_ignore_ascii_case("true"))
        .ok_or_else(Refusal::no_entry)?;

    let size = query.limit.unwrap_or(usize::MAX).clamp(1, state.options.page_size.max(1));
    let page: Vec<_> = entries.iter().skip(query.cursor).take(size).collect();
    let next = query.cursor.saturating_add(page.len());
    let more = next < entries.len();
    let mut response = Json(page).into_response();
    if more {
        let mut link = state.url.clone();
        if let Ok(mut segments) = link.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "models", &owner, &name, "tree", &revision]);
            segments.extend(folder.split('/').filter(|part| !part.is_empty()));
        }
        link.query_pairs_mut()
            .append_pair("recursive", &query.recursive)
            .append_pair("limit", &size.to_string())
            .append_pair("cursor", &next.to_string());
        if let Ok(value) = format!("<{link}>; rel=\"next\"").parse() {
            response.headers_mut().insert(header::LINK, value);
        }
    }
    Ok(response)
}

/// Returns a folder's entries, ordered by path. `None` when the folder holds no file: git has no
/// empty folders.
fn entries(commit: &Commit, folder: &str, recursive: bool) -> Option<Vec<Value>> {
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let mut found = BTreeMap::new();
    for (path, file) in &commit.files {
        let Some(below) = path.strip_prefix(&prefix) else { continue };
        let mut parents = below.match_indices('/').map(|(at, _)| &path[..prefix.len() + at]);
        if recursive {
            found.extend(parents.map(|parent| (parent, directory_entry(parent))));
            found.insert(path, file_entry(path, file));
        } else if let Some(child) = parents.next() {
            found.insert(child, directory_entry(child));
        } else {
            found.insert(path, file_entry(path, file));
        }
    }
    let nothing = found.is_empty() && !folder.is_empty();
    (!nothing).then(|| found.into_values().collect())
}

fn directory_entry(path: &str) -> Value {
    json!({ "type": "directory", "oid": "0".repeat(40), "size": 0, "path": path })
}

fn file_entry(path: &str, file: &File) -> Value {
    let mut entry = json!({ "type": "file", "oid": file.oid, "size": file.size, "path": path });
    if file.is_lfs() {
        let pointer_size = pointer(file.sha256, file.size).len();
        entry["lfs"] = json!({ "oid": file.sha256, "size": file.size, "pointerSize": pointer_size });
    }
    entry
}

#[derive(Deserialize)]
struct Paths {
    paths: Vec<String>,
}

/// Accepts JSON (sent by the Rust client) or a form (sent by the Python client).
async fn paths_info(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Vec<Value>>, Refusal> {
    let repo: Arc<Repo> = state.readable(request.headers(), &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(Refusal::no_revision)?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let bytes = body::to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .map_err(|_| Refusal::bad_request("the body is incomplete or too long"))?;
    let paths = if is_json {
        let paths: Paths =
            serde_json::from_slice(&bytes).map_err(|_| Refusal::bad_request("paths are missing"))?;
        paths.paths
    } else {
        let form = url::form_urlencoded::parse(&bytes);
        form.filter(|(key, _)| key == "paths").map(|(_, path)| path.into_owned()).collect()
    };
    let entry = |path: &String| {
        let path = path.trim_matches('/');
        if let Some(file) = commit.files.get(path) {
            return Some(file_entry(path, file));
        }
        entries(commit, path, false).filter(|_| !path.is_empty()).map(|_| directory_entry(path))
    };
    Ok(Json(paths.iter().filter_map(entry).collect()))
}
