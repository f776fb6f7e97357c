//! The fused operators as methods of [`Graph`].

use crate::onnx::attention::Heads;
use crate::onnx::graph::Attribute::{Float, Int};
use crate::onnx::graph::{Graph, Value};
use crate::onnx::layers::Affine;

/// Outputs of a layer normalization's gradient node.
pub(in crate::onnx) struct NormGradientValues {
    pub(in crate::onnx) x: Value,
    pub(in crate::onnx) scale: Value,
    pub(in crate::onnx) shift: Value,
    /// Sum of `x` over all rows.
    pub(in crate::onnx) x_columns: Value,
}

impl Graph {
    /// Emits `x weight^T + bias (+ residual)`.
    pub(in crate::onnx) fn fused_linear(
        &mut self,
        x: Value,
        affine: Affine,
        residual: Option<Value>,
    ) -> Value {
        let mut inputs = vec![x, affine.weight, affine.bias];
        inputs.extend(residual);
        self.op("Linear", &inputs, &[])
    }

    /// Emits the gradients of a linear layer's input and weight. `earlier` is the input's gradient
    /// so far, which the first gradient includes.
    pub(in crate::onnx) fn fused_linear_gradient(
        &mut self,
        upstream: Value,
        x: Value,
        weight: Value,
        earlier: Option<Value>,
    ) -> (Value, Value) {
        let mut inputs = vec![upstream, x, weight];
        inputs.extend(earlier);
        let outputs = self.node("LinearGradient", &inputs, 2, &[]);
        (outputs[0], outputs[1])
    }

    /// Emits the gradient of a linear layer's input alone, including `earlier`.
    pub(in crate::onnx) fn fused_linear_input_gradient(
        &mut self,
        upstream: Value,
        weight: Value,
        earlier: Option<Value>,
    ) -> Value {
        let mut inputs = vec![upstream, weight];
        inputs.extend(earlier);
        self.op("LinearInputGradient", &inputs, &[])
    }

    /// Emits exact GELU of `x weight^T + bias`, and `x weight^T + bias` itself, of which the backward pass
    /// computes the [rest](Self::fused_gelu_with_slope).
    pub(in crate::onnx) fn fused_linear_gelu(&mut self, x: Value, affine: Affine) -> (Value, Value) {
        let outputs = self.node("LinearGelu", &[x, affine.weight, affine.bias], 2, &[]);
        (outputs[0], outputs[1])
    }

    /// Emits exact GELU of `x` and its slope there, which are computed once `after` is known.
    pub(in crate::onnx) fn fused_gelu_with_slope(&mut self, x: Value, after: Value) -> (Value, Value) {
        let outputs = self.node("GeluWithSlope", &[x, after], 2, &[]);
        (outputs[0], outputs[1])
    }

    /// Emits GELU's gradient, and the sum of that gradient over all rows.
    pub(in crate::onnx) fn fused_gelu_gradient(&mut self, upstream: Value, slope: Value) -> (Value, Value) {
        let outputs = self.node("GeluGradient", &[upstream, slope], 2, &[]);
        (outputs[0], outputs[1])
    }

    /// Emits layer normalization of rows: result, means `[N]` and inverse standard deviations
    /// `[N]`.
    pub(in crate::onnx) fn fused_layer_norm(&mut self, x: Value, affine: Affine, epsilon: f32) -> [Value; 3] {
        let inputs = [x, affine.weight, affine.bias];
        let outputs = self.node("LayerNorm", &inputs, 3, &[("epsilon", Float(epsilon))]);
        [outputs[0], outputs[1], outputs[2]]
    }

    /// Emits the gradients of a layer normalization.
    pub(in crate::onnx) fn fused_layer_norm_gradient(
        &mut self,
        upstream: Value,
        x: Value,
        scale: Value,
        [mean, inverse_deviation]: [Value; 2],
    ) -> NormGradientValues {
        let outputs = self.node("LayerNormGradient", &[upstream, x, scale, mean, inverse_deviation], 4, &[]);
        NormGradientValues { x: outputs[0], scale: outputs[1], shift: outputs[2], x_columns: outputs[3] }
    }

    /// Emits, for each shared row, the sum of `upstream` over the tokens that use the row.
    pub(in crate::onnx) fn fused_row_sums(&mut self, upstream: Value, rows: Value) -> Value {
        self.op("RowSums", &[upstream, rows], &[])
    }

    /// Emits attention within each text: the context, and the probabilities that the gradient
    /// needs.
    pub(in crate::onnx) fn fused_attention(
        &mut self,
        stacked: Value,
        starts: Value,
        heads: Heads,
    ) -> (Value, Value) {
        let outputs = self.node("TextAttention", &[stacked, starts], 2, &shape(heads));
        (outputs[0], outputs[1])
    }

    /// Emits the gradient of the stacked query, key and value rows, and the sum of that gradient
    /// over all rows.
    pub(in crate::onnx) fn fused_attention_gradient(
        &mut self,
        upstream: Value,
        stacked: Value,
        starts: Value,
        probabilities: Value,
        heads: Heads,
    ) -> (Value, Value) {
        let inputs = [upstream, stacked, starts, probabilities];
        let outputs = self.node("TextAttentionGradient", &inputs, 2, &shape(heads));
        (outputs[0], outputs[1])
    }
}

fn shape(heads: Heads) -> [(&'static str, crate::onnx::graph::Attribute); 2] {
    [("heads", Int(heads.count as i64)), ("size", Int(heads.size as i64))]
}
