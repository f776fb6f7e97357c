//! The settings of a run, with defaults chosen by measurement (larger batches, one symmetric pass, no dropout,
//! no equal corrections in a batch).

use serde::{Deserialize, Serialize};

use crate::onnx::{Loss, Ranking};

use super::{EarlyStop, TrainError};

/// The most hard negatives a pair can have: so many of the nearest names are known.
pub const MOST_HARD_NEGATIVES: usize = 10;

/// How to train.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Passes over the pairs.
    pub epochs: usize,
    /// Pairs in a batch; each pair's negatives are the others.
    pub batch_size: usize,
    /// Pairs whose texts are encoded at a time. A larger batch is encoded in parts, and twice (GradCache): the same
    /// gradients in the memory of so many pairs.
    pub mini_batch: usize,
    /// Highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f32,
    /// Share of the steps over which the learning rate rises from zero.
    pub warmup_ratio: f32,
    /// AdamW's weight decay, of weights only.
    pub weight_decay: f32,
    /// Gradients longer than this are shortened to it.
    pub max_gradient_norm: f32,
    /// What cosines are multiplied by before the softmax.
    pub scale: f32,
    /// Share of every target that is spread evenly over the batch's positives ([`Batch::smoothed`](super::Batch::smoothed)).
    /// Records of runs from before this setting don't have it, and mean none.
    #[serde(default)]
    pub label_smoothing: f32,
    /// Directions of a pair that are ranked.
    pub loss: Loss,
    /// Whether each pair is also trained on reversed, as an example of its own: with [`Loss::Mnrl`] this is the form
    /// that doubles the rows of the data. The symmetric loss learns both directions from one pass instead.
    pub reversed: bool,
    /// Names a pair's anchor is also ranked against, of those its correction is most easily taken for
    /// ([`Neighbors`](crate::synthesis::Neighbors)); with 0 its negatives are the batch's other corrections alone.
    pub hard_negatives: usize,
    /// Whether a batch may hold a text several times. Equal texts are never negatives of each other either way.
    pub duplicates: bool,
    /// When the run ends before its last step; never when not set.
    pub early_stop: Option<EarlyStop>,
    /// Whether training drops numbers at the rates the model's config names.
    pub dropout: bool,
    /// Seed of the order of the pairs, and of what is dropped.
    pub seed: u64,
}

impl Default for Recipe {
    /// The best of the recipes measured in `docs/quality.md`. Three epochs are enough because each has fresh
    /// synthetic typos; without synthesis take more.
    fn default() -> Self {
        Self {
            epochs: 3,
            batch_size: 64,
            mini_batch: 256,
            learning_rate: 1e-3,
            warmup_ratio: 0.1,
            weight_decay: 0.01,
            max_gradient_norm: 1.0,
            scale: 20.0,
            label_smoothing: 0.3,
            loss: Loss::MnrlSymmetric,
            reversed: false,
            hard_negatives: 0,
            duplicates: false,
            early_stop: None,
            dropout: false,
            seed: 42,
        }
    }
}

impl Recipe {
    /// How the texts of a batch are ranked.
    pub fn ranking(&self) -> Ranking {
        Ranking { loss: self.loss, scale: self.scale, hard_negatives: self.hard_negatives > 0 }
    }

    /// What the loss can't fall below in a full batch of different pairs: the entropy of its smoothed targets, which is what
    /// cross-entropy comes to when the softmax equals them. Zero without smoothing.
    pub fn least_loss(&self) -> f32 {
        let pairs = self.batch_size as f32;
        let others = self.label_smoothing / pairs;
        let right = 1.0 - self.label_smoothing + others;
        let part = |share: f32| if share > 0.0 { -share * share.ln() } else { 0.0 };
        part(right) + (pairs - 1.0) * part(others)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`TrainError::Recipe`] naming the first absurd one.
    pub fn check(&self) -> Result<(), TrainError> {
        let fail = |setting, value: String, expected| Err(TrainError::Recipe { setting, value, expected });
        let positive = |number: f32| number.is_finite() && number > 0.0;
        if !(1..=1_000).contains(&self.epochs) {
            return fail("epochs", self.epochs.to_string(), "from 1 to 1000");
        }
        if !(2..=4_096).contains(&self.batch_size) {
            return fail("batch_size", self.batch_size.to_string(), "from 2 to 4096");
        }
        if self.mini_batch == 0 {
            return fail("mini_batch", self.mini_batch.to_string(), "at least 1");
        }
        if !positive(self.learning_rate) || self.learning_rate >= 1.0 {
            return fail("learning_rate", self.learning_rate.to_string(), "above 0 and below 1");
        }
        if !(0.0..1.0).contains(&self.warmup_ratio) {
            return fail("warmup_ratio", self.warmup_ratio.to_string(), "at least 0 and below 1");
        }
        if !(0.0..1.0).contains(&self.weight_decay) {
            return fail("weight_decay", self.weight_decay.to_string(), "at least 0 and below 1");
        }
        if let Some(EarlyStop { patience, every, .. }) = self.early_stop {
            if patience == 0 {
                return fail("patience", patience.to_string(), "at least 1");
            }
            if every == Some(0) {
                return fail("every", "0".to_owned(), "at least 1 step");
            }
        }
        if self.hard_negatives > MOST_HARD_NEGATIVES {
            return fail("hard_negatives", self.hard_negatives.to_string(), "from 0 to 10");
        }
        if !positive(self.max_gradient_norm) {
            return fail("max_gradient_norm", self.max_gradient_norm.to_string(), "above 0");
        }
        if !(0.0..1.0).contains(&self.label_smoothing) {
            return fail("label_smoothing", self.label_smoothing.to_string(), "at least 0 and below 1");
        }
        if !positive(self.scale) || self.scale > 1_000.0 {
            return fail("scale", self.scale.to_string(), "above 0 and at most 1000");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_loss_is_the_entropy_of_the_targets() {
        let of = |label_smoothing, batch_size| {
            Recipe { label_smoothing, batch_size, ..Recipe::default() }.least_loss()
        };
        assert_eq!(of(0.0, 64), 0.0);
        // Two pairs and all but everything smoothed: even odds, one bit.
        assert!((of(0.999_999, 2) - std::f32::consts::LN_2).abs() < 1e-6);
        assert!((of(0.3, 64) - 1.830_36).abs() < 1e-4, "{}", of(0.3, 64));
    }

    #[test]
    fn a_record_of_before_label_smoothing_means_none() {
        let mut record = serde_json::to_value(Recipe::default()).unwrap();
        assert!(record.as_object_mut().unwrap().remove("label_smoothing").is_some());
        let recipe: Recipe = serde_json::from_value(record).unwrap();
        assert_eq!(recipe, Recipe { label_smoothing: 0.0, ..Recipe::default() });
    }
}
