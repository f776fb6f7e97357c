//! The first two stages, load-base and fetch-data: what a run starts from. An attempt that goes on starts from the same.

use serde_json::json;

use crate::broker::JobRequest;
use crate::hub::ReleaseName;

use crate::run::dataset::Dataset;
use crate::run::dataset::{LISTS, NameLists};
use crate::run::error::RunError;
use crate::run::pipeline::Pipeline;
use crate::run::provenance::Ancestor;
use crate::run::recorder::RunRecorder;
use crate::run::stage::Stage;
use crate::run::storage::{BaseModel, ModelCache, blocking};
use crate::run::storage::{RowSource, SNAPSHOTS, Snapshots, TakenRows};
use crate::run::watchdog::RunWatchdog;

impl Pipeline {
    /// The model to start from, and what it is by hash.
    pub(in crate::run) async fn load_base(
        &self,
        recorder: &mut RunRecorder,
        request: &JobRequest,
        cache: &ModelCache<'_>,
        watchdog: &RunWatchdog,
    ) -> Result<(BaseModel, Ancestor), RunError> {
        // An attempt that goes on starts from the same model, whatever has been released since.
        let before = recorder.record.base_model.clone().filter(|_| recorder.record.dataset_hash.is_some());
        let wanted = match before {
            Some(label) if ReleaseName::from_path(&label).is_some() => Some(label),
            Some(_) => request.base_model.clone().or_else(|| Some(self.plan.base_model.clone())),
            None => request.base_model.clone(),
        };
        let private = self.plan.private_repository;
        let (base, ancestor) = recorder
            .stage(Stage::LoadBase, async {
                let base = watchdog
                    .watch(async {
                        self.repository.create_if_missing(private).await?;
                        cache.base(wanted.as_deref()).await
                    })
                    .await?;
                let (base, ancestor) = blocking(move || {
                    let ancestor = Ancestor::of(&base)?;
                    Ok((base, ancestor))
                })
                .await?;
                let figures = json!({ "model": base.label, "origin": base.origin, "weights_sha256": ancestor.weights_sha256 });
                Ok(((base, ancestor), figures))
            })
            .await?;
        recorder.record.base_model = Some(base.label.clone());
        Ok((base, ancestor))
    }

    /// The rows, from the snapshot of an attempt before or from the stream.
    pub(in crate::run) async fn fetch_data(
        &self,
        recorder: &mut RunRecorder,
        covered: u64,
        watchdog: &RunWatchdog,
    ) -> Result<Dataset, RunError> {
        let snapshots = Snapshots::new(self.plan.data_dir.join(SNAPSHOTS));
        let lists = NameLists::new(self.plan.data_dir.join(LISTS));
        let known = recorder.record.dataset_hash.clone();
        let dataset = recorder
            .stage(Stage::FetchData, async {
                let (hold_out, templates) = (self.plan.hold_out, self.plan.templates.clone());
                let kept = {
                    let (snapshots, templates) = (snapshots.clone(), templates.clone());
                    blocking(move || {
                        let taken = known.as_ref().and_then(|hash| snapshots.load(hash));
                        let dataset = taken.map(|taken| taken.dataset(&hold_out, &templates));
                        Ok(dataset.filter(|dataset| Some(&dataset.summary.hash) == known.as_ref()))
                    })
                    .await?
                };
                let (mut dataset, source) = match kept {
                    Some(dataset) => (dataset, RowSource::Snapshot),
                    None => {
                        let snapshot =
                            watchdog.watch(async { Ok(self.corrections.snapshot(covered).await?) }).await?;
                        let rows = snapshot.rows.into_iter().map(|(_, row)| row).collect();
                        let names = match &self.plan.names {
                            None => Vec::new(),
                            Some(source) => watchdog.watch(async { Ok(source.read().await?) }).await?,
                        };
                        let taken = TakenRows { rows, released: snapshot.released, names };
                        let dataset = blocking(move || {
                            let dataset = taken.clone().dataset(&hold_out, &templates);
                            snapshots.keep(&dataset.summary.hash, &taken)?;
                            if !taken.names.is_empty() {
                                lists.keep(&taken.names)?;
                            }
                            Ok(dataset)
                        })
                        .await?;
                        (dataset, RowSource::Stream)
                    }
                };
                dataset.summary.quarantined = self.corrections.quarantined_counts().await?;
                let mut figures =
                    serde_json::to_value(&dataset.summary).map_err(crate::broker::QueueError::from)?;
                figures["source"] = json!(source);
                // An attempt before has recorded the ids, which may be many.
                if let (RowSource::Snapshot, Some(figures)) = (source, figures.as_object_mut()) {
                    figures.retain(|name, _| !name.ends_with("_ids"));
                }
                Ok((dataset, figures))
            })
            .await?;
        let summary = &dataset.summary;
        recorder.record.last_sequence = Some(covered);
        recorder.record.row_count = Some(summary.rows as u64);
        recorder.record.dataset_hash = Some(summary.hash.clone());
        Ok(dataset)
    }
}
