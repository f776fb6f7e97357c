//! The run in progress as its events tell it: the step and the losses of a training.

use futures::StreamExt;
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{BrokerError, ENDED, Event, JobId, Streams, keep_watching};
use crate::run::Stage;

/// Number of losses above which neighbors are merged.
const MOST_LOSSES: usize = 400;

/// State that the events have told so far.
#[derive(Debug, Clone, Default)]
pub(super) struct LiveRun {
    /// Number of events, so that each one is a change.
    pub(super) events: u64,
    /// Training in progress.
    pub(super) training: Option<LiveTraining>,
}

/// A training in progress.
#[derive(Debug, Clone)]
pub(super) struct LiveTraining {
    /// Run that trains.
    pub(super) job: JobId,
    /// Last step that was told.
    pub(super) step: u64,
    /// Number of steps in all.
    pub(super) steps: u64,
    /// Epoch of the step.
    pub(super) epoch: u64,
    /// Loss of the step.
    pub(super) loss: f64,
    /// Losses so far.
    pub(super) losses: Losses,
    /// First step that was told, and its time.
    first: (u64, Timestamp),
    /// Time of the last step.
    pub(super) at: Timestamp,
}

impl LiveTraining {
    /// Returns the seconds until the last step, at the pace since the first one that was told.
    pub(super) fn seconds_left(&self) -> Option<f64> {
        let (first, since) = self.first;
        let done = self.step.checked_sub(first).filter(|done| *done > 0)?;
        let pace = self.at.duration_since(since).as_secs_f64() / done as f64;
        Some(pace * self.steps.saturating_sub(self.step) as f64)
    }
}

/// Losses of a training, in a bounded number of means.
#[derive(Debug, Clone)]
pub(super) struct Losses {
    /// Mean loss of each `per_mean` losses.
    pub(super) means: Vec<f32>,
    /// Number of losses that one mean is of.
    pub(super) per_mean: usize,
    sum: f64,
    summed: usize,
}

impl Default for Losses {
    fn default() -> Self {
        Self { means: Vec::new(), per_mean: 1, sum: 0.0, summed: 0 }
    }
}

impl Losses {
    fn add(&mut self, loss: f64) {
        self.sum += loss;
        self.summed += 1;
        if self.summed < self.per_mean {
            return;
        }
        self.means.push((self.sum / self.summed as f64) as f32);
        (self.sum, self.summed) = (0.0, 0);
        if self.means.len() >= MOST_LOSSES {
            self.means = self.means.chunks(2).map(|two| two.iter().sum::<f32>() / two.len() as f32).collect();
            self.per_mean *= 2;
        }
    }
}

impl LiveRun {
    /// Takes in an event.
    fn take(&mut self, event: &Event) {
        self.events += 1;
        let number = |name: &str| event.detail[name].as_u64();
        let is_progress = event.stage == Stage::Train.name() && event.detail["phase"] == "progress";
        let Some((step, steps)) = number("step").zip(number("steps")).filter(|_| is_progress) else {
            if self.training.as_ref().is_some_and(|training| training.job == event.job) {
                self.training = None;
            }
            return;
        };
        // A later attempt may begin at an earlier step.
        let goes_on = |training: &LiveTraining| training.job == event.job && training.step < step;
        let mut training = self.training.take().filter(goes_on).unwrap_or_else(|| LiveTraining {
            job: event.job.clone(),
            step,
            steps,
            epoch: 0,
            loss: 0.0,
            losses: Losses::default(),
            first: (step, event.at),
            at: event.at,
        });
        let loss = event.detail["loss"].as_f64().unwrap_or_default();
        training.losses.add(loss);
        let epoch = number("epoch").unwrap_or_default();
        self.training = Some(LiveTraining { step, steps, epoch, loss, at: event.at, ..training });
    }
}

/// Follows the events of all runs until cancelled. Calls `ended` whenever a run has ended.
pub(super) async fn follow(
    streams: &Streams,
    live: &watch::Sender<LiveRun>,
    ended: impl Fn(),
    cancel: &CancellationToken,
) {
    let trouble = "the console can't follow the runs";
    keep_watching(streams.connection(), cancel, trouble, || watch_events(streams, live, &ended)).await;
}

async fn watch_events(
    streams: &Streams,
    live: &watch::Sender<LiveRun>,
    ended: &impl Fn(),
) -> Result<(), BrokerError> {
    let subjects = streams.names().event_subjects();
    let subscribed = streams.connection().client().subscribe(subjects).await;
    let mut events = subscribed.map_err(BrokerError::request("watching the events of jobs"))?;
    while let Some(message) = events.next().await {
        // Anybody may publish there.
        let Ok(event) = serde_json::from_slice::<Event>(&message.payload) else { continue };
        if event.stage == ENDED {
            ended();
        }
        live.send_modify(|live| live.take(&event));
    }
    Ok(())
}

/// Returns the last event of each stage of a run, oldest first.
pub(super) async fn last_events(streams: &Streams, job: &JobId) -> Result<Vec<Event>, BrokerError> {
    use crate::broker::{QUEUED, REFUSED, SETTLED};
    let stages = Stage::ALL.iter().map(|stage| stage.name()).chain([QUEUED, REFUSED, ENDED, SETTLED]);
    let loads = stages.map(|stage| streams.last_event(job, stage));
    let mut events: Vec<Event> = futures::future::try_join_all(loads).await?.into_iter().flatten().collect();
    events.sort_by_key(|event| event.at);
    Ok(events)
}

/// Returns the words for an event's detail: its phase, outcome or state.
pub(super) fn event_words(event: &Event) -> String {
    let text = |name: &str| event.detail.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| event.detail.get(name).and_then(Value::as_u64);
    let words = [text("phase"), text("state"), text("outcome"), text("reason"), text("problem")];
    let mut words: Vec<String> = words.into_iter().flatten().collect();
    if let Some((step, steps)) = number("step").zip(number("steps")) {
        words.push(format!("step {step} of {steps}"));
    }
    words.join(", ").replace('_', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(stage: &str, second: i64, detail: Value) -> Event {
        let at = Timestamp::from_second(second).unwrap();
        Event { job: JobId::manual(1), stage: stage.to_owned(), at, detail }
    }

    fn step(step: u64) -> Event {
        let detail = json!({ "phase": "progress", "step": step, "steps": 1_000, "epoch": 1, "loss": 2.0 });
        event("train", i64::try_from(step).unwrap() * 2, detail)
    }

    #[test]
    fn the_time_left_follows_the_pace_and_the_losses_stay_few() {
        let mut live = LiveRun::default();
        (1..=900).for_each(|number| live.take(&step(number)));
        let training = live.training.clone().unwrap();
        assert!((training.seconds_left().unwrap() - 200.0).abs() < 1e-9);
        assert!(training.losses.means.len() <= MOST_LOSSES && training.losses.per_mean >= 2);
        // An attempt that begins again begins a new curve.
        live.take(&step(10));
        assert_eq!(live.training.as_ref().unwrap().losses.means.len(), 1);
        live.take(&event("train", 5_000, json!({ "phase": "ended" })));
        assert!(live.training.is_none());
    }
}
