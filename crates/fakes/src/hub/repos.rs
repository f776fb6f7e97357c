//! The repos of a Hub. Each has one JSON file on disk, which every change replaces atomically: the
//! new content goes to a temporary file that is renamed over the old one.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tempfile::NamedTempFile;
use tokio::sync::RwLock;

use super::repo::{Commit, MAIN, Repo};

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

/// Outcome of a move.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Moved {
    Done,
    NoSuchRepo,
    NameTaken,
}

/// All repos of this Hub, by `owner/name`.
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
                    repos.insert(repo.id(), Arc::new(repo.completed()));
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

    /// Returns the former and the present id of every repo that was moved.
    pub(super) async fn moved(&self) -> Vec<(String, String)> {
        let repos = self.repos.read().await;
        let moved = repos.values().flat_map(|repo| {
            repo.former_ids.iter().filter(|id| !repos.contains_key(*id)).map(|id| (id.clone(), repo.id()))
        });
        moved.collect()
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

    /// Deletes a repo. Returns `false` when there is no such repo. Its content stays in the object
    /// store, which other repos may share.
    pub(super) async fn delete(&self, owner: &str, name: &str) -> io::Result<bool> {
        let mut repos = self.repos.write().await;
        let Some(repo) = repos.get(&format!("{owner}/{name}")) else { return Ok(false) };
        tokio::fs::remove_file(self.path(repo)).await?;
        repos.remove(&format!("{owner}/{name}"));
        Ok(true)
    }

    /// Gives a repo another owner or name.
    pub(super) async fn rename(&self, id: &str, owner: &str, name: &str) -> io::Result<Moved> {
        let mut repos = self.repos.write().await;
        let Some(old) = repos.get(id).cloned() else { return Ok(Moved::NoSuchRepo) };
        if repos.contains_key(&format!("{owner}/{name}")) {
            return Ok(Moved::NameTaken);
        }
        let mut repo = Repo { owner: owner.to_owned(), name: name.to_owned(), ..Repo::clone(&old) };
        repo.former_ids.push(id.to_owned());
        self.record(&repo).await?;
        tokio::fs::remove_file(self.path(&old)).await?;
        repos.remove(id);
        repos.insert(repo.id(), Arc::new(repo));
        Ok(Moved::Done)
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

    fn path(&self, repo: &Repo) -> PathBuf {
        // Owners and names never contain `--` (see `valid_name`), so no two repos share a file.
        self.directory.join(format!("{}--{}.json", repo.owner, repo.name))
    }

    /// Writes a repo's record to a temporary file and renames it over the old record.
    async fn record(&self, repo: &Repo) -> io::Result<()> {
        let json = serde_json::to_vec(repo)?;
        let (directory, path) = (self.directory.clone(), self.path(repo));
        let write = move || {
            let mut file = NamedTempFile::new_in(directory)?;
            file.write_all(&json)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Returns the commits of a repo's main branch, oldest first.
    pub(super) async fn records(&self, id: &str) -> Vec<CommitRecord> {
        let repos = self.repos.read().await;
        let Some((repo, head)) = repos.get(id).and_then(|repo| Some((repo, repo.revision(MAIN)?))) else {
            return Vec::new();
        };
        let record = |commit: &Commit| CommitRecord {
            id: commit.id.clone(),
            summary: commit.summary.clone(),
            paths: commit.files.keys().cloned().collect(),
        };
        let mut records: Vec<_> = repo.history(head).map(record).collect();
        records.reverse();
        records
    }
}
