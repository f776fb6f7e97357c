//! The rollback: makes an older version live again.
//!
//! The backend loads the newest release name, so a rollback publishes the older version once more
//! under a new name. The folder inside the zip takes the new name, and the card and the receipt
//! state which version the release repeats. Every other byte of the model stays the same; files that are
//! no part of one stay behind. Never trains, and
//! never removes a version: the one that was live stays on the Hub.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::failure::{Failure, RetryDirective};
use crate::hub::{
    Entry, Extra, HubError, Index, Listed, Published, Release, ReleaseName, ReplacePolicy, Repository, Stamp,
    Upload, rollback_card,
};
use crate::text::plain_line;
use autovalidate_finetune::model::{ModelFolder, archive, find_model};
use autovalidate_finetune::train::ONNX_MODEL;

use crate::run::dataset::RECEIPT;
use crate::run::error::RunError;
use crate::run::provenance::{RollbackOf, weights_digest};
use crate::run::storage::blocking;

/// File name of the card in a model folder.
const CARD: &str = "README.md";

/// Error of a rollback that is refused or fails.
#[derive(Debug, thiserror::Error)]
pub enum RollbackError {
    /// The Hub has no such version.
    #[error("the Hub has no version {version:?}")]
    Unknown {
        /// Requested version.
        version: String,
    },
    /// The version is already live, perhaps under another name.
    #[error("version {version} is live already, as {live}")]
    AlreadyLive {
        /// Requested version.
        version: String,
        /// Live version that holds the same model.
        live: String,
    },
    /// Another release was published between the check and the commit.
    #[error("{newest} was published meanwhile")]
    Superseded {
        /// The other release.
        newest: ReleaseName,
    },
    /// Reading, packing or publishing failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl From<HubError> for RollbackError {
    fn from(error: HubError) -> Self {
        match error {
            HubError::Superseded { newest, .. } | HubError::Taken { name: newest } => {
                Self::Superseded { newest }
            }
            error => Self::Run(error.into()),
        }
    }
}

impl Failure for RollbackError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Unknown { .. } | Self::AlreadyLive { .. } => RetryDirective::Never,
            Self::Superseded { .. } => RetryDirective::Person,
            Self::Run(error) => error.directive(),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unknown { .. } => "Choose a version from `autovalidate models list`.".to_owned(),
            Self::AlreadyLive { .. } => "Nothing to do.".to_owned(),
            Self::Superseded { .. } => {
                "Nothing was changed. Check `autovalidate models list`, then decide again.".to_owned()
            }
            Self::Run(error) => error.advice(),
        }
    }
}

/// A version that is live again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RolledBack {
    /// Version that the new release repeats.
    pub version: String,
    /// Name of the new release.
    pub release: ReleaseName,
    /// Version that was live before the rollback.
    pub instead_of: String,
    /// The published zip and its commit.
    pub published: Published,
}

/// Publishes a version once more, so that the backend loads it. Temporary zips are written below
/// `beside` and removed at the end. A second call after a lost answer finds that the version is
/// live, and is refused.
///
/// # Errors
/// [`RollbackError`]. The Hub is then unchanged.
pub async fn roll_back(
    repository: &Repository,
    version: &str,
    beside: &Path,
    now: Timestamp,
) -> Result<RolledBack, RollbackError> {
    let releases = repository.releases().await?;
    let index = repository.index().await?;
    let wanted = |release: &&Release| release.name.version() == version || release.path() == version;
    let unknown = || RollbackError::Unknown { version: version.to_owned() };
    let target = releases.iter().find(wanted).ok_or_else(unknown)?;
    let live = releases.first().ok_or_else(unknown)?;
    if target.name == live.name || same_model(&index, target, live) {
        let live = live.name.version().to_owned();
        return Err(RollbackError::AlreadyLive { version: version.to_owned(), live });
    }
    let stamp = Stamp::next(now, releases.iter().map(|release| &release.name));
    let release = ReleaseName::from(stamp.ok_or(RunError::NoNewerName)?);

    std::fs::create_dir_all(beside).map_err(RunError::file("make", beside))?;
    let beside = tempfile::Builder::new()
        .prefix("rollback-")
        .tempdir_in(beside)
        .map_err(RunError::file("make", beside))?;
    let zip = repository.download(target, beside.path()).await?;
    let rewriting = Rewriting {
        repository: repository.name().clone(),
        target: target.clone(),
        known: index.entry_of(target).cloned(),
        release: release.clone(),
        rollback: RollbackOf {
            version: target.name.version().to_owned(),
            sha256: target.sha256,
            instead_of: live.name.version().to_owned(),
            at: now,
        },
    };
    let folder = beside.path().to_owned();
    let rewritten = blocking(move || rewriting.rewrite(&zip, &folder)).await?;
    let upload = Upload {
        release: release.clone(),
        archive: rewritten.zip,
        extras: vec![Extra { path: release.receipt_path(), content: rewritten.receipt.into() }],
        listed: Some(rewritten.listed),
        replaces: ReplacePolicy::Only(Some(live.into())),
        summary: format!("Roll back to {}: add {}", target.name.version(), release.as_str()),
        progress: None,
    };
    let published = Box::pin(repository.publish(upload)).await?;
    Ok(RolledBack {
        version: target.name.version().to_owned(),
        release,
        instead_of: live.name.version().to_owned(),
        published,
    })
}

/// Returns true when two releases are known to hold the same model.
fn same_model(index: &Index, one: &Release, other: &Release) -> bool {
    let weights = |release: &Release| index.entry_of(release)?.weights_sha256;
    weights(one).is_some() && weights(one) == weights(other)
}

/// A release that is being rewritten under a new name.
struct Rewriting {
    repository: crate::hub::RepoName,
    target: Release,
    /// Entry of the release in the repo's index.
    known: Option<Entry>,
    release: ReleaseName,
    rollback: RollbackOf,
}

struct Rewritten {
    zip: std::path::PathBuf,
    receipt: String,
    listed: Listed,
}

impl Rewriting {
    /// Unpacks the zip, replaces the names in it, and packs it again. Blocks.
    fn rewrite(self, zip: &Path, beside: &Path) -> Result<Rewritten, RunError> {
        let top = find_model(&archive::unpack(zip, &beside.join("unpacked"))?)?;
        let model = ModelFolder::open(&top)?;
        let card = rollback_card(
            &self.repository,
            (&self.target.name, read(&top.join(CARD))?.as_deref()),
            &self.release,
            &self.rollback.at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        );
        let receipt = self.receipt(read(&top.join(RECEIPT))?.as_deref())?;
        for (name, text) in [(CARD, &card), (RECEIPT, &receipt)] {
            let path = top.join(name);
            std::fs::write(&path, text).map_err(RunError::file("write", path))?;
        }
        // Whatever else somebody has put into the release is not published once more.
        let kept = |path: &String| [CARD, RECEIPT, ONNX_MODEL].contains(&path.as_str());
        for path in model.unlisted_files().into_iter().filter(|path| !kept(path)) {
            tracing::warn!(
                file = plain_line(&path, 200),
                "left out of the release: it is no part of a model"
            );
            let path = top.join(path);
            std::fs::remove_file(&path).map_err(RunError::file("remove", path))?;
        }
        let weights_sha256 = Some(weights_digest(&model)?);
        let packed = beside.join(format!("new-{}", self.release.as_str()));
        archive::pack(&top, self.release.folder(), &packed)?;
        let known = self.known.unwrap_or_else(|| Entry {
            version: String::new(),
            path: String::new(),
            sha256: None,
            size: 0,
            weights_sha256,
            dimension: None,
            base_model: None,
            verdict: None,
            metrics: None,
            serving: None,
            published_at: self.rollback.at,
            rollback_of: None,
            other: serde_json::Map::new(),
        });
        let entry = Entry {
            version: self.release.version().to_owned(),
            path: self.release.path(),
            weights_sha256,
            dimension: Some(model.dimension),
            published_at: self.rollback.at,
            rollback_of: Some(self.rollback.version),
            ..known
        };
        Ok(Rewritten { zip: packed, receipt, listed: Listed { card, entry } })
    }

    /// Returns the receipt with the new version and the version that it repeats. A zip of another
    /// program may have no receipt, or one that is not a JSON object; the new receipt then contains
    /// only these two fields.
    fn receipt(&self, old: Option<&str>) -> Result<String, RunError> {
        let mut receipt = old.and_then(|old| serde_json::from_str::<Value>(old).ok()).unwrap_or_default();
        if !receipt.is_object() {
            receipt = json!({});
        }
        receipt["version"] = json!(self.release.version());
        receipt["rollback_of"] = json!(self.rollback);
        Ok(serde_json::to_string_pretty(&receipt).map_err(crate::broker::BrokerError::from)?)
    }
}

/// Reads a text file that may be absent.
fn read(path: &Path) -> Result<Option<String>, RunError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(RunError::file("read", path)(error)),
    }
}
