//! One optimiser step: feed a batch, take loss and gradients, add up look-up gradients, clip, update.

use std::collections::HashMap;

use ndarray::Array2;
use ort::memory::Allocator;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue, SessionOutputs,
};
use ort::value::{Tensor, TensorRef};

use crate::model::{EncoderConfig, Head};
use crate::onnx::{GradientForm, MASKED, RowIndex, Runtime, RuntimeError, training_model};

use super::adamw::{AdamW, Moments, clip_factor, norm, update};
use super::packed::PackedTexts;
use super::{Pairs, ParameterBuffer, Recipe, TrainError};

/// Pairs as the training graph is fed with them.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Ids of the rows the pairs came from.
    pub rows: Vec<i64>,
    texts: PackedTexts,
    anchor_pooling: Array2<f32>,
    positive_pooling: Array2<f32>,
    score_mask: Array2<f32>,
    targets: Array2<f32>,
}

impl Batch {
    /// Packs the pairs with these indices. Equal texts are encoded once, and are never negatives of each other.
    pub fn new(pairs: &Pairs, indices: &[usize], config: &EncoderConfig, head: Head) -> Self {
        let mut texts: Vec<&[u32]> = Vec::new();
        let mut places = HashMap::new();
        let mut place = |text: usize| {
            *places.entry(text).or_insert_with(|| {
                texts.push(&pairs.texts[text]);
                texts.len() - 1
            })
        };
        let anchors: Vec<usize> = indices.iter().map(|pair| place(pairs.sides[*pair].0)).collect();
        let positives: Vec<usize> = indices.iter().map(|pair| place(pairs.sides[*pair].1)).collect();
        let packed = PackedTexts::new(&texts, config, head.pooling);
        let count = indices.len();
        let score_mask = Array2::from_shape_fn((count, count), |(i, j)| {
            let equal =
                anchors[i] == anchors[j] || positives[i] == positives[j] || anchors[i] == positives[j];
            if i != j && equal { MASKED } else { 0.0 }
        });
        Self {
            rows: indices.iter().map(|pair| pairs.rows[*pair]).collect(),
            anchor_pooling: packed.pooling(&anchors),
            positive_pooling: packed.pooling(&positives),
            texts: packed,
            score_mask,
            targets: Array2::eye(count),
        }
    }

    /// Number of tokens that are encoded.
    pub fn tokens(&self) -> usize {
        self.texts.tokens()
    }
}

/// What a step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean loss of the batch, before the update.
    pub loss: f32,
    /// Length of the gradient, before clipping.
    pub gradient_norm: f32,
}

/// Gradient of each parameter, by name.
pub type NamedGradients = Vec<(String, Vec<f32>)>;

/// A training session: the graph, the parameters and the optimiser's state.
pub struct Stepper {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
    parameters: ParameterBuffer,
    moments: Moments,
    optimizer: AdamW,
    max_gradient_norm: f32,
    /// Gradients of the look-up tables, in the order of the parameters; empty for dense ones.
    tables: Vec<Vec<f32>>,
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
        let session = runtime.session(&training_model(config, head.pooling, recipe.loss, recipe.scale))?;
        let mut outputs = OutputSelector::default();
        let mut tables = Vec::new();
        for parameter in parameters.parameters() {
            match parameter.gradient {
                // Gradients land in the same memory at each step.
                GradientForm::Dense => {
                    let tensor = Tensor::<f32>::new(&Allocator::default(), parameter.shape.clone())
                        .map_err(RuntimeError::call("allocate a gradient"))?;
                    outputs = outputs.preallocate(parameter.gradient_output(), tensor);
                    tables.push(Vec::new());
                }
                GradientForm::Rows(_) => tables.push(vec![0.0; parameter.elements()]),
            }
        }
        let options =
            RunOptions::new().map_err(RuntimeError::call("make run options"))?.with_outputs(outputs);
        let moments = Moments::zero(parameters.values().len());
        let optimizer = AdamW::with_decay(recipe.weight_decay);
        let max_gradient_norm = recipe.max_gradient_norm;
        Ok(Self { session, options, parameters, moments, optimizer, max_gradient_norm, tables })
    }

    /// The parameters as they are now.
    pub fn parameters(&self) -> &ParameterBuffer {
        &self.parameters
    }

    /// The optimiser's state as it is now.
    pub fn moments(&self) -> &Moments {
        &self.moments
    }

    /// Ends the session, handing back the parameters and the state.
    pub fn finish(self) -> (ParameterBuffer, Moments) {
        (self.parameters, self.moments)
    }

    /// Computes loss and gradients of a batch and updates the parameters.
    ///
    /// # Errors
    /// [`TrainError::NotFinite`] when the loss or the gradient's length isn't finite: parameters are then as
    /// they were before.
    pub fn step(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, TrainError> {
        let step = self.moments.step as usize;
        let Self { session, options, parameters, moments, optimizer, tables, .. } = self;
        let outputs = run(session, options, parameters, batch)?;
        let (loss, gradients) = collect(&outputs, parameters, batch, tables)?;
        let gradient_norm = norm(&gradients);
        for (what, value) in [("loss", loss), ("gradient norm", gradient_norm)] {
            if !value.is_finite() {
                let rows = batch.rows.clone();
                return Err(TrainError::NotFinite { what, value, step, learning_rate, rows });
            }
        }
        let scale = clip_factor(gradient_norm, self.max_gradient_norm);
        let decayed = parameters.decayed();
        update(*optimizer, parameters.values_mut(), &gradients, moments, decayed, learning_rate, scale);
        Ok(StepReport { loss, gradient_norm })
    }

    /// Loss of a batch and the gradient of each parameter, by name, without an update. Look-up tables have the
    /// shape of the compact buffer.
    ///
    /// # Errors
    /// [`TrainError::Runtime`] when the runtime fails.
    pub fn gradients(&mut self, batch: &Batch) -> Result<(f32, NamedGradients), TrainError> {
        let outputs = run(&mut self.session, &self.options, &self.parameters, batch)?;
        let (loss, gradients) = collect(&outputs, &self.parameters, batch, &mut self.tables)?;
        let names = self.parameters.parameters().iter().map(|parameter| parameter.name.clone());
        Ok((loss, names.zip(gradients.into_iter().map(<[f32]>::to_vec)).collect()))
    }
}

fn run<'s>(
    session: &'s mut Session,
    options: &'s RunOptions<HasSelectedOutputs>,
    parameters: &ParameterBuffer,
    batch: &Batch,
) -> Result<SessionOutputs<'s>, TrainError> {
    let mut inputs = Vec::with_capacity(parameters.parameters().len() + 12);
    batch.texts.feed(true, &mut inputs)?;
    let matrices = [
        ("anchor_pooling", &batch.anchor_pooling),
        ("positive_pooling", &batch.positive_pooling),
        ("score_mask", &batch.score_mask),
        ("targets", &batch.targets),
    ];
    for (name, matrix) in matrices {
        inputs.push((name.to_owned(), feed_matrix(matrix)?));
    }
    parameters.feed(&mut inputs)?;
    session
        .run_with_options(inputs, options)
        .map_err(RuntimeError::call("run the training graph"))
        .map_err(TrainError::from)
}

pub(super) fn feed_matrix(matrix: &Array2<f32>) -> Result<SessionInputValue<'_>, RuntimeError> {
    Ok(TensorRef::from_array_view(matrix.view()).map_err(RuntimeError::call("take a matrix"))?.into())
}

/// The loss and a gradient per parameter, in order.
fn collect<'a>(
    outputs: &'a SessionOutputs<'_>,
    parameters: &ParameterBuffer,
    batch: &Batch,
    tables: &'a mut [Vec<f32>],
) -> Result<(f32, Vec<&'a [f32]>), TrainError> {
    let loss = outputs["loss"].try_extract_scalar::<f32>().map_err(RuntimeError::call("read the loss"))?;
    let (_, rows) = outputs["gradient.embeddings"]
        .try_extract_tensor::<f32>()
        .map_err(RuntimeError::call("read the embeddings' gradient"))?;
    let width = rows.len() / batch.tokens().max(1);
    let mut gradients = Vec::with_capacity(tables.len());
    for (parameter, table) in parameters.parameters().iter().zip(tables) {
        gradients.push(match parameter.gradient {
            GradientForm::Dense => {
                let name = parameter.gradient_output();
                let (_, gradient) = outputs[name.as_str()]
                    .try_extract_tensor::<f32>()
                    .map_err(RuntimeError::call("read a gradient"))?;
                gradient
            }
            GradientForm::Rows(index) => {
                table.fill(0.0);
                add_rows(table, rows, width, |token| match index {
                    RowIndex::Ids => batch.texts.ids[token] as usize,
                    RowIndex::Positions => batch.texts.positions[token] as usize,
                    RowIndex::First => 0,
                });
                table.as_slice()
            }
        });
    }
    Ok((loss, gradients))
}

/// Adds row `i` of `rows` onto row `index(i)` of `table`.
fn add_rows(table: &mut [f32], rows: &[f32], width: usize, index: impl Fn(usize) -> usize) {
    for (token, row) in rows.chunks_exact(width).enumerate() {
        let target = &mut table[index(token) * width..][..width];
        target.iter_mut().zip(row).for_each(|(sum, gradient)| *sum += gradient);
    }
}
