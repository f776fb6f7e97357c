//! Display of `dev`, and the demo of `dev --demo`. The demo inserts corrections as the app would,
//! follows the run that they start, and sums the run up.

use std::path::Path;
use std::time::{Duration, Instant};

use async_nats::Subscriber;
use futures::StreamExt;
use serde_json::json;
use tokio::sync::broadcast;
use url::Url;

use crate::broker::{Event, RunRecord};
use crate::evaluate::Report;
use crate::ingest::{IngestEvent, ReportedError};
use crate::run::ENDED;
use crate::worker::{BrokerHandles, Worker};
use autovalidate_fakes::demo::{Correction, corrections};

use super::terminal::{Terminal, curve};
use super::{CliError, CommandOutcome};

/// Number of rows inserted by one request.
const BATCH: usize = 20;
/// Time that one request may take.
const INSERT_DEADLINE: Duration = Duration::from_secs(10);
/// Pause between two requests, so that a person can watch the rows arrive.
const PAUSE: Duration = Duration::from_millis(60);

/// Target and contents of the demo's inserts.
pub(super) struct DemoSettings {
    pub(super) url: Url,
    pub(super) key: String,
    pub(super) table: String,
    pub(super) pairs: u64,
    pub(super) seed: u64,
    /// Number of the seed's corrections that earlier runs have used.
    pub(super) skipped: u64,
}

/// Observer of a worker, which shows its events.
pub(super) struct Demo {
    terminal: Terminal,
    ingest: Option<broadcast::Receiver<IngestEvent>>,
    events: Subscriber,
    arrived: u64,
    threshold: u64,
    /// Error of the ingest that was shown last; cleared when a sweep has finished. An error that
    /// repeats is shown only once.
    trouble: Option<ReportedError>,
}

/// Event that was seen next.
enum Seen {
    Run(Event),
    Nothing,
}

impl Demo {
    /// Subscribes to the worker's events, before the first one can be published.
    pub(super) async fn watch(
        worker: &mut Worker,
        terminal: Terminal,
        threshold: u64,
    ) -> Result<Self, CliError> {
        let streams = &worker.handles().streams;
        let client = streams.connection().client();
        let events =
            client.subscribe(streams.names().event_subjects()).await.map_err(|source| CliError::Plain {
                what: "events can't be followed".to_owned(),
                advice: "Start again.".to_owned(),
                source: Some(Box::new(source)),
            })?;
        // The subscription must reach the server before the first event is published.
        client.flush().await.map_err(|source| CliError::Plain {
            what: "events can't be followed".to_owned(),
            advice: "Start again.".to_owned(),
            source: Some(Box::new(source)),
        })?;
        Ok(Self {
            terminal,
            ingest: worker.take_ingest_events(),
            events,
            arrived: 0,
            threshold,
            trouble: None,
        })
    }

    /// Shows events until the future is dropped.
    pub(super) async fn follow(&mut self) {
        loop {
            if let Seen::Run(event) = self.next().await
                && event.stage == ENDED
            {
                self.terminal.line(&format!("  run {} ended: {}", event.job, event.detail["state"]));
                self.arrived = 0;
            }
        }
    }

    /// Inserts corrections and shows the run that they start until it ends.
    pub(super) async fn run(
        &mut self,
        settings: &DemoSettings,
        handles: &BrokerHandles,
        hub: &Path,
    ) -> Result<CommandOutcome, CliError> {
        let started = Instant::now();
        self.arrived = 0;
        let count = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        let drawn = corrections(settings.seed, count(settings.skipped + settings.pairs));
        let pairs = &drawn[count(settings.skipped)..];
        self.terminal.line(&format!("\nInserting {} corrections over the Supabase REST API:", pairs.len()));
        let ended = {
            let insert = insert(settings, pairs);
            tokio::pin!(insert);
            let mut inserted = false;
            loop {
                tokio::select! {
                    done = &mut insert, if !inserted => {
                        done?;
                        inserted = true;
                    }
                    seen = self.next() => {
                        if let Seen::Run(event) = seen && event.stage == ENDED {
                            break event;
                        }
                    }
                }
            }
        };
        self.terminal.close();
        let Some((record, _)) = handles.runs.load(&ended.job).await? else {
            return Err(CliError::plain(format!("run {} has no record", ended.job), "Report this defect."));
        };
        self.sum_up(&record, hub, started.elapsed());
        Ok(if record.artifact.is_some() { CommandOutcome::Done } else { CommandOutcome::NothingPublished })
    }

    async fn next(&mut self) -> Seen {
        tokio::select! {
            event = next_ingest(&mut self.ingest) => {
                match event {
                    IngestEvent::Stored { pairs } => {
                        self.arrived += pairs;
                        self.terminal.pairs(self.arrived, self.threshold);
                    }
                    IngestEvent::Swept { stored, .. } => {
                        self.trouble = None;
                        if stored > 0 {
                            self.arrived += stored;
                            self.terminal.pairs(self.arrived, self.threshold);
                        }
                    }
                    IngestEvent::SessionEnded { trouble, .. } | IngestEvent::Failed { trouble }
                        if self.trouble.as_ref() != Some(&trouble) =>
                    {
                        self.terminal.line(&format!("  ingest: {} ({})", trouble.error, trouble.advice));
                        self.trouble = Some(trouble);
                    }
                    IngestEvent::Invisible { kept, trouble } if kept > 0 => {
                        self.terminal.line(&format!("  ingest: {} ({})", trouble.error, trouble.advice));
                    }
                    IngestEvent::Progress(backfill) => {
                        self.terminal.line(&format!("  ingest: {} rows read", backfill.read));
                    }
                    _ => {}
                }
                Seen::Nothing
            }
            message = self.events.next() => {
                let event = message.and_then(|message| serde_json::from_slice::<Event>(&message.payload).ok());
                let Some(event) = event else { return Seen::Nothing };
                if event.stage == "load-base" && event.detail["phase"] == "started" {
                    self.terminal.close();
                    // A run that the trigger starts is named after the pairs that started it.
                    let how = if event.job.as_str().starts_with("pairs-") { " by itself" } else { "" };
                    self.terminal.line(&format!("\nRun {} started{how}:", event.job));
                }
                self.terminal.event(&event);
                Seen::Run(event)
            }
        }
    }

    fn sum_up(&self, record: &RunRecord, hub: &Path, took: Duration) {
        let line = |text: &str| self.terminal.line(text);
        if let Some(error) = &record.error {
            line(&format!(
                "\nThe run is {}: {}\n  what to do: {}",
                record.state, error.message, error.advice
            ));
            return;
        }
        let training =
            record.stages.iter().find(|stage| stage.stage == "train").map(|stage| &stage.figures["training"]);
        if let Some(training) = training {
            let numbers = |name: &str| -> Vec<f64> {
                training[name]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(serde_json::Value::as_f64)
                    .collect()
            };
            let losses = numbers("losses");
            if let (Some(first), Some(last)) = (losses.first(), losses.last()) {
                line(&format!("\nLoss  {first:.3} {} {last:.3}", curve(&losses, 48)));
            }
        }
        match serde_json::from_value::<Report>(record.metrics.clone()) {
            Ok(report) => line(&format!("\n{report}")),
            Err(error) => tracing::warn!(%error, "the report can't be read"),
        }
        if let Some(artifact) = &record.artifact {
            line(&format!("\nPublished  {}  ({:.0} MB)", artifact.path, artifact.size as f64 / 1e6));
            line(&format!("           commit {}  sha256 {}", artifact.commit, artifact.sha256));
            line(&format!("           the local Hub keeps it below {}", hub.display()));
        }
        line(&format!("Took       {:.0} s from the first insert", took.as_secs_f64()));
    }
}

/// Returns the next event of the ingest; never resolves without an ingest. Events that a slow
/// terminal misses are skipped.
async fn next_ingest(events: &mut Option<broadcast::Receiver<IngestEvent>>) -> IngestEvent {
    loop {
        let Some(receiver) = events else { return std::future::pending().await };
        match receiver.recv().await {
            Ok(event) => return event,
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => *events = None,
        }
    }
}

/// Inserts corrections as the app does: with the anonymous key, through PostgREST.
async fn insert(settings: &DemoSettings, pairs: &[Correction]) -> Result<(), CliError> {
    let client = reqwest::Client::builder().build().map_err(cannot_insert)?;
    for batch in pairs.chunks(BATCH) {
        insert_rows(&client, &settings.url, &settings.key, &settings.table, batch).await?;
        tokio::time::sleep(PAUSE).await;
    }
    Ok(())
}

/// Inserts corrections with one request, which is one transaction.
pub(super) async fn insert_rows(
    client: &reqwest::Client,
    supabase: &Url,
    key: &str,
    table: &str,
    pairs: &[Correction],
) -> Result<(), CliError> {
    let url = supabase
        .join(&format!("rest/v1/{table}"))
        .map_err(|_| CliError::plain("the table's URL is malformed", "Report this defect."))?;
    let rows: Vec<_> = pairs
        .iter()
        .map(|pair| json!({ "typo": pair.typo, "corrected": pair.corrected, "domain": pair.domain }))
        .collect();
    client
        .post(url)
        .header("apikey", key)
        .bearer_auth(key)
        .json(&rows)
        .timeout(INSERT_DEADLINE)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .map_err(cannot_insert)?;
    Ok(())
}

fn cannot_insert(source: reqwest::Error) -> CliError {
    CliError::Plain {
        what: "corrections can't be inserted".to_owned(),
        advice: "Start again.".to_owned(),
        source: Some(Box::new(source)),
    }
}
