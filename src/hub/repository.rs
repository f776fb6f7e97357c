//! One model repo on the Hub: what releases it has, fetching one, publishing one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use hf_hub::{HFRepository, RepoTypeModel};
use reqwest::StatusCode;
use serde_json::json;

use super::access::{HubAccess, Patience, RepoName};
use super::download;
use super::error::HubError;
use super::index::{INDEX, Index};
use super::listing::{self, CommitId};
use super::model;
use super::release::Release;
use super::upload::{self, Published, Upload};
use super::wire::Wire;

/// Receipts that are fetched at the same time.
const RECEIPTS_AT_ONCE: usize = 8;

/// One model repo.
///
/// Starts no task: a future that is dropped stops where it is, and leaves at most a `.part` file, which the
/// next download takes up, or content without a commit, which the next upload finds.
pub struct Repository {
    wire: Wire,
    library: HFRepository<RepoTypeModel>,
}

impl fmt::Debug for Repository {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Repository").field("access", &self.wire.access).finish_non_exhaustive()
    }
}

impl Repository {
    /// Prepares to talk to the repo; asks the Hub nothing yet.
    ///
    /// # Errors
    /// [`HubError::Unauthorized`] for a token no Hub gave out, [`HubError::Connection`] when the system's TLS
    /// or proxy settings are unusable.
    pub fn open(access: HubAccess) -> Result<Self, HubError> {
        Self::with_patience(access, Patience::default())
    }

    /// As [`Repository::open`], with deadlines and pauses of the caller's.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn with_patience(access: HubAccess, patience: Patience) -> Result<Self, HubError> {
        let wire = Wire::new(access, patience)?;
        let library = wire.library()?;
        Ok(Self { wire, library })
    }

    /// The repo's name.
    pub fn name(&self) -> &RepoName {
        &self.wire.access.repo
    }

    /// Creates the repo, private or public, unless it is there. One that is there stays as it is.
    ///
    /// # Errors
    /// [`HubError::Unauthorized`] or [`HubError::Forbidden`] when the token may not create it.
    pub async fn create_if_missing(&self, private: bool) -> Result<(), HubError> {
        let (wire, repo) = (&self.wire, self.name());
        let url = wire.url(["api", "repos", "create"]);
        let body = json!({
            "name": repo.name(), "organization": repo.owner(), "private": private, "type": "model",
        });
        let created = wire.retried("creating the repo", || async {
            let request = wire.authorized(&url, wire.client.post(url.clone())).json(&body);
            wire.once(request).await.map(drop)
        });
        match created.await {
            Err(HubError::Refused { status, .. }) if status == StatusCode::CONFLICT.as_u16() => Ok(()),
            done => done,
        }
    }

    /// The commit at the head of `main`.
    ///
    /// # Errors
    /// [`HubError::NoRepository`] when there is no such repo; else what kept the Hub from answering.
    pub async fn head(&self) -> Result<CommitId, HubError> {
        listing::head(&self.wire).await
    }

    /// All releases, newest first; the first is the one the backend loads.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn releases(&self) -> Result<Vec<Release>, HubError> {
        listing::releases(&self.wire, &self.head().await?).await
    }

    /// The release the backend loads, if there is any.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn newest(&self) -> Result<Option<Release>, HubError> {
        Ok(self.releases().await?.into_iter().next())
    }

    /// The index of models; an empty one when there is none yet.
    ///
    /// # Errors
    /// [`HubError::Index`] when it is damaged; else as [`Repository::head`].
    pub async fn index(&self) -> Result<Index, HubError> {
        match listing::content(&self.wire, &self.head().await?, INDEX).await? {
            Some(bytes) => Index::read(&bytes),
            None => Ok(Index::default()),
        }
    }

    /// The receipts that lie in the repo, by version; also those of releases that were deleted since.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn receipts(&self) -> Result<BTreeMap<String, Bytes>, HubError> {
        let head = self.head().await?;
        let listed = listing::receipts(&self.wire, &head).await?;
        let fetch = |(version, path): (String, String)| {
            let head = head.clone();
            async move {
                let content = listing::content(&self.wire, &head, &path).await?;
                Ok::<_, HubError>(content.map(|content| (version, content)))
            }
        };
        let fetched = futures::stream::iter(listed.into_iter().map(fetch)).buffer_unordered(RECEIPTS_AT_ONCE);
        fetched.try_filter_map(|receipt| async move { Ok(receipt) }).try_collect().await
    }

    /// Fetches a release into a folder, verified, as `<folder>/<name>`. A file that is there already and whole
    /// is not fetched again; a download that was cut goes on where it was.
    ///
    /// # Errors
    /// [`HubError::NoFile`] when the release is gone, [`HubError::Checksum`] when other bytes arrived time and
    /// again, [`HubError::File`] when the folder can't be used.
    pub async fn download(&self, release: &Release, into: &Path) -> Result<PathBuf, HubError> {
        let head = self.head().await?;
        download::download(&self.wire, &self.library, &head, release, into).await
    }

    /// Another repo on the same Hub, reached with the same token.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn sibling(&self, repo: RepoName) -> Result<Self, HubError> {
        Self::with_patience(HubAccess { repo, ..self.wire.access.clone() }, self.wire.patience.clone())
    }

    /// Fetches the sentence-transformers folder that this repo is, verified, into `folder`, which must not be
    /// there: all of it or nothing.
    ///
    /// # Errors
    /// [`HubError::NoFile`] when the repo is no such folder; else what kept the Hub from answering.
    pub async fn download_model(&self, folder: &Path) -> Result<(), HubError> {
        model::download(&self.wire, &self.library, folder).await
    }

    /// Makes a release and its small extra files visible, in one commit. Idempotent: what an earlier call
    /// stored is not sent again, and a release that is there already is not committed again.
    ///
    /// # Errors
    /// [`HubError::Superseded`] or [`HubError::Taken`] when the release's name no longer is the newest: pick a
    /// later one with [`super::Stamp::next`], package again, publish again. [`HubError::Conflict`] when others
    /// committed in between as often as patience lasts.
    pub async fn publish(&self, upload: Upload) -> Result<Published, HubError> {
        upload::publish(&self.wire, &self.library, upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever runs a job on another task relies on this; it need not run, only compile.
    #[expect(dead_code)]
    fn every_step_can_move_between_threads(repository: &Repository, release: &Release, upload: Upload) {
        fn movable<T: Send>(_: T) {}
        movable(repository.create_if_missing(true));
        movable(repository.newest());
        movable(repository.download(release, Path::new("")));
        movable(repository.publish(upload));
    }
}
