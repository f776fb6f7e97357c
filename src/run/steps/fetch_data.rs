//! Fetch-data: reads the rows, and sorts them into training pairs and held-out queries.

use serde_json::json;
use tracing::Span;

use crate::broker::RunRecord;
use crate::failure::chain;
use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::stage::Stage;
use crate::run::storage::{NameLists, RowSource, RunRows, Snapshots, blocking, erase_snapshots};

use super::{Step, StepContext, StepOutput, to_json};

/// Fetches the rows up to a stream sequence: from the snapshot of an earlier attempt, or from the
/// stream.
pub(in crate::run) struct FetchData {
    /// Last stream sequence to read.
    pub(in crate::run) covered: u64,
    /// Hash of the rows that an earlier attempt read.
    pub(in crate::run) known_hash: Option<String>,
}

/// The dataset, and the last stream sequence that was read for it.
pub(in crate::run) struct FetchedData {
    pub(in crate::run) dataset: Dataset,
    covered: u64,
}

impl Step for FetchData {
    const STAGE: Stage = Stage::FetchData;
    type Output = FetchedData;

    async fn perform(self, context: &StepContext<'_>) -> Result<StepOutput<FetchedData>, RunError> {
        let pipeline = context.pipeline;
        // Rows may have been erased by another worker, on another disk.
        let erased = pipeline.corrections.erased().await?;
        erase_snapshots(&pipeline.plan.data_dir, erased.clone()).await?;
        let (mut dataset, source) = match self.load_snapshot(context).await? {
            Some(dataset) => (dataset, RowSource::Snapshot),
            None => (self.read_stream(context).await?, RowSource::Stream),
        };
        let erased_now = pipeline.corrections.erased().await?;
        if erased_now != erased {
            // A row may have been erased while it was read.
            erase_snapshots(&pipeline.plan.data_dir, erased_now).await?;
        }
        if let Some(sentence) = dataset.untemplated.sentence(&pipeline.plan.templates) {
            tracing::warn!(job = %context.job, "{sentence}");
        }
        if let Some(sentence) = dataset.summary.without_catalog() {
            tracing::info!(job = %context.job, "{sentence}");
        }
        dataset.summary.quarantined = pipeline.corrections.quarantined_counts().await?;
        let mut figures = to_json(dataset.summary.outline())?;
        figures["source"] = json!(source);
        // An earlier attempt has recorded the ids.
        if let (RowSource::Snapshot, Some(figures)) = (source, figures.as_object_mut()) {
            figures.retain(|name, _| !name.ends_with("_ids"));
        }
        StepOutput::new(FetchedData { dataset, covered: self.covered }, figures)
    }

    fn record(output: &FetchedData, record: &mut RunRecord) -> Result<(), RunError> {
        let summary = &output.dataset.summary;
        record.last_sequence = Some(output.covered);
        record.row_count = Some(summary.rows as u64);
        record.dataset_hash = Some(summary.hash.clone());
        Ok(())
    }
}

impl FetchData {
    /// Returns the dataset of an earlier attempt, if its rows are on this disk and match its hash.
    async fn load_snapshot(&self, context: &StepContext<'_>) -> Result<Option<Dataset>, RunError> {
        let Some(known) = self.known_hash.clone() else { return Ok(None) };
        let plan = &context.pipeline.plan;
        let snapshots = Snapshots::new(&plan.data_dir);
        let (hold_out, templates) = (plan.hold_out, plan.templates.clone());
        blocking(move || {
            let dataset = snapshots.load(&known).map(|run_rows| run_rows.dataset(&hold_out, &templates));
            Ok(dataset.filter(|dataset| dataset.summary.hash == known))
        })
        .await
    }

    /// Builds the dataset from the current stream and catalog, and stores the rows for later
    /// attempts and for a replay. A run does without stored rows: when a row of it is erased at that
    /// moment, they are removed while they are written.
    async fn read_stream(&self, context: &StepContext<'_>) -> Result<Dataset, RunError> {
        let StepContext { pipeline, watchdog, .. } = context;
        let plan = &pipeline.plan;
        let snapshot =
            watchdog.watch(async { Ok(pipeline.corrections.snapshot(self.covered).await?) }).await?;
        snapshot.traces.link_to(&Span::current());
        let names = match &plan.names {
            None => Vec::new(),
            Some(source) => watchdog.watch(async { Ok(source.read().await?) }).await?,
        };
        let run_rows = RunRows { rows: snapshot.rows, released: snapshot.released, names };
        let (snapshots, lists) = (Snapshots::new(&plan.data_dir), NameLists::new(&plan.data_dir));
        let (hold_out, templates) = (plan.hold_out, plan.templates.clone());
        // Written before the dataset takes the rows apart, so that a million of them are in memory once.
        let job = context.job.clone();
        blocking(move || {
            let written = snapshots.write(&run_rows, &job);
            if !run_rows.names.is_empty() {
                lists.store(&run_rows.names)?;
            }
            let dataset = run_rows.dataset(&hold_out, &templates);
            let stored = written.and_then(|written| snapshots.store(&dataset.summary.hash, &written));
            if let Err(error) = stored {
                let error = chain(&error);
                tracing::warn!(%job, error, "the rows are not stored: a later attempt reads them from the stream");
            }
            Ok(dataset)
        })
        .await
    }
}
