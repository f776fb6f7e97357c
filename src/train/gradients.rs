//! Gradients between the graph and the optimiser: where they land, how they are read, how look-ups are added up.

use ndarray::Array2;
use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{Tensor, TensorRef};

use crate::onnx::{GradientForm, Parameter, RowIndex, RuntimeError};

use super::ParameterBuffer;
use super::packed::PackedTexts;

/// The gradient of each parameter, by the parameter's name, in their order.
pub type NamedGradients = Vec<(String, Vec<f32>)>;

/// Run options under which gradients land in the same memory at each step.
pub(super) fn gradient_outputs(
    parameters: &ParameterBuffer,
) -> Result<RunOptions<HasSelectedOutputs>, RuntimeError> {
    let mut outputs = OutputSelector::default();
    for parameter in parameters.parameters() {
        if parameter.gradient == GradientForm::Dense {
            let tensor = Tensor::<f32>::new(&Allocator::default(), parameter.shape.clone())
                .map_err(RuntimeError::call("allocate a gradient"))?;
            outputs = outputs.preallocate(parameter.gradient_output(), tensor);
        }
    }
    Ok(RunOptions::new().map_err(RuntimeError::call("make run options"))?.with_outputs(outputs))
}

/// A matrix as a graph takes it, borrowed.
pub(super) fn feed_matrix(matrix: &Array2<f32>) -> Result<SessionInputValue<'_>, RuntimeError> {
    Ok(TensorRef::from_array_view(matrix.view()).map_err(RuntimeError::call("take a matrix"))?.into())
}

/// What the graph gave out for a parameter: its gradient, or the rows that make it up.
pub(super) fn read_gradient<'a>(
    outputs: &'a SessionOutputs<'_>,
    parameter: &Parameter,
) -> Result<&'a [f32], RuntimeError> {
    let (_, gradient) = outputs[parameter.gradient_output().as_str()]
        .try_extract_tensor::<f32>()
        .map_err(RuntimeError::call("read a gradient"))?;
    Ok(gradient)
}

/// Adds each token's row of `rows` onto the row of `table` it used.
pub(super) fn add_rows(table: &mut [f32], rows: &[f32], index: RowIndex, texts: &PackedTexts) {
    let width = rows.len() / texts.tokens().max(1);
    for (token, row) in rows.chunks_exact(width.max(1)).enumerate() {
        let used = match index {
            RowIndex::Ids => texts.ids[token] as usize,
            RowIndex::Positions => texts.positions[token] as usize,
            RowIndex::First => 0,
        };
        let target = &mut table[used * width..][..width];
        target.iter_mut().zip(row).for_each(|(sum, gradient)| *sum += gradient);
    }
}
