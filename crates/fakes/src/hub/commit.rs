//! Commit route. A commit is one JSON object per line, is applied completely or not at all, and
//! uses `parentCommit` for compare-and-swap.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Request, State as Shared};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::options::Transfer;
use super::refusal::Refusal;
use super::repos::{File, Kind, Repo};
use super::state::State;
use crate::connection::Cut;
use crate::hub::digest::Digest;

/// Largest commit body, in bytes. Larger content belongs in LFS, because inline content is held in
/// memory.
const COMMIT_LIMIT: usize = 64 * 1024 * 1024;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new().route("/api/models/{owner}/{name}/commit/{revision}", post(commit))
}

#[derive(Deserialize)]
#[serde(tag = "key", content = "value", rename_all = "camelCase")]
enum Line {
    #[serde(rename_all = "camelCase")]
    Header {
        #[serde(default)]
        summary: String,
        parent_commit: Option<String>,
    },
    LfsFile {
        path: String,
        oid: Digest,
        size: Option<u64>,
    },
    File {
        path: String,
        #[serde(default)]
        encoding: Option<String>,
        content: String,
    },
    DeletedFile {
        path: String,
    },
    DeletedFolder {
        path: String,
    },
}

/// One change of a commit, whose content is already stored.
enum Change {
    Put(String, File),
    Delete(String),
    DeleteBelow(String),
}

async fn commit(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(request.headers(), &owner, &name).await?;
    if revision != "main" {
        return Err(Refusal::no_revision());
    }
    let body = to_bytes(request.into_body(), COMMIT_LIMIT)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "inline content belongs in LFS"))?;
    let (summary, parent, changes) = read(&state, &body).await?;
    if let Some((path, content)) = state.faults.take_rival() {
        let change = stored(&state, path, content).await?;
        apply(&state, &repo.id(), "a rival's commit", None, vec![change]).await?;
    }
    if state.faults.take_failed_commit() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "failed by a fault switch"));
    }
    if state.faults.take_conflict() {
        return Err(conflict());
    }
    let id = apply(&state, &repo.id(), &summary, parent, changes).await?;
    if state.faults.take_lost_commit() {
        cut.cut();
    }
    let url = format!("{}{owner}/{name}/commit/{id}", state.url);
    Ok(Json(json!({ "success": true, "commitOid": id, "commitUrl": url, "hookOutput": "" })))
}

fn conflict() -> Refusal {
    let message = "A commit has happened since. Please refresh and try again.";
    Refusal::new(StatusCode::PRECONDITION_FAILED, message)
}

/// Parses the lines and stores inline content.
async fn read(state: &State, body: &[u8]) -> Result<(String, Option<String>, Vec<Change>), Refusal> {
    let mut header = None;
    let mut changes = Vec::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let line: Line =
            serde_json::from_slice(line).map_err(|_| Refusal::bad_request("not a valid commit line"))?;
        let first = header.is_none();
        match line {
            Line::Header { summary, parent_commit } if first => header = Some((summary, parent_commit)),
            _ if first => return Err(Refusal::bad_request("the header must come first")),
            Line::Header { .. } => return Err(Refusal::bad_request("a second header")),
            Line::LfsFile { path, oid, size } => changes.push(lfs_file(state, path, oid, size).await?),
            Line::File { path, encoding, content } => {
                let content = match encoding.as_deref() {
                    Some("base64") => {
                        STANDARD.decode(content).map_err(|_| Refusal::bad_request("not base64"))?
                    }
                    _ => content.into_bytes(),
                };
                changes.push(stored(state, path, content.into()).await?);
            }
            Line::DeletedFile { path } => changes.push(Change::Delete(path)),
            Line::DeletedFolder { path } => changes.push(Change::DeleteBelow(path)),
        }
    }
    let (summary, parent) = header.ok_or_else(|| Refusal::bad_request("an empty commit"))?;
    Ok((summary, parent, changes))
}

async fn stored(state: &State, path: String, content: Bytes) -> Result<Change, Refusal> {
    let file = File::regular(&content);
    state.objects.put(content).await?;
    Ok(Change::Put(valid_path(path)?, file))
}

async fn lfs_file(state: &State, path: String, oid: Digest, size: Option<u64>) -> Result<Change, Refusal> {
    let file = match (state.objects.size(oid).await, size) {
        (Some(stored), claimed) if claimed.is_none_or(|size| size == stored) => {
            File::lfs(oid, stored, Kind::Lfs)
        }
        // The Hub cannot check that the Xet library has the content.
        (None, Some(size)) if state.options.transfer == Transfer::Xet => File::lfs(oid, size, Kind::Xet),
        _ => return Err(Refusal::bad_request("an LFS pointer names an object that is not in the store")),
    };
    Ok(Change::Put(valid_path(path)?, file))
}

fn valid_path(path: String) -> Result<String, Refusal> {
    let odd = |part: &str| matches!(part, "" | "." | ".." | ".git");
    if path.split('/').any(odd) { Err(Refusal::bad_request("not a path in a repo")) } else { Ok(path) }
}

/// Compares the parent with the head and swaps the head, under the lock that orders commits.
async fn apply(
    state: &State,
    repo: &str,
    summary: &str,
    parent: Option<String>,
    changes: Vec<Change>,
) -> Result<String, Refusal> {
    let change = |repo: &mut Repo| {
        let head = repo.head();
        if parent.is_some() && parent.as_deref() != head.map(|commit| commit.id.as_str()) {
            return Err(conflict());
        }
        let mut files = head.map(|commit| commit.files.clone()).unwrap_or_default();
        for change in changes {
            match change {
                Change::Put(path, file) => {
                    files.insert(path, file);
                }
                Change::Delete(path) => {
                    files.remove(&path).ok_or_else(Refusal::no_entry)?;
                }
                Change::DeleteBelow(folder) => {
                    let prefix = format!("{}/", folder.trim_end_matches('/'));
                    files.retain(|path, _| !path.starts_with(&prefix));
                }
            }
        }
        Ok(repo.commit(summary, files, Timestamp::now()))
    };
    state.repos.change(repo, change).await
}
