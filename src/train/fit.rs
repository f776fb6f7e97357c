//! The loop: epochs of batches, one optimiser step each.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::model::{EncoderConfig, Head};
use crate::onnx::Runtime;

use super::{Batch, Moments, Pairs, ParameterBuffer, Recipe, Schedule, Stepper, TrainError, batches};

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
}

impl<F: FnMut(&Progress) -> bool> Observer for F {
    fn step(&mut self, progress: &Progress) -> bool {
        self(progress)
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Optimiser steps.
    pub steps: usize,
    /// Pairs of an epoch, reversed ones included.
    pub pairs: usize,
    /// Rows of the token table that were trained.
    pub vocabulary: usize,
    /// Mean loss of each epoch.
    pub epoch_losses: Vec<f32>,
    /// Every step's loss.
    pub losses: Vec<f32>,
    /// Seconds the loop took.
    pub seconds: f64,
}

/// A finished run.
pub struct Fit {
    /// The trained parameters.
    pub parameters: ParameterBuffer,
    /// The optimiser's state at the end.
    pub moments: Moments,
    /// What the run did.
    pub summary: Summary,
}

/// Trains `parameters` on `pairs`.
///
/// # Errors
/// [`TrainError`]: an absurd recipe, fewer than two different corrections, a loss that isn't finite, the runtime, or
/// the observer's wish to stop.
pub fn fit(
    runtime: &Runtime,
    config: &EncoderConfig,
    head: Head,
    recipe: &Recipe,
    parameters: ParameterBuffer,
    pairs: &Pairs,
    observer: &mut dyn Observer,
) -> Result<Fit, TrainError> {
    recipe.check()?;
    let distinct = pairs.distinct_positives();
    if distinct < 2 {
        return Err(TrainError::TooFewPairs { found: distinct, needed: 2 });
    }
    let reversed = recipe.reversed.then(|| pairs.with_reversed());
    let pairs = reversed.as_ref().unwrap_or(pairs);
    let epochs: Vec<Vec<Vec<usize>>> =
        (0..recipe.epochs).map(|epoch| batches(pairs, recipe.batch_size, recipe.seed, epoch)).collect();
    let steps = epochs.iter().map(Vec::len).sum();
    let schedule = Schedule::new(recipe.learning_rate, steps, recipe.warmup_ratio);
    let vocabulary = parameters.vocabulary().ids().len();
    let mut stepper = Stepper::new(runtime, config, head, recipe, parameters)?;
    let started = Instant::now();
    let mut losses = Vec::with_capacity(steps);
    let mut epoch_losses = Vec::with_capacity(recipe.epochs);
    for (epoch, batches) in epochs.iter().enumerate() {
        let first = losses.len();
        for indices in batches {
            let batch = Batch::new(pairs, indices, config, head);
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
                elapsed: started.elapsed(),
            });
            if !go_on {
                return Err(TrainError::Stopped { step: losses.len() });
            }
        }
        let of_epoch = &losses[first..];
        epoch_losses.push(of_epoch.iter().sum::<f32>() / of_epoch.len().max(1) as f32);
    }
    let (parameters, moments) = stepper.finish();
    let seconds = started.elapsed().as_secs_f64();
    let summary = Summary { steps, pairs: pairs.len(), vocabulary, epoch_losses, losses, seconds };
    Ok(Fit { parameters, moments, summary })
}
