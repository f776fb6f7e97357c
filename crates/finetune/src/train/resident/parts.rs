//! Gradients of a batch that is encoded in parts (see `grad_cache`), added up on the device. Only
//! the embeddings come back to the host, to be ranked: one row per text, little data beside the
//! parameters.

use ndarray::{Array2, Axis};
use ort::session::Session;

use crate::model::{EncoderConfig, Head, Pooling};
use crate::onnx::{
    Device, GraphForm, ResidentNames, Runtime, RuntimeError, dropped_model, ranking_model,
    resident_sum_model, seeded_model,
};
use crate::train::dropout::Draws;
use crate::train::feed::PartFeed;
use crate::train::grad_cache::rank;
use crate::train::gradients::feed_matrix;
use crate::train::{Batch, Recipe, TrainError};

use super::bound::{Tensors, run, to_host};
use super::state::State;

/// The sessions of the passes, and of the sum over parts.
pub(super) struct Parts {
    forward: Session,
    ranking: Session,
    backward: Session,
    sum: Session,
    hidden: usize,
}

impl Parts {
    pub(super) fn new(
        runtime: &Runtime,
        config: &EncoderConfig,
        pooling: Pooling,
        recipe: &Recipe,
    ) -> Result<Self, TrainError> {
        // Ranking needs unit rows, whether or not the folder has a `Normalize` module.
        let head = Head { pooling, normalize: true };
        let rates = recipe.dropout_rates(config);
        Ok(Self {
            forward: runtime.session(&dropped_model(GraphForm::Resident, config, head, rates))?,
            ranking: runtime.session(&ranking_model(config.hidden, recipe.ranking()))?,
            backward: runtime.session(&seeded_model(GraphForm::Resident, config, pooling, rates))?,
            sum: runtime.session(&resident_sum_model(config))?,
            hidden: config.hidden,
        })
    }

    /// Returns the loss, and on the device every gradient in its parameter's shape.
    pub(super) fn gradients(
        &mut self,
        device: Device,
        state: &State,
        batch: &Batch,
        draws: Draws<'_>,
    ) -> Result<(f32, Tensors), TrainError> {
        let embeddings = self.embed(device, state, batch, draws)?;
        let (loss, seeds) = rank(&mut self.ranking, batch, &embeddings)?;
        let (mut sums, mut first) = (None, 0);
        for (number, part) in batch.parts.iter().enumerate() {
            let end = first + part.texts();
            let seeds = seeds.slice_axis(Axis(0), (first..end).into()).to_owned();
            let feed = PartFeed::new(part, draws.masks(number, part));
            let mut inputs = feed.inputs(&self.backward)?;
            inputs.push(("seeds".to_owned(), feed_matrix(&seeds)?));
            let action = "compute the gradients of a part of a batch";
            let gradients = run(&mut self.backward, device, inputs, state.parameters(), &[], action)?;
            sums = Some(match sums {
                None => gradients,
                Some(sums) => self.add(device, state, &sums, &gradients)?,
            });
            first = end;
        }
        // A batch has at least one part.
        Ok((loss, sums.ok_or(RuntimeError::Shape("batch"))?))
    }

    /// Returns the unit embeddings of all texts, `[texts, H]`.
    fn embed(
        &mut self,
        device: Device,
        state: &State,
        batch: &Batch,
        draws: Draws<'_>,
    ) -> Result<Array2<f32>, TrainError> {
        let mut embeddings = Vec::new();
        for (number, part) in batch.parts.iter().enumerate() {
            let feed = PartFeed::new(part, draws.masks(number, part));
            let inputs = feed.inputs(&self.forward)?;
            let (home, action) = (&["sentence_embedding"], "embed a part of a batch");
            let outputs = run(&mut self.forward, device, inputs, state.parameters(), home, action)?;
            embeddings.extend(to_host(&outputs, "sentence_embedding")?);
        }
        let texts = embeddings.len() / self.hidden;
        let rows = Array2::from_shape_vec((texts, self.hidden), embeddings);
        Ok(rows.map_err(|_| RuntimeError::Shape("sentence_embedding"))?)
    }

    /// Returns the sums with a part's gradients added, under the gradients' names.
    fn add(
        &mut self,
        device: Device,
        state: &State,
        sums: &Tensors,
        gradients: &Tensors,
    ) -> Result<Tensors, RuntimeError> {
        let names: Vec<(&str, String)> = state
            .gradient_names()
            .map(|names| (names.gradient.as_str(), ResidentNames::sum(names)))
            .collect();
        let earlier = names.iter().filter_map(|(name, sum)| Some((sum.as_str(), sums.get(*name)?)));
        let added = gradients.iter().map(|(name, tensor)| (name.as_str(), tensor));
        let action = "add up the parts of a batch";
        let mut outputs = run(&mut self.sum, device, Vec::new(), earlier.chain(added), &[], action)?;
        let mut next = Tensors::with_capacity(names.len());
        for (name, sum) in &names {
            let sum = outputs.remove(&ResidentNames::updated(sum)).ok_or(RuntimeError::Shape("resident"))?;
            next.insert((*name).to_owned(), sum);
        }
        Ok(next)
    }
}
