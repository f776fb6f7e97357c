//! Implementations that the runtime calls. Each takes its inputs as slices, allocates its outputs,
//! and runs kernels on the session's threads.
//!
//! Names, inputs and outputs are those of `nodes`. Every tensor holds floats, except the first rows
//! of the texts and the row numbers that tokens share.

use autovalidate_kernels::{
    Attention, LinearGradients, NormGradients, NormStatistics, Sharing, Texts, gelu, gelu_gradient,
    gelu_with_slope, layer_norm, layer_norm_gradient, linear, linear_gradient, linear_input_gradient,
};
use ort::operator::{
    BoxedKernel, ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::{TensorElementType, ValueRef, ValueRefMut};

use strum::{IntoEnumIterator, VariantNames};

use super::DOMAIN;
use super::thread_pool::SessionPool;

/// Returns the operators for sessions with this number of threads.
pub(in crate::onnx) fn domain(threads: usize) -> ort::Result<OperatorDomain> {
    Fused::iter()
        .try_fold(OperatorDomain::new(DOMAIN)?, |domain, fused| domain.add(FusedOperator { fused, threads }))
}

/// A fused operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::EnumIter, strum::IntoStaticStr, strum::VariantNames)]
enum Fused {
    Linear,
    LinearGelu,
    LinearGradient,
    LinearInputGradient,
    GeluWithSlope,
    GeluGradient,
    LayerNorm,
    LayerNormGradient,
    #[strum(serialize = "TextAttention")]
    Attention,
    #[strum(serialize = "TextAttentionGradient")]
    AttentionGradient,
    RowSums,
}

impl Fused {
    fn name(self) -> &'static str {
        self.into()
    }

    /// Number of required inputs, true if one optional input may follow, and number of outputs.
    fn arity(self) -> (usize, bool, usize) {
        match self {
            Self::Linear => (3, true, 1),
            Self::LinearGelu => (3, false, 2),
            Self::LinearGradient => (3, true, 2),
            Self::LinearInputGradient => (2, true, 1),
            Self::GeluWithSlope => (2, false, 2),
            Self::GeluGradient => (2, false, 2),
            Self::LayerNorm => (3, false, 3),
            Self::LayerNormGradient => (5, false, 4),
            Self::Attention => (2, false, 2),
            Self::AttentionGradient => (4, false, 2),
            Self::RowSums => (2, false, 1),
        }
    }

    /// Index of the input that holds row numbers: the first rows of the texts, or the rows that
    /// tokens share.
    fn row_numbers(self) -> Option<usize> {
        match self {
            Self::Attention | Self::RowSums => Some(1),
            Self::AttentionGradient => Some(2),
            _ => None,
        }
    }
}

/// Returns true when the operator belongs to the fused domain.
pub(in crate::onnx) fn is_fused(operator: &str) -> bool {
    Fused::VARIANTS.contains(&operator)
}

struct FusedOperator {
    fused: Fused,
    threads: usize,
}

impl Operator for FusedOperator {
    type Kernel<'attr> = BoxedKernel<'attr>;

    fn name(&self) -> &str {
        self.fused.name()
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let (required, more, _) = self.fused.arity();
        let kind = |at| match self.fused.row_numbers() == Some(at) {
            true => TensorElementType::Int64,
            false => TensorElementType::Float32,
        };
        let required = (0..required).map(move |at| OperatorInput::required(kind(at)));
        required.chain(more.then(|| OperatorInput::optional(TensorElementType::Float32))).collect::<Vec<_>>()
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let (_, _, outputs) = self.fused.arity();
        (0..outputs).map(|_| OperatorOutput::required(TensorElementType::Float32))
    }

    fn create_kernel<'attr>(&self, context: &KernelContext<'attr>) -> ort::Result<Self::Kernel<'attr>> {
        let threads = self.threads;
        let whole = |name: &'static str| {
            context
                .get::<i64>(name)
                .and_then(|number| usize::try_from(number).ok())
                .ok_or_else(|| wrong(name))
        };
        Ok(match self.fused {
            Fused::Linear => Box::new(move |call: &ComputeContext| run_linear(call, threads)),
            Fused::LinearGradient => {
                Box::new(move |call: &ComputeContext| run_linear_gradient(call, threads))
            }
            Fused::LinearInputGradient => {
                Box::new(move |call: &ComputeContext| run_linear_input_gradient(call, threads))
            }
            Fused::LinearGelu => Box::new(move |call: &ComputeContext| run_linear_gelu(call, threads)),
            Fused::GeluWithSlope => Box::new(move |call: &ComputeContext| run_gelu_with_slope(call, threads)),
            Fused::GeluGradient => Box::new(move |call: &ComputeContext| run_gelu_gradient(call, threads)),
            Fused::RowSums => Box::new(move |call: &ComputeContext| run_row_sums(call, threads)),
            Fused::LayerNorm => {
                let epsilon = context.get::<f32>("epsilon").ok_or_else(|| wrong("epsilon"))?;
                Box::new(move |call: &ComputeContext| run_layer_norm(call, threads, epsilon))
            }
            Fused::LayerNormGradient => {
                Box::new(move |call: &ComputeContext| run_layer_norm_gradient(call, threads))
            }
            Fused::Attention => {
                let of = Attention { heads: whole("heads")?, size: whole("size")? };
                Box::new(move |call: &ComputeContext| run_attention(call, threads, of))
            }
            Fused::AttentionGradient => {
                let of = Attention { heads: whole("heads")?, size: whole("size")? };
                Box::new(move |call: &ComputeContext| run_attention_gradient(call, threads, of))
            }
        })
    }
}

fn wrong(what: &str) -> ort::Error {
    ort::Error::new(format!("fused operator: missing or invalid {what}"))
}

/// Returns an input that the operator declares as required.
fn input(call: &ComputeContext, at: usize) -> ort::Result<ValueRef<'_>> {
    call.input(at)?.ok_or_else(|| wrong("input"))
}

/// Returns an optional input, or `None` if the node leaves it out.
fn optional(call: &ComputeContext, at: usize) -> ort::Result<Option<ValueRef<'_>>> {
    if at < call.num_inputs()? { call.input(at) } else { Ok(None) }
}

fn output<'c>(call: &'c ComputeContext, at: usize, shape: &[usize]) -> ort::Result<ValueRefMut<'c>> {
    let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    call.output(at, shape)?.ok_or_else(|| wrong("output"))
}

/// Returns a tensor's elements.
fn numbers<'v>(value: &'v ValueRef<'_>) -> ort::Result<&'v [f32]> {
    Ok(value.try_extract_tensor::<f32>()?.1)
}

/// Returns a matrix's number of rows, its width and its elements.
fn matrix<'v>(value: &'v ValueRef<'_>) -> ort::Result<(usize, usize, &'v [f32])> {
    let (shape, numbers) = value.try_extract_tensor::<f32>()?;
    match shape[..] {
        [rows, width] => Ok((rows as usize, width as usize, numbers)),
        _ => Err(wrong("matrix")),
    }
}

fn run_linear(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (x, weight, bias, residual) = (input(call, 0)?, input(call, 1)?, input(call, 2)?, optional(call, 3)?);
    let (rows, _, x) = matrix(&x)?;
    let (outputs, _, weight) = matrix(&weight)?;
    let mut y = output(call, 0, &[rows, outputs])?;
    let residual = residual.as_ref().map(numbers).transpose()?;
    let pool = SessionPool::new(call, threads);
    linear(&pool, x, weight, numbers(&bias)?, residual, y.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_linear_gelu(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (x, weight, bias) = (input(call, 0)?, input(call, 1)?, input(call, 2)?);
    let (rows, _, x) = matrix(&x)?;
    let (outputs, _, weight) = matrix(&weight)?;
    let (mut y, mut before) = (output(call, 0, &[rows, outputs])?, output(call, 1, &[rows, outputs])?);
    let before = before.try_extract_tensor_mut()?.1;
    let pool = SessionPool::new(call, threads);
    linear(&pool, x, weight, numbers(&bias)?, None, before);
    gelu(&pool, before, y.try_extract_tensor_mut()?.1);
    pool.ended()
}

/// The second input only orders the nodes: what is computed again must not be computed early.
fn run_gelu_with_slope(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let x = input(call, 0)?;
    let (rows, width, x) = matrix(&x)?;
    let (mut y, mut slope) = (output(call, 0, &[rows, width])?, output(call, 1, &[rows, width])?);
    let pool = SessionPool::new(call, threads);
    gelu_with_slope(&pool, x, y.try_extract_tensor_mut()?.1, slope.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_linear_gradient(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (upstream, x, weight) = (input(call, 0)?, input(call, 1)?, input(call, 2)?);
    let earlier = optional(call, 3)?;
    let (rows, inputs, x) = matrix(&x)?;
    let (outputs, _, weight) = matrix(&weight)?;
    let (mut dx, mut dweight) = (output(call, 0, &[rows, inputs])?, output(call, 1, &[outputs, inputs])?);
    let earlier = earlier.as_ref().map(numbers).transpose()?;
    let gradients =
        LinearGradients { x: dx.try_extract_tensor_mut()?.1, weight: dweight.try_extract_tensor_mut()?.1 };
    let pool = SessionPool::new(call, threads);
    linear_gradient(&pool, numbers(&upstream)?, x, weight, inputs, earlier, gradients);
    pool.ended()
}

fn run_linear_input_gradient(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (upstream, weight, earlier) = (input(call, 0)?, input(call, 1)?, optional(call, 2)?);
    let (rows, _, upstream) = matrix(&upstream)?;
    let (_, inputs, weight) = matrix(&weight)?;
    let mut dx = output(call, 0, &[rows, inputs])?;
    let earlier = earlier.as_ref().map(numbers).transpose()?;
    let pool = SessionPool::new(call, threads);
    linear_input_gradient(&pool, upstream, weight, inputs, earlier, dx.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_gelu_gradient(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (upstream, slope) = (input(call, 0)?, input(call, 1)?);
    let (rows, width, slope) = matrix(&slope)?;
    let (mut dx, mut columns) = (output(call, 0, &[rows, width])?, output(call, 1, &[width])?);
    let pool = SessionPool::new(call, threads);
    let dx = dx.try_extract_tensor_mut()?.1;
    gelu_gradient(&pool, numbers(&upstream)?, slope, dx, columns.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_layer_norm(call: &ComputeContext, threads: usize, epsilon: f32) -> ort::Result<()> {
    let (x, scale, shift) = (input(call, 0)?, input(call, 1)?, input(call, 2)?);
    let (rows, width, x) = matrix(&x)?;
    let (mut y, mut mean, mut inverse) =
        (output(call, 0, &[rows, width])?, output(call, 1, &[rows])?, output(call, 2, &[rows])?);
    let statistics = NormStatistics {
        mean: mean.try_extract_tensor_mut()?.1,
        inverse_deviation: inverse.try_extract_tensor_mut()?.1,
    };
    let affine = (numbers(&scale)?, numbers(&shift)?);
    let pool = SessionPool::new(call, threads);
    layer_norm(&pool, x, affine, epsilon, y.try_extract_tensor_mut()?.1, statistics);
    pool.ended()
}

fn run_layer_norm_gradient(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (upstream, x, scale) = (input(call, 0)?, input(call, 1)?, input(call, 2)?);
    let (mean, inverse) = (input(call, 3)?, input(call, 4)?);
    let (rows, width, x) = matrix(&x)?;
    let mut dx = output(call, 0, &[rows, width])?;
    let (mut dscale, mut dshift, mut columns) =
        (output(call, 1, &[width])?, output(call, 2, &[width])?, output(call, 3, &[width])?);
    let gradients = NormGradients {
        x: dx.try_extract_tensor_mut()?.1,
        scale: dscale.try_extract_tensor_mut()?.1,
        shift: dshift.try_extract_tensor_mut()?.1,
        x_columns: columns.try_extract_tensor_mut()?.1,
    };
    let statistics = (numbers(&mean)?, numbers(&inverse)?);
    let pool = SessionPool::new(call, threads);
    layer_norm_gradient(&pool, numbers(&upstream)?, x, numbers(&scale)?, statistics, gradients);
    pool.ended()
}

fn run_row_sums(call: &ComputeContext, threads: usize) -> ort::Result<()> {
    let (upstream, rows) = (input(call, 0)?, input(call, 1)?);
    let (_, width, upstream) = matrix(&upstream)?;
    let sharing =
        Sharing::new(rows.try_extract_tensor::<i64>()?.1).ok_or_else(|| wrong("list of shared rows"))?;
    let mut sums = output(call, 0, &[sharing.rows(), width])?;
    let pool = SessionPool::new(call, threads);
    sharing.sum(&pool, upstream, width, sums.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_attention(call: &ComputeContext, threads: usize, of: Attention) -> ort::Result<()> {
    let (stacked, starts) = (input(call, 0)?, input(call, 1)?);
    let (rows, _, stacked) = matrix(&stacked)?;
    let texts = Texts::new(starts.try_extract_tensor::<i64>()?.1).ok_or_else(|| wrong("list of texts"))?;
    let (mut context, mut probabilities) =
        (output(call, 0, &[rows, of.heads * of.size])?, output(call, 1, &[of.probabilities(&texts)])?);
    let pool = SessionPool::new(call, threads);
    let context = context.try_extract_tensor_mut()?.1;
    of.forward(&pool, stacked, &texts, context, probabilities.try_extract_tensor_mut()?.1);
    pool.ended()
}

fn run_attention_gradient(call: &ComputeContext, threads: usize, of: Attention) -> ort::Result<()> {
    let (upstream, stacked) = (input(call, 0)?, input(call, 1)?);
    let (starts, probabilities) = (input(call, 2)?, input(call, 3)?);
    let (rows, width, stacked) = matrix(&stacked)?;
    let texts = Texts::new(starts.try_extract_tensor::<i64>()?.1).ok_or_else(|| wrong("list of texts"))?;
    let (mut dstacked, mut columns) = (output(call, 0, &[rows, width])?, output(call, 1, &[width])?);
    let pool = SessionPool::new(call, threads);
    let (upstream, probabilities) = (numbers(&upstream)?, numbers(&probabilities)?);
    let dstacked = dstacked.try_extract_tensor_mut()?.1;
    of.backward(
        &pool,
        upstream,
        stacked,
        &texts,
        probabilities,
        dstacked,
        columns.try_extract_tensor_mut()?.1,
    );
    pool.ended()
}
