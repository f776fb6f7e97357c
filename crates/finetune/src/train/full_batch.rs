//! Gradients of a batch that is encoded at once.

use ort::session::{HasSelectedOutputs, RunOptions, Session, SessionOutputs};

use crate::model::{EncoderConfig, Pooling};
use crate::onnx::{GradientForm, GraphForm, Parameter, Runtime, RuntimeError, training_model};

use super::dropout::Draws;
use super::feed::FullBatchFeed;
use super::gradients::{Gradient, add_rows, gradient_outputs, read_factors, read_gradient};
use super::packed::{LookUps, shares_rows};
use super::{Batch, ParameterBuffer, Recipe, TrainError};

/// Smallest batch, in pairs, for which the graph outputs whole gradients of weights. For smaller
/// batches it outputs their factors, which are much smaller than the gradients
/// (`docs/decisions/0039-small-batches-keep-gradients-as-factors.md`).
const WHOLE_FROM: usize = 4;

/// The training graph, and memory for its gradients.
pub(super) struct FullBatch {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
    form: GraphForm,
    shares_rows: bool,
    /// Gradients of the look-up tables, in the order of the parameters; empty for dense ones.
    tables: Vec<Vec<f32>>,
}

impl FullBatch {
    pub(super) fn new(
        runtime: &Runtime,
        config: &EncoderConfig,
        pooling: Pooling,
        recipe: &Recipe,
        parameters: &ParameterBuffer,
    ) -> Result<Self, TrainError> {
        let form = match runtime.form() {
            GraphForm::Fused if recipe.batch_size < WHOLE_FROM => GraphForm::Factored,
            form => form,
        };
        let model = training_model(form, config, pooling, recipe.ranking(), recipe.dropout_rates(config));
        let session = runtime.session(&model)?;
        Ok(Self {
            shares_rows: shares_rows(&session),
            session,
            options: gradient_outputs(parameters, form)?,
            form,
            tables: tables(parameters),
        })
    }

    /// Passes the loss and one gradient per parameter, in order, to `then`, without copying them
    /// out of the runtime's memory.
    pub(super) fn gradients<R>(
        &mut self,
        parameters: &mut ParameterBuffer,
        batch: &Batch,
        draws: Draws<'_>,
        then: impl FnOnce(f32, Vec<Gradient<'_>>, &mut ParameterBuffer) -> R,
    ) -> Result<R, TrainError> {
        let feed = FullBatchFeed::new(batch, draws.masks(0, &batch.parts[0]));
        let outputs = run(&mut self.session, &self.options, parameters, &feed)?;
        let look_ups = batch.parts[0].look_ups(self.shares_rows);
        let (loss, gradients) = collect(&outputs, parameters, look_ups, self.form, &mut self.tables)?;
        Ok(then(loss, gradients, parameters))
    }
}

/// Allocates the gradients of the look-up tables.
fn tables(parameters: &ParameterBuffer) -> Vec<Vec<f32>> {
    let room = |parameter: &Parameter| match parameter.gradient {
        GradientForm::Dense => Vec::new(),
        GradientForm::Rows(_) => vec![0.0; parameter.elements()],
    };
    parameters.parameters().iter().map(room).collect()
}

/// Runs the training graph on a batch.
fn run<'s>(
    session: &'s mut Session,
    options: &'s RunOptions<HasSelectedOutputs>,
    parameters: &ParameterBuffer,
    feed: &FullBatchFeed<'_>,
) -> Result<SessionOutputs<'s>, TrainError> {
    let mut inputs = feed.inputs(session)?;
    parameters.feed(&mut inputs)?;
    session
        .run_with_options(inputs, options)
        .map_err(RuntimeError::call("run the training graph"))
        .map_err(TrainError::from)
}

/// Returns the loss and one gradient per parameter, in order.
fn collect<'a>(
    outputs: &'a SessionOutputs<'_>,
    parameters: &ParameterBuffer,
    look_ups: LookUps<'_>,
    form: GraphForm,
    tables: &'a mut [Vec<f32>],
) -> Result<(f32, Vec<Gradient<'a>>), TrainError> {
    let loss = outputs["loss"].try_extract_scalar::<f32>().map_err(RuntimeError::call("read the loss"))?;
    let mut gradients = Vec::with_capacity(tables.len());
    for (parameter, table) in parameters.parameters().iter().zip(tables) {
        if let Some(names) = parameter.factor_outputs(form) {
            gradients.push(Gradient::Factors(read_factors(outputs, names)?));
            continue;
        }
        let output = read_gradient(outputs, parameter)?;
        gradients.push(Gradient::Dense(match parameter.gradient {
            GradientForm::Dense => output,
            GradientForm::Rows(index) => {
                table.fill(0.0);
                add_rows(table, output, index, look_ups);
                table.as_slice()
            }
        }));
    }
    Ok((loss, gradients))
}
