//! One look from anywhere: a sweep, a look of the trigger, and a start of a trainer.

use std::sync::Arc;

use serde::Serialize;

use super::inbox::{DurableInbox, ScreeningSources};
use super::{BrokerHandles, WorkerError, trainer_starter};
use crate::broker::JobId;
use crate::ingest::{Ingest, IngestTiming};
use crate::launcher::Look;
use crate::settings::Settings;
use crate::trigger::{Decision, DueJob};

/// Result of a tick.
#[derive(Debug, Serialize)]
pub struct Tick {
    /// Number of pairs that the sweep found; `None` when no table is set.
    pub stored: Option<u64>,
    /// True when the tick has started a job.
    pub job_started: bool,
    /// The next run that starts by itself if nothing changes.
    pub due: Option<DueJob>,
    /// First job that waits or is in progress.
    pub job: Option<JobId>,
    /// Sentence about the start of a trainer; `None` when no job waits or `TRAINER_START` is not
    /// set.
    pub trainer: Option<String>,
}

impl Tick {
    /// Sweeps the table, looks at the trigger, and starts a trainer when a job waits. A sweep that
    /// fails does not keep the others from being done.
    ///
    /// # Errors
    /// [`WorkerError`]; the first error, after everything has been tried.
    pub async fn perform(settings: &Settings, handles: &BrokerHandles) -> Result<Self, WorkerError> {
        let swept = Box::pin(sweep(settings, handles)).await;
        handles.jobs.register_waiting().await?;
        let decision = handles.trigger.look().await?;
        let mut trainer = None;
        if let Some(starter) = trainer_starter(handles, &settings.trainer_start)? {
            trainer = match Box::pin(starter.look()).await? {
                Look::NoJob => None,
                Look::TrainerUp => Some("a trainer is up".to_owned()),
                Look::Waiting(_, at) => Some(format!("a start was tried; the next one is not before {at}")),
                Look::Started(_, launch) => Some(launch.to_string()),
                Look::Failed(_, at) => Some(format!(
                    "no trainer was started, see `autovalidate status`; the next try is not before {at}"
                )),
            };
        }
        Ok(Self {
            stored: swept?,
            job_started: matches!(decision, Decision::Fire(_)),
            due: handles.trigger.next_due().await?,
            job: handles.jobs.first_outstanding().await?,
            trainer,
        })
    }
}

async fn sweep(settings: &Settings, handles: &BrokerHandles) -> Result<Option<u64>, WorkerError> {
    let Some(access) = settings.supabase.clone() else { return Ok(None) };
    let sources =
        ScreeningSources { catalog: settings.catalog.clone(), burst: settings.burst, access: access.clone() };
    let inbox = Arc::new(DurableInbox::new(&handles.streams, handles.corrections.clone(), sources));
    let ingest = Ingest::new(access, inbox, IngestTiming::default())?;
    Ok(Some(Box::pin(ingest.sweep_now()).await?))
}
