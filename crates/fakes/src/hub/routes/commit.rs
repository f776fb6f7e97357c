//! Commit route. A commit is one JSON object per line, is applied completely or not at all, and
//! uses `parentCommit` for compare-and-swap.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{ConnectInfo, Path, Query, Request, State as Shared};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::flag;
use crate::connection::Cut;
use crate::hub::card;
use crate::hub::digest::Digest;
use crate::hub::file::{File, Files};
use crate::hub::refusal::Refusal;
use crate::hub::repo::{Head, MAIN, Message, Repo};
use crate::hub::state::State;

/// Largest commit body, in bytes. Larger content belongs in LFS, because inline content is held in
/// memory.
const COMMIT_LIMIT: usize = 64 * 1024 * 1024;
/// Fewest digits of a `parentCommit`.
const SHORT_ID: usize = 7;

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
        #[serde(default)]
        description: String,
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

/// A commit that is ready to be applied.
struct Prepared {
    message: Message,
    parent: Option<String>,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct CommitQuery {
    #[serde(default, deserialize_with = "flag::deserialize")]
    create_pr: bool,
}

async fn commit(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    Query(query): Query<CommitQuery>,
    ConnectInfo(cut): ConnectInfo<Cut>,
    request: Request,
) -> Result<Json<Value>, Refusal> {
    let repo = state.writable(request.headers(), &owner, &name).await?;
    repo.head(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let body = to_bytes(request.into_body(), COMMIT_LIMIT)
        .await
        .map_err(|_| Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "inline content belongs in LFS"))?;
    let prepared = read(&state, &body).await?;
    if let Some((path, content)) = state.faults.take_rival() {
        let message = Message { summary: "a rival's commit".to_owned(), ..Message::default() };
        let changes = vec![stored(&state, path, content).await?];
        let rival = Prepared { message, parent: None, changes };
        state.repos.change(&repo.id(), |repo| rival.apply(repo, MAIN, false)).await?;
    }
    if state.faults.take_failed_commit() {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "failed by a fault switch"));
    }
    if state.faults.take_conflict() {
        return Err(conflict());
    }
    let apply = |repo: &mut Repo| prepared.apply(repo, &revision, query.create_pr);
    let (id, head) = state.repos.change(&repo.id(), apply).await?;
    if state.faults.take_lost_commit() {
        cut.cut();
    }
    let url = format!("{}{owner}/{name}", state.url);
    let commit_url = format!("{url}/commit/{id}");
    let mut answer = json!({ "success": true, "commitOid": id, "commitUrl": commit_url, "hookOutput": "" });
    if let (Head::PullRequest(number), true) = (head, query.create_pr) {
        answer["pullRequestUrl"] = format!("{url}/discussions/{number}").into();
    }
    Ok(Json(answer))
}

fn conflict() -> Refusal {
    let message = "A commit has happened since. Please refresh and try again.";
    Refusal::new(StatusCode::PRECONDITION_FAILED, message)
}

/// Parses the lines and stores inline content.
async fn read(state: &State, body: &[u8]) -> Result<Prepared, Refusal> {
    let mut header = None;
    let mut changes = Vec::new();
    for line in body.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let line: Line =
            serde_json::from_slice(line).map_err(|_| Refusal::bad_request("not a valid commit line"))?;
        let first = header.is_none();
        match line {
            Line::Header { summary, description, parent_commit } if first => {
                header = Some((Message { summary, description }, parent_commit));
            }
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
                if path == "README.md" {
                    check_card(&content)?;
                }
                changes.push(stored(state, path, content.into()).await?);
            }
            Line::DeletedFile { path } => changes.push(Change::Delete(path)),
            Line::DeletedFolder { path } => changes.push(Change::DeleteBelow(path)),
        }
    }
    let (message, parent) = header.ok_or_else(|| Refusal::bad_request("an empty commit"))?;
    Ok(Prepared { message, parent, changes })
}

/// Refuses a model card whose metadata the Hub does not accept.
fn check_card(content: &[u8]) -> Result<(), Refusal> {
    let errors = card::check(&String::from_utf8_lossy(content)).errors;
    if errors.is_empty() { Ok(()) } else { Err(Refusal::bad_request(errors.join("\n"))) }
}

async fn stored(state: &State, path: String, content: Bytes) -> Result<Change, Refusal> {
    let file = File::regular(&content);
    state.objects.put(content).await?;
    Ok(Change::Put(valid_path(path)?, file))
}

async fn lfs_file(state: &State, path: String, oid: Digest, size: Option<u64>) -> Result<Change, Refusal> {
    let xet_hash = state.cas.adopt(oid, &state.objects).await?;
    let stored = state.objects.size(oid).await.filter(|stored| size.is_none_or(|size| size == *stored));
    let absent = || Refusal::bad_request("an LFS pointer names an object that is not in the store");
    let file = File::lfs(oid, stored.ok_or_else(absent)?, xet_hash);
    Ok(Change::Put(valid_path(path)?, file))
}

fn valid_path(path: String) -> Result<String, Refusal> {
    let odd = |part: &str| matches!(part, "" | "." | ".." | ".git");
    if path.split('/').any(odd) { Err(Refusal::bad_request("not a path in a repo")) } else { Ok(path) }
}

impl Prepared {
    /// Compares the parent with the head and moves the head, under the lock that orders commits. A
    /// pull request starts at the parent, and gets a head of its own.
    fn apply(self, repo: &mut Repo, revision: &str, create_pr: bool) -> Result<(String, Head), Refusal> {
        let Self { message, parent, changes } = self;
        let missing = || Refusal::no_revision(revision);
        let mut base = repo.revision(revision).ok_or_else(missing)?;
        let mut head = repo.head(revision).ok_or_else(missing)?;
        if let Some(parent) = &parent {
            if create_pr {
                base = repo.revision(parent).ok_or_else(|| Refusal::no_revision(parent))?;
            } else if parent.len() < SHORT_ID || !base.id.starts_with(parent.as_str()) {
                return Err(conflict());
            }
        }
        if create_pr {
            head = Head::PullRequest(repo.next_pull_request());
        }
        let mut files = base.files.clone();
        let base = base.id.clone();
        for change in changes {
            change.apply(&mut files)?;
        }
        Ok((repo.commit(&head, Some(base), message, files, Timestamp::now()), head))
    }
}

impl Change {
    fn apply(self, files: &mut Files) -> Result<(), Refusal> {
        match self {
            Self::Put(path, file) => {
                files.insert(path, file);
            }
            Self::Delete(path) => {
                files.remove(&path).ok_or_else(Refusal::no_entry)?;
            }
            Self::DeleteBelow(folder) => {
                let prefix = format!("{}/", folder.trim_end_matches('/'));
                files.retain(|path, _| !path.starts_with(&prefix));
            }
        }
        Ok(())
    }
}
