//! Routes that list files: tree and paths-info.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::{HeaderMap, header};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router, body};
use serde::Deserialize;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use super::{flag, iso, pages};
use crate::hub::file::{File, Files};
use crate::hub::refusal::Refusal;
use crate::hub::repo::{Commit, Repo};
use crate::hub::state::State;

/// Largest request body that these routes accept, in bytes.
const BODY_LIMIT: usize = 1024 * 1024;
/// Entries per page of a list that also tells the last commit of each, which the Hub has to look for.
const EXPANDED_PAGE: usize = 50;

pub(super) fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/api/models/{owner}/{name}/tree/{revision}", get(tree))
        .route("/api/models/{owner}/{name}/tree/{revision}/{*folder}", get(tree_below))
        .route("/api/models/{owner}/{name}/paths-info/{revision}", post(paths_info))
}

#[derive(Deserialize)]
struct TreeQuery {
    #[serde(default, deserialize_with = "flag::deserialize")]
    recursive: bool,
    #[serde(default, deserialize_with = "flag::deserialize")]
    expand: bool,
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
    let commit = repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let folder = folder.trim_matches('/');
    let listing = Listing { repo: &repo, commit, expand: query.expand };
    let entries =
        listing.entries(folder, query.recursive).ok_or_else(|| Refusal::no_path(folder, &revision))?;

    let longest = state.options.page_size.max(1).min(if query.expand { EXPANDED_PAGE } else { usize::MAX });
    let size = query.limit.unwrap_or(usize::MAX).clamp(1, longest);
    let parts = folder.split('/').filter(|part| !part.is_empty());
    let segments = ["api", "models", &owner, &name, "tree", &revision];
    let mut next = pages::address(&state.url, segments.into_iter().chain(parts));
    next.query_pairs_mut()
        .append_pair("recursive", &query.recursive.to_string())
        .append_pair("expand", &query.expand.to_string());
    let cursor = ("cursor", query.cursor.saturating_add(size));
    Ok(pages::page(&entries, query.cursor, size, next, cursor))
}

/// Files of a commit, as the Hub lists them.
struct Listing<'a> {
    repo: &'a Repo,
    commit: &'a Commit,
    /// True when each entry tells its last commit and its security status.
    expand: bool,
}

impl Listing<'_> {
    /// Returns a folder's entries, ordered by path. `None` when the folder holds no file: git has no
    /// empty folders.
    fn entries(&self, folder: &str, recursive: bool) -> Option<Vec<Value>> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut found = BTreeMap::new();
        for (path, file) in &self.commit.files {
            let Some(below) = path.strip_prefix(&prefix) else { continue };
            let mut parents = below.match_indices('/').map(|(at, _)| &path[..prefix.len() + at]);
            if recursive {
                found.extend(parents.map(|parent| (parent, None)));
                found.insert(path, Some(file));
            } else if let Some(child) = parents.next() {
                found.insert(child, None);
            } else {
                found.insert(path, Some(file));
            }
        }
        let nothing = found.is_empty() && !folder.is_empty();
        (!nothing).then(|| found.into_iter().map(|(path, file)| self.entry(path, file)).collect())
    }

    /// Returns the entry of a path, which is a file or a folder.
    fn entry_of(&self, path: &str) -> Option<Value> {
        if let Some(file) = self.commit.files.get(path) {
            return Some(self.entry(path, Some(file)));
        }
        let any = !path.is_empty() && below(&self.commit.files, path).next().is_some();
        any.then(|| self.entry(path, None))
    }

    fn entry(&self, path: &str, file: Option<&File>) -> Value {
        let mut entry = match file {
            Some(file) => json!({ "type": "file", "oid": file.oid, "size": file.size, "path": path }),
            None => {
                json!({ "type": "directory", "oid": tree_oid(&self.commit.files, path), "size": 0, "path": path })
            }
        };
        if let Some(lfs) = file.and_then(|file| file.lfs_json("oid")) {
            entry["lfs"] = lfs;
        }
        if let Some(hash) = file.and_then(|file| file.xet_hash.as_deref()) {
            entry["xetHash"] = hash.into();
        }
        if self.expand {
            let last = self.last_commit(path);
            entry["lastCommit"] = json!({ "id": last.id, "title": last.summary, "date": iso(last.at) });
            if file.is_some() {
                let unscanned = json!({ "status": "unscanned" });
                entry["securityFileStatus"] = json!({
                    "status": "unscanned", "avScan": unscanned, "pickleImportScan": unscanned,
                });
            }
        }
        entry
    }

    /// Returns the last commit that changed a file, or anything in a folder.
    fn last_commit(&self, path: &str) -> &Commit {
        let is_same = |commit: &Commit| below(&commit.files, path).eq(below(&self.commit.files, path));
        let unchanged = self.repo.history(self.commit).take_while(|commit| is_same(commit));
        unchanged.last().unwrap_or(self.commit)
    }
}

/// Returns the files at a path or in a folder, each with its git object.
fn below<'a>(files: &'a Files, path: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    let is_below = move |name: &str| {
        name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    files
        .iter()
        .filter(move |(name, _)| is_below(name))
        .map(|(name, file)| (name.as_str(), file.oid.as_str()))
}

/// Returns a hash of a folder's content, in the place of the git tree's.
fn tree_oid(files: &Files, folder: &str) -> String {
    let mut hash = Sha1::new();
    for (path, oid) in below(files, folder) {
        hash.update(format!("{path}\0{oid}\n"));
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Deserialize)]
struct Paths {
    paths: Vec<String>,
    #[serde(default)]
    expand: bool,
}

impl Paths {
    /// Reads JSON (sent by the Rust client) or a form (sent by the Python client).
    fn read(bytes: &[u8], is_json: bool) -> Result<Self, Refusal> {
        if is_json {
            return serde_json::from_slice(bytes).map_err(|_| Refusal::bad_request("\"paths\" is required"));
        }
        let mut read = Self { paths: Vec::new(), expand: false };
        for (key, value) in url::form_urlencoded::parse(bytes) {
            match &*key {
                "paths" => read.paths.push(value.into_owned()),
                "expand" => read.expand = flag::is_set(&value),
                _ => {}
            }
        }
        Ok(read)
    }
}

async fn paths_info(
    Shared(state): Shared<Arc<State>>,
    Path((owner, name, revision)): Path<(String, String, String)>,
    request: Request,
) -> Result<Json<Vec<Value>>, Refusal> {
    let repo: Arc<Repo> = state.readable(request.headers(), &owner, &name).await?;
    let commit = repo.revision(&revision).ok_or_else(|| Refusal::no_revision(&revision))?;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let is_json = kind.is_some_and(|kind| kind.starts_with("application/json"));
    let bytes = body::to_bytes(request.into_body(), BODY_LIMIT)
        .await
        .map_err(|_| Refusal::bad_request("the body is incomplete or too long"))?;
    let asked = Paths::read(&bytes, is_json)?;
    let listing = Listing { repo: &repo, commit, expand: asked.expand };
    Ok(Json(asked.paths.iter().filter_map(|path| listing.entry_of(path.trim_matches('/'))).collect()))
}
