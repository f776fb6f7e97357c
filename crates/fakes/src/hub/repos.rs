//! Repos and their commits. Each repo has one JSON file on disk, which every change replaces
//! atomically: the new content goes to a temporary file that is renamed over the old one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};
use tempfile::NamedTempFile;
use tokio::sync::RwLock;

use crate::hub::digest::Digest;

/// Storage of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// In git itself.
    Regular,
    /// In this Hub's object store, as an LFS object.
    Lfs,
    /// In the Xet library's directory, as an LFS object.
    Xet,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    /// SHA-1 of the git blob, in hex. The blob holds the content or the LFS pointer.
    pub(super) oid: String,
}

impl File {
    pub(super) fn regular(content: &[u8]) -> Self {
        let (size, sha256) = (content.len() as u64, Digest::of(content));
        Self { kind: Kind::Regular, size, sha256, oid: git_oid(content) }
    }

    pub(super) fn lfs(sha256: Digest, size: u64, kind: Kind) -> Self {
        Self { kind, size, sha256, oid: git_oid(pointer(sha256, size).as_bytes()) }
    }

    pub(super) fn is_lfs(&self) -> bool {
        self.kind != Kind::Regular
    }

    /// Returns the ETag, as the Hub computes it: the content's SHA-256 for LFS, the git object's id
    /// otherwise.
    pub(super) fn etag(&self) -> String {
        if self.is_lfs() { format!("\"{}\"", self.sha256) } else { format!("\"{}\"", self.oid) }
    }
}

/// Returns the LFS pointer: the text that git stores in place of an LFS file.
pub(super) fn pointer(sha256: Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

fn git_oid(content: &[u8]) -> String {
    let hash = Sha1::new().chain_update(format!("blob {}\0", content.len())).chain_update(content).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) type Files = BTreeMap<String, File>;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Commit {
    pub(super) id: String,
    pub(super) summary: String,
    pub(super) at: Timestamp,
    pub(super) files: Files,
}

/// Returns true when the Hub accepts this name for an owner or a repo.
pub(super) fn valid_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    (1..=96).contains(&name.len())
        && name.chars().all(allowed)
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && !name.contains("--")
        && !name.contains("..")
        && !name.ends_with(".git")
}

/// An immutable snapshot of a repo. Every change creates a new one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Repo {
    pub(super) owner: String,
    pub(super) name: String,
    pub(super) private: bool,
    pub(super) created: Timestamp,
    /// Commits, oldest first. Never empty, because creating a repo makes a commit.
    pub(super) commits: Vec<Commit>,
}

impl Repo {
    fn new(owner: &str, name: &str, private: bool, created: Timestamp) -> Self {
        let mut repo =
            Self { owner: owner.to_owned(), name: name.to_owned(), private, created, commits: Vec::new() };
        repo.commit("initial commit", Files::new(), created);
        repo
    }

    pub(super) fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    pub(super) fn head(&self) -> Option<&Commit> {
        self.commits.last()
    }

    /// Returns the commit that a branch or commit id names.
    pub(super) fn revision(&self, revision: &str) -> Option<&Commit> {
        if revision == "main" || revision == "HEAD" {
            return self.head();
        }
        self.commits.iter().find(|commit| commit.id == revision)
    }

    /// Appends a commit and returns its id.
    pub(super) fn commit(&mut self, summary: &str, files: Files, at: Timestamp) -> String {
        let parent = self.head().map(|commit| commit.id.as_str()).unwrap_or_default();
        let mut hash = Sha1::new().chain_update(format!("{}\n{parent}\n{at}\n{summary}\n", self.id()));
        for (path, file) in &files {
            hash.update(format!("{path}\0{}\n", file.oid));
        }
        let id: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        let commit = Commit { id: id.clone(), summary: summary.to_owned(), at, files };
        self.commits.push(commit);
        id
    }
}

/// Summary of one commit, for tests and people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRecord {
    /// Commit id, 40 hex digits.
    pub id: String,
    /// First line of the commit message.
    pub summary: String,
    /// Paths of all files as of this commit.
    pub paths: Vec<String>,
}

#[derive(Debug)]
pub(super) struct Repos {
    directory: PathBuf,
    repos: RwLock<BTreeMap<String, Arc<Repo>>>,
}

impl Repos {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        let directory = directory.join("repos");
        let place = directory.clone();
        let read = move || {
            std::fs::create_dir_all(&place)?;
            let mut repos = BTreeMap::new();
            for entry in std::fs::read_dir(&place)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == "json") {
                    let repo: Repo = serde_json::from_slice(&std::fs::read(&path)?)?;
                    repos.insert(repo.id(), Arc::new(repo));
                }
            }
            io::Result::Ok(repos)
        };
        let repos = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        Ok(Self { directory, repos: RwLock::new(repos) })
    }

    pub(super) async fn get(&self, owner: &str, name: &str) -> Option<Arc<Repo>> {
        self.repos.read().await.get(&format!("{owner}/{name}")).cloned()
    }

    /// Creates a repo. Returns `false` when the repo exists already.
    pub(super) async fn create(&self, owner: &str, name: &str, private: bool) -> io::Result<bool> {
        let mut repos = self.repos.write().await;
        if repos.contains_key(&format!("{owner}/{name}")) {
            return Ok(false);
        }
        let repo = Repo::new(owner, name, private, Timestamp::now());
        self.record(&repo).await?;
        repos.insert(repo.id(), Arc::new(repo));
        Ok(true)
    }

    /// Changes a repo under the lock that orders all commits. A change becomes visible only after
    /// it is on disk.
    pub(super) async fn change<T, E: From<io::Error>>(
        &self,
        id: &str,
        change: impl FnOnce(&mut Repo) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut repos = self.repos.write().await;
        let repo = repos.get_mut(id).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let mut next = Repo::clone(repo);
        let done = change(&mut next)?;
        self.record(&next).await?;
        *repo = Arc::new(next);
        Ok(done)
    }

    /// Writes a repo's record to a temporary file and renames it over the old record.
    async fn record(&self, repo: &Repo) -> io::Result<()> {
        let json = serde_json::to_vec(repo)?;
        let directory = self.directory.clone();
        // Owners and names never contain `--` (see `valid_name`), so no two repos share a file.
        let path = directory.join(format!("{}--{}.json", repo.owner, repo.name));
        let write = move || {
            let mut file = NamedTempFile::new_in(directory)?;
            file.write_all(&json)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    pub(super) async fn records(&self, id: &str) -> Vec<CommitRecord> {
        let repos = self.repos.read().await;
        let Some(repo) = repos.get(id) else { return Vec::new() };
        let record = |commit: &Commit| CommitRecord {
            id: commit.id.clone(),
            summary: commit.summary.clone(),
            paths: commit.files.keys().cloned().collect(),
        };
        repo.commits.iter().map(record).collect()
    }
}
