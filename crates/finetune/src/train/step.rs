//! One optimizer step: compute a batch's loss and gradients, clip them, update the parameters.

use crate::model::{EncoderConfig, Head};
use crate::onnx::{Runtime, RuntimeError};

use super::adamw::{AdamW, Moments, clip_factor, norm, update};
use super::dropout::Dropout;
use super::full_batch::FullBatch;
use super::grad_cache::GradCache;
use super::gradients::{Gradient, NamedGradients};
use super::resident::Resident;
use super::{Batch, ParameterBuffer, Recipe, TrainError};

/// Loss and gradient norm of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss of the batch, before the update.
    pub loss: f32,
    /// Length of the gradient, before clipping.
    pub gradient_norm: f32,
}

/// A training session: the graphs, the parameters and the optimizer's state.
pub struct Stepper {
    runtime: Runtime,
    config: EncoderConfig,
    head: Head,
    recipe: Recipe,
    dropout: Dropout,
    /// Opened for the first batch that is encoded at once.
    whole: Option<FullBatch>,
    /// Opened for the first batch that is encoded in parts.
    cached: Option<GradCache>,
    /// Set when parameters and moments stay on the runtime's device; the two above are then never
    /// opened.
    resident: Option<Resident>,
    /// True when the parameters and moments on the device are newer than the two below.
    behind: bool,
    parameters: ParameterBuffer,
    moments: Moments,
    optimizer: AdamW,
}

impl Stepper {
    /// Opens the training graph of an encoder and takes ownership of its parameters.
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
            let state = (&stepper.parameters, &stepper.moments);
            stepper.resident = Some(Resident::new(runtime, config, head, recipe, state)?);
        } else {
            stepper.open(recipe.batch_size > recipe.mini_batch)?;
        }
        Ok(stepper)
    }

    /// Opens the graphs for batches that are encoded in parts, or at once, unless they are open.
    fn open(&mut self, in_parts: bool) -> Result<(), TrainError> {
        let pooling = self.head.pooling;
        if in_parts && self.cached.is_none() {
            self.cached =
                Some(GradCache::new(&self.runtime, &self.config, pooling, &self.recipe, &self.parameters)?);
        } else if !in_parts && self.whole.is_none() {
            self.whole =
                Some(FullBatch::new(&self.runtime, &self.config, pooling, &self.recipe, &self.parameters)?);
        }
        Ok(())
    }

    /// Returns the current parameters, copied back from the device if they are there.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the copy fails.
    pub fn parameters(&mut self) -> Result<&ParameterBuffer, TrainError> {
        Ok(self.state()?.0)
    }

    /// Returns the optimizer's current state, copied back from the device if it is there.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the copy fails.
    pub fn moments(&mut self) -> Result<&Moments, TrainError> {
        Ok(self.state()?.1)
    }

    /// Returns the current parameters and the optimizer's state, copied back from the device if
    /// they are there.
    pub(super) fn state(&mut self) -> Result<(&ParameterBuffer, &Moments), TrainError> {
        if let (true, Some(resident)) = (self.behind, &self.resident) {
            resident.fetch(&mut self.parameters, &mut self.moments)?;
            self.behind = false;
        }
        Ok((&self.parameters, &self.moments))
    }

    /// Returns the number of updates made, and the decay factor of rows that no text uses. This
    /// needs no copy from the device.
    pub(super) fn progress(&self) -> (u64, f64) {
        (self.moments.step, self.moments.decay_factor)
    }

    /// Returns the name of the memory in which parameters and moments stay, as ONNX Runtime calls
    /// it (`Cpu`, `Cuda`). Returns `None` when this stepper holds them and feeds them to each step.
    pub fn resident_in(&self) -> Option<String> {
        self.resident.as_ref().map(Resident::memory)
    }

    /// Restores an earlier training state of the same run. `values` must be as long as the
    /// parameters.
    pub(super) fn restore(&mut self, values: &[f32], moments: Moments) -> Result<(), TrainError> {
        self.parameters.values_mut().copy_from_slice(values);
        self.moments = moments;
        self.behind = false;
        if let Some(resident) = &mut self.resident {
            resident.replace(&self.parameters, &self.moments)?;
        }
        Ok(())
    }

    /// Ends the session and returns the parameters and the optimizer's state.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when they can't be copied back from the device.
    pub fn finish(mut self) -> Result<(ParameterBuffer, Moments), TrainError> {
        self.state()?;
        Ok((self.parameters, self.moments))
    }

    /// Computes loss and gradients of a batch and updates the parameters.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when the loss or the gradient norm isn't finite. The parameters
    /// are then unchanged.
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

    /// Returns the loss of a batch and the gradient of each parameter, by name, without an update.
    /// Gradients of look-up tables have the shapes of the compact buffer.
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

    /// Performs a step whose parameters and moments stay on the device.
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

    /// Passes loss and gradients to `then`, without copying them.
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
            // Unreachable: `open` has just filled the one that is needed.
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
