//! Transfer of gradients from the graph to the optimizer: their memory, their extraction, and the
//! sums over look-ups.

use autovalidate_kernels::{Factors, squares};
use ndarray::Array2;
use ort::memory::Allocator;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{Tensor, TensorRef};

use crate::onnx::{GradientForm, GraphForm, Parameter, RowIndex, RuntimeError};

use super::ParameterBuffer;
use super::packed::LookUps;

/// Gradients by the names of their parameters, in the order of the parameters.
pub type NamedGradients = Vec<(String, Vec<f32>)>;

/// A parameter's gradient, in the runtime's memory.
#[derive(Debug, Clone, Copy)]
pub enum Gradient<'a> {
    /// Gradient in the parameter's shape.
    Dense(&'a [f32]),
    /// Gradient of a weight, as two factors.
    Factors(Factors<'a>),
}

impl Gradient<'_> {
    /// Returns the squared length.
    pub(super) fn squares(&self) -> f64 {
        match self {
            Self::Dense(gradient) => squares(gradient),
            Self::Factors(factors) => factors.squares(),
        }
    }

    /// Returns the gradient in the parameter's shape.
    pub(super) fn to_vec(self) -> Vec<f32> {
        match self {
            Self::Dense(gradient) => gradient.to_vec(),
            Self::Factors(factors) => {
                let mut gradient = vec![0.0; factors.outputs() * factors.inputs()];
                factors.write(0..factors.outputs(), &mut gradient);
                gradient
            }
        }
    }
}

/// Returns run options that place dense gradients in the same memory at each step. Factors are not
/// included.
pub(super) fn gradient_outputs(
    parameters: &ParameterBuffer,
    form: GraphForm,
) -> Result<RunOptions<HasSelectedOutputs>, RuntimeError> {
    let mut outputs = OutputSelector::default();
    for parameter in parameters.parameters() {
        if parameter.gradient == GradientForm::Dense && parameter.factor_outputs(form).is_none() {
            let tensor = Tensor::<f32>::new(&Allocator::default(), parameter.shape.clone())
                .map_err(RuntimeError::call("allocate a gradient"))?;
            outputs = outputs.preallocate(parameter.gradient_output(), tensor);
        }
    }
    Ok(RunOptions::new().map_err(RuntimeError::call("make run options"))?.with_outputs(outputs))
}

/// Borrows a matrix as the input of a graph.
pub(super) fn feed_matrix(matrix: &Array2<f32>) -> Result<SessionInputValue<'_>, RuntimeError> {
    Ok(TensorRef::from_array_view(matrix.view()).map_err(RuntimeError::call("take a matrix"))?.into())
}

/// Reads the two factors of a weight's gradient, `[N, out]` and `[N, in]`.
pub(super) fn read_factors<'a>(
    outputs: &'a SessionOutputs<'_>,
    names: [String; 2],
) -> Result<Factors<'a>, RuntimeError> {
    let read = |name: &String| {
        outputs[name.as_str()]
            .try_extract_tensor::<f32>()
            .map_err(RuntimeError::call("read a gradient's factor"))
    };
    let [(upstream_shape, upstream), (x_shape, x)] = [read(&names[0])?, read(&names[1])?];
    Ok(Factors::new((upstream, upstream_shape[1] as usize), (x, x_shape[1] as usize)))
}

/// Reads the graph's output for a parameter: its gradient, or the rows that add up to it.
pub(super) fn read_gradient<'a>(
    outputs: &'a SessionOutputs<'_>,
    parameter: &Parameter,
) -> Result<&'a [f32], RuntimeError> {
    let (_, gradient) = outputs[parameter.gradient_output().as_str()]
        .try_extract_tensor::<f32>()
        .map_err(RuntimeError::call("read a gradient"))?;
    Ok(gradient)
}

/// Adds each row of `rows` to the row of `table` that was looked up for it.
pub(super) fn add_rows(table: &mut [f32], rows: &[f32], index: RowIndex, look_ups: LookUps<'_>) {
    let width = rows.len() / look_ups.ids.len().max(1);
    for (at, row) in rows.chunks_exact(width.max(1)).enumerate() {
        let used = match index {
            RowIndex::Ids => look_ups.ids[at] as usize,
            RowIndex::Positions => look_ups.positions[at] as usize,
            RowIndex::First => 0,
        };
        let target = &mut table[used * width..][..width];
        target.iter_mut().zip(row).for_each(|(sum, gradient)| *sum += gradient);
    }
}
