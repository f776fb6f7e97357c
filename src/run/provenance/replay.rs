//! Makes a run's model again, from what its record or receipt says: the same base by hash, the same rows by hash, the
//! same seed, settings, number of threads and device. Compares the weights and never publishes.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::RunRecord;
use crate::corrections::Corrections;
use crate::failure::chain;
use crate::hub::{Digest, Repository};
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Progress;

use crate::run::dataset::Dataset;
use crate::run::dataset::{LISTS, NameLists};
use crate::run::dataset::{NameList, NameSource};
use crate::run::error::RunError;
use crate::run::fine_tune::{FineTuneSession, TrainingSpec};
use crate::run::provenance::Receipt;
use crate::run::provenance::{Lineage, weights_digest};
use crate::run::stage::Stage;
use crate::run::storage::{MODELS, ModelCache, ModelOrigin, blocking, on_disk};
use crate::run::storage::{RowSource, SNAPSHOTS, Snapshots, TakenRows};

/// What is to be made again.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Blueprint {
    /// What decided the weights beside the rows.
    pub lineage: Lineage,
    /// The hash of the rows, and of the names that were added to theirs.
    pub dataset_hash: String,
    /// How many rows there were.
    pub rows: usize,
    /// The names that were added to theirs.
    pub names: Option<NameList>,
}

impl Blueprint {
    /// What a run's record says.
    ///
    /// # Errors
    /// [`RunError::NotReplayable`] when the run never got as far as its data, or an earlier version recorded it.
    pub fn of_run(record: &RunRecord) -> Result<Self, RunError> {
        let lineage = serde_json::from_value(record.lineage.clone()).ok();
        // Attempts that went on from a snapshot have recorded the names, too.
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

    /// What a receipt says.
    ///
    /// # Errors
    /// [`RunError::NotReplayable`] when it is none, or one of an earlier version.
    pub fn of_receipt(bytes: &[u8]) -> Result<Self, RunError> {
        let receipt: Receipt = serde_json::from_slice(bytes).map_err(|_| RunError::NotReplayable)?;
        let Receipt { lineage, dataset, .. } = receipt;
        Ok(Self { lineage, dataset_hash: dataset.hash, rows: dataset.rows, names: dataset.names })
    }

    /// Whether a data directory has the snapshot of the rows, so that no stream is needed.
    pub fn has_snapshot(&self, data_dir: &Path) -> bool {
        Snapshots::new(data_dir.join(SNAPSHOTS)).path(&self.dataset_hash).is_some_and(|path| path.is_file())
    }
}

/// Where a replay finds things.
pub struct Sources<'a> {
    /// Releases and models; not needed when the base model is on this disk.
    pub repository: Option<&'a Repository>,
    /// The pairs; not needed when their snapshot is on this disk.
    pub corrections: Option<&'a Corrections>,
    /// What `CATALOG` names now: as good as the list of then, when it is the same.
    pub names: Option<&'a NameSource>,
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
    /// Optimizer steps.
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
/// [`RunError::OtherBase`], [`RunError::OtherRows`] or [`RunError::OtherNames`] when something is no longer to be had,
/// [`RunError::NoHub`] or [`RunError::NoStream`] when it is not on this disk and there is nobody to ask; else those of a run.
pub async fn replay(
    blueprint: Blueprint,
    sources: Sources<'_>,
    out: Option<&Path>,
    mut observer: impl FnMut(&Progress) -> bool + Send + 'static,
) -> Result<Replayed, RunError> {
    // Apart from the worker's own models, which it tidies up.
    let place = sources.data_dir.join("replays");
    std::fs::create_dir_all(&place).map_err(RunError::file("make", &place))?;
    let run_dir = tempfile::tempdir_in(&place).map_err(RunError::file("make", &place))?;

    let base = base(&blueprint.lineage, &sources, run_dir.path().join("models")).await?;
    let (dataset, rows) = rows(&blueprint, &sources).await?;
    let lineage = blueprint.lineage;
    let (library, out) = (sources.runtime.to_owned(), out.map(Path::to_owned));
    let folder = run_dir.path().join("model");
    blocking(move || {
        let runtime = Runtime::load(&library, lineage.threads)?.on(lineage.device)?;
        let Lineage { recipe, synthesis, hold_out, templates, .. } = lineage.clone();
        let spec = TrainingSpec { recipe, synthesis, hold_out, templates };
        let trained = FineTuneSession::prepare(&runtime, base, dataset, spec)?.train(&mut observer, None)?;
        std::fs::create_dir_all(&folder).map_err(RunError::file("make", &folder))?;
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
async fn base(lineage: &Lineage, sources: &Sources<'_>, folder: PathBuf) -> Result<ModelFolder, RunError> {
    let ancestor = lineage.base.clone();
    let wanted = match ancestor.origin {
        // The record has a folder's name, not its path: other machines keep it elsewhere.
        ModelOrigin::Folder => sources.base_model,
        ModelOrigin::Release | ModelOrigin::Hub => &ancestor.name,
    };
    // Rather from the Hub, into a folder of the replay's own: the worker tidies its models up.
    let fetched = match sources.repository {
        Some(repository) => {
            let cache = ModelCache { repository, folder, fallback: sources.base_model };
            cache.base(Some(wanted)).await
        }
        None => Err(RunError::NoHub { name: ancestor.name.clone() }),
    };
    let found = match (fetched, on_disk(wanted, &sources.data_dir.join(MODELS))?) {
        (Ok(base), _) => base.folder,
        (Err(_), Some(kept)) => kept,
        (Err(error), None) => return Err(error),
    };
    blocking(move || match weights_digest(&found)? == ancestor.weights_sha256 {
        true => Ok(found),
        false => Err(RunError::OtherBase { name: ancestor.name }),
    })
    .await
}

/// The rows: of the snapshot, or else read again from the stream.
async fn rows(blueprint: &Blueprint, sources: &Sources<'_>) -> Result<(Dataset, RowSource), RunError> {
    let hash = &blueprint.dataset_hash;
    let snapshots = Snapshots::new(sources.data_dir.join(SNAPSHOTS));
    let of = |taken: TakenRows, source| {
        let Lineage { hold_out, templates, .. } = blueprint.lineage.clone();
        let hash = hash.clone();
        blocking(move || {
            let dataset = taken.dataset(&hold_out, &templates);
            Ok((dataset.summary.hash == hash).then_some((dataset, source)))
        })
    };
    if let Some(taken) = snapshots.load(hash)
        && let Some(found) = of(taken, RowSource::Snapshot).await?
    {
        return Ok(found);
    }
    let Some(corrections) = sources.corrections else {
        return Err(RunError::NoStream { path: snapshots.path(hash).unwrap_or_default() });
    };
    let names = names(blueprint, sources).await?;
    let other = |found| RunError::OtherRows { rows: blueprint.rows, found };
    let Some(last) = blueprint.lineage.last_sequence else { return Err(other(0)) };
    let snapshot = corrections.snapshot(last).await?;
    let rows: Vec<_> = snapshot.rows.into_iter().map(|(_, row)| row).collect();
    let found = rows.len();
    let taken = TakenRows { rows, released: snapshot.released, names };
    of(taken, RowSource::Stream).await?.ok_or_else(|| other(found))
}

/// The names that were added to those of the rows: the list that was kept, or what `CATALOG` says now if that is the
/// same.
async fn names(blueprint: &Blueprint, sources: &Sources<'_>) -> Result<Vec<(String, String)>, RunError> {
    let Some(list) = blueprint.names else { return Ok(Vec::new()) };
    let lists = NameLists::new(sources.data_dir.join(LISTS));
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

/// Moves a finished folder to where a person wants it, which may be another disk.
fn keep(folder: &Path, out: &Path) -> Result<(), RunError> {
    if std::fs::rename(folder, out).is_ok() {
        return Ok(());
    }
    // Through a zip: that copies, checks and renames as all folders here are made.
    let name = out.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let zip = folder.with_extension("zip");
    autovalidate_finetune::model::archive::pack(folder, &name, &zip)?;
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let beside = tempfile::tempdir_in(parent).map_err(RunError::file("make", parent))?;
    let top = autovalidate_finetune::model::archive::unpack(&zip, &beside.path().join("unpacked"))?;
    std::fs::rename(top, out).map_err(RunError::file("write", out))
}
