//! One model repo on the Hub: listing, downloading, and publishing releases.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use hf_hub::{HFRepository, RepoTypeModel};
use reqwest::StatusCode;
use serde_json::json;

use super::access::{HubAccess, RepoName, RetryPolicy};
use super::account::{self, TokenRole};
use super::download;
use super::error::HubError;
use super::index::{INDEX, Index};
use super::limits::{RECEIPTS, RECEIPTS_BYTES};
use super::listing::{self, CommitId};
use super::model::{self, ModelFiles};
use super::release::Release;
use super::upload::{self, Published, Upload};
use super::wire::Wire;

/// Number of receipts downloaded concurrently.
const RECEIPTS_AT_ONCE: usize = 8;

/// Handle of one model repo.
///
/// Spawns no task: a dropped future stops at once. It leaves at most a `.part` file, which the next
/// download resumes, or uploaded content without a commit, which the next upload reuses.
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
    /// Opens a handle of the repo, without a request to the Hub.
    ///
    /// # Errors
    /// [`HubError::Unauthorized`] for a token that is invalid in a header,
    /// [`HubError::Connection`] when the system's TLS or proxy settings are unusable.
    pub fn open(access: HubAccess) -> Result<Self, HubError> {
        Self::with_retry_policy(access, RetryPolicy::default())
    }

    /// Opens a handle as [`Repository::open`] does, with the caller's deadlines and retry limits.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn with_retry_policy(access: HubAccess, patience: RetryPolicy) -> Result<Self, HubError> {
        let wire = Wire::new(access, patience)?;
        let library = wire.library()?;
        Ok(Self { wire, library })
    }

    /// Returns the repo's name.
    pub fn name(&self) -> &RepoName {
        &self.wire.access.repo
    }

    /// Creates the repo, private or public, unless it exists. An existing repo stays unchanged.
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

    /// Returns the commit at the head of `main`.
    ///
    /// # Errors
    /// [`HubError::NoRepository`] when the repo does not exist; otherwise the failure of the
    /// request.
    pub async fn head(&self) -> Result<CommitId, HubError> {
        listing::head(&self.wire).await
    }

    /// Returns all releases, newest first. The backend loads the first.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn releases(&self) -> Result<Vec<Release>, HubError> {
        listing::releases(&self.wire, &self.head().await?).await
    }

    /// Returns the release that the backend loads, or `None` when there is no release.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn newest(&self) -> Result<Option<Release>, HubError> {
        Ok(self.releases().await?.into_iter().next())
    }

    /// Returns the index of models; empty when the repo has none yet.
    ///
    /// # Errors
    /// [`HubError::Index`] when the index is damaged or has a newer schema; otherwise as
    /// [`Repository::head`].
    pub async fn index(&self) -> Result<Index, HubError> {
        match listing::content(&self.wire, &self.head().await?, INDEX).await? {
            Some(bytes) => Index::read(&bytes),
            None => Ok(Index::default()),
        }
    }

    /// Returns the receipts in the repo by version, including those of deleted releases.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn receipts(&self) -> Result<BTreeMap<String, Bytes>, HubError> {
        let head = self.head().await?;
        let listed = listing::receipts(&self.wire, &head).await?;
        let left = AtomicUsize::new(RECEIPTS_BYTES);
        if listed.len() > RECEIPTS {
            return Err(HubError::Malformed { what: "the folder of receipts, which has too many" });
        }
        let fetch = |(version, path): (String, String)| {
            let (head, left) = (head.clone(), &left);
            async move {
                let content = listing::content(&self.wire, &head, &path).await?;
                let size = content.as_ref().map_or(0, Bytes::len);
                if left.fetch_sub(size.min(RECEIPTS_BYTES), Ordering::Relaxed) < size {
                    return Err(HubError::Malformed { what: "the folder of receipts, which is too large" });
                }
                Ok::<_, HubError>(content.map(|content| (version, content)))
            }
        };
        let fetched = futures::stream::iter(listed.into_iter().map(fetch)).buffer_unordered(RECEIPTS_AT_ONCE);
        fetched.try_filter_map(|receipt| async move { Ok(receipt) }).try_collect().await
    }

    /// Downloads a release to `<folder>/<name>` and verifies it. A complete file is not downloaded
    /// again, and a cut download resumes.
    ///
    /// # Errors
    /// [`HubError::NoFile`] when the release is gone, [`HubError::Checksum`] when every attempt got
    /// wrong content, [`HubError::File`] when the folder can't be read or written.
    pub async fn download(&self, release: &Release, into: &Path) -> Result<PathBuf, HubError> {
        let head = self.head().await?;
        download::download(&self.wire, &self.library, &head, release, into).await
    }

    /// Opens another repo on the same Hub with the same token.
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn sibling(&self, repo: RepoName) -> Result<Self, HubError> {
        Self::with_retry_policy(HubAccess { repo, ..self.wire.access.clone() }, self.wire.patience.clone())
    }

    /// Returns what the token may do, as the Hub says.
    ///
    /// # Errors
    /// [`HubError::Unauthorized`] for a token that the Hub does not know; otherwise the failure of a
    /// request.
    pub async fn token_role(&self) -> Result<TokenRole, HubError> {
        account::token_role(&self.wire).await
    }

    /// Returns the repo's present name when it was renamed, and `None` when it still has its name.
    ///
    /// # Errors
    /// As [`Repository::head`].
    pub async fn renamed(&self) -> Result<Option<RepoName>, HubError> {
        listing::renamed(&self.wire).await
    }

    /// Lists the files of this repo's model folder, as of now.
    ///
    /// # Errors
    /// [`HubError::NoFile`] when the repo has neither `modules.json` nor `config.json`; otherwise the
    /// failure of a request.
    pub async fn model_files(&self) -> Result<ModelFiles, HubError> {
        model::list(&self.wire).await
    }

    /// Downloads these files into `folder`, which must not exist, and verifies them. After a failure
    /// `folder` does not exist.
    ///
    /// # Errors
    /// The failure of a request, or [`HubError::File`].
    pub async fn download_model(&self, files: &ModelFiles, folder: &Path) -> Result<(), HubError> {
        model::download(&self.wire, &self.library, files, folder).await
    }

    /// Publishes a release and its small extra files in one commit. Idempotent: content that an
    /// earlier call stored is not sent again, and an existing release is not committed again.
    ///
    /// # Errors
    /// [`HubError::Superseded`] or [`HubError::Taken`] when the release's name is no longer the
    /// newest: pick a later name with [`super::Stamp::next`], package again, and publish again.
    /// [`HubError::Conflict`] when someone else committed in between on every attempt.
    pub async fn publish(&self, upload: Upload) -> Result<Published, HubError> {
        upload::publish(&self.wire, &self.library, upload).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that the futures are `Send`, because jobs run on other tasks. Compiling is the check.
    #[expect(dead_code)]
    fn every_step_can_move_between_threads(repository: &Repository, release: &Release, upload: Upload) {
        fn movable<T: Send>(_: T) {}
        movable(repository.create_if_missing(true));
        movable(repository.newest());
        movable(repository.download(release, Path::new("")));
        movable(repository.publish(upload));
    }
}
