//! Publishing of a release: content first, then one commit that makes the release visible.
//!
//! Owns the order of the steps: read the head and its releases, store the content, commit with
//! exactly that head as parent (compare-and-swap), and after any failure read the head again before
//! a retry. So a lost response never causes a second commit, and a release that the backend would
//! not load is never committed. Never chooses a release's name, and never holds the archive in
//! memory.
//!
//! ```text
//! content   a file of the commit, on disk or in memory, and its checksum
//! classify  the Hub's choice of files that go through LFS
//! action    an upload action of the LFS batch: link and headers
//! lfs       the LFS batch: upload links for the content that is missing
//! transfer  PUT of an object or its parts, from disk, with progress
//! commit    the commit itself
//! pages     the repo's index and card, updated for a release
//! xet       upload and commit through `hf-hub`, for a Hub that requires Xet
//! ```

mod action;
mod classify;
mod commit;
mod content;
mod lfs;
mod pages;
mod transfer;
mod xet;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hf_hub::{HFRepository, RepoTypeModel};

use super::digest::Digest;
use super::error::HubError;
use super::index::Entry;
use super::listing::{self, CommitId};
use super::release::{LiveRelease, Release, ReleaseName};
use super::wire::Wire;
use content::{Content, Source};
use lfs::Stored;
use transfer::Meter;

/// A release to publish.
#[derive(Clone)]
pub struct Upload {
    /// Name of the release. It must sort after every existing release; see [`super::Stamp::next`].
    pub release: ReleaseName,
    /// Path of the zip on disk. The file must not change during the upload.
    pub archive: PathBuf,
    /// Small files for the same commit, such as the receipt.
    pub extras: Vec<Extra>,
    /// Card and index entry for the repo's own pages; `None` leaves the pages unchanged.
    pub listed: Option<Listed>,
    /// Releases that this release may replace as the newest. When the newest release is another one
    /// at the time of the commit, nothing is published.
    pub replaces: ReplacePolicy,
    /// First line of the commit message.
    pub summary: String,
    /// Callback for upload progress, called after every chunk.
    pub progress: Option<OnUploadProgress>,
}

/// Rule for the release that a new release may replace as the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacePolicy {
    /// Allows any release to be the newest.
    Any,
    /// Allows only this release, with its content, or a repo without releases.
    Only(Option<LiveRelease>),
}

/// Content of the repo's own pages about a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Model card for the repo's page.
    pub card: String,
    /// Entry for the index. Publishing fills in the checksum and size of the zip.
    pub entry: Entry,
}

/// A small file beside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Path in the repo, such as `README.md`.
    pub path: String,
    /// Complete content of the file.
    pub content: Bytes,
}

/// Progress of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadProgress {
    /// Bytes sent so far. Decreases when a cut connection makes some of them worthless.
    pub bytes: u64,
    /// Total bytes to send.
    pub total: u64,
}

/// Callback for upload progress. Runs in async code, so it must not block.
pub type OnUploadProgress = Arc<dyn Fn(UploadProgress) + Send + Sync>;

/// A published release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Commit that made the release visible. When an earlier attempt had already published it, the
    /// head at which the release was found.
    pub commit: CommitId,
    /// Path of the release in the repo.
    pub path: String,
    /// Size of the archive in bytes.
    pub size: u64,
    /// Checksum of the archive.
    pub sha256: Digest,
}

/// Publishes a release; see [`super::Repository::publish`].
pub(super) async fn publish(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    upload: Upload,
) -> Result<Published, HubError> {
    let Upload { release, archive, extras, listed, replaces, summary, progress } = upload;
    let mut files = vec![Content::measure(release.path(), Source::File(archive)).await?];
    for extra in extras {
        files.push(Content::measure(extra.path, Source::Memory(extra.content)).await?);
    }
    let (size, sha256) = (files[0].size, files[0].sha256);
    let published = |commit| Published { commit, path: release.path(), size, sha256 };
    let meter = Meter::new(files.iter().map(|file| file.size).sum(), progress);
    let own = files.len();

    let mut stored: Option<(Vec<Digest>, Stored)> = None;
    let mut failures = 0;
    // True after a commit without an answer, until the repo shows whether it was made.
    let mut unanswered = false;
    loop {
        let looked = async {
            let head = listing::head(wire).await?;
            let found = look(wire, &head, &release, sha256, &replaces).await?;
            Ok((head, found))
        };
        let (head, found) = looked.await.map_err(|error| in_doubt(error, unanswered, &release))?;
        unanswered = false;
        let before = match found {
            Found::Landed => {
                tracing::info!(path = %release.path(), commit = %head, "release is already published");
                return Ok(published(head));
            }
            Found::Room { before } => before,
        };
        files.truncate(own);
        if let Some(listed) = &listed {
            // Rebuilt on each head, so that commits of others in between stay.
            for page in pages::pages(wire, &head, before.as_ref(), listed, (sha256, size)).await? {
                files.push(Content::measure(page.path, Source::Memory(page.content)).await?);
            }
        }
        let digests: Vec<Digest> = files.iter().map(|file| file.sha256).collect();
        let known = stored.take().filter(|(stored, _)| *stored == digests);
        let stored = match known {
            Some(known) => stored.insert(known),
            None => {
                meter.set(0);
                stored.insert((digests, store(wire, &files, &meter).await?))
            }
        };
        let committed = match &stored.1 {
            Stored::Here(modes) => commit::commit(wire, &head, &summary, &files, modes).await,
            Stored::WantsXet => xet::commit(wire, library, &head, &summary, &files, &meter).await,
        };
        let error = match committed {
            Ok(commit) => {
                tracing::info!(path = %release.path(), %commit, bytes = size, "release published");
                return Ok(published(commit));
            }
            Err(error @ HubError::Conflict) => error,
            Err(error) if error.is_transient() => {
                unanswered = true;
                error
            }
            Err(error) => return Err(error),
        };
        failures += 1;
        let paused = wire.pause("commit", failures, error).await;
        paused.map_err(|error| in_doubt(error, unanswered, &release))?;
    }
}

/// Returns the error of a look at the repo. After a commit without an answer, it says that the outcome is
/// unknown, unless the look itself has decided it.
fn in_doubt(error: HubError, unanswered: bool, release: &ReleaseName) -> HubError {
    match error {
        error @ (HubError::Superseded { .. } | HubError::Taken { .. }) => error,
        error if unanswered => HubError::Unanswered { release: release.clone(), source: Box::new(error) },
        error => error,
    }
}

/// State of the repo's releases with respect to ours.
enum Found {
    /// Our release is already published.
    Landed,
    /// Our release would become the newest, after the release `before`.
    Room { before: Option<Release> },
}

/// Checks the releases as of this commit.
///
/// # Errors
/// [`HubError::Superseded`] when our release would not be the newest, or `replaces` does not allow
/// the newest release; [`HubError::Taken`] when our name exists with other content.
async fn look(
    wire: &Wire,
    head: &CommitId,
    ours: &ReleaseName,
    sha256: Digest,
    replaces: &ReplacePolicy,
) -> Result<Found, HubError> {
    let releases = listing::releases(wire, head).await?;
    if let Some(same) = releases.iter().find(|release| release.name == *ours) {
        if same.sha256 == Some(sha256) {
            return Ok(Found::Landed);
        }
        return Err(HubError::Taken { name: ours.clone() });
    }
    let before = releases.into_iter().next();
    let allowed = |newest: &Release| match replaces {
        ReplacePolicy::Any => true,
        ReplacePolicy::Only(expected) => expected.as_ref().is_some_and(|expected| expected.is(newest)),
    };
    match before {
        Some(newest) if newest.name > *ours || !allowed(&newest) => {
            Err(HubError::Superseded { ours: ours.clone(), newest: newest.name })
        }
        before => Ok(Found::Room { before }),
    }
}

/// Uploads the content of the files that go through LFS.
async fn store(wire: &Wire, files: &[Content], meter: &Meter) -> Result<Stored, HubError> {
    let modes = classify::classify(wire, files).await?;
    for file in files.iter().filter(|file| modes.is_lfs(&file.path)) {
        if lfs::store(wire, file, meter).await? == lfs::Answer::WantsXet {
            return Ok(Stored::WantsXet);
        }
    }
    Ok(Stored::Here(modes))
}
