//! Gradients of a batch that is encoded in parts (GradCache). The memory is that of one part,
//! whatever the batch size.

use ndarray::{Array2, ArrayView2, Axis};
use ort::session::{HasSelectedOutputs, RunOptions, Session};

use crate::model::{EncoderConfig, Head, Pooling};
use crate::onnx::{GradientForm, Runtime, RuntimeError, dropped_model, ranking_model, seeded_model};

use super::dropout::Draws;
use super::feed::PartFeed;
use super::gradients::{Gradient, add_rows, feed_matrix, gradient_outputs, read_gradient};
use super::packed::{PackedTexts, shares_rows};
use super::{Batch, ParameterBuffer, Recipe, TrainError};

/// The sessions of the three passes, and the sums of the gradients.
pub(super) struct GradCache {
    forward: Session,
    ranking: Session,
    backward: Session,
    options: RunOptions<HasSelectedOutputs>,
    hidden: usize,
    /// True when tokens share rows in the backward graph.
    shares_rows: bool,
    sums: Vec<Vec<f32>>,
}

impl GradCache {
    pub(super) fn new(
        runtime: &Runtime,
        config: &EncoderConfig,
        pooling: Pooling,
        recipe: &Recipe,
        parameters: &ParameterBuffer,
    ) -> Result<Self, TrainError> {
        // Ranking needs unit rows, whether or not the folder has a `Normalize` module.
        let head = Head { pooling, normalize: true };
        let rates = recipe.dropout_rates(config);
        let backward = runtime.session(&seeded_model(runtime.form(), config, pooling, rates))?;
        Ok(Self {
            shares_rows: shares_rows(&backward),
            forward: runtime.session(&dropped_model(runtime.form(), config, head, rates))?,
            ranking: runtime.session(&ranking_model(config.hidden, recipe.ranking()))?,
            backward,
            options: gradient_outputs(parameters, runtime.form())?,
            hidden: config.hidden,
            sums: parameters.parameters().iter().map(|parameter| vec![0.0; parameter.elements()]).collect(),
        })
    }

    /// Returns the loss and one gradient per parameter, in order.
    pub(super) fn gradients(
        &mut self,
        parameters: &ParameterBuffer,
        batch: &Batch,
        draws: Draws<'_>,
    ) -> Result<(f32, Vec<Gradient<'_>>), TrainError> {
        let embeddings = self.embed(parameters, batch, draws)?;
        let (loss, seeds) = rank(&mut self.ranking, batch, &embeddings)?;
        self.sums.iter_mut().for_each(|sum| sum.fill(0.0));
        let mut first = 0;
        for (number, part) in batch.parts.iter().enumerate() {
            let end = first + part.texts();
            let seeds = seeds.slice_axis(Axis(0), (first..end).into()).to_owned();
            self.backward_part(parameters, &PartFeed::new(part, draws.masks(number, part)), &seeds)?;
            first = end;
        }
        Ok((loss, self.sums.iter().map(|sum| Gradient::Dense(sum)).collect()))
    }

    /// Returns the unit embeddings of all texts, `[texts, H]`.
    fn embed(
        &mut self,
        parameters: &ParameterBuffer,
        batch: &Batch,
        draws: Draws<'_>,
    ) -> Result<Array2<f32>, TrainError> {
        let count = batch.parts.iter().map(PackedTexts::texts).sum();
        let mut embeddings = Array2::zeros((count, self.hidden));
        let mut first = 0;
        for (number, part) in batch.parts.iter().enumerate() {
            let feed = PartFeed::new(part, draws.masks(number, part));
            let mut inputs = feed.inputs(&self.forward)?;
            parameters.feed(&mut inputs)?;
            let outputs = self.forward.run(inputs).map_err(RuntimeError::call("embed a part of a batch"))?;
            let rows = matrix(&outputs, "sentence_embedding", [part.texts(), self.hidden])?;
            embeddings.slice_axis_mut(Axis(0), (first..first + part.texts()).into()).assign(&rows);
            first += part.texts();
        }
        Ok(embeddings)
    }

    /// Runs the backward pass of a part, and adds its gradients to the sums.
    fn backward_part(
        &mut self,
        parameters: &ParameterBuffer,
        feed: &PartFeed<'_>,
        seeds: &Array2<f32>,
    ) -> Result<(), TrainError> {
        let look_ups = feed.part.look_ups(self.shares_rows);
        let mut inputs = feed.inputs(&self.backward)?;
        inputs.push(("seeds".to_owned(), feed_matrix(seeds)?));
        parameters.feed(&mut inputs)?;
        let outputs = self
            .backward
            .run_with_options(inputs, &self.options)
            .map_err(RuntimeError::call("compute the gradients of a part of a batch"))?;
        for (parameter, sum) in parameters.parameters().iter().zip(&mut self.sums) {
            let output = read_gradient(&outputs, parameter)?;
            match parameter.gradient {
                GradientForm::Dense => {
                    sum.iter_mut().zip(output).for_each(|(sum, gradient)| *sum += gradient);
                }
                GradientForm::Rows(index) => add_rows(sum, output, index, look_ups),
            }
        }
        Ok(())
    }
}

/// Returns the loss, and its gradient with respect to each text's embedding.
pub(super) fn rank(
    session: &mut Session,
    batch: &Batch,
    embeddings: &Array2<f32>,
) -> Result<(f32, Array2<f32>), TrainError> {
    let select = |places: &[usize]| embeddings.select(ndarray::Axis(0), places);
    let (anchors, candidates) = (select(&batch.anchors), select(&batch.candidates));
    let inputs = [
        ("anchors", &anchors),
        ("positives", &candidates),
        ("score_mask", &batch.score_mask),
        ("targets", &batch.targets),
    ];
    let mut fed = Vec::with_capacity(inputs.len());
    for (name, matrix) in inputs {
        fed.push((name.to_owned(), feed_matrix(matrix)?));
    }
    let outputs = session.run(fed).map_err(RuntimeError::call("rank a batch"))?;
    let loss = outputs["loss"].try_extract_scalar::<f32>().map_err(RuntimeError::call("read the loss"))?;
    let mut seeds = Array2::zeros(embeddings.raw_dim());
    for (name, places) in [("gradient.anchors", &batch.anchors), ("gradient.positives", &batch.candidates)] {
        let gradient = matrix(&outputs, name, [places.len(), embeddings.ncols()])?;
        for (row, place) in gradient.outer_iter().zip(places) {
            // A text of several pairs gets the sum of their gradients, and one backward pass.
            seeds.row_mut(*place).zip_mut_with(&row, |sum, gradient| *sum += gradient);
        }
    }
    Ok((loss, seeds))
}

fn matrix<'a>(
    outputs: &'a ort::session::SessionOutputs<'_>,
    name: &'static str,
    shape: [usize; 2],
) -> Result<ArrayView2<'a, f32>, RuntimeError> {
    let (_, elements) =
        outputs[name].try_extract_tensor::<f32>().map_err(RuntimeError::call("read a matrix"))?;
    ArrayView2::from_shape(shape, elements).map_err(|_| RuntimeError::Shape(name))
}
