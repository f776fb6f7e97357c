//! Copies a run's checkpoints between this disk and the store on the broker, so that a worker on
//! another machine can continue the run.
//!
//! Training knows nothing about the store: it writes files, and a file gets its name only once it
//! is complete. Copying runs beside training and never delays it. An error here is logged. Its only
//! cost is that the run may resume from an older checkpoint, or from none.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::broker::{CheckpointStore, JobId};
use crate::failure::chain;
use autovalidate_finetune::train::{Checkpoint, Progress};

use crate::run::error::RunError;
use crate::run::metrics::{CheckpointEvent, RunMetrics};

use super::RunDir;
use super::files::{blocking, place};

/// Copies the checkpoints of one run.
pub(in crate::run) struct CheckpointSync {
    /// Store on the broker; `None` when checkpoints stay on this disk.
    store: Option<CheckpointStore>,
    job: JobId,
    run_dir: RunDir,
    metrics: RunMetrics,
    /// Optimizer step of the stored checkpoint, as far as this worker knows.
    stored: Option<u64>,
}

impl CheckpointSync {
    pub(in crate::run) fn new(
        store: Option<CheckpointStore>,
        job: &JobId,
        run_dir: &RunDir,
        metrics: RunMetrics,
    ) -> Self {
        Self { store, job: job.clone(), run_dir: run_dir.clone(), metrics, stored: None }
    }

    /// Fetches the stored checkpoint if it is further along than the one on this disk.
    pub(in crate::run) async fn fetch(&mut self) {
        let Some(store) = self.store.clone() else { return };
        if let Err(error) = self.try_fetch(&store).await {
            let error = chain(&error);
            tracing::warn!(job = %self.job, error, "fetching the checkpoint failed; the run continues from this disk");
        }
    }

    async fn try_fetch(&mut self, store: &CheckpointStore) -> Result<(), RunError> {
        let Some(stored) = store.step(&self.job).await? else { return Ok(()) };
        self.stored = Some(stored);
        if self.local_step().await.is_some_and(|local| local >= stored) {
            return Ok(());
        }
        let beside = self.run_dir.attempt_folder().join("fetched");
        store.fetch(&self.job, &beside).await?;
        let folder = self.run_dir.checkpoints();
        blocking(move || place(&beside, &Checkpoint::file(&folder))).await?;
        self.metrics.checkpoint(CheckpointEvent::Fetched);
        tracing::info!(job = %self.job, step = stored, "a checkpoint was fetched");
        Ok(())
    }

    /// Stores new checkpoints whenever training reports progress, until training ends.
    pub(in crate::run) async fn store_on_progress(
        &mut self,
        mut progress: watch::Receiver<Option<Progress>>,
    ) {
        if self.store.is_none() {
            return;
        }
        while progress.changed().await.is_ok() {
            self.store().await;
        }
    }

    /// Stores this disk's checkpoint unless it is stored already.
    pub(in crate::run) async fn store(&mut self) {
        let Some(store) = self.store.clone() else { return };
        let Some(step) =
            self.local_step().await.filter(|step| self.stored.is_none_or(|stored| *step > stored))
        else {
            return;
        };
        // Set before the upload: a checkpoint that can't be stored is not tried again, but the next
        // one is.
        self.stored = Some(step);
        match store.put(&self.job, step, &Checkpoint::file(&self.run_dir.checkpoints())).await {
            Ok(()) => {
                self.metrics.checkpoint(CheckpointEvent::Stored);
                tracing::debug!(job = %self.job, step, "a checkpoint was stored");
            }
            Err(error) => {
                self.metrics.checkpoint(CheckpointEvent::NotStored);
                let (error, advice) = (chain(&error), crate::failure::Failure::advice(&error));
                tracing::warn!(job = %self.job, step, error, advice, "a checkpoint was not stored; training continues");
            }
        }
    }

    /// Returns the optimizer step of this disk's checkpoint.
    async fn local_step(&self) -> Option<u64> {
        let folder: PathBuf = self.run_dir.checkpoints();
        tokio::task::spawn_blocking(move || Checkpoint::step(&folder)).await.ok().flatten()
    }
}

/// Removes a run's stored checkpoint, once no worker will continue from it.
pub(in crate::run) async fn remove_stored_checkpoint(
    store: Option<&CheckpointStore>,
    job: &JobId,
    now: Timestamp,
) {
    let Some(store) = store else { return };
    if let Err(error) = store.forget(job, now).await {
        tracing::warn!(%job, error = chain(&error), "a stored checkpoint was not removed; it expires by itself");
    }
}
