//! The training loop: epochs of batches, one optimizer step per batch.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::{EncoderConfig, Head};
use crate::onnx::Runtime;

use super::early_stop::Assessments;
use super::resume::Resume;
use super::{
    Assessment, Batch, Checkpoints, Moments, Pairs, ParameterBuffer, Recipe, Schedule, Stepper, TrainError,
    batches,
};

/// Progress of the loop after a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Number of steps done, from 1.
    pub step: usize,
    /// Number of steps of the whole run.
    pub steps: usize,
    /// Epoch of this step, from 1.
    pub epoch: usize,
    /// Loss of the batch before the update.
    pub loss: f32,
    /// Length of the gradient before clipping.
    pub gradient_norm: f32,
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Number of pairs of this batch.
    pub pairs: usize,
    /// Time spent in the loop, earlier processes of the run included.
    pub elapsed: Duration,
}

/// An observer of the loop, which may stop it.
pub trait Observer {
    /// Handles a step that has been taken. Returning `false` ends the run with
    /// [`TrainError::Stopped`].
    fn step(&mut self, progress: &Progress) -> bool;

    /// Returns the score of the parameters, higher being better, for a run that may stop early. An
    /// observer that doesn't assess returns `None`, and the run continues.
    ///
    /// The recipe's [`EarlyStop`](super::EarlyStop) determines the steps after which the loop calls
    /// this. The same parameters must get the same score.
    ///
    /// # Errors
    /// [`TrainError`] when the score can't be computed, which ends the run.
    fn assess(&mut self, _parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        Ok(None)
    }

    /// Returns the place and the interval of the run's checkpoints, from which the run also
    /// resumes. The default is to keep none.
    fn checkpoints(&self) -> Option<&Checkpoints> {
        None
    }

    /// Handles a checkpoint that has been written after this step. The default is to do nothing.
    fn checkpoint_written(&mut self, _step: usize) {}
}

/// An observer whose run keeps checkpoints and resumes from the last one.
pub struct Resumable<'o> {
    /// Observer of the steps of this process only.
    pub observer: &'o mut dyn Observer,
    /// Place and interval of the checkpoints.
    pub checkpoints: Checkpoints,
}

impl Observer for Resumable<'_> {
    fn step(&mut self, progress: &Progress) -> bool {
        self.observer.step(progress)
    }

    fn assess(&mut self, parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        self.observer.assess(parameters)
    }

    fn checkpoints(&self) -> Option<&Checkpoints> {
        Some(&self.checkpoints)
    }

    fn checkpoint_written(&mut self, step: usize) {
        self.observer.checkpoint_written(step);
    }
}

impl<F: FnMut(&Progress) -> bool> Observer for F {
    fn step(&mut self, progress: &Progress) -> bool {
        self(progress)
    }
}

/// Summary of a finished run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Number of optimizer steps.
    pub steps: usize,
    /// Number of pairs per epoch, reversed pairs included. If epochs differ, that of the largest
    /// one.
    pub pairs: usize,
    /// Number of rows of the token table that were trained.
    pub vocabulary: usize,
    /// Mean loss of each epoch. The last epoch may be incomplete.
    pub epoch_losses: Vec<f32>,
    /// Loss of every step.
    pub losses: Vec<f32>,
    /// Assessments of the parameters during the run; empty when there were none.
    #[serde(default)]
    pub assessments: Vec<Assessment>,
    /// Number of steps before the best assessment, whose parameters were kept. `None` when nothing
    /// was assessed: the last parameters were kept.
    #[serde(default)]
    pub best_step: Option<usize>,
    /// Duration of the loop in seconds.
    pub seconds: f64,
}

/// A finished run.
pub struct Fit {
    /// Trained parameters: the best assessed, or the last.
    pub parameters: ParameterBuffer,
    /// Decay factor of untrained rows of the token table at the time of these parameters.
    pub decay_factor: f64,
    /// State of the optimizer at the end.
    pub moments: Moments,
    /// Summary of the run.
    pub summary: Summary,
}

/// Source of a run's pairs, epoch by epoch.
pub trait PairSource {
    /// Returns the pairs of an epoch, counted from 0.
    ///
    /// Every call for the same epoch must return the same pairs. The loop calls this once to plan
    /// its steps and again to take them, so that it never holds more than one epoch.
    ///
    /// # Errors
    /// [`TrainError`] when the pairs can't be made, such as [`TrainError::ForeignToken`].
    fn epoch(&self, epoch: usize) -> Result<Cow<'_, Pairs>, TrainError>;
}

/// The same pairs in every epoch.
impl PairSource for Pairs {
    fn epoch(&self, _epoch: usize) -> Result<Cow<'_, Pairs>, TrainError> {
        Ok(Cow::Borrowed(self))
    }
}

/// Trains `parameters` on the pairs of `source`. The parameters' vocabulary must hold all tokens of
/// the pairs.
///
/// With a [`Resumable`] observer, a run that was interrupted anywhere resumes from its last
/// checkpoint and ends with the same bits as an uninterrupted run.
///
/// # Errors
/// [`TrainError`] for a recipe outside its ranges, fewer than two different corrections, a loss
/// that is not finite, a failure of the runtime or the source, or an observer that stops the run.
pub fn fit(
    runtime: &Runtime,
    config: &EncoderConfig,
    head: Head,
    recipe: &Recipe,
    parameters: ParameterBuffer,
    source: &dyn PairSource,
    observer: &mut dyn Observer,
) -> Result<Fit, TrainError> {
    recipe.check()?;
    let pairs_of = |epoch| {
        let pairs = source.epoch(epoch)?;
        Ok::<_, TrainError>(if recipe.reversed { Cow::Owned(pairs.with_reversed()) } else { pairs })
    };
    let plan =
        |pairs: &Pairs, epoch| batches(pairs, recipe.batch_size, recipe.duplicates, recipe.seed, epoch);
    let mut resume = Resume::new(observer.checkpoints(), recipe, (config, head), &parameters);
    let (mut ends, mut pairs_of_epoch) = (Vec::with_capacity(recipe.epochs), 0);
    let mut steps = 0;
    for epoch in 0..recipe.epochs {
        let pairs = pairs_of(epoch)?;
        let distinct = pairs.distinct_positives();
        if distinct < 2 {
            return Err(TrainError::TooFewPairs { found: distinct, needed: 2 });
        }
        resume.covers(&pairs);
        pairs_of_epoch = pairs_of_epoch.max(pairs.len());
        steps += plan(&pairs, epoch).len();
        ends.push(steps);
    }
    let schedule = Schedule::new(recipe.learning_rate, steps, recipe.warmup_ratio);
    let vocabulary = parameters.vocabulary().ids().len();
    let mut stepper = Stepper::new(runtime, config, head, recipe, parameters)?;
    let mut watch = Assessments::new(recipe.early_stop, &ends);
    let (mut losses, before) = resume.restore(&mut stepper, &mut watch)?;
    let started = Instant::now();
    let epochs = || std::iter::once(0).chain(ends.iter().copied()).zip(ends.iter().copied());
    for (epoch, (first, end)) in epochs().enumerate() {
        // Steps of an earlier process are skipped. The pairs of an epoch that it finished aren't
        // even made.
        if losses.len() >= end || watch.over() {
            continue;
        }
        let pairs = pairs_of(epoch)?;
        for indices in plan(&pairs, epoch).iter().skip(losses.len() - first) {
            let batch = Batch::of_recipe(recipe, &pairs, indices, config, head);
            let learning_rate = schedule.rate(losses.len());
            let report = stepper.step(&batch, learning_rate)?;
            losses.push(report.loss);
            let go_on = observer.step(&Progress {
                step: losses.len(),
                steps,
                epoch: epoch + 1,
                loss: report.loss,
                gradient_norm: report.gradient_norm,
                learning_rate,
                pairs: indices.len(),
                elapsed: before + started.elapsed(),
            });
            // Assess before writing a checkpoint, even when stopping: a resumed run does not go
            // back to this step, so the assessment would be missing for good.
            if watch.due(losses.len())
                && let Some(score) = observer.assess(stepper.parameters()?)?
            {
                watch.take(score, &mut stepper)?;
            }
            if resume.after_step(&mut stepper, &losses, &watch, before + started.elapsed(), !go_on)? {
                observer.checkpoint_written(losses.len());
            }
            if !go_on {
                return Err(TrainError::Stopped { step: losses.len() });
            }
            if watch.over() {
                break;
            }
        }
    }
    let mean = |losses: &[f32]| losses.iter().sum::<f32>() / losses.len().max(1) as f32;
    let taken = epochs().map(|(first, end)| losses.get(first..end.min(losses.len())).unwrap_or_default());
    let epoch_losses = taken.filter(|losses| !losses.is_empty()).map(mean).collect();
    let (mut parameters, moments) = stepper.finish()?;
    let decay_factor = watch.keep_best(&mut parameters).unwrap_or(moments.decay_factor);
    let summary = Summary {
        steps: losses.len(),
        pairs: pairs_of_epoch,
        vocabulary,
        epoch_losses,
        losses,
        assessments: watch.assessments(),
        best_step: watch.best_step(),
        seconds: (before + started.elapsed()).as_secs_f64(),
    };
    Ok(Fit { parameters, decay_factor, moments, summary })
}
