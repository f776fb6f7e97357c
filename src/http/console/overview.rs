//! Everything that the overview shows of the broker, read at most a few times a second however many
//! people look.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Console;
use crate::broker::{BrokerError, JobId, QueuedRuns, RunRecord, RunState};
use crate::correction::Refusal;
use crate::launcher::{StartRecord, TrainerStarter};
use crate::trigger::Outlook;

/// Age up to which an overview is shown again.
const FRESH: Duration = Duration::from_millis(300);
/// Number of waiting runs that are shown.
const MOST_QUEUED: usize = 10;
/// Number of runs among which the last failure is looked for.
const RECENT: usize = 20;
/// Longest wait for the broker.
const PATIENCE: Duration = Duration::from_secs(3);

/// State of the installation, as the broker tells it.
#[derive(Debug, Clone)]
pub(super) struct Overview {
    pub(super) outlook: Outlook,
    pub(super) queued: QueuedRuns,
    /// Run in progress.
    pub(super) current: Option<RunRecord>,
    /// Run that ended last.
    pub(super) last: Option<RunRecord>,
    /// Newest of the recent runs that failed.
    pub(super) failed: Option<RunRecord>,
    pub(super) quarantined: BTreeMap<Refusal, u64>,
    pub(super) trainer_start: Option<StartRecord>,
}

/// The last overview, and the time it was read.
#[derive(Default)]
pub(super) struct OverviewCache(Mutex<Option<(Instant, Arc<Overview>)>>);

impl Console {
    /// Returns the state of the installation, which may be a moment old.
    ///
    /// # Errors
    /// The errors of the broker.
    pub(super) async fn overview(&self) -> Result<Arc<Overview>, BrokerError> {
        // Whoever comes meanwhile waits for the same answer.
        let mut cached = self.overview_cache.0.lock().await;
        if let Some((at, overview)) = &*cached
            && at.elapsed() < FRESH
        {
            return Ok(Arc::clone(overview));
        }
        let read = tokio::time::timeout(PATIENCE, Box::pin(self.read_overview())).await;
        let read = read.map_err(|_| BrokerError::TimedOut { what: "reading the overview" })??;
        let overview = Arc::new(read);
        *cached = Some((Instant::now(), Arc::clone(&overview)));
        Ok(overview)
    }

    async fn read_overview(&self) -> Result<Overview, BrokerError> {
        let (outlook, queued, page, last, quarantined, trainer_start) = tokio::try_join!(
            self.trigger.outlook(),
            self.jobs.queued_runs(MOST_QUEUED),
            self.runs.page(None, RECENT),
            self.runs.last_ended(),
            self.corrections.quarantined_counts(),
            TrainerStarter::last_start(&self.streams),
        )?;
        let mut recent = page.runs;
        recent.truncate(RECENT);
        let failed = recent.iter().filter(|run| run.state == RunState::Failed).max_by_key(|run| run.ended_at);
        let load = async |id: Option<&JobId>| match id {
            Some(id) => Ok::<_, BrokerError>(self.runs.load(id).await?.map(|(record, _)| record)),
            None => Ok(None),
        };
        let failed_id = failed.map(|run| &run.id);
        let (current, failed) = tokio::try_join!(load(queued.running.as_ref()), load(failed_id))?;
        Ok(Overview { outlook, queued, current, last, failed, quarantined, trainer_start })
    }
}
