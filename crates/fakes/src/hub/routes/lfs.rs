//! Upload routes that a client calls before a commit: they choose the files that go through LFS and
//! tell the client where to send their content.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::hub::digest::Digest;
use crate::hub::options::Transfer;
use crate::hub::refusal::Refusal;
use crate::hub::state::State;

const LFS_JSON: &str = "application/vnd.git-lfs+json";
/// Size limit of a regular file in bytes. A longer file goes through LFS, whatever its name.
const REGULAR_LIMIT: u64 = 10 * 1024 * 1024;
/// Extensions that the `.gitattributes` of a new model repo sends through LFS, limited to those
/// that models use.
const LFS_EXTENSIONS: [&str; 14] = [
    "7z",
    "bin",
    "ckpt",
    "gz",
    "h5",
    "model",
    "npy",
    "npz",
    "onnx",
    "parquet",
    "pt",
    "safetensors",
    "tar",
    "zip",
];

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}/preupload/{revision}", post(preupload))
        .route("/{owner}/{git_name}/info/lfs/objects/batch", post(batch))
        .route("/{owner}/{git_name}/info/lfs/objects/verify", post(verify))
        .route("/api/models/{owner}/{name}/lfs-files/duplicate", post(duplicate))
}

#[derive(Deserialize)]
struct Preupload {
    files: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Candidate {
    path: String,
    size: u64,
    /// First bytes of the content, in base64.
    #[serde(default)]
    sample: String,
}

async fn preupload(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Preupload>,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(&headers, &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let answer = |file: &Candidate| {
        // The client compares this with what it has: the hash that names the content.
        let oid = commit.files.get(&file.path).map(|file| file.etag().trim_matches('"').to_owned());
        let mode = if file.is_lfs() { "lfs" } else { "regular" };
        json!({ "path": file.path, "uploadMode": mode, "shouldIgnore": false, "oid": oid })
    };
    let files: Vec<_> = asked.files.iter().map(answer).collect();
    Ok(Json(json!({ "files": files, "commitOid": commit.id })))
}

impl Candidate {
    fn is_lfs(&self) -> bool {
        let name = self.path.rsplit('/').next().unwrap_or_default();
        let extension = name.rsplit_once('.').map(|(_, extension)| extension);
        let by_name = extension.is_some_and(|extension| LFS_EXTENSIONS.contains(&extension));
        self.size > REGULAR_LIMIT || self.size > 0 && (by_name || self.is_binary())
    }

    /// Returns true when git would take the content for binary.
    fn is_binary(&self) -> bool {
        STANDARD.decode(&self.sample).is_ok_and(|sample| sample.contains(&0))
    }
}

#[derive(Deserialize)]
struct Batch {
    operation: String,
    #[serde(default)]
    transfers: Vec<String>,
    objects: Vec<Object>,
}

#[derive(Deserialize)]
struct Object {
    oid: Digest,
    size: u64,
}

/// Parses the body of an LFS call. These calls have their own content type, which axum's `Json`
/// would reject.
fn lfs_json<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|_| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "not the JSON of an LFS call"))
}

async fn batch(
    Shared(state): Shared<Arc<State>>,
    Path((owner, git_name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Refusal> {
    let name = git_name.strip_suffix(".git").ok_or_else(|| Refusal::not_found("no such route"))?;
    state.writable(&headers, &owner, name).await?;
    let asked: Batch = lfs_json(&body)?;
    if asked.operation != "upload" {
        return Err(Refusal::bad_request("only the operation `upload` is supported"));
    }
    let offered = |name: &str| asked.transfers.iter().any(|transfer| transfer == name);
    let transfer = match state.options.transfer {
        Transfer::Multipart if offered("multipart") => Transfer::Multipart,
        Transfer::Xet if offered("xet") => Transfer::Xet,
        _ => Transfer::Basic,
    };
    let mut objects = Vec::with_capacity(asked.objects.len());
    for object in &asked.objects {
        let mut entry = json!({ "oid": object.oid, "size": object.size, "authenticated": true });
        let stored = state.objects.size(object.oid).await.is_some();
        if !stored && transfer != Transfer::Xet {
            let verify = format!("{}{owner}/{git_name}/info/lfs/objects/verify", state.url);
            let verify = json!({ "href": verify, "header": {} });
            entry["actions"] = json!({ "upload": upload_action(&state, object, transfer), "verify": verify });
        }
        objects.push(entry);
    }
    let transfer = match transfer {
        Transfer::Basic => "basic",
        Transfer::Multipart => "multipart",
        Transfer::Xet => "xet",
    };
    let answer = Json(json!({ "transfer": transfer, "objects": objects }));
    Ok(([(header::CONTENT_TYPE, LFS_JSON)], answer).into_response())
}

fn upload_action(state: &State, object: &Object, transfer: Transfer) -> Value {
    if transfer != Transfer::Multipart {
        return json!({ "href": state.link("upload", object.oid, object.size), "header": {} });
    }
    let size = state.options.part_size.max(1);
    let mut header = BTreeMap::from([("chunk_size".to_owned(), size.to_string())]);
    let parts = 1..=object.size.div_ceil(size);
    header.extend(parts.map(|number| (number.to_string(), state.link("part", object.oid, number))));
    json!({ "href": state.link("join", object.oid, object.size), "header": header })
}

async fn verify(
    Shared(state): Shared<Arc<State>>,
    Path((owner, git_name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Refusal> {
    let name = git_name.strip_suffix(".git").ok_or_else(|| Refusal::not_found("no such route"))?;
    state.writable(&headers, &owner, name).await?;
    let object: Object = lfs_json(&body)?;
    match state.objects.size(object.oid).await {
        Some(size) if size == object.size => Ok(StatusCode::OK),
        Some(_) => Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the stored size differs")),
        None => Err(Refusal::not_found("the object is not in the store")),
    }
}

#[derive(Deserialize)]
struct Duplicate {
    target: Target,
    files: Vec<Duplicated>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Duplicated {
    sha256: Digest,
}

/// Lets another repo commit LFS files of this one. The object store is one for all repos, so that only
/// the permissions are to be checked.
async fn duplicate(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name)): Path<(String, String)>,
    headers: HeaderMap,
    Json(asked): Json<Duplicate>,
) -> Result<Json<Value>, Refusal> {
    let source = state.readable(&headers, &owner, &name).await?;
    let (owner, name) = asked.target.name.split_once('/').ok_or_else(|| Refusal::no_repo(true))?;
    state.writable(&headers, owner, name).await?;
    let has = |sha256: Digest| {
        let files = source.commits.iter().flat_map(|commit| commit.files.values());
        files.filter(|file| file.is_lfs()).any(|file| file.sha256 == sha256)
    };
    let missing = asked.files.iter().filter(|file| !has(file.sha256));
    let failed: Vec<_> = missing.map(|file| json!({ "sha256": file.sha256, "error": "not found" })).collect();
    Ok(Json(json!({ "failed": failed })))
}
