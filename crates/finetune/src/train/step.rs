//! One optimizer step: take a batch's loss and gradients, clip, update.

use crate::model::{EncoderConfig, Head};
use crate::onnx::{Runtime, RuntimeError};

use super::adamw::{AdamW, Moments, clip_factor, norm, update};
use super::dropout::Dropout;
use super::full_batch::Whole;
use super::grad_cache::Cached;
use super::gradients::{Gradient, NamedGradients};
use super::resident::Resident;
use super::{Batch, ParameterBuffer, Recipe, TrainError};

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss of the batch, before the update.
    pub loss: f32,
    /// Length of the gradient, before clipping.
    pub gradient_norm: f32,
}

/// A training session: the graph, the parameters and the optimizer's state.
pub struct Stepper {
    runtime: Runtime,
    config: EncoderConfig,
    head: Head,
    recipe: Recipe,
    dropout: Dropout,
    /// Opened for the first batch that is encoded at once.
    whole: Option<Whole>,
    /// Opened for the first batch that is encoded in parts.
    cached: Option<Cached>,
    /// Where the runtime keeps parameters and moments on its device; the two above are then never opened.
    resident: Option<Resident>,
    /// Whether the device's parameters and moments are newer than these here.
    behind: bool,
    parameters: ParameterBuffer,
    moments: Moments,
    optimizer: AdamW,
}

impl Stepper {
    /// Opens the training graph for an encoder and takes over its parameters.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime refuses the graph.
    pub fn new(
        runtime: &Runtime,
        config: &EncoderConfig,
        head: Head,
        recipe: &Recipe,
        parameters: ParameterBuffer,
    ) -> Result<Self, TrainError> {
        let mut stepper = Self {
            runtime: runtime.clone(),
            config: config.clone(),
            head,
            recipe: recipe.clone(),
            dropout: Dropout::new(config, recipe),
            whole: None,
            cached: None,
            resident: None,
            behind: false,
            moments: Moments::zero(parameters.values().len()),
            optimizer: AdamW::with_decay(recipe.weight_decay),
            parameters,
        };
        if runtime.resident() {
            let standing = (&stepper.parameters, &stepper.moments);
            stepper.resident = Some(Resident::new(runtime, config, head, recipe, standing)?);
        } else {
            stepper.open(recipe.batch_size > recipe.mini_batch)?;
        }
        Ok(stepper)
    }

    /// Opens the graphs for batches in parts, or at once, unless they are open.
    fn open(&mut self, in_parts: bool) -> Result<(), TrainError> {
        let pooling = self.head.pooling;
        if in_parts && self.cached.is_none() {
            self.cached =
                Some(Cached::new(&self.runtime, &self.config, pooling, &self.recipe, &self.parameters)?);
        } else if !in_parts && self.whole.is_none() {
            self.whole =
                Some(Whole::new(&self.runtime, &self.config, pooling, &self.recipe, &self.parameters)?);
        }
        Ok(())
    }

    /// The parameters as they are now, brought back from the device if that is where they are.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when they can't be brought back.
    pub fn parameters(&mut self) -> Result<&ParameterBuffer, TrainError> {
        Ok(self.state()?.0)
    }

    /// The optimizer's state as it is now, likewise.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when it can't be brought back.
    pub fn moments(&mut self) -> Result<&Moments, TrainError> {
        Ok(self.state()?.1)
    }

    /// Both, likewise.
    pub(super) fn state(&mut self) -> Result<(&ParameterBuffer, &Moments), TrainError> {
        if let (true, Some(resident)) = (self.behind, &self.resident) {
            resident.fetch(&mut self.parameters, &mut self.moments)?;
            self.behind = false;
        }
        Ok((&self.parameters, &self.moments))
    }

    /// Updates made, and what weight decay has left so far of rows no text uses. Always at hand.
    pub(super) fn progress(&self) -> (u64, f64) {
        (self.moments.step, self.moments.decay_factor)
    }

    /// Whose memory parameters and moments stay in, as ONNX Runtime calls it (`Cpu`, `Cuda`); `None` when they are here
    /// and fed to each step.
    pub fn resident_in(&self) -> Option<String> {
        self.resident.as_ref().map(Resident::memory)
    }

    /// Goes back to an earlier standing of the same run. `values` are as many as the parameters'.
    pub(super) fn restore(&mut self, values: &[f32], moments: Moments) -> Result<(), TrainError> {
        self.parameters.values_mut().copy_from_slice(values);
        self.moments = moments;
        self.behind = false;
        if let Some(resident) = &mut self.resident {
            resident.replace(&self.parameters, &self.moments)?;
        }
        Ok(())
    }

    /// Ends the session, handing back the parameters and the state.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when they can't be brought back from the device.
    pub fn finish(mut self) -> Result<(ParameterBuffer, Moments), TrainError> {
        self.state()?;
        Ok((self.parameters, self.moments))
    }

    /// Computes loss and gradients of a batch and updates the parameters.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when the loss or the gradient's length isn't finite: parameters are then as
    /// they were before.
    pub fn step(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, TrainError> {
        if self.resident.is_some() {
            return self.resident_step(batch, learning_rate);
        }
        let (optimizer, longest) = (self.optimizer, self.recipe.max_gradient_norm);
        self.with_gradients(batch, |loss, gradients, parameters, moments| {
            let gradient_norm = norm(&gradients);
            finite(loss, gradient_norm, moments.step, learning_rate, batch)?;
            let scale = clip_factor(gradient_norm, longest);
            let decayed = parameters.decayed();
            update(optimizer, parameters.values_mut(), &gradients, moments, decayed, learning_rate, scale);
            Ok(StepReport { loss, gradient_norm })
        })?
    }

    /// Loss of a batch and the gradient of each parameter, by name, without an update. Look-up tables have the
    /// shape of the compact buffer.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime fails.
    pub fn gradients(&mut self, batch: &Batch) -> Result<(f32, NamedGradients), TrainError> {
        if let Some(resident) = &mut self.resident {
            return resident.gradients(batch, self.dropout.at(self.moments.step), &self.parameters);
        }
        self.with_gradients(batch, |loss, gradients, parameters, _| {
            let names = parameters.parameters().iter().map(|parameter| parameter.name.clone());
            (loss, names.zip(gradients.into_iter().map(Gradient::to_vec)).collect())
        })
    }

    /// The same where parameters and moments stay on the device.
    fn resident_step(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, TrainError> {
        let Self { resident: Some(resident), dropout, moments, .. } = self else {
            return Err(RuntimeError::Shape("resident").into());
        };
        let attempt = resident.attempt(batch, dropout.at(moments.step), moments.step, learning_rate)?;
        let (loss, gradient_norm) = (attempt.loss, attempt.gradient_norm);
        finite(loss, gradient_norm, moments.step, learning_rate, batch)?;
        resident.take(attempt);
        moments.count(self.optimizer.decay(learning_rate));
        self.behind = true;
        Ok(StepReport { loss, gradient_norm })
    }

    /// Hands loss and gradients to `then`, while they are still where the runtime put them.
    fn with_gradients<R>(
        &mut self,
        batch: &Batch,
        then: impl FnOnce(f32, Vec<Gradient<'_>>, &mut ParameterBuffer, &mut Moments) -> R,
    ) -> Result<R, TrainError> {
        let in_parts = batch.parts.len() > 1;
        self.open(in_parts)?;
        let Self { whole, cached, dropout, parameters, moments, .. } = self;
        match (whole, cached) {
            (_, Some(cached)) if in_parts => {
                let (loss, gradients) = cached.gradients(parameters, batch, dropout.at(moments.step))?;
                Ok(then(loss, gradients, parameters, moments))
            }
            (Some(whole), _) => {
                let draws = dropout.at(moments.step);
                whole.gradients(parameters, batch, draws, |loss, gradients, parameters| {
                    then(loss, gradients, parameters, moments)
                })
            }
            // `open` has just filled the one that is asked for.
            (None, _) => Err(RuntimeError::Shape("batch").into()),
        }
    }
}

/// Refuses a step whose loss or gradient isn't finite.
fn finite(
    loss: f32,
    gradient_norm: f32,
    step: u64,
    learning_rate: f32,
    batch: &Batch,
) -> Result<(), TrainError> {
    for (what, value) in [("loss", loss), ("gradient norm", gradient_norm)] {
        if !value.is_finite() {
            let (step, rows) = (step as usize, batch.rows.clone());
            return Err(TrainError::NotFinite { what, value, step, learning_rate, rows });
        }
    }
    Ok(())
}
