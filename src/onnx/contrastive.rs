//! MultipleNegativesRankingLoss: each anchor must find its own positive among all positives of the batch.
//!
//! `scores = scale * cosine(anchor_i, positive_j) + mask`, and the loss is the cross-entropy of each row against
//! its diagonal; the symmetric form averages it with the same over columns, from the same encoder pass
//! (sentence-transformers, `losses/MultipleNegativesRankingLoss.py`, default scale 20).

use serde::{Deserialize, Serialize};

use super::graph::{Dimension, Element, Graph, Value};
use super::ops::Product;

/// Which directions of a pair are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Anchor finds positive and positive finds anchor.
    #[default]
    MnrlSymmetric,
    /// Anchor finds positive only.
    Mnrl,
}

/// The loss and where the backward pass starts.
pub(super) struct Ranked {
    /// Mean loss over the batch, a scalar.
    pub(super) loss: Value,
    /// Gradient with respect to the unit anchors, `[B, H]`.
    pub(super) anchors: Value,
    /// Gradient with respect to the unit positives, `[B, H]`.
    pub(super) positives: Value,
}

impl Graph {
    /// Ranks unit rows `anchors` `[B, H]` against unit rows `positives` `[B, H]`.
    ///
    /// Declares two inputs: `score_mask` `[B, B]`, 0 or a large negative number where a pair must not count as a
    /// negative, and `targets` `[B, B]`, the identity.
    pub(super) fn rank(&mut self, anchors: Value, positives: Value, loss: Loss, scale: f32) -> Ranked {
        let square = [Dimension::from("pairs"), Dimension::from("pairs")];
        let mask = self.input("score_mask", Element::Float, &square);
        let targets = self.input("targets", Element::Float, &square);
        let scores = self.gemm(anchors, positives, Some(mask), Product::RIGHT_TRANSPOSED.scaled(scale));
        let (mut likelihood, mut difference) = self.cross_entropy(scores, targets);
        let mut terms = self.total(targets);
        if loss == Loss::MnrlSymmetric {
            let columns = self.transpose(scores, &[1, 0]);
            let (column_likelihood, column_difference) = self.cross_entropy(columns, targets);
            let column_difference = self.transpose(column_difference, &[1, 0]);
            likelihood = self.add(likelihood, column_likelihood);
            difference = self.add(difference, column_difference);
            terms = self.add(terms, terms);
        }
        let mean = self.div(likelihood, terms);
        let loss = self.neg(mean);
        let scores = self.div(difference, terms);
        Ranked {
            loss,
            anchors: self.gemm(scores, positives, None, Product::PLAIN.scaled(scale)),
            positives: self.gemm(scores, anchors, None, Product::LEFT_TRANSPOSED.scaled(scale)),
        }
    }

    /// Sum over rows of the log-likelihood of the targets, and `softmax - targets`, its negative gradient.
    fn cross_entropy(&mut self, scores: Value, targets: Value) -> (Value, Value) {
        let log_likelihoods = self.log_softmax(scores);
        let of_targets = self.mul(log_likelihoods, targets);
        let sum = self.total(of_targets);
        let probabilities = self.exp(log_likelihoods);
        (sum, self.sub(probabilities, targets))
    }
}
