//! One look from anywhere: a sweep, a look of the trigger, and a start of a trainer.

use jiff::Timestamp;
use serde::Serialize;

use super::{BrokerHandles, WorkerError, inbox, trainer_starter};
use crate::broker::{JobId, RecordedError};
use crate::launcher::{Look, TrainerStarter};
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
    /// Result of the look for a trainer; `None` when no job waits or `TRAINER_START` is not set.
    pub trainer: Option<TrainerLook>,
}

/// Result of the look for a trainer, while a job waits or is in progress.
#[derive(Debug, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TrainerLook {
    /// A trainer is up.
    Up,
    /// A start was made a short time ago. The next one is not made before this time.
    Waiting {
        /// Time of the next start, if no trainer comes up.
        not_before: Timestamp,
    },
    /// The look has started a trainer, or found one on its way.
    Started {
        /// Sentence that names it.
        trainer: String,
    },
    /// The start failed. The next one is not made before this time.
    Failed {
        /// Time of the next try.
        not_before: Timestamp,
        /// Reason, with advice; `None` when another worker has replaced the record meanwhile.
        error: Option<RecordedError>,
    },
}

impl Tick {
    /// Sweeps the table, looks at the trigger, and starts a trainer when a job waits. A sweep that
    /// fails does not keep the others from being done.
    ///
    /// # Errors
    /// [`WorkerError`]; the first error, after everything has been tried.
    pub async fn perform(settings: &Settings, handles: &BrokerHandles) -> Result<Self, WorkerError> {
        let swept = Box::pin(sweep(settings, handles)).await;
        Box::pin(handles.jobs.register_waiting()).await?;
        let decision = Box::pin(handles.trigger.look()).await?;
        let mut trainer = None;
        if let Some(starter) = trainer_starter(handles, &settings.trainer_start)? {
            trainer = match Box::pin(starter.look()).await? {
                Look::NoJob => None,
                Look::TrainerUp => Some(TrainerLook::Up),
                Look::Waiting(_, not_before) => Some(TrainerLook::Waiting { not_before }),
                Look::Started(_, launch) => Some(TrainerLook::Started { trainer: launch.to_string() }),
                Look::Failed(_, not_before) => {
                    let error =
                        TrainerStarter::last_start(&handles.streams).await?.and_then(|start| start.error);
                    Some(TrainerLook::Failed { not_before, error })
                }
            };
        }
        Ok(Self {
            stored: swept?,
            job_started: matches!(decision, Decision::Fire(_)),
            due: Box::pin(handles.trigger.next_due()).await?,
            job: handles.jobs.first_outstanding().await?.map(|(job, _)| job),
            trainer,
        })
    }
}

async fn sweep(settings: &Settings, handles: &BrokerHandles) -> Result<Option<u64>, WorkerError> {
    let Some(access) = settings.supabase.clone() else { return Ok(None) };
    let ingest = inbox::ingest(settings, handles, access)?;
    Ok(Some(Box::pin(ingest.sweep_now()).await?))
}
