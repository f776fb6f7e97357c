//! The week of a small shop: its events, told in lines as they happen.

use autovalidate_fakes::demo::Correction;
use jiff::Timestamp;

use super::deployment::Deployment;
use super::reasons::{Call, Wake};
use super::waking::{Waking, defect};
use crate::cli::CliError;

/// Share of the threshold that Monday's few corrections are.
const FEW: usize = 10;

/// Kind of a wake. The week has one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
pub(super) enum WakeKind {
    /// Inserts that do not reach the threshold.
    #[strum(to_string = "inserts below the threshold")]
    FewInserts,
    /// Inserts that reach the threshold.
    #[strum(to_string = "inserts that start a run, and the run")]
    Threshold,
    /// A tick that finds nothing to do.
    #[strum(to_string = "tick with nothing to do")]
    IdleTick,
    /// A tick that finds a row whose webhook was lost.
    #[strum(to_string = "tick that finds a lost row")]
    LostRow,
    /// A tick that starts a run that is due by time.
    #[strum(to_string = "tick that starts a due run, and the run")]
    DueRun,
}

/// Everything that happened in a week.
pub(super) struct WeekRecord {
    pub(super) wakes: Vec<(WakeKind, Wake)>,
}

impl WeekRecord {
    /// Returns the wake of a kind.
    pub(super) fn wake(&self, wanted: WakeKind) -> Option<&Wake> {
        self.wakes.iter().find(|(kind, _)| *kind == wanted).map(|(_, wake)| wake)
    }
}

/// Lives the week: one call after the other, each of them while everything sleeps. Ends with an
/// error when a row is in no run, a machine runs without a reason, or something still runs.
pub(super) async fn live(
    deployment: &Deployment,
    corrections: &[Correction],
) -> Result<WeekRecord, CliError> {
    let Some((lost, stored)) = corrections.split_last() else {
        return Err(CliError::plain("there are no corrections", "Give a larger --pairs."));
    };
    let (few, rest) = stored.split_at(stored.len().div_ceil(FEW));
    let mut waking = Waking::new(deployment);
    let mut wakes = Vec::new();

    waking.event("Mon 00:00", "Everything sleeps. No machine runs.");
    waking.event("Mon 09:12", &format!("{} corrections are inserted, fewer than start a run.", few.len()));
    let (wake, store) = waking.insert(few).await?;
    expect(store.runs.is_empty(), "a run started below the threshold")?;
    wakes.push((WakeKind::FewInserts, wake));

    let title =
        format!("{} more are inserted, and the threshold of {} is reached.", rest.len(), store.threshold);
    waking.event("Wed 14:30", &title);
    let (wake, store) = waking.insert(rest).await?;
    expect(wake.ended_at.len() == 1, "reaching the threshold did not lead to one run")?;
    expect(store.pending == 0, "pairs wait although a run has ended")?;
    wakes.push((WakeKind::Threshold, wake));

    waking.event("Thu 03:00", "A tick comes, as every hour.");
    let (wake, _) = waking.tick().await?;
    wakes.push((WakeKind::IdleTick, wake));

    waking.event("Fri 11:20", "A correction is inserted, and its webhook is lost. Everything sleeps on.");
    waking.insert_without_webhook(lost).await?;
    waking.event("Fri 12:00", "The next tick comes.");
    let (wake, store) = waking.tick().await?;
    expect(store.pending == 1, "the tick did not find the lost row")?;
    wakes.push((WakeKind::LostRow, wake));

    let Some(due) = store.due else {
        return Err(CliError::plain(
            "no run is due by time, so the last row would never be in a run",
            "Set TRAIN_QUIET or TRAIN_MAX_WAIT to about 30s.",
        ));
    };
    let title =
        format!("The pair has waited long enough ({}): a run is due. Everything sleeps on.", due.reason);
    waking.event("Sun 12:00", &title);
    sleep_until(due.at).await;
    expect(deployment.is_asleep(), "a machine started by itself")?;
    waking.event("Sun 13:00", "The next tick comes.");
    let (wake, store) = waking.tick().await?;
    expect(wake.ended_at.len() == 1, "the tick did not lead to the run that was due")?;
    wakes.push((WakeKind::DueRun, wake));

    if let Some(sentence) = store.uncovered() {
        return Err(defect(sentence));
    }
    let starts: u64 = accounts(deployment).map(|account| account.starts).sum();
    let explained: usize = wakes.iter().map(|(_, wake)| wake.machine_runs.len()).sum();
    expect(starts == explained as u64, "a machine ran between two events")?;
    expect(deployment.is_asleep(), "a machine still runs")?;
    waking.event(
        "Sun 24:00",
        &format!(
            "Everything sleeps. All {} rows are in runs; no second was without a reason.",
            corrections.len()
        ),
    );
    Ok(WeekRecord { wakes })
}

fn accounts(deployment: &Deployment) -> impl Iterator<Item = autovalidate_fakes::fly::Account> {
    deployment.machines.iter().filter_map(|machine| deployment.fly.account(&machine.id).ok())
}

fn expect(holds: bool, otherwise: &str) -> Result<(), CliError> {
    if holds { Ok(()) } else { Err(defect(otherwise)) }
}

async fn sleep_until(at: Timestamp) {
    let left = at.duration_since(Timestamp::now());
    tokio::time::sleep(std::time::Duration::try_from(left).unwrap_or_default()).await;
}

/// Number of ticks among the wakes of a week.
pub(super) fn ticks(week: &WeekRecord) -> usize {
    week.wakes.iter().filter(|(_, wake)| wake.call == Call::Tick).count()
}
