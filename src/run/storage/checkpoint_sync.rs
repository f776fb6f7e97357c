//! Carries a run's checkpoints between this disk and the store on the broker, so that a trainer on another machine can
//! go on with the run.
//!
//! Training knows nothing of it: it writes files, and each has its name only once it is whole. Carrying happens beside
//! it and never holds it up, and what goes wrong here is logged: it costs the run nothing but the help it would have been.

use std::path::PathBuf;

use jiff::Timestamp;
use tokio::sync::watch;

use crate::broker::{CheckpointStore, JobId};
use crate::failure::chain;
use autovalidate_finetune::train::{Checkpoint, Progress};

use crate::run::error::RunError;
use crate::run::storage::RunDir;
use crate::run::storage::blocking;
use crate::run::storage::put;

/// Carries the checkpoints of one run.
pub(in crate::run) struct CheckpointSync {
    /// `None` when checkpoints stay on this disk.
    store: Option<CheckpointStore>,
    job: JobId,
    run_dir: RunDir,
    /// How many steps the stored checkpoint has done, as far as this worker knows.
    stored: Option<u64>,
}

impl CheckpointSync {
    pub(in crate::run) fn new(store: Option<CheckpointStore>, job: &JobId, run_dir: &RunDir) -> Self {
        Self { store, job: job.clone(), run_dir: run_dir.clone(), stored: None }
    }

    /// Brings the stored checkpoint here if it is further than the one on this disk.
    pub(in crate::run) async fn fetch(&mut self) {
        let Some(store) = self.store.clone() else { return };
        if let Err(error) = self.try_fetch(&store).await {
            let error = chain(&error);
            tracing::warn!(job = %self.job, error, "no checkpoint could be fetched; the run goes on from this disk");
        }
    }

    async fn try_fetch(&mut self, store: &CheckpointStore) -> Result<(), RunError> {
        let Some(stored) = store.step(&self.job).await? else { return Ok(()) };
        self.stored = Some(stored);
        if self.here().await.is_some_and(|here| here >= stored) {
            return Ok(());
        }
        let beside = self.run_dir.attempt_folder().join("fetched");
        store.fetch(&self.job, &beside).await?;
        let folder = self.run_dir.checkpoints();
        blocking(move || put(&beside, &Checkpoint::file(&folder))).await?;
        tracing::info!(job = %self.job, step = stored, "a checkpoint was fetched");
        Ok(())
    }

    /// Stores what training writes, whenever it has told of progress, until it ends.
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
        let Some(step) = self.here().await.filter(|step| self.stored.is_none_or(|stored| *step > stored))
        else {
            return;
        };
        // Said before it is true: one that can't be stored isn't tried again, the next will be.
        self.stored = Some(step);
        match store.put(&self.job, step, &Checkpoint::file(&self.run_dir.checkpoints())).await {
            Ok(()) => tracing::debug!(job = %self.job, step, "a checkpoint is stored"),
            Err(error) => {
                let (error, advice) = (chain(&error), crate::failure::Failure::advice(&error));
                tracing::warn!(job = %self.job, step, error, advice, "a checkpoint was not stored; training goes on");
            }
        }
    }

    /// How many steps this disk's checkpoint has done.
    async fn here(&self) -> Option<u64> {
        let folder: PathBuf = self.run_dir.checkpoints();
        tokio::task::spawn_blocking(move || Checkpoint::step(&folder)).await.ok().flatten()
    }
}

/// Removes a run's stored checkpoint, once nobody will go on from it.
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
