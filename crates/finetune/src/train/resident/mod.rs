//! Training whose parameters and moments stay in the memory of the device that computes.
//!
//! A step runs two graphs: the training graph, whose gradients stay on the device, and the
//! optimizer, which clips them and outputs new parameters and moments. Only the loss and the
//! gradient norm come back to the host. The new parameters and moments replace the old ones only
//! when both numbers are finite. Until then, and after any failure, the old ones remain.
//!
//! Never decides the meaning of a step or a failure: [`Stepper`](super::Stepper) does.
//!
//! ```text
//! bound              calls of a graph with tensors that stay on a device
//! device_parameters  parameters alone, for embedding texts
//! state              parameters and moments on the device, and copies back to the host
//! parts              batches that are encoded in parts
//! ```

mod bound;
mod device_parameters;
mod parts;
mod state;

use ort::session::Session;

use crate::model::{EncoderConfig, Head};
use crate::onnx::{
    Device, GraphForm, ResidentNames, Runtime, RuntimeError, resident_optimizer_model, training_model,
};

use super::dropout::Draws;
use super::feed::FullBatchFeed;
use super::gradients::NamedGradients;
use super::{AdamW, Batch, Moments, ParameterBuffer, Recipe, TrainError};

use bound::{Tensors, run, scalar, to_host};
pub(super) use device_parameters::DeviceParameters;
use parts::Parts;
use state::State;

/// The sessions of a run, with its parameters and moments on the device.
pub(super) struct Resident {
    runtime: Runtime,
    config: EncoderConfig,
    head: Head,
    recipe: Recipe,
    /// Opened for the first batch that is encoded at once.
    whole: Option<Session>,
    /// Opened for the first batch that is encoded in parts.
    parts: Option<Parts>,
    optimizer: Session,
    state: State,
}

/// A step that has been computed but not taken.
pub(super) struct Attempt {
    pub(super) loss: f32,
    pub(super) gradient_norm: f32,
    next: State,
}

impl Resident {
    /// Opens the graphs, and copies parameters and moments to the runtime's device.
    pub(super) fn new(
        runtime: &Runtime,
        config: &EncoderConfig,
        head: Head,
        recipe: &Recipe,
        state: (&ParameterBuffer, &Moments),
    ) -> Result<Self, TrainError> {
        let AdamW { beta_1, beta_2, epsilon, .. } = AdamW::with_decay(recipe.weight_decay);
        let optimizer = resident_optimizer_model(config, [beta_1, beta_2, epsilon], recipe.max_gradient_norm);
        let mut resident = Self {
            runtime: runtime.clone(),
            config: config.clone(),
            head,
            recipe: recipe.clone(),
            whole: None,
            parts: None,
            optimizer: runtime.session(&optimizer)?,
            state: State::bring(runtime.device(), state.0, state.1)?,
        };
        resident.open(recipe.batch_size > recipe.mini_batch)?;
        Ok(resident)
    }

    fn open(&mut self, in_parts: bool) -> Result<(), TrainError> {
        let rates = self.recipe.dropout_rates(&self.config);
        if in_parts && self.parts.is_none() {
            self.parts = Some(Parts::new(&self.runtime, &self.config, self.head.pooling, &self.recipe)?);
        } else if !in_parts && self.whole.is_none() {
            let model = training_model(
                GraphForm::Resident,
                &self.config,
                self.head.pooling,
                self.recipe.ranking(),
                rates,
            );
            self.whole = Some(self.runtime.session(&model)?);
        }
        Ok(())
    }

    /// Returns the name of the memory that holds the parameters, as ONNX Runtime calls it.
    pub(super) fn memory(&self) -> String {
        self.state.memory()
    }

    /// Computes a step from the training state after `step` steps. Nothing changes yet.
    pub(super) fn attempt(
        &mut self,
        batch: &Batch,
        draws: Draws<'_>,
        step: u64,
        learning_rate: f32,
    ) -> Result<Attempt, TrainError> {
        let (loss, gradients) = self.whole_gradients(batch, draws)?;
        let optimizer = AdamW::with_decay(self.recipe.weight_decay);
        let [correction_1, correction_2] = optimizer.corrections(step + 1);
        let scalars = [
            ("learning_rate", learning_rate),
            ("decay", optimizer.decay(learning_rate) as f32),
            ("correction_1", correction_1 as f32),
            ("correction_2", correction_2 as f32),
        ];
        let mut inputs = Vec::with_capacity(scalars.len());
        for (name, number) in &scalars {
            inputs.push(((*name).to_owned(), scalar(number)?));
        }
        let mut outputs = run(
            &mut self.optimizer,
            self.runtime.device(),
            inputs,
            self.state.all().chain(gradients.iter().map(|(name, tensor)| (name.as_str(), tensor))),
            &["gradient_norm"],
            "run the optimizer",
        )?;
        let gradient_norm = to_host(&outputs, "gradient_norm")?[0];
        let next = self.state.next(&mut outputs)?;
        Ok(Attempt { loss, gradient_norm, next })
    }

    /// Takes a step: the attempt becomes the training state.
    pub(super) fn take(&mut self, attempt: Attempt) {
        self.state = attempt.next;
    }

    /// Returns the loss of a batch and the gradient of each parameter, copied back to the host.
    pub(super) fn gradients(
        &mut self,
        batch: &Batch,
        draws: Draws<'_>,
        parameters: &ParameterBuffer,
    ) -> Result<(f32, NamedGradients), TrainError> {
        let (loss, gradients) = self.whole_gradients(batch, draws)?;
        let named = parameters.parameters().iter().map(|parameter| {
            let gradient = to_host(&gradients, &ResidentNames::of(parameter).gradient)?;
            Ok((parameter.name.clone(), gradient))
        });
        Ok((loss, named.collect::<Result<_, RuntimeError>>()?))
    }

    /// Copies parameters and moments back to the host. The caller keeps the moments' number of
    /// steps.
    pub(super) fn fetch(
        &self,
        parameters: &mut ParameterBuffer,
        moments: &mut Moments,
    ) -> Result<(), TrainError> {
        Ok(self.state.fetch(parameters, moments)?)
    }

    /// Replaces the parameters and moments on the device.
    pub(super) fn replace(
        &mut self,
        parameters: &ParameterBuffer,
        moments: &Moments,
    ) -> Result<(), TrainError> {
        self.state = State::bring(self.runtime.device(), parameters, moments)?;
        Ok(())
    }

    /// Returns the loss, and on the device every gradient in its parameter's shape.
    fn whole_gradients(&mut self, batch: &Batch, draws: Draws<'_>) -> Result<(f32, Tensors), TrainError> {
        let in_parts = batch.parts.len() > 1;
        self.open(in_parts)?;
        let (device, state) = (self.runtime.device(), &self.state);
        match (&mut self.parts, &mut self.whole) {
            (Some(parts), _) if in_parts => parts.gradients(device, state, batch, draws),
            (_, Some(session)) => at_once(session, device, state, batch, draws),
            // Unreachable: `open` has just filled the one that is needed.
            _ => Err(RuntimeError::Shape("batch").into()),
        }
    }
}

fn at_once(
    session: &mut Session,
    device: Device,
    state: &State,
    batch: &Batch,
    draws: Draws<'_>,
) -> Result<(f32, Tensors), TrainError> {
    let feed = FullBatchFeed::new(batch, draws.masks(0, &batch.parts[0]));
    let inputs = feed.inputs(session)?;
    let mut outputs = run(session, device, inputs, state.parameters(), &["loss"], "run the training graph")?;
    let loss = to_host(&outputs, "loss")?[0];
    outputs.remove("loss");
    Ok((loss, outputs))
}
