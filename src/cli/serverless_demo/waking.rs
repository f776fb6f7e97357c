//! A call that wakes a recipe, and everything until it sleeps again.

use std::time::Duration;

use autovalidate_fakes::demo::Correction;
use autovalidate_fakes::fly::{Change, MachineState, StartReason};
use jiff::Timestamp;
use reqwest::StatusCode;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;

use super::IDLE;
use super::deployment::{Deployment, Machine};
use super::environment::WEBHOOK_SECRET;
use super::reasons::{Call, MachineRun, Wake};
use super::store::StoreContents;
use crate::broker::RunRecord;
use crate::cli::CliError;
use crate::cli::demo::insert_rows;
use crate::ingest::webhook::SECRET_HEADER;

/// Longest time from a call to the next sleep.
const WAKE_LIMIT: Duration = Duration::from_secs(20 * 60);
/// Longest time until a call is answered; the proxy starts a machine meanwhile.
const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Calls to a sleeping recipe, and the lines that tell of them.
pub(super) struct Waking<'a> {
    deployment: &'a Deployment,
    changes: Receiver<Change>,
    started: Instant,
    client: reqwest::Client,
    /// Stream sequence of the last pair that was seen.
    known_sequence: u64,
    /// Number of training runs that were seen to end.
    known_runs: usize,
}

impl<'a> Waking<'a> {
    pub(super) fn new(deployment: &'a Deployment) -> Self {
        Self {
            changes: deployment.fly.changes(),
            deployment,
            started: Instant::now(),
            client: reqwest::Client::new(),
            known_sequence: 0,
            known_runs: 0,
        }
    }

    /// Tells of an event in the shop's week.
    pub(super) fn event(&self, day: &str, title: &str) {
        println!("{:>7.1} s  {day}  {title}", self.started.elapsed().as_secs_f64());
    }

    fn detail(&self, text: &str) {
        println!("{:>7.1} s             {text}", self.started.elapsed().as_secs_f64());
    }

    /// Inserts corrections as the app does, and waits until everything sleeps again.
    pub(super) async fn insert(&mut self, pairs: &[Correction]) -> Result<(Wake, StoreContents), CliError> {
        let (client, deployment) = (self.client.clone(), self.deployment);
        let inserted = async move { insert(&client, deployment, pairs).await.map(|()| None) };
        self.until_asleep(Call::Webhook, inserted).await
    }

    /// Inserts a correction whose webhook gets lost.
    pub(super) async fn insert_without_webhook(&self, pair: &Correction) -> Result<(), CliError> {
        self.deployment.supabase.faults().drop_webhooks(1);
        insert(&self.client, self.deployment, std::slice::from_ref(pair)).await
    }

    /// Calls the tick as the database's scheduler does, and waits until everything sleeps again.
    pub(super) async fn tick(&mut self) -> Result<(Wake, StoreContents), CliError> {
        let request = self
            .client
            .post(self.deployment.hook("tick")?)
            .header(SECRET_HEADER, WEBHOOK_SECRET)
            .timeout(CALL_LIMIT);
        let answered = async move {
            let answer = request.send().await;
            let answer = answer.map_err(|error| defect(format!("the tick got no answer: {error}")))?;
            match answer.status() {
                StatusCode::ACCEPTED => Ok(Some(Timestamp::now())),
                status => Err(defect(format!("the tick got the answer {status}"))),
            }
        };
        self.until_asleep(Call::Tick, answered).await
    }

    /// Calls, waits until everything sleeps, and checks that each machine-second had a reason.
    /// `calling` returns the time of the answer, if the caller learns it.
    async fn until_asleep(
        &mut self,
        call: Call,
        calling: impl Future<Output = Result<Option<Timestamp>, CliError>>,
    ) -> Result<(Wake, StoreContents), CliError> {
        let called_at = Timestamp::now();
        let followed = async { tokio::try_join!(calling, self.follow(call)) };
        let followed = tokio::time::timeout(WAKE_LIMIT, Box::pin(followed)).await;
        let (answered_at, ()) =
            followed.map_err(|_| defect(format!("a machine still runs {WAKE_LIMIT:?} after {call}")))??;
        if let Some(address) = self.deployment.left_behind().await {
            return Err(defect(format!(
                "every machine is stopped, but a process still listens on {address}"
            )));
        }
        let ids = self.deployment.supabase.ids();
        let read = StoreContents::read(&self.deployment.store, self.known_sequence, &ids);
        let store = Box::pin(read).await?;
        let ended: Vec<&RunRecord> = store.runs.iter().filter(|run| run.state.is_final()).collect();
        let ended = &ended[self.known_runs.min(ended.len())..];
        for run in ended {
            self.detail(&told(run));
        }
        self.detail(&match store.pending {
            0 => "asleep; no pair waits for a run".to_owned(),
            pending => format!("asleep; {pending} of {} pairs wait for a run", store.threshold),
        });
        self.known_sequence = store.last_sequence;
        self.known_runs += ended.len();
        let wake = Wake {
            call,
            called_at,
            answered_at,
            stored_at: store.stored_at,
            ended_at: ended.iter().filter_map(|run| run.ended_at).collect(),
            machine_runs: self.runs_since(called_at)?,
        };
        match wake.unexplained(self.deployment.recipe, IDLE + self.deployment.stop_margin) {
            Some(sentence) => Err(defect(sentence)),
            None => Ok((wake, store)),
        }
    }

    /// Tells of the machines until all of them sleep again.
    async fn follow(&mut self, call: Call) -> Result<(), CliError> {
        let mut woken = false;
        loop {
            match self.changes.recv().await {
                Ok(change) => {
                    woken |= change.state == MachineState::Started;
                    self.tell(&change, call);
                    if change.state == MachineState::Failed {
                        return Err(defect("a machine's program can't be started"));
                    }
                }
                // The state below is what counts.
                Err(RecvError::Lagged(_)) => woken = true,
                Err(RecvError::Closed) => return Err(defect("Fly's stand-in ended")),
            }
            if woken && self.changes.is_empty() && self.deployment.is_asleep() {
                return Ok(());
            }
        }
    }

    fn tell(&self, change: &Change, call: Call) {
        let Some(machine) = self.deployment.machines.iter().find(|machine| machine.id == change.machine)
        else {
            return;
        };
        let account = self.deployment.fly.account(&machine.id).ok();
        let Some(run) = account.and_then(|account| account.runs.last().copied()) else { return };
        let name = machine.group.name;
        match change.state {
            MachineState::Started => {
                let by = match run.reason {
                    StartReason::Proxy => format!("{call}, through the proxy"),
                    StartReason::Api => "the listener, because a job waits".to_owned(),
                    StartReason::Restart => "the restart policy, because its worker failed".to_owned(),
                    StartReason::Hand => "hand".to_owned(),
                };
                self.detail(&format!("{name} starts, woken by {by}"));
            }
            MachineState::Stopped => {
                let up = run.time(Timestamp::now()).as_secs_f64();
                self.detail(&format!("{name} has ended by itself after {up:.1} s"));
            }
            _ => {}
        }
    }

    /// Returns the runs of the machines from a time on.
    fn runs_since(&self, since: Timestamp) -> Result<Vec<MachineRun>, CliError> {
        let mut runs = Vec::new();
        for Machine { group, id } in &self.deployment.machines {
            let account = self.deployment.fly.account(id).map_err(|error| defect(error.to_string()))?;
            let later = account.runs.into_iter().filter(|run| run.started_at >= since);
            runs.extend(later.map(|run| MachineRun { group, run }));
        }
        Ok(runs)
    }
}

/// Inserts corrections as the app does, with one request.
async fn insert(
    client: &reqwest::Client,
    deployment: &Deployment,
    pairs: &[Correction],
) -> Result<(), CliError> {
    let access = deployment.store.supabase.as_ref();
    let table = access.map_or_else(String::new, |access| access.table.clone());
    let supabase = &deployment.supabase;
    insert_rows(client, supabase.url(), supabase.anon_key(), &table, pairs).await
}

/// Tells of a training run in one line.
fn told(run: &RunRecord) -> String {
    let took = run.ended_at.map_or(0.0, |ended| ended.duration_since(run.created_at).as_secs_f64());
    let reason = run.request.reason.as_deref().unwrap_or("request");
    let verdict = run.verdict.as_deref().unwrap_or("no verdict");
    let outcome = match (&run.artifact, &run.error) {
        (Some(artifact), _) => format!("published {}, verdict {verdict}", artifact.path),
        (None, Some(error)) => format!("{}: {}", run.state, error.message),
        (None, None) => format!("{}, verdict {verdict}", run.state),
    };
    let rows = run.row_count.unwrap_or_default();
    format!("run {} (reason: {reason}) on {rows} rows took {took:.1} s: {outcome}", run.id)
}

/// Returns the error of a week that did not go as it should.
pub(super) fn defect(what: impl Into<String>) -> CliError {
    CliError::plain(
        what,
        "Read the machines' logs, in the subfolder `logs` of the demo's folder. On a machine that is busy with other work, try again.",
    )
}
