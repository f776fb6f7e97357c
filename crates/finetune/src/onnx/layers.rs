//! The layers of every encoder, each with its forward pass and its vector-Jacobian product.
//!
//! Shapes: `x` holds packed rows `[N, H]`, one row per token of the batch, without padding. Weights
//! are `[out, in]`, as in PyTorch's `nn.Linear`.

use super::form::GraphForm;
use super::graph::{Graph, Value};
use super::ops::Product;
use super::tape::{Gradients, Step, Tape};

/// Weight and bias of a linear layer, or scale and shift of a normalization.
#[derive(Debug, Clone, Copy)]
pub(super) struct Affine {
    pub(super) weight: Value,
    pub(super) bias: Value,
}

impl Tape {
    /// Emits `x * weight^T + bias`.
    pub(super) fn linear(&mut self, x: Value, affine: Affine) -> Value {
        let graph = &mut self.graph;
        let y = match graph.is_fused() {
            true => graph.fused_linear(x, affine, None),
            false => graph.gemm(x, affine.weight, Some(affine.bias), Product::RIGHT_TRANSPOSED),
        };
        self.record(Linear { x, affine, residual: None, y })
    }

    /// Emits `residual + (x * weight^T + bias) * mask`. With fused operators and no mask this is a
    /// single operator.
    pub(super) fn linear_onto(
        &mut self,
        residual: Value,
        x: Value,
        affine: Affine,
        mask: Option<Value>,
    ) -> Value {
        if self.graph.is_fused() && mask.is_none() {
            let y = self.graph.fused_linear(x, affine, Some(residual));
            return self.record(Linear { x, affine, residual: Some(residual), y });
        }
        let y = self.linear(x, affine);
        let y = self.dropout(y, mask);
        self.residual(y, residual)
    }

    /// Emits layer normalization over the last axis.
    pub(super) fn layer_norm(&mut self, x: Value, affine: Affine, epsilon: f32) -> Value {
        let graph = &mut self.graph;
        let [y, mean, inverse_deviation] = match graph.is_fused() {
            true => graph.fused_layer_norm(x, affine, epsilon),
            false => graph.layer_normalization(x, affine.weight, affine.bias, epsilon),
        };
        self.record(LayerNorm { x, affine, mean, inverse_deviation, y })
    }

    /// Emits exact GELU of `x * weight^T + bias`.
    pub(super) fn linear_gelu(&mut self, x: Value, affine: Affine) -> Value {
        if self.graph.is_fused() {
            let (y, before) = self.graph.fused_linear_gelu(x, affine);
            return self.record(LinearGelu { linear: Linear { x, affine, residual: None, y }, before });
        }
        let x = self.linear(x, affine);
        let y = self.graph.gelu_exact(x);
        self.record(Gelu { x, y })
    }

    /// Emits `a + b`, the residual connection.
    fn residual(&mut self, a: Value, b: Value) -> Value {
        let y = self.graph.add(a, b);
        self.record(Residual { a, b, y })
    }

    /// Emits the row of `x` `[U, W]` that each token uses, `[N, W]`. Requires fused operators.
    pub(super) fn spread(&mut self, x: Value, rows: Value) -> Value {
        let y = self.graph.gather(x, rows, 0);
        self.record(Spread { x, rows, y })
    }

    /// Emits `matrix * x` for pooling. The caller's matrix is data and has no gradient.
    pub(super) fn combine_rows(&mut self, matrix: Value, x: Value) -> Value {
        let y = self.graph.gemm(matrix, x, None, Product::PLAIN);
        self.record(CombineRows { matrix, x, y })
    }

    /// Scales each row to unit length, as `torch.nn.functional.normalize` does.
    pub(super) fn unit_rows(&mut self, x: Value) -> Value {
        let graph = &mut self.graph;
        let squares = graph.mul(x, x);
        let sum = graph.sum(squares, -1, true);
        let length = graph.sqrt(sum);
        let tiny = graph.scalar(1e-12);
        let length = graph.max(length, tiny);
        let y = graph.div(x, length);
        self.record(UnitRows { x, length, y })
    }
}

struct Linear {
    x: Value,
    affine: Affine,
    residual: Option<Value>,
    y: Value,
}

impl Step for Linear {
    fn output(&self) -> Value {
        self.y
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let bias = gradients.column_sum(graph, upstream);
        gradients.parameter(self.affine.bias, bias);
        if let Some(residual) = self.residual {
            gradients.add(graph, residual, upstream);
        }
        if graph.is_fused() {
            let (earlier, weight) = (gradients.take(self.x), self.affine.weight);
            let input = gradients.again(graph, self.x, upstream);
            let x = if graph.form == GraphForm::Factored {
                gradients.factors.insert(weight, [upstream, input]);
                graph.fused_linear_input_gradient(upstream, weight, earlier)
            } else {
                let (x, dweight) = graph.fused_linear_gradient(upstream, input, weight, earlier);
                gradients.parameter(weight, dweight);
                x
            };
            return gradients.replace(self.x, x);
        }
        let weight = graph.gemm(upstream, self.x, None, Product::LEFT_TRANSPOSED);
        gradients.parameter(self.affine.weight, weight);
        // The product itself adds the gradient that the residual around this layer contributed.
        let earlier = gradients.take(self.x);
        let x = graph.gemm(upstream, self.affine.weight, earlier, Product::PLAIN);
        gradients.replace(self.x, x);
    }
}

struct LayerNorm {
    x: Value,
    affine: Affine,
    mean: Value,
    inverse_deviation: Value,
    y: Value,
}

impl Step for LayerNorm {
    fn output(&self) -> Value {
        self.y
    }

    /// Emits the gradients of layer normalization. With `h = (x - mean) / deviation` and
    /// `g = upstream * scale`:
    /// `dx = (g - mean(g) - h * mean(g * h)) / deviation`, `dscale = sum(upstream * h)`,
    /// `dshift = sum(upstream)`.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        if graph.is_fused() {
            let statistics = [self.mean, self.inverse_deviation];
            let fused = graph.fused_layer_norm_gradient(upstream, self.x, self.affine.weight, statistics);
            gradients.parameter(self.affine.weight, fused.scale);
            gradients.parameter(self.affine.bias, fused.shift);
            gradients.know_sum(fused.x, fused.x_columns);
            return gradients.add(graph, self.x, fused.x);
        }
        let centered = graph.sub(self.x, self.mean);
        let normal = graph.mul(centered, self.inverse_deviation);
        let scaled_normal = graph.mul(upstream, normal);
        let scale = graph.sum(scaled_normal, 0, false);
        gradients.parameter(self.affine.weight, scale);
        let shift = graph.sum(upstream, 0, false);
        gradients.parameter(self.affine.bias, shift);

        let g = graph.mul(upstream, self.affine.weight);
        let mean_g = graph.mean_last(g);
        let g_normal = graph.mul(scaled_normal, self.affine.weight);
        let mean_g_normal = graph.mean_last(g_normal);
        let along = graph.mul(normal, mean_g_normal);
        let rest = graph.sub(g, mean_g);
        let rest = graph.sub(rest, along);
        let x = graph.mul(rest, self.inverse_deviation);
        gradients.add(graph, self.x, x);
    }
}

/// A linear layer and GELU in one operator.
struct LinearGelu {
    /// The linear layer; its `y` is GELU's output.
    linear: Linear,
    /// The layer's own result.
    before: Value,
}

impl Step for LinearGelu {
    fn output(&self) -> Value {
        self.linear.y
    }

    fn before_gelu(&self) -> Option<Value> {
        Some(self.before)
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let (_, slope) = gradients.gelu_again(graph, self.linear.y, self.before, upstream);
        let (upstream, sum) = graph.fused_gelu_gradient(upstream, slope);
        gradients.know_sum(upstream, sum);
        self.linear.backward(graph, upstream, gradients);
    }
}

/// GELU in standard operators.
struct Gelu {
    x: Value,
    y: Value,
}

impl Step for Gelu {
    fn output(&self) -> Value {
        self.y
    }

    /// Emits the gradient from `d/dx x Phi(x) = Phi(x) + x phi(x)`, with `Phi` and `phi` the normal
    /// distribution's cumulative function and density.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let (half, inverse_root_two) = (graph.scalar(0.5), graph.scalar(std::f32::consts::FRAC_1_SQRT_2));
        let scaled = graph.mul(self.x, inverse_root_two);
        let erf = graph.erf(scaled);
        let halved = graph.mul(erf, half);
        let cumulative = graph.add(halved, half);

        // phi(x) = exp(-x^2 / 2 - ln sqrt(2 pi)): with the factor in the exponent, the density
        // needs one pass less.
        let log_peak = graph.scalar(-0.918_938_5);
        let square = graph.mul(scaled, scaled);
        let exponent = graph.sub(log_peak, square);
        let density = graph.exp(exponent);
        let slope = graph.mul(self.x, density);
        let slope = graph.add(cumulative, slope);
        let x = graph.mul(upstream, slope);
        gradients.add(graph, self.x, x);
    }
}

struct Residual {
    a: Value,
    b: Value,
    y: Value,
}

impl Step for Residual {
    fn output(&self) -> Value {
        self.y
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        gradients.add(graph, self.a, upstream);
        gradients.add(graph, self.b, upstream);
    }
}

struct Spread {
    x: Value,
    rows: Value,
    y: Value,
}

impl Step for Spread {
    fn output(&self) -> Value {
        self.y
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let x = graph.fused_row_sums(upstream, self.rows);
        // The sum over all shared rows is the sum over all tokens.
        if let Some(sum) = gradients.known_sum(upstream) {
            gradients.know_sum(x, sum);
        }
        gradients.add(graph, self.x, x);
    }
}

struct CombineRows {
    matrix: Value,
    x: Value,
    y: Value,
}

impl Step for CombineRows {
    fn output(&self) -> Value {
        self.y
    }

    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let earlier = gradients.take(self.x);
        let x = graph.gemm(self.matrix, upstream, earlier, Product::LEFT_TRANSPOSED);
        gradients.replace(self.x, x);
    }
}

struct UnitRows {
    x: Value,
    length: Value,
    y: Value,
}

impl Step for UnitRows {
    fn output(&self) -> Value {
        self.y
    }

    /// Emits `dx = (upstream - y (upstream . y)) / |x|`: only the tangential part of the gradient
    /// counts, because the radial part changes just the row's length.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let along = graph.mul(upstream, self.y);
        let along = graph.sum(along, -1, true);
        let radial = graph.mul(self.y, along);
        let tangential = graph.sub(upstream, radial);
        let x = graph.div(tangential, self.length);
        gradients.add(graph, self.x, x);
    }
}
