//! The loop: epochs of batches, one optimizer step each.

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

/// Where the loop is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Steps done, from 1.
    pub step: usize,
    /// Steps of the whole run.
    pub steps: usize,
    /// The epoch this step belongs to, from 1.
    pub epoch: usize,
    /// The batch's loss before the update.
    pub loss: f32,
    /// Length of the gradient before clipping.
    pub gradient_norm: f32,
    /// The step's learning rate.
    pub learning_rate: f32,
    /// Pairs of this batch.
    pub pairs: usize,
    /// Since the loop began.
    pub elapsed: Duration,
}

/// Watches the loop and may stop it.
pub trait Observer {
    /// Called after every step. Returning `false` ends the run with [`TrainError::Stopped`].
    fn step(&mut self, progress: &Progress) -> bool;

    /// Says how good the parameters are, higher being better, for a run that may stop early; `None` when this
    /// observer has nothing to say, and the run then goes on. Asked when the recipe's
    /// [`EarlyStop`](super::EarlyStop) says so; the same parameters must get the same score.
    ///
    /// # Errors
    /// [`TrainError`] when it can't be found out, which ends the run.
    fn assess(&mut self, _parameters: &ParameterBuffer) -> Result<Option<f32>, TrainError> {
        Ok(None)
    }

    /// Where the run keeps checkpoints, and goes on from; nowhere unless an observer says so.
    fn checkpoints(&self) -> Option<&Checkpoints> {
        None
    }
}

/// An observer whose run keeps checkpoints and goes on from the last.
pub struct Resumable<'o> {
    /// Watches the steps, of this process only.
    pub observer: &'o mut dyn Observer,
    /// Where and when.
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
}

impl<F: FnMut(&Progress) -> bool> Observer for F {
    fn step(&mut self, progress: &Progress) -> bool {
        self(progress)
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Optimizer steps.
    pub steps: usize,
    /// Pairs of an epoch, reversed ones included; of the largest where epochs differ.
    pub pairs: usize,
    /// Rows of the token table that were trained.
    pub vocabulary: usize,
    /// Mean loss of each epoch, as far as it went.
    pub epoch_losses: Vec<f32>,
    /// Every step's loss.
    pub losses: Vec<f32>,
    /// How good the parameters were on the way, where that was asked.
    #[serde(default)]
    pub assessments: Vec<Assessment>,
    /// Steps that led to the parameters that were kept, if not all.
    #[serde(default)]
    pub best_step: Option<usize>,
    /// Seconds the loop took.
    pub seconds: f64,
}

/// A finished run.
pub struct Fit {
    /// The trained parameters: the best assessed, or the last.
    pub parameters: ParameterBuffer,
    /// What weight decay had left of untrained rows of the token table when the parameters were these.
    pub decay_factor: f64,
    /// The optimizer's state at the end.
    pub moments: Moments,
    /// What the run did.
    pub summary: Summary,
}

/// Where a run's pairs come from, epoch by epoch.
pub trait PairSource {
    /// The pairs of an epoch, counted from 0. Must give the same pairs each time it is asked for the same epoch: the
    /// loop asks once to plan its steps and again to take them, so that no more than one epoch is held.
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

/// Trains `parameters` on the pairs of `source`, whose tokens the parameters' vocabulary must hold. With an observer that is
/// [`Resumable`], a run that was interrupted anywhere goes on from its last checkpoint and ends with the bits of an
/// uninterrupted one.
///
/// # Errors
/// [`TrainError`]: an absurd recipe, fewer than two different corrections, a loss that isn't finite, the runtime, the
/// source, or the observer's wish to stop.
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
        // What an earlier process did is skipped; the pairs of an epoch it finished aren't even made.
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
            // Before a checkpoint is written, even on stopping: it would otherwise be missing for ever.
            if watch.due(losses.len())
                && let Some(score) = observer.assess(stepper.parameters()?)?
            {
                watch.take(score, &mut stepper)?;
            }
            resume.after_step(&mut stepper, &losses, &watch, before + started.elapsed(), !go_on)?;
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
