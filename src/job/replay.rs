//! Makes a run's model again, from what its record or receipt says: the same base by hash, the same rows by hash, the
//! same seed, settings, number of threads and device. Compares the weights and never publishes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::hub::{Digest, Repository};
use crate::model::ModelFolder;
use crate::onnx::Runtime;
use crate::queue::{Corrections, RunRecord};
use crate::train::Progress;

use super::base::{Base, Origin, Shelf, blocking};
use super::lineage::{Lineage, weights_digest};
use super::receipt::Receipt;
use super::snapshot::{RowSource, Snapshots, TakenRows};
use super::study::{Lecture, Study};
use super::{Dataset, JobError};

/// What is to be made again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Blueprint {
    /// What decided the weights beside the rows.
    pub lineage: Lineage,
    /// The hash of the rows.
    pub dataset_hash: String,
}

impl Blueprint {
    /// What a run's record says.
    ///
    /// # Errors
    /// [`JobError::NotReplayable`] when the run never got as far as its data, or an earlier version recorded it.
    pub fn of_run(record: &RunRecord) -> Result<Self, JobError> {
        let lineage = serde_json::from_value(record.lineage.clone()).ok();
        match (lineage, record.dataset_hash.clone()) {
            (Some(lineage), Some(dataset_hash)) => Ok(Self { lineage, dataset_hash }),
            _ => Err(JobError::NotReplayable),
        }
    }

    /// What a receipt says.
    ///
    /// # Errors
    /// [`JobError::NotReplayable`] when it is none, or one of an earlier version.
    pub fn of_receipt(bytes: &[u8]) -> Result<Self, JobError> {
        let receipt: Receipt = serde_json::from_slice(bytes).map_err(|_| JobError::NotReplayable)?;
        Ok(Self { lineage: receipt.lineage, dataset_hash: receipt.dataset.hash })
    }
}

/// Where a replay finds things.
pub struct Sources<'a> {
    /// Releases and models.
    pub repository: &'a Repository,
    /// The pairs.
    pub corrections: &'a Corrections,
    /// Where runs keep their files.
    pub data_dir: &'a Path,
    /// The base model, for a run that started from a folder.
    pub base_model: &'a str,
    /// The ONNX Runtime.
    pub runtime: &'a Path,
}

/// What a replay made.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// SHA-256 of the weights it made.
    pub weights_sha256: Digest,
    /// SHA-256 of the weights the run made; `None` when the run made no zip.
    pub recorded: Option<Digest>,
    /// Optimiser steps.
    pub steps: usize,
    /// Seconds the training took.
    pub seconds: f64,
    /// Where the rows came from.
    pub rows: RowSource,
    /// Whether another version of this program made the run.
    pub other_trainer: bool,
}

impl Replayed {
    /// Whether the weights are the run's, bit for bit; `None` when there is nothing to compare with.
    pub fn identical(&self) -> Option<bool> {
        self.recorded.map(|recorded| recorded == self.weights_sha256)
    }
}

/// Trains the same thing again. The model is left in `out` where one is given, which must not exist.
///
/// # Errors
/// [`JobError::OtherBase`] or [`JobError::OtherRows`] when base or rows are no longer to be had; else those of a run.
pub async fn replay(
    blueprint: Blueprint,
    sources: Sources<'_>,
    out: Option<&Path>,
    mut observer: impl FnMut(&Progress) -> bool + Send + 'static,
) -> Result<Replayed, JobError> {
    let Blueprint { lineage, dataset_hash } = blueprint;
    // Apart from the worker's own models, which it tidies up.
    let place = sources.data_dir.join("replays");
    std::fs::create_dir_all(&place).map_err(JobError::file("make", &place))?;
    let workshop = tempfile::tempdir_in(&place).map_err(JobError::file("make", &place))?;

    let base = base(&lineage, &sources, workshop.path().join("models")).await?;
    let (dataset, rows) = rows(&lineage, dataset_hash, &sources).await?;
    let (library, out) = (sources.runtime.to_owned(), out.map(Path::to_owned));
    let folder = workshop.path().join("model");
    blocking(move || {
        let runtime = Runtime::load(&library, lineage.threads)?.on(lineage.device)?;
        let Lineage { recipe, synthesis, hold_out, templates, .. } = lineage.clone();
        let lecture = Lecture { recipe, synthesis, hold_out, templates };
        let trained = Study::prepare(&runtime, base.folder, dataset, lecture)?.train(&mut observer, None)?;
        std::fs::create_dir_all(&folder).map_err(JobError::file("make", &folder))?;
        trained.export(&folder)?;
        let weights_sha256 = weights_digest(&ModelFolder::open(&folder)?)?;
        if let Some(out) = out {
            keep(&folder, &out)?;
        }
        Ok(Replayed {
            weights_sha256,
            recorded: lineage.weights_sha256,
            steps: trained.summary.steps,
            seconds: trained.summary.seconds,
            rows,
            other_trainer: lineage.trainer != env!("CARGO_PKG_VERSION"),
        })
    })
    .await
}

/// The base model, if it is still the same.
async fn base(lineage: &Lineage, sources: &Sources<'_>, folder: PathBuf) -> Result<Base, JobError> {
    let ancestor = lineage.base.clone();
    let shelf = Shelf { repository: sources.repository, folder, fallback: sources.base_model };
    let wanted = match ancestor.origin {
        // The record has a folder's name, not its path: other machines keep it elsewhere.
        Origin::Folder => sources.base_model,
        Origin::Release | Origin::Hub => &ancestor.name,
    };
    let base = shelf.base(Some(wanted)).await?;
    blocking(move || match weights_digest(&base.folder)? == ancestor.weights_sha256 {
        true => Ok(base),
        false => Err(JobError::OtherBase { name: ancestor.name }),
    })
    .await
}

/// The rows: of the snapshot, or else read again from the stream.
async fn rows(
    lineage: &Lineage,
    hash: String,
    sources: &Sources<'_>,
) -> Result<(Dataset, RowSource), JobError> {
    let snapshots = Snapshots::new(sources.data_dir.join("snapshots"));
    let of = |taken: TakenRows, source| {
        let (hash, hold_out, templates) = (hash.clone(), lineage.hold_out, lineage.templates.clone());
        blocking(move || {
            let dataset = taken.dataset(&hold_out, &templates);
            Ok((dataset.summary.hash == hash).then_some((dataset, source)))
        })
    };
    if let Some(taken) = snapshots.load(&hash)
        && let Some(found) = of(taken, RowSource::Snapshot).await?
    {
        return Ok(found);
    }
    let Some(last) = lineage.last_sequence else { return Err(JobError::OtherRows) };
    let snapshot = sources.corrections.snapshot(last).await?;
    let rows = snapshot.rows.into_iter().map(|(_, row)| row).collect();
    // Names that `CATALOG` had then are in snapshots only; a run that used some has another hash than these rows.
    let taken = TakenRows { rows, released: snapshot.released, names: Vec::new() };
    of(taken, RowSource::Stream).await?.ok_or(JobError::OtherRows)
}

/// Moves a finished folder to where a person wants it, which may be another disk.
fn keep(folder: &Path, out: &Path) -> Result<(), JobError> {
    if std::fs::rename(folder, out).is_ok() {
        return Ok(());
    }
    // Through a zip: that copies, checks and renames as all folders here are made.
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let zip = folder.with_extension("zip");
    crate::model::archive::pack(folder, &name, &zip)?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::tempdir_in(parent).map_err(JobError::file("make", parent))?;
    let top = crate::model::archive::unpack(&zip, &beside.path().join("unpacked"))?;
    std::fs::rename(top, out).map_err(JobError::file("write", out))
}
