//! MultipleNegativesRankingLoss: each anchor must find its own positive among all positives of the
//! batch.
//!
//! With `scores = scale * cosine(anchor_i, positive_j) + mask`, the loss is the cross-entropy of
//! each row against its diagonal. The symmetric form averages that with the cross-entropy of each
//! column, from the same encoder pass (sentence-transformers,
//! `losses/MultipleNegativesRankingLoss.py`, default scale 20). Hard negatives, texts that are the
//! positive of no anchor, are further columns. The targets are an input, so that they can be softer
//! than the diagonal (label smoothing).

use serde::{Deserialize, Serialize};

use super::graph::{Dimension, Element, Graph, Value};
use super::ops::Product;

/// Directions in which the loss ranks a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Loss {
    /// Each anchor must find its positive, and each positive its anchor.
    #[default]
    MnrlSymmetric,
    /// Each anchor must find its positive.
    Mnrl,
}

/// Settings of the ranking of a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Directions that are ranked.
    pub loss: Loss,
    /// Factor that multiplies cosines before the softmax.
    pub scale: f32,
    /// Set when anchors are also ranked against hard negatives, texts that are the positive of no
    /// anchor.
    pub hard_negatives: bool,
}

impl Ranking {
    /// Dimension of the candidates that anchors are ranked against: the positives `B`, or `C` when
    /// hard negatives follow them.
    pub(super) fn candidates(self) -> Dimension {
        Dimension::from(if self.hard_negatives { "candidates" } else { "pairs" })
    }
}

/// The loss, and the gradients that the backward pass starts from.
pub(super) struct Ranked {
    /// Mean loss over the batch, a scalar.
    pub(super) loss: Value,
    /// Gradient with respect to the unit anchors, `[B, H]`.
    pub(super) anchors: Value,
    /// Gradient with respect to the unit candidates, `[C, H]`.
    pub(super) candidates: Value,
}

impl Graph {
    /// Ranks unit rows `anchors` `[B, H]` against unit rows `candidates` `[C, H]`: the positives in
    /// the order of their anchors, followed by any hard negatives.
    ///
    /// Declares two inputs, both `[B, C]`. `score_mask` is 0, or a large negative number where a
    /// candidate must not count as an anchor's negative. `targets` is the share of each candidate
    /// in each anchor's answer: the identity or a softer matrix, followed by zeros for hard
    /// negatives. Masked elements of `targets` are 0.
    ///
    /// A hard negative takes part only in the direction from anchors to positives, because it has
    /// no anchor of its own. In sentence-transformers' symmetric loss, too, only the positives'
    /// columns have a term in the other direction.
    pub(super) fn rank(&mut self, anchors: Value, candidates: Value, ranking: Ranking) -> Ranked {
        let Ranking { loss, scale, .. } = ranking;
        let shape = [Dimension::from("pairs"), ranking.candidates()];
        let mask = self.input("score_mask", Element::Float, &shape);
        let targets = self.input("targets", Element::Float, &shape);
        let scores = self.gemm(anchors, candidates, Some(mask), Product::RIGHT_TRANSPOSED.scaled(scale));
        let (mut likelihood, mut difference) = self.cross_entropy(scores, targets);
        let mut terms = self.total(targets);
        match loss {
            Loss::Mnrl => {}
            Loss::MnrlSymmetric => {
                let columns = self.transpose(scores, &[1, 0]);
                let targets = self.transpose(targets, &[1, 0]);
                let (column_likelihood, column_difference) = self.cross_entropy(columns, targets);
                let column_difference = self.transpose(column_difference, &[1, 0]);
                likelihood = self.add(likelihood, column_likelihood);
                difference = self.add(difference, column_difference);
                terms = self.add(terms, terms);
            }
        }
        let mean = self.div(likelihood, terms);
        let loss = self.neg(mean);
        let scores = self.div(difference, terms);
        Ranked {
            loss,
            anchors: self.gemm(scores, candidates, None, Product::PLAIN.scaled(scale)),
            candidates: self.gemm(scores, anchors, None, Product::LEFT_TRANSPOSED.scaled(scale)),
        }
    }

    /// Returns the sum over rows of the log-likelihood of the targets, and its negative gradient
    /// `softmax * sum(targets) - targets`. A row of zero targets, as a hard negative has,
    /// contributes nothing to either.
    fn cross_entropy(&mut self, scores: Value, targets: Value) -> (Value, Value) {
        let log_likelihoods = self.log_softmax(scores);
        let of_targets = self.mul(log_likelihoods, targets);
        let sum = self.total(of_targets);
        let probabilities = self.exp(log_likelihoods);
        let asked = self.sum(targets, 1, true);
        let probabilities = self.mul(probabilities, asked);
        (sum, self.sub(probabilities, targets))
    }
}
