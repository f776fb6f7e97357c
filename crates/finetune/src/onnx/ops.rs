//! ONNX operators as methods of [`Graph`], named after their results.

use super::graph::Attribute::{Float, Int, Ints};
use super::graph::{Graph, Value};
use super::proto::data_type;

/// Options of a product `alpha * op(a) * op(b)` over the last two dimensions, where `op` may
/// transpose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Product {
    pub(super) transpose_a: bool,
    pub(super) transpose_b: bool,
    pub(super) alpha: f32,
}

impl Product {
    /// `a * b`.
    pub(super) const PLAIN: Self = Self { transpose_a: false, transpose_b: false, alpha: 1.0 };
    /// `a^T * b`.
    pub(super) const LEFT_TRANSPOSED: Self = Self { transpose_a: true, ..Self::PLAIN };
    /// `a * b^T`.
    pub(super) const RIGHT_TRANSPOSED: Self = Self { transpose_b: true, ..Self::PLAIN };

    pub(super) const fn scaled(self, alpha: f32) -> Self {
        Self { alpha, ..self }
    }
}

impl Graph {
    /// Emits the matrix product `a * b`.
    pub fn product(&mut self, a: Value, b: Value) -> Value {
        self.op("MatMul", &[a, b], &[])
    }

    pub(super) fn add(&mut self, a: Value, b: Value) -> Value {
        self.op("Add", &[a, b], &[])
    }

    pub(super) fn sub(&mut self, a: Value, b: Value) -> Value {
        self.op("Sub", &[a, b], &[])
    }

    pub(super) fn mul(&mut self, a: Value, b: Value) -> Value {
        self.op("Mul", &[a, b], &[])
    }

    pub(super) fn div(&mut self, a: Value, b: Value) -> Value {
        self.op("Div", &[a, b], &[])
    }

    pub(super) fn sqrt(&mut self, x: Value) -> Value {
        self.op("Sqrt", &[x], &[])
    }

    pub(super) fn max(&mut self, a: Value, b: Value) -> Value {
        self.op("Max", &[a, b], &[])
    }

    pub(super) fn min(&mut self, a: Value, b: Value) -> Value {
        self.op("Min", &[a, b], &[])
    }

    /// Emits the sum of any number of tensors of one shape.
    pub(super) fn sum_of(&mut self, terms: &[Value]) -> Value {
        self.op("Sum", terms, &[])
    }

    /// Emits `alpha * op(a) * op(b) + c` for matrices. `c` is a row to broadcast, or a matrix of
    /// the result's shape.
    pub(super) fn gemm(&mut self, a: Value, b: Value, c: Option<Value>, product: Product) -> Value {
        let mut inputs = vec![a, b];
        inputs.extend(c);
        self.op(
            "Gemm",
            &inputs,
            &[
                ("transA", Int(i64::from(product.transpose_a))),
                ("transB", Int(i64::from(product.transpose_b))),
                ("alpha", Float(product.alpha)),
            ],
        )
    }

    /// Emits a batched matrix product that includes transposition and scale (ONNX Runtime's
    /// `FusedMatMul`).
    pub(super) fn matmul(&mut self, a: Value, b: Value, product: Product) -> Value {
        self.op(
            "FusedMatMul",
            &[a, b],
            &[
                ("transA", Int(i64::from(product.transpose_a))),
                ("transB", Int(i64::from(product.transpose_b))),
                ("alpha", Float(product.alpha)),
            ],
        )
    }

    /// Sums over one axis, which remains with size one if `keep` is set.
    pub(super) fn sum(&mut self, x: Value, axis: i64, keep: bool) -> Value {
        let axes = self.ints(&[axis]);
        self.op("ReduceSum", &[x, axes], &[("keepdims", Int(i64::from(keep)))])
    }

    /// Sums all elements to a scalar.
    pub(super) fn total(&mut self, x: Value) -> Value {
        self.op("ReduceSum", &[x], &[("keepdims", Int(0))])
    }

    /// Emits the mean over the last axis, which remains with size one.
    pub(super) fn mean_last(&mut self, x: Value) -> Value {
        let axes = self.ints(&[-1]);
        self.op("ReduceMean", &[x, axes], &[("keepdims", Int(1))])
    }

    pub(super) fn reshape(&mut self, x: Value, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, shape], &[])
    }

    /// Reshapes `x` to a shape that is computed in the graph.
    pub(super) fn reshape_to(&mut self, x: Value, shape: Value) -> Value {
        self.op("Reshape", &[x, shape], &[])
    }

    pub(super) fn transpose(&mut self, x: Value, permutation: &[i64]) -> Value {
        self.op("Transpose", &[x], &[("perm", Ints(permutation.to_vec()))])
    }

    pub(super) fn concat(&mut self, parts: &[Value], axis: i64) -> Value {
        self.op("Concat", parts, &[("axis", Int(axis))])
    }

    /// Takes slices of `x` along `axis` by index.
    pub(super) fn gather(&mut self, x: Value, indices: Value, axis: i64) -> Value {
        self.op("Gather", &[x, indices], &[("axis", Int(axis))])
    }

    /// Splits the first axis, of size three, into its parts.
    pub(super) fn split_three(&mut self, x: Value) -> [Value; 3] {
        let axis = self.ints(&[0]);
        let parts = self.node("Split", &[x], 3, &[("axis", Int(0)), ("num_outputs", Int(3))]);
        [0, 1, 2].map(|index| self.op("Squeeze", &[parts[index], axis], &[]))
    }

    /// Emits the softmax over the last axis.
    pub(super) fn softmax(&mut self, x: Value) -> Value {
        self.op("Softmax", &[x], &[("axis", Int(-1))])
    }

    /// Emits the logarithm of the softmax over the last axis.
    pub(super) fn log_softmax(&mut self, x: Value) -> Value {
        self.op("LogSoftmax", &[x], &[("axis", Int(-1))])
    }

    pub(super) fn exp(&mut self, x: Value) -> Value {
        self.op("Exp", &[x], &[])
    }

    pub(super) fn erf(&mut self, x: Value) -> Value {
        self.op("Erf", &[x], &[])
    }

    pub(super) fn neg(&mut self, x: Value) -> Value {
        self.op("Neg", &[x], &[])
    }

    /// Emits exact GELU: `x * Phi(x)`.
    pub(super) fn gelu_exact(&mut self, x: Value) -> Value {
        self.op("Gelu", &[x], &[])
    }

    /// Emits layer normalization over the last axis: result, mean and inverse standard deviation.
    pub(super) fn layer_normalization(
        &mut self,
        x: Value,
        scale: Value,
        shift: Value,
        epsilon: f32,
    ) -> [Value; 3] {
        let outputs = self.node(
            "LayerNormalization",
            &[x, scale, shift],
            3,
            &[("axis", Int(-1)), ("epsilon", Float(epsilon))],
        );
        [outputs[0], outputs[1], outputs[2]]
    }

    /// Emits the shape of `x`, as a vector.
    pub(super) fn shape_of(&mut self, x: Value) -> Value {
        self.op("Shape", &[x], &[])
    }

    /// Emits `0, 1, .. count - 1` for a scalar `count`.
    pub(super) fn range(&mut self, count: Value) -> Value {
        let (zero, one) = (self.int(0), self.int(1));
        self.op("Range", &[zero, count, one], &[])
    }

    /// Repeats `x` along dimensions of size one, up to `shape`.
    pub(super) fn expand(&mut self, x: Value, shape: Value) -> Value {
        self.op("Expand", &[x, shape], &[])
    }

    /// Adds dimensions of size one at `axes`.
    pub(super) fn unsqueeze(&mut self, x: Value, axes: &[i64]) -> Value {
        let axes = self.ints(axes);
        self.op("Unsqueeze", &[x, axes], &[])
    }

    /// Converts to float.
    pub(super) fn cast_float(&mut self, x: Value) -> Value {
        self.op("Cast", &[x], &[("to", Int(i64::from(data_type::FLOAT)))])
    }

    /// Converts to booleans, true where an element isn't zero.
    pub(super) fn cast_bool(&mut self, x: Value) -> Value {
        self.op("Cast", &[x], &[("to", Int(i64::from(data_type::BOOL)))])
    }

    /// Emits 1 where two integers differ, and 0 where they are equal.
    pub(super) fn differs(&mut self, a: Value, b: Value) -> Value {
        let equal = self.op("Equal", &[a, b], &[]);
        let different = self.op("Not", &[equal], &[]);
        self.op("Cast", &[different], &[("to", Int(i64::from(data_type::INT64)))])
    }

    /// Emits the cumulative sum along the last axis.
    pub(super) fn running_sum(&mut self, x: Value) -> Value {
        let axis = self.int(-1);
        self.op("CumSum", &[x, axis], &[])
    }

    /// Emits `a` where `condition` holds, and `b` elsewhere.
    pub(super) fn choose(&mut self, condition: Value, a: Value, b: Value) -> Value {
        self.op("Where", &[condition, a, b], &[])
    }

    /// Emits the maximum along an axis, which is removed.
    pub(super) fn largest(&mut self, x: Value, axis: i64) -> Value {
        let axes = self.ints(&[axis]);
        self.op("ReduceMax", &[x, axes], &[("keepdims", Int(0))])
    }

    /// Emits the index of the maximum along an axis, which is removed. Of equal values the first
    /// counts.
    pub(super) fn arg_max(&mut self, x: Value, axis: i64) -> Value {
        self.op("ArgMax", &[x], &[("axis", Int(axis)), ("keepdims", Int(0)), ("select_last_index", Int(0))])
    }

    /// Takes single elements of `x`: the index along `axis` comes from `indices`, the others are
    /// those of the element's own position.
    pub(super) fn gather_elements(&mut self, x: Value, indices: Value, axis: i64) -> Value {
        self.op("GatherElements", &[x, indices], &[("axis", Int(axis))])
    }

    /// Emits `x` with `updates` in place of the elements that
    /// [`gather_elements`](Self::gather_elements) would take.
    pub(super) fn scatter_elements(&mut self, x: Value, indices: Value, updates: Value, axis: i64) -> Value {
        self.op("ScatterElements", &[x, indices, updates], &[("axis", Int(axis))])
    }

    /// Emits float zeros of the shape of `x`.
    pub(super) fn zeros_like(&mut self, x: Value) -> Value {
        let shape = self.shape_of(x);
        self.op("ConstantOfShape", &[shape], &[])
    }

    /// Emits a one-hot row for each index: `width` zeros, with a one at that index.
    pub(super) fn one_hot(&mut self, indices: Value, width: i64) -> Value {
        let width = self.int(width);
        self.one_hot_of(indices, width)
    }

    /// Emits one-hot rows for a `width` that is computed in the graph.
    pub(super) fn one_hot_of(&mut self, indices: Value, width: Value) -> Value {
        let off_and_on = self.floats(&[0.0, 1.0]);
        self.op("OneHot", &[indices, width, off_and_on], &[("axis", Int(-1))])
    }
}
