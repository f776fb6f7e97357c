//! Relative position bias: a bias that the distance between two tokens adds to their attention
//! score (MPNet, after T5).
//!
//! Distances are grouped into buckets. Each near distance has its own bucket, far distances share
//! buckets on a logarithmic scale, and the two directions have separate buckets. A trainable table
//! `[buckets, A]` holds one bias per bucket and head, and all layers use the same table. Source:
//! `MPNetEncoder.relative_position_bucket` in transformers.

use super::graph::{Graph, Value};
use super::ops::Product;
use super::tape::{Gradients, Step, Tape};

/// Number of buckets for both directions together.
const BUCKETS: usize = 32;
/// Distance from which on all distances share the last bucket of their direction.
const FAR: f32 = 128.0;

/// Returns the bucket of a key that is `distance` positions after its query; a negative distance
/// means before.
fn bucket(distance: i64) -> i64 {
    let of_direction = BUCKETS as i64 / 2;
    let exact = of_direction / 2;
    let ahead = if distance > 0 { of_direction } else { 0 };
    let away = distance.abs();
    let near = if away < exact {
        away
    } else {
        // Computed in single precision, as in PyTorch.
        let exact = exact as f32;
        let share = (away as f32 / exact).ln() / (FAR / exact).ln();
        ((exact + (share * exact).trunc()) as i64).min(of_direction - 1)
    };
    ahead + near
}

impl Tape {
    /// Returns the bias `[A, S, S]` of query and key positions, from the trainable `table`
    /// `[buckets, A]`. Texts are padded to `length` (a scalar) and have at most `longest` tokens.
    pub(super) fn relative_bias(&mut self, table: Value, length: Value, longest: usize) -> Value {
        let graph = &mut self.graph;
        graph.enter("relative_bias");
        let furthest = longest as i64 - 1;
        let of_distance: Vec<i64> = (-furthest..=furthest).map(bucket).collect();
        let of_distance = graph.ints(&of_distance);
        let keys = graph.range(length);
        let queries = graph.unsqueeze(keys, &[1]);
        let distances = graph.sub(keys, queries);
        let offset = graph.int(furthest);
        let indices = graph.add(distances, offset);
        let buckets = graph.gather(of_distance, indices, 0);
        let biases = graph.gather(table, buckets, 0);
        let output = graph.transpose(biases, &[2, 0, 1]);
        self.record(RelativeBias { table, buckets, output })
    }
}

struct RelativeBias {
    table: Value,
    /// Bucket of each query and key position, `[S, S]`.
    buckets: Value,
    output: Value,
}

impl Step for RelativeBias {
    fn output(&self) -> Value {
        self.output
    }

    /// Adds up the gradients of each bucket, as a product with the one-hot matrix
    /// `[S * S, buckets]` of each position's bucket. `upstream` is the sum over all layers and
    /// texts, `[A, S, S]`.
    fn backward(&self, graph: &mut Graph, upstream: Value, gradients: &mut Gradients) {
        let flat = graph.reshape(self.buckets, &[-1]);
        let membership = graph.one_hot(flat, BUCKETS as i64);
        // In `Reshape`, 0 keeps the dimension: the number of heads.
        let upstream = graph.reshape(upstream, &[0, -1]);
        let both = Product { transpose_a: true, transpose_b: true, alpha: 1.0 };
        let table = graph.gemm(membership, upstream, None, both);
        gradients.parameter(self.table, table);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use safetensors::SafeTensors;

    #[test]
    fn buckets_are_transformers() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/tiny-mpnet.safetensors");
        let bytes = std::fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let truth = tensors.tensor("relative_buckets").unwrap();
        let truth = truth.data().as_chunks().0.iter().map(|four| f32::from_le_bytes(*four) as i64);
        let ours: Vec<i64> = (-511..512).map(bucket).collect();
        assert_eq!(ours, truth.collect::<Vec<_>>());
    }
}
