//! MultipleNegativesRankingLoss: each anchor must find its own positive among all positives of the batch.
//!
//! `scores = scale * cosine(anchor_i, positive_j) + mask`, and the loss is the cross-entropy of each row against
//! its diagonal; the symmetric form averages it with the same over columns, from the same encoder pass
//! (sentence-transformers, `losses/MultipleNegativesRankingLoss.py`, default scale 20). Hard negatives, texts that are
//! nobody's positive, are further columns. Targets are data, so that they may be softer than the diagonal (label smoothing).

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

/// How the texts of a batch are ranked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// Which directions.
    pub loss: Loss,
    /// What cosines are multiplied by before the softmax.
    pub scale: f32,
    /// Whether anchors are also ranked against texts that are nobody's positive.
    pub hard_negatives: bool,
}

impl Ranking {
    /// The dimension of what anchors are ranked against: the positives `B`, with hard negatives behind them `C`.
    pub(super) fn candidates(self) -> Dimension {
        Dimension::from(if self.hard_negatives { "candidates" } else { "pairs" })
    }
}

/// The loss and where the backward pass starts.
pub(super) struct Ranked {
    /// Mean loss over the batch, a scalar.
    pub(super) loss: Value,
    /// Gradient with respect to the unit anchors, `[B, H]`.
    pub(super) anchors: Value,
    /// Gradient with respect to the unit candidates, `[C, H]`.
    pub(super) candidates: Value,
}

impl Graph {
    /// Ranks unit rows `anchors` `[B, H]` against unit rows `candidates` `[C, H]`: the anchors' positives, in their order,
    /// and behind them the hard negatives, if there are any.
    ///
    /// Declares two inputs: `score_mask` `[B, C]`, 0 or a large negative number where a candidate must not count as an
    /// anchor's negative, and `targets` `[B, C]`, how much of each anchor's answer a candidate is: the identity, or a softer matrix,
    /// and behind it zeros. Masked places are 0.
    ///
    /// A hard negative takes part in the direction from anchors to positives only, as it has no anchor of its own
    /// (sentence-transformers' symmetric loss likewise ranks anchors for the positives' columns alone).
    pub(super) fn rank(&mut self, anchors: Value, candidates: Value, ranking: Ranking) -> Ranked {
        let Ranking { loss, scale, .. } = ranking;
        let shape = [Dimension::from("pairs"), ranking.candidates()];
        let mask = self.input("score_mask", Element::Float, &shape);
        let targets = self.input("targets", Element::Float, &shape);
        let scores = self.gemm(anchors, candidates, Some(mask), Product::RIGHT_TRANSPOSED.scaled(scale));
        let (mut likelihood, mut difference) = self.cross_entropy(scores, targets);
        let mut terms = self.total(targets);
        if loss == Loss::MnrlSymmetric {
            let columns = self.transpose(scores, &[1, 0]);
            let targets = self.transpose(targets, &[1, 0]);
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
            anchors: self.gemm(scores, candidates, None, Product::PLAIN.scaled(scale)),
            candidates: self.gemm(scores, anchors, None, Product::LEFT_TRANSPOSED.scaled(scale)),
        }
    }

    /// Sum over rows of the log-likelihood of the targets, and its negative gradient `softmax * sum(targets) - targets`: a row of zeros,
    /// a hard negative's, asks nothing and has none.
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
