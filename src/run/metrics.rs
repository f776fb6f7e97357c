//! Numbers of the runs of this process, for `/metrics`.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use autovalidate_finetune::train::Progress;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::VariantArray;

use crate::broker::{RunRecord, RunState};

use super::error::RunError;
use super::stage::Stage;

/// Bounds of the durations of stages, in seconds: the gate takes no time, training may take hours.
const STAGE_BOUNDS: [f64; 12] =
    [0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 14_400.0];
/// Bounds of the durations of optimizer steps, in seconds.
const STEP_BOUNDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

type NoLabels = [(&'static str, &'static str); 0];
type OneLabel = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// Outcome of a run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum RunOutcome {
    Published,
    DryRun,
    Refused,
    Failed,
    Cancelled,
}

impl RunOutcome {
    /// Returns the outcome of a run; `None` while the run has not ended.
    pub(super) fn of(record: &RunRecord) -> Option<Self> {
        Some(match record.state {
            RunState::Queued | RunState::Running => return None,
            RunState::Done if record.artifact.is_some() => Self::Published,
            RunState::Done => Self::DryRun,
            RunState::Refused => Self::Refused,
            RunState::Failed => Self::Failed,
            RunState::Cancelled => Self::Cancelled,
        })
    }
}

/// Outcome of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum StageOutcome {
    Done,
    Failed,
    /// The worker was stopping, the run was cancelled, or another worker has taken it up.
    Interrupted,
}

impl StageOutcome {
    pub(super) fn of<T>(result: &Result<T, RunError>) -> Self {
        match result {
            Ok(_) => Self::Done,
            Err(error) if error.interruption().is_some() => Self::Interrupted,
            Err(_) => Self::Failed,
        }
    }
}

/// Event in the life of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum CheckpointEvent {
    /// Written to this disk.
    Written,
    /// Stored on the broker.
    Stored,
    /// Not stored on the broker, because of an error.
    NotStored,
    /// Fetched from the broker.
    Fetched,
}

/// Numbers of the runs of this process. Clones share them.
#[derive(Debug, Clone)]
pub struct RunMetrics {
    runs: Family<OneLabel, Counter>,
    stages: Family<TwoLabels, Counter>,
    /// Durations of the stages that were done.
    stage_seconds: Family<OneLabel, Histogram, fn() -> Histogram>,
    checkpoints: Family<OneLabel, Counter>,
    step_seconds: Histogram,
    // Families without labels have no value before the first step.
    step: Family<NoLabels, Gauge>,
    steps: Family<NoLabels, Gauge>,
    loss: Family<NoLabels, Gauge<f64, AtomicU64>>,
}

impl Default for RunMetrics {
    fn default() -> Self {
        let metrics = Self {
            runs: Family::default(),
            stages: Family::default(),
            stage_seconds: Family::new_with_constructor(|| Histogram::new(STAGE_BOUNDS)),
            checkpoints: Family::default(),
            step_seconds: Histogram::new(STEP_BOUNDS),
            step: Family::default(),
            steps: Family::default(),
            loss: Family::default(),
        };
        // From the start, so that the first event is an increase: many a trainer has one run and ends.
        for stage in Stage::ALL {
            drop(metrics.stage_seconds.get_or_create(&[("stage", stage.name())]));
            for outcome in StageOutcome::VARIANTS {
                let labels = [("stage", stage.name()), ("outcome", outcome.into())];
                metrics.stages.get_or_create(&labels).inc_by(0);
            }
        }
        for outcome in RunOutcome::VARIANTS {
            metrics.runs.get_or_create(&[("outcome", outcome.into())]).inc_by(0);
        }
        for event in CheckpointEvent::VARIANTS {
            metrics.checkpoints.get_or_create(&[("event", event.into())]).inc_by(0);
        }
        metrics
    }
}

impl RunMetrics {
    /// Registers the metrics under their names.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("autovalidate_runs", "Runs that this worker has ended", self.runs.clone());
        registry.register("autovalidate_stages", "Stages of runs, by outcome", self.stages.clone());
        let help = "Seconds that stages of runs took that were done";
        registry.register("autovalidate_stage_duration_seconds", help, self.stage_seconds.clone());
        let help = "Checkpoints of trainings, by event";
        registry.register("autovalidate_checkpoints", help, self.checkpoints.clone());
        let help = "Seconds from one optimizer step to the next";
        registry.register("autovalidate_optimizer_step_seconds", help, self.step_seconds.clone());
        let help = "Optimizer steps done, in the last training of this worker";
        registry.register("autovalidate_training_step", help, self.step.clone());
        let help = "Optimizer steps to do, in the last training of this worker";
        registry.register("autovalidate_training_steps", help, self.steps.clone());
        let help = "Loss of the last optimizer step";
        registry.register("autovalidate_training_loss", help, self.loss.clone());
    }

    pub(super) fn run_ended(&self, outcome: RunOutcome) {
        self.runs.get_or_create(&[("outcome", outcome.into())]).inc();
    }

    pub(super) fn stage_ended(&self, stage: Stage, outcome: StageOutcome, seconds: f64) {
        self.stages.get_or_create(&[("stage", stage.name()), ("outcome", outcome.into())]).inc();
        if outcome == StageOutcome::Done {
            self.stage_seconds.get_or_create(&[("stage", stage.name())]).observe(seconds);
        }
    }

    pub(super) fn checkpoint(&self, event: CheckpointEvent) {
        self.checkpoints.get_or_create(&[("event", event.into())]).inc();
    }

    /// Notes an optimizer step, and the time since the step before.
    pub(super) fn step(&self, progress: &Progress, since: Option<Duration>) {
        if let Some(since) = since {
            self.step_seconds.observe(since.as_secs_f64());
        }
        // A gauge has no larger numbers.
        let number = |steps: usize| i64::try_from(steps).unwrap_or(i64::MAX);
        self.step.get_or_create(&[]).set(number(progress.step));
        self.steps.get_or_create(&[]).set(number(progress.steps));
        self.loss.get_or_create(&[]).set(f64::from(progress.loss));
    }
}
