//! The replay of a run: trains its model again from the record or receipt, with the same base model
//! and rows by hash, and the same seed, settings, number of threads, and device.
//!
//! Compares the weights with the recorded ones. Never publishes.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::broker::RunRecord;
use crate::catalog_row::CatalogRow;
use crate::corrections::Corrections;
use crate::failure::chain;
use crate::hub::{Digest, Repository};
use autovalidate_finetune::durable;
use autovalidate_finetune::model::{ModelFolder, archive};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Progress;

use crate::run::dataset::{Dataset, NameList, NameSource};
use crate::run::error::RunError;
use crate::run::fine_tune::{FineTuneSession, TrainingSpec};
use crate::run::provenance::{Lineage, Receipt, weights_digest};
use crate::run::stage::Stage;
use crate::run::storage::{
    ModelCache, ModelOrigin, NameLists, RowSource, RunRows, Snapshots, blocking, on_disk,
};

/// Everything that determines the model to train again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ReplaySpec {
    /// Everything besides the rows that determines the weights.
    pub lineage: Lineage,
    /// Hash of the rows and of the names added to theirs.
    pub dataset_hash: String,
    /// Number of rows.
    pub rows: usize,
    /// Names that were added to those of the rows.
    pub names: Option<NameList>,
}

impl ReplaySpec {
    /// Reads the spec from a run's record.
    ///
    /// # Errors
    /// [`RunError::NotReplayable`] when the run ended before its data was fetched, or when an
    /// earlier version recorded it.
    pub fn of_run(record: &RunRecord) -> Result<Self, RunError> {
        let lineage = serde_json::from_value(record.lineage.clone()).ok();
        // Attempts that continued from a snapshot have recorded the names, too.
        let fetched = record.stages.iter().rev().filter(|stage| stage.stage == Stage::FetchData.name());
        let names = fetched.map(|stage| &stage.figures["names"]).find(|names| !names.is_null());
        let rows = usize::try_from(record.row_count.unwrap_or_default()).unwrap_or(usize::MAX);
        match (lineage, record.dataset_hash.clone()) {
            (Some(lineage), Some(dataset_hash)) => {
                let names = names.and_then(|names| serde_json::from_value(names.clone()).ok());
                Ok(Self { lineage, dataset_hash, rows, names })
            }
            _ => Err(RunError::NotReplayable),
        }
    }

    /// Reads the spec from a receipt.
    ///
    /// # Errors
    /// [`RunError::NotReplayable`] when the bytes are not a receipt, or are the receipt of an
    /// earlier version.
    pub fn of_receipt(bytes: &[u8]) -> Result<Self, RunError> {
        let receipt: Receipt = serde_json::from_slice(bytes).map_err(|_| RunError::NotReplayable)?;
        let Receipt { lineage, dataset, .. } = receipt;
        Ok(Self { lineage, dataset_hash: dataset.hash, rows: dataset.rows, names: dataset.names })
    }

    /// Returns true when the data directory has the snapshot of the rows, so that the stream is not
    /// needed.
    pub fn has_snapshot(&self, data_dir: &Path) -> bool {
        Snapshots::new(data_dir).path(&self.dataset_hash).is_some_and(|path| path.is_file())
    }
}

/// Sources of a replay's model, rows and names.
pub struct Sources<'a> {
    /// Repository of releases and models; not needed when the base model is on this disk.
    pub repository: Option<&'a Repository>,
    /// Stream of pairs; not needed when the snapshot of the rows is on this disk.
    pub corrections: Option<&'a Corrections>,
    /// Source that `CATALOG` names now. It replaces the stored list when its names are still the
    /// same.
    pub names: Option<&'a NameSource>,
    /// Folder below which runs keep their files (`DATA_DIR`).
    pub data_dir: &'a Path,
    /// Path of the base model, for a run that started from a folder.
    pub base_model: &'a str,
    /// Path of the ONNX Runtime library.
    pub runtime: &'a Path,
}

/// Result of a replay.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replayed {
    /// SHA-256 of the replay's weights.
    pub weights_sha256: Digest,
    /// SHA-256 of the run's weights; `None` when the run made no zip.
    pub recorded: Option<Digest>,
    /// Number of optimizer steps.
    pub steps: usize,
    /// Duration of the training in seconds.
    pub seconds: f64,
    /// Source of the rows.
    pub rows: RowSource,
    /// True when another version of this program performed the run.
    pub other_trainer: bool,
}

impl Replayed {
    /// Returns true when the weights equal the run's bit for bit; `None` when the run's weights are
    /// not recorded.
    pub fn identical(&self) -> Option<bool> {
        self.recorded.map(|recorded| recorded == self.weights_sha256)
    }
}

/// Trains the model of a run again, and moves it to `out` if given. `out` must not exist.
///
/// # Errors
/// [`RunError::OtherBase`], [`RunError::OtherRows`] or [`RunError::OtherNames`] when the original
/// base model, rows or names no longer exist. [`RunError::NoHub`] or [`RunError::NoStream`] when
/// the base model or the rows are not on this disk, and no Hub or broker is set. Otherwise the
/// errors of a run.
pub async fn replay(
    spec: ReplaySpec,
    sources: Sources<'_>,
    out: Option<&Path>,
    mut observer: impl FnMut(&Progress) -> bool + Send + 'static,
) -> Result<Replayed, RunError> {
    // Separate from the worker's own models, which the worker removes when they are outdated.
    let replays = sources.data_dir.join("replays");
    std::fs::create_dir_all(&replays).map_err(RunError::file("make", &replays))?;
    let run_dir = tempfile::tempdir_in(&replays).map_err(RunError::file("make", &replays))?;

    let base = base(&spec.lineage, &sources, run_dir.path()).await?;
    let (dataset, rows) = rows(&spec, &sources).await?;
    let lineage = spec.lineage;
    let (library, out) = (sources.runtime.to_owned(), out.map(Path::to_owned));
    let folder = run_dir.path().join("model");
    blocking(move || {
        let runtime = Runtime::load(&library, lineage.threads)?.on(lineage.device)?;
        let Lineage { tokenizer, recipe, synthesis, hold_out, templates, .. } = lineage.clone();
        let spec = TrainingSpec { tokenizer, recipe, synthesis, hold_out, templates };
        let trained =
            FineTuneSession::prepare(&runtime, base, dataset, spec, || true)?.train(&mut observer, None)?;
        std::fs::create_dir_all(&folder).map_err(RunError::file("make", &folder))?;
        trained.export(&folder)?;
        let weights_sha256 = weights_digest(&ModelFolder::open(&folder)?)?;
        if let Some(out) = out {
            move_model(&folder, &out)?;
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

/// Loads the base model, and checks that its weights have not changed.
async fn base(lineage: &Lineage, sources: &Sources<'_>, run_dir: &Path) -> Result<ModelFolder, RunError> {
    let ancestor = lineage.base.clone();
    let wanted = match ancestor.origin {
        // The record has the folder's name and not its path, which differs between machines.
        ModelOrigin::Folder => sources.base_model,
        // A receipt comes from the repository, and may not choose among the files of this machine.
        ModelOrigin::Release | ModelOrigin::Hub if Path::new(&ancestor.name).is_dir() => {
            return Err(RunError::NoSuchModel { name: ancestor.name });
        }
        ModelOrigin::Release | ModelOrigin::Hub => &ancestor.name,
    };
    // Preferably from the Hub, into a folder of the replay: the worker may remove its own models at
    // any time.
    let fetched = match sources.repository {
        Some(repository) => ModelCache::new(repository, run_dir, sources.base_model).base(Some(wanted)).await,
        None => Err(RunError::NoHub { name: ancestor.name.clone() }),
    };
    let kept = on_disk(wanted, sources.data_dir)?;
    let candidates: Vec<ModelFolder> = match fetched {
        Ok(base) => std::iter::once(base.folder).chain(kept).collect(),
        Err(error) if kept.is_empty() => return Err(error),
        Err(_) => kept,
    };
    blocking(move || {
        // The Hub may have another model under this name today.
        for found in candidates {
            if weights_digest(&found)? == ancestor.weights_sha256 {
                return Ok(found);
            }
        }
        Err(RunError::OtherBase { name: ancestor.name })
    })
    .await
}

/// Loads the rows from the snapshot, or else reads them again from the stream.
async fn rows(spec: &ReplaySpec, sources: &Sources<'_>) -> Result<(Dataset, RowSource), RunError> {
    let hash = &spec.dataset_hash;
    let snapshots = Snapshots::new(sources.data_dir);
    let of = |run_rows: RunRows, source| {
        let Lineage { hold_out, templates, .. } = spec.lineage.clone();
        let hash = hash.clone();
        blocking(move || {
            let dataset = run_rows.dataset(&hold_out, &templates);
            Ok((dataset.summary.hash == hash).then_some((dataset, source)))
        })
    };
    if let Some(run_rows) = snapshots.load(hash)
        && let Some(found) = of(run_rows, RowSource::Snapshot).await?
    {
        return Ok(found);
    }
    let Some(corrections) = sources.corrections else {
        return Err(RunError::NoStream { path: snapshots.path(hash).unwrap_or_default() });
    };
    let names = names(spec, sources).await?;
    let other = |found| RunError::OtherRows { rows: spec.rows, found };
    let Some(last) = spec.lineage.last_sequence else { return Err(other(0)) };
    let snapshot = corrections.snapshot(last).await?;
    let found = snapshot.rows.len();
    let run_rows = RunRows { rows: snapshot.rows, released: snapshot.released, names };
    of(run_rows, RowSource::Stream).await?.ok_or_else(|| other(found))
}

/// Loads the names that were added to those of the rows: the stored list, or the current names of
/// `CATALOG` if they are the same.
async fn names(spec: &ReplaySpec, sources: &Sources<'_>) -> Result<Vec<CatalogRow>, RunError> {
    let Some(list) = spec.names else { return Ok(Vec::new()) };
    let lists = NameLists::new(sources.data_dir);
    if let Some(names) = lists.load(&list) {
        return Ok(names);
    }
    if let Some(source) = sources.names {
        match source.read().await {
            Ok(names) if NameList::of(&names) == list => return Ok(names),
            Ok(_) => {}
            Err(error) => tracing::warn!(error = chain(&error), "CATALOG can't be read"),
        }
    }
    Err(RunError::OtherNames { list, path: lists.path(&list) })
}

/// Moves a finished folder to `out`, which may be on another disk.
fn move_model(folder: &Path, out: &Path) -> Result<(), RunError> {
    if std::fs::rename(folder, out).is_ok() {
        return Ok(());
    }
    // Through a zip, because packing and unpacking copy, verify, and rename at the end, as for
    // every model folder here.
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let zip = folder.with_extension("zip");
    archive::pack(folder, &name, &zip)?;
    let parent = durable::parent(out);
    let beside = tempfile::tempdir_in(parent).map_err(RunError::file("make", parent))?;
    let top = archive::unpack(&zip, &beside.path().join("unpacked"))?;
    std::fs::rename(top, out).map_err(RunError::file("write", out))
}
