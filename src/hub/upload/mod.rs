//! Publishing a release: content first, then one commit that makes it visible.
//!
//! Owns the order of things: look at what is there, store the content, commit on top of exactly the head that
//! was looked at, and after any doubt look again before sending again. So a lost answer never makes a second
//! commit, and a release the backend would not load is never committed. Never decides on a release's name, and
//! never holds the archive in memory.
//!
//! ```text
//! content   a file of the commit, on disk or in memory, and its checksum
//! classify  which files go through LFS
//! action    what the batch tells to do with a file
//! lfs       the LFS batch: where the content goes, and whether it is there already
//! transfer  PUT, whole or in parts, from disk, watched
//! commit    the commit itself
//! pages     the repo's index and card, made from what is there
//! xet       the way of `hf-hub`, where the Hub wants Xet
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
use super::release::ReleaseName;
use super::wire::Wire;
use content::{Content, Source};
use lfs::Stored;
use transfer::Meter;

/// What to publish.
#[derive(Clone)]
pub struct Upload {
    /// The release's name, which must sort after every release there is; see [`super::Stamp::next`].
    pub release: ReleaseName,
    /// The zip on disk. It must not change meanwhile.
    pub archive: PathBuf,
    /// Small files that go into the same commit, such as the receipt.
    pub extras: Vec<Extra>,
    /// What the repo's own pages are to say about it; they stay as they are without.
    pub listed: Option<Listed>,
    /// What it may take the place of. When something else is the newest by then, nothing is published.
    pub replaces: ReplacePolicy,
    /// The commit's first line.
    pub summary: String,
    /// Told about every piece that went out.
    pub progress: Option<OnUploadProgress>,
}

/// What a release may take the place of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReplacePolicy {
    /// Whatever is the newest by then.
    Any,
    /// This release, or nothing at all.
    Only(Option<ReleaseName>),
}

/// What the repo's own pages say about a release.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The model card, for the repo's page.
    pub card: String,
    /// The entry of the index; checksum and size of the zip are filled in.
    pub entry: Entry,
}

/// A small file beside the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// Its path in the repo, such as `README.md`.
    pub path: String,
    /// Its whole content.
    pub content: Bytes,
}

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UploadProgress {
    /// Bytes sent so far. Falls when a cut makes some of them worthless.
    pub bytes: u64,
    /// Bytes to send in all.
    pub total: u64,
}

/// Is told how far an upload is. Called from async code, so it must not block.
pub type OnUploadProgress = Arc<dyn Fn(UploadProgress) + Send + Sync>;

/// A release that is visible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// The commit that made it visible or, when an earlier try turned out to have done that, the head at which
    /// it was found.
    pub commit: CommitId,
    /// Its path in the repo.
    pub path: String,
    /// The archive's size in bytes.
    pub size: u64,
    /// The archive's checksum.
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
    loop {
        let head = listing::head(wire).await?;
        let before = match look(wire, &head, &release, sha256, &replaces).await? {
            Found::Landed => {
                tracing::info!(path = %release.path(), commit = %head, "release is there");
                return Ok(published(head));
            }
            Found::Room { before } => before,
        };
        files.truncate(own);
        if let Some(listed) = &listed {
            // Made anew on each head, so that what others committed in between stays.
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
            Err(error) if error.passing() => error,
            Err(error) => return Err(error),
        };
        failures += 1;
        wire.pause("commit", failures, error).await?;
    }
}

/// What a look at the releases found.
enum Found {
    /// Ours is there.
    Landed,
    /// Ours would be the newest, after this one.
    Room { before: Option<ReleaseName> },
}

/// Looks for the release as of this commit.
///
/// # Errors
/// When it could not be the newest, its name holds other content, or `over` doesn't allow what is the newest.
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
    let before = releases.into_iter().next().map(|newest| newest.name);
    let allowed = |newest: &ReleaseName| match replaces {
        ReplacePolicy::Any => true,
        ReplacePolicy::Only(expected) => expected.as_ref() == Some(newest),
    };
    match before {
        Some(newest) if newest > *ours || !allowed(&newest) => {
            Err(HubError::Superseded { ours: ours.clone(), newest })
        }
        before => Ok(Found::Room { before }),
    }
}

/// Stores what goes through LFS.
async fn store(wire: &Wire, files: &[Content], meter: &Meter) -> Result<Stored, HubError> {
    let modes = classify::classify(wire, files).await?;
    for file in files.iter().filter(|file| modes.is_lfs(&file.path)) {
        if lfs::store(wire, file, meter).await? == lfs::Answer::WantsXet {
            return Ok(Stored::WantsXet);
        }
    }
    Ok(Stored::Here(modes))
}
