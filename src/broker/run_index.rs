//! Index of the run records: a summary of each run, in pages, so that a list of runs reads no record.
//!
//! The newest page is stored under the key `runs` in the bucket of state that survives a restart, and
//! the pages before it under `runs.<number>`, from 1 on. A page is one small message, so a list of the
//! newest runs takes one read, however many runs there were.
//!
//! The record is authoritative. Its summary is written after it, and a summary that can't be written
//! is logged only: the next change of the record writes it again. A worker that starts builds the
//! index when there is none, or when the number of records says that some are missing.

use futures::future::BoxFuture;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::BrokerError;
use super::job_id::JobId;
use super::latest_runs::LastPublished;
use super::message_size::size;
use super::records::{Records, Revision};
use super::run_state::RunState;
use super::runs::{RunRecord, Runs};
use super::streams::Streams;
use crate::default_value::is_default;
use crate::failure::chain;
use crate::text::plain_line;

/// Key of the newest page.
const KEY: &str = "runs";
/// Size of the newest page, in bytes of JSON, above which its older half becomes a page of its own.
/// Small enough for any server's limit on messages.
const PAGE_BYTES: usize = 8 * 1024;
/// Size of the newest page above which runs that have not ended may leave it, too.
const LARGEST_PAGE: usize = 24 * 1024;

/// Shares of held-out typos whose right name comes first, rounded to four digits.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RunScores {
    /// Share by the model that was live, on the run's own typos.
    pub before: f64,
    /// Share by the new model, on the run's own typos.
    pub after: f64,
    /// Share by the new model on the typos that judged earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub earlier: Option<f64>,
}

impl RunScores {
    /// Reads the scores from the metrics of a record.
    fn of(metrics: &Value) -> Option<Self> {
        let share = |group: &str, model: &str| {
            let share = metrics[group]["all"][model]["overall"]["accuracy_at_1"].as_f64()?;
            Some((share * 1e4).round() / 1e4)
        };
        Some(Self {
            before: share("held_out", "before")?,
            after: share("held_out", "after")?,
            earlier: share("legacy", "after"),
        })
    }
}

/// Summary of a run, for lists.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSummary {
    /// Id of the run.
    pub id: JobId,
    /// State of the run.
    pub state: RunState,
    /// Time at which the record was created.
    pub created_at: Timestamp,
    /// Time at which the run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Reason for which the run was requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Number of pairs in the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Verdict of the gate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Scores of the new model, once the run has evaluated it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scores: Option<RunScores>,
    /// Path of the zip that the run published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<String>,
    /// Number of times that a worker took up the run.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attempts: u64,
    /// Message of the error that the run ended with, shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl RunSummary {
    /// Summarizes a record.
    pub fn of(record: &RunRecord) -> Self {
        let short = |text: &String| plain_line(text, 120);
        Self {
            id: record.id.clone(),
            state: record.state,
            created_at: record.created_at,
            ended_at: record.ended_at,
            reason: record.request.reason.as_ref().map(short),
            row_count: record.row_count,
            verdict: record.verdict.as_ref().map(short),
            scores: RunScores::of(&record.metrics),
            published: record.artifact.as_ref().map(|artifact| short(&artifact.path)),
            attempts: record.attempts,
            error: record.error.as_ref().map(|error| short(&error.message)),
        }
    }
}

/// Some of the runs, newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunPage {
    /// Runs of the page.
    pub runs: Vec<RunSummary>,
    /// Number to ask for earlier runs with; `None` when there are none.
    pub earlier: Option<u64>,
}

/// The newest page, with what is known of the whole index.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NewestPage {
    /// False while the index is being built.
    complete: bool,
    /// Number of earlier pages.
    earlier: u64,
    /// Number of records that the index was built from or that were added since.
    records: u64,
    /// Runs, oldest first.
    pub(super) runs: Vec<RunSummary>,
    /// The run that ended last, and the time.
    last_ended: Option<(JobId, Timestamp)>,
    /// The run that published a model last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_published: Option<LastPublished>,
}

/// A page that gets no further run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct EarlierPage {
    /// Runs, oldest first.
    runs: Vec<RunSummary>,
}

impl NewestPage {
    fn note_end(&mut self, summary: &RunSummary) {
        self.last_published = LastPublished::or(self.last_published.take(), summary);
        let Some(ended_at) = summary.ended_at.filter(|_| summary.state.is_final()) else { return };
        if self.last_ended.as_ref().is_none_or(|(_, last)| *last <= ended_at) {
            self.last_ended = Some((summary.id.clone(), ended_at));
        }
    }

    /// Returns the older half of a page that is too large, which then is the next earlier page. Runs
    /// that have not ended stay where each of their changes finds them at once.
    fn overflow(&mut self) -> Option<EarlierPage> {
        let (bytes, half) = (size(&self.runs), self.runs.len() / 2);
        if bytes <= PAGE_BYTES || half == 0 {
            return None;
        }
        let ended = self.runs[..half].iter().all(|run| run.state.is_final());
        if !ended && bytes <= LARGEST_PAGE {
            return None;
        }
        self.earlier += 1;
        Some(EarlierPage { runs: self.runs.drain(..half).collect() })
    }
}

/// Handle of the index.
#[derive(Debug, Clone)]
pub(super) struct RunIndex {
    newest: Records<NewestPage>,
    earlier: Records<EarlierPage>,
}

impl RunIndex {
    pub(super) fn new(streams: &Streams) -> Self {
        Self { newest: streams.state(), earlier: streams.state() }
    }

    pub(super) async fn complete(&self) -> Result<Option<NewestPage>, BrokerError> {
        let stored = self.newest.load(KEY).await?;
        Ok(stored.map(|(page, _)| page).filter(|page| page.complete))
    }

    /// Enters a record that was just written. Does nothing on a broker without an index: a worker's
    /// start builds it.
    pub(super) async fn enter(&self, record: &RunRecord) {
        let summary = RunSummary::of(record);
        if let Err(error) = self.try_enter(&summary).await {
            tracing::warn!(job = %summary.id, error = chain(&error), "a run's summary was not written");
        }
    }

    async fn try_enter(&self, summary: &RunSummary) -> Result<(), BrokerError> {
        loop {
            let Some((stored, revision)) = self.newest.load(KEY).await? else { return Ok(()) };
            let mut page = stored.clone();
            if let Some(known) = page.runs.iter_mut().find(|run| run.id == summary.id) {
                *known = summary.clone();
            } else if !self.change_earlier(page.earlier, summary).await? {
                page.runs.push(summary.clone());
                page.records += 1;
            }
            page.note_end(summary);
            if page == stored {
                return Ok(());
            }
            // A build puts the runs into pages itself.
            if page.complete
                && let Some(earlier) = page.overflow()
            {
                self.earlier.update(&key(page.earlier), |_| Some(earlier.clone())).await?;
            }
            match self.newest.save(KEY, &page, revision).await {
                Err(BrokerError::Conflict { .. }) => {}
                saved => return saved.map(drop),
            }
        }
    }

    /// Changes the summary of a run on one of the earlier pages. Returns false when none has it. Only a
    /// retry of an old run changes one, so the pages are searched from the newest to the oldest.
    async fn change_earlier(&self, pages: u64, summary: &RunSummary) -> Result<bool, BrokerError> {
        // A run that no worker has taken up yet is new.
        if summary.attempts == 0 && summary.state == RunState::Queued {
            return Ok(false);
        }
        for number in (1..=pages).rev() {
            let found = self.earlier.load(&key(number)).await?;
            let has = |page: &EarlierPage| page.runs.iter().any(|run| run.id == summary.id);
            if !found.is_some_and(|(page, _)| has(&page)) {
                continue;
            }
            let change = |page: Option<&EarlierPage>| {
                let mut page = page.cloned().unwrap_or_default();
                let known = page.runs.iter_mut().find(|run| run.id == summary.id)?;
                (known != summary).then(|| known.clone_from(summary))?;
                Some(page)
            };
            self.earlier.update(&key(number), change).await?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Begins to build the index: from now on, changes of records are entered. Returns false when the
    /// index is complete for this number of records.
    async fn begin(&self, records: u64) -> Result<bool, BrokerError> {
        loop {
            let saved = match self.newest.load(KEY).await? {
                Some((page, _)) if page.complete && page.records == records => return Ok(false),
                Some((page, _)) if !page.complete => return Ok(true),
                Some((_, revision)) => self.newest.save(KEY, &NewestPage::default(), revision).await,
                None => self.newest.create(KEY, &NewestPage::default()).await,
            };
            match saved {
                Ok(_) => return Ok(true),
                Err(BrokerError::Conflict { .. } | BrokerError::Exists { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Completes the index with the summaries of all records, of which there were this many keys.
    async fn finish(&self, summaries: Vec<RunSummary>, records: u64) -> Result<(), BrokerError> {
        loop {
            let Some((page, revision)) = self.newest.load(KEY).await? else { return Ok(()) };
            // Another worker has built it at the same time.
            if page.complete {
                return Ok(());
            }
            match self.write(summaries.clone(), &page, revision, records).await {
                Err(BrokerError::Conflict { .. }) => {}
                written => return written,
            }
        }
    }

    async fn write(
        &self,
        mut runs: Vec<RunSummary>,
        entered: &NewestPage,
        revision: Revision,
        records: u64,
    ) -> Result<(), BrokerError> {
        // A summary that was entered meanwhile is newer than the one that was read.
        let is_entered = |run: &RunSummary| entered.runs.iter().any(|entered| entered.id == run.id);
        let found = runs.len();
        runs.retain(|run| !is_entered(run));
        let added = (entered.runs.len() + runs.len()).saturating_sub(found);
        runs.extend(entered.runs.iter().cloned());
        runs.sort_by(|a, b| a.created_at.cmp(&b.created_at).then_with(|| a.id.cmp(&b.id)));
        let mut newest =
            NewestPage { complete: true, records: records + added as u64, ..NewestPage::default() };
        for run in runs {
            newest.note_end(&run);
            newest.runs.push(run);
            if let Some(earlier) = newest.overflow() {
                self.earlier.update(&key(newest.earlier), |_| Some(earlier.clone())).await?;
            }
        }
        self.newest.save(KEY, &newest, revision).await.map(drop)
    }
}

impl Runs {
    /// Builds the index of the records when there is none or when records are missing in it. Reads
    /// every record then, once.
    ///
    /// # Errors
    /// [`BrokerError::Request`].
    pub fn complete_index(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            let keys = self.records.count().await?;
            if !self.index.begin(keys).await? {
                return Ok(());
            }
            let summaries = self.records.map_all(|record| RunSummary::of(&record)).await?;
            tracing::info!(runs = summaries.len(), "built the index of the runs");
            self.index.finish(summaries, keys).await
        })
    }

    /// Returns the newest runs, or those before a page that was returned: at least `count`, if there are
    /// as many, and not many more. Without an index, as an earlier version leaves a broker, this reads
    /// every record and returns all runs.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn page(&self, earlier: Option<u64>, count: usize) -> Result<RunPage, BrokerError> {
        let Some(newest) = self.index.complete().await? else {
            let mut runs = self.records.map_all(|record| RunSummary::of(&record)).await?;
            newest_first(&mut runs);
            return Ok(RunPage { runs, earlier: None });
        };
        let (mut runs, mut number) = match earlier {
            Some(number) => (Vec::new(), number.min(newest.earlier)),
            None => (newest.runs, newest.earlier),
        };
        while runs.len() < count && number > 0 {
            let page = self.index.earlier.load(&key(number)).await?;
            runs.extend(page.map(|(page, _)| page.runs).unwrap_or_default());
            number -= 1;
        }
        newest_first(&mut runs);
        Ok(RunPage { runs, earlier: Some(number).filter(|number| *number > 0) })
    }

    /// Returns the record of the run that ended last.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::Unreadable`].
    pub async fn last_ended(&self) -> Result<Option<RunRecord>, BrokerError> {
        let last = match self.index.complete().await? {
            Some(newest) => newest.last_ended.map(|(id, _)| id),
            None => {
                let runs = self.records.map_all(|record| RunSummary::of(&record)).await?;
                let ended = runs.into_iter().filter(|run| run.state.is_final());
                ended.max_by_key(|run| run.ended_at).map(|run| run.id)
            }
        };
        let Some(id) = last else { return Ok(None) };
        Ok(self.load(&id).await?.map(|(record, _)| record))
    }
}

fn newest_first(runs: &mut [RunSummary]) {
    runs.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| b.id.cmp(&a.id)));
}

fn key(number: u64) -> String {
    format!("{KEY}.{number}")
}
