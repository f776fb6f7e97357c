//! Settings of a run. The defaults were chosen by measurement: larger batches, one symmetric pass,
//! no dropout, no equal corrections in a batch.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::onnx::{Loss, Ranking};

use super::ranges::{self, Range};
use super::{EarlyStop, TrainError};

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Recipe {
    /// Number of passes over the pairs.
    pub epochs: usize,
    /// Number of pairs in a batch. Each pair's negatives are the other pairs.
    pub batch_size: usize,
    /// Number of pairs whose texts are encoded at a time. A larger batch is encoded in parts, and
    /// twice (GradCache). The gradients are the same; the memory is that of this many pairs.
    pub mini_batch: usize,
    /// Highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f32,
    /// Share of the steps over which the learning rate rises from zero.
    pub warmup_ratio: f32,
    /// AdamW's weight decay, applied to weights only.
    pub weight_decay: f32,
    /// Largest gradient norm. Longer gradients are scaled down to it.
    pub max_gradient_norm: f32,
    /// Factor of the cosines before the softmax.
    pub scale: f32,
    /// Share of every target that is spread evenly over the batch's positives
    /// ([`Batch::smoothed`](super::Batch::smoothed)). Run records from before this setting lack the
    /// field, which means 0.
    #[serde(default)]
    pub label_smoothing: f32,
    /// Directions of a pair that are ranked.
    pub loss: Loss,
    /// Set when each pair is also trained on in reverse, as an example of its own. With
    /// [`Loss::Mnrl`] this doubles the rows of the data. The symmetric loss learns both directions
    /// from one pass instead.
    pub reversed: bool,
    /// Number of hard negatives per pair, drawn from the names most similar to its correction
    /// ([`PairTexts::negatives`](super::PairTexts::negatives)). With 0, the only negatives are the
    /// batch's other corrections.
    pub hard_negatives: usize,
    /// Allows a text to occur several times in a batch. Equal texts are never negatives of each
    /// other in either case.
    pub duplicates: bool,
    /// Rule that ends the run before its last step; `None` for a run that never ends early.
    pub early_stop: Option<EarlyStop>,
    /// Set when training applies dropout, at the rates in the model's config.
    pub dropout: bool,
    /// Seed of the order of the pairs and of the dropout masks.
    pub seed: u64,
}

impl Default for Recipe {
    /// Returns the best of the measured recipes (`docs/explanation/quality.md`). Three epochs are
    /// enough because each has fresh synthetic typos; without synthesis, use more.
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
    /// Returns the ranking of a batch's texts.
    pub fn ranking(&self) -> Ranking {
        Ranking { loss: self.loss, scale: self.scale, hard_negatives: self.hard_negatives > 0 }
    }

    /// Returns the lower bound of the loss in a full batch of different pairs: the entropy of the
    /// smoothed targets. The cross-entropy reaches this bound when the softmax equals the targets.
    /// It is zero without smoothing.
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
    /// [`TrainError::Recipe`], naming the first setting outside its range.
    pub fn check(&self) -> Result<(), TrainError> {
        within("epochs", &self.epochs, &ranges::EPOCHS)?;
        within("batch_size", &self.batch_size, &ranges::BATCH_SIZE)?;
        within("mini_batch", &self.mini_batch, &ranges::MINI_BATCH)?;
        within("learning_rate", &self.learning_rate, &ranges::LEARNING_RATE)?;
        within("warmup_ratio", &self.warmup_ratio, &ranges::WARMUP_RATIO)?;
        within("weight_decay", &self.weight_decay, &ranges::WEIGHT_DECAY)?;
        if let Some(EarlyStop { patience, every, .. }) = self.early_stop {
            within("patience", &patience, &ranges::PATIENCE)?;
            if let Some(every) = every {
                within("every", &every, &ranges::ASSESS_EVERY)?;
            }
        }
        within("hard_negatives", &self.hard_negatives, &ranges::HARD_NEGATIVES)?;
        within("max_gradient_norm", &self.max_gradient_norm, &ranges::MAX_GRADIENT_NORM)?;
        within("label_smoothing", &self.label_smoothing, &ranges::LABEL_SMOOTHING)?;
        within("scale", &self.scale, &ranges::SCALE)?;
        Ok(())
    }
}

fn within<T: PartialOrd + Display>(
    setting: &'static str,
    value: &T,
    range: &Range<T>,
) -> Result<(), TrainError> {
    if range.contains(value) {
        return Ok(());
    }
    Err(TrainError::Recipe { setting, value: value.to_string(), expected: range.to_string() })
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
        // Two pairs with almost full smoothing: even odds, and an entropy of one bit.
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
