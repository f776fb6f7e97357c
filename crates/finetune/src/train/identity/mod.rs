//! The identity of a run: a digest of everything that determines its weights.
//!
//! A run resumes only from a checkpoint that names the run's identity. The digest covers explicit
//! fields and a format number, never the names of types or `Debug` text, so that renaming code does
//! not restart a run in progress. Raise [`FORMAT`] when the same fields come to mean another
//! computation.
//!
//! ```text
//! format1   the identity as version 0.1.0 computed it, for checkpoints that it left behind
//! ```

mod format1;

use sha2::{Digest, Sha256};

use crate::model::{Architecture, EncoderConfig, Head, Pooling};
use crate::onnx::Loss;

use super::checkpoint::{hex, in_bytes};
use super::{EarlyStop, Fingerprint, Metric, Pairs, ParameterBuffer, Recipe};

pub(super) use format1::Format1Identity;

/// Version of the list of fields below. Checkpoints of format 1 carry no format number.
const FORMAT: u32 = 2;

/// A running digest over a run's recipe, encoder, starting weights and, epoch by epoch, its pairs.
#[derive(Clone)]
pub(super) struct RunIdentity(Sha256);

impl RunIdentity {
    /// Starts the identity of a run whose weights begin at `start`.
    pub(super) fn new(recipe: &Recipe, encoder: (&EncoderConfig, Head), start: &ParameterBuffer) -> Self {
        let mut identity = Self(Sha256::new());
        identity.field("format", [u64::from(FORMAT)]);
        identity.recipe(recipe);
        identity.encoder(encoder.0);
        identity.head(encoder.1);
        identity.field("vocabulary", start.vocabulary().ids().iter().map(|id| u64::from(*id)));
        identity.weights(start.values());
        identity
    }

    /// Adds the pairs of the next epoch.
    pub(super) fn add_epoch(&mut self, pairs: &Pairs) {
        let Pairs { rows, sides, negatives, texts } = pairs;
        self.field("rows", rows.iter().map(|row| row.cast_unsigned()));
        self.field("anchors", sides.iter().map(|side| side.0 as u64));
        self.field("positives", sides.iter().map(|side| side.1 as u64));
        self.lists("negatives", negatives, |text| *text as u64);
        self.lists("texts", texts, |row| u64::from(*row));
    }

    /// Returns the fingerprint of everything added so far.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { format: FORMAT, digest: hex(&self.0.clone().finalize()) }
    }

    // Every struct is destructured without `..`, so that a new field does not compile until it is
    // listed here.

    fn recipe(&mut self, recipe: &Recipe) {
        let Recipe {
            epochs,
            batch_size,
            mini_batch,
            learning_rate,
            warmup_ratio,
            weight_decay,
            max_gradient_norm,
            scale,
            label_smoothing,
            loss,
            reversed,
            hard_negatives,
            duplicates,
            early_stop,
            dropout,
            seed,
        } = recipe;
        for (name, count) in [
            ("epochs", epochs),
            ("batch_size", batch_size),
            ("mini_batch", mini_batch),
            ("hard_negatives", hard_negatives),
        ] {
            self.field(name, [*count as u64]);
        }
        for (name, number) in [
            ("learning_rate", learning_rate),
            ("warmup_ratio", warmup_ratio),
            ("weight_decay", weight_decay),
            ("max_gradient_norm", max_gradient_norm),
            ("scale", scale),
            ("label_smoothing", label_smoothing),
        ] {
            self.field(name, [u64::from(number.to_bits())]);
        }
        for (name, flag) in [("reversed", reversed), ("duplicates", duplicates), ("dropout", dropout)] {
            self.field(name, [u64::from(*flag)]);
        }
        let loss = match loss {
            Loss::MnrlSymmetric => 0,
            Loss::Mnrl => 1,
        };
        self.field("loss", [loss]);
        self.field("seed", [*seed]);
        if let Some(EarlyStop { metric, patience, every }) = early_stop {
            let metric = match metric {
                Metric::Loss => 0,
                Metric::Accuracy => 1,
            };
            self.field("early_stop", [metric, *patience as u64]);
            self.field("early_stop_every", every.map(|steps| steps as u64));
        }
    }

    fn encoder(&mut self, config: &EncoderConfig) {
        let EncoderConfig {
            architecture,
            layers,
            hidden,
            heads,
            intermediate,
            vocabulary,
            positions,
            token_types,
            relative_buckets,
            padding,
            epsilon,
            dropout,
        } = config;
        let architecture = match architecture {
            Architecture::Bert => 0,
            Architecture::Roberta => 1,
            Architecture::XlmRoberta => 2,
            Architecture::DistilBert => 3,
            Architecture::Mpnet => 4,
        };
        self.field("architecture", [architecture]);
        let sizes =
            [layers, hidden, heads, intermediate, vocabulary, positions, token_types, relative_buckets];
        self.field("sizes", sizes.map(|size| *size as u64));
        self.field("padding", padding.map(|token| token as u64));
        let numbers = [*epsilon, dropout.hidden, dropout.attention];
        self.field("numbers", numbers.map(|number| u64::from(number.to_bits())));
    }

    fn head(&mut self, head: Head) {
        let Head { pooling, normalize } = head;
        let pooling = match pooling {
            Pooling::Mean => 0,
            Pooling::Cls => 1,
            Pooling::Max => 2,
        };
        self.field("head", [pooling, u64::from(normalize)]);
    }

    /// Adds a named list of numbers. The lengths of name and list precede them, so that no two
    /// inputs of this digest have the same bytes.
    fn field(&mut self, name: &'static str, numbers: impl IntoIterator<Item = u64, IntoIter: Clone>) {
        let numbers = numbers.into_iter();
        self.heading(name, numbers.clone().count());
        for number in numbers {
            self.0.update(number.to_le_bytes());
        }
    }

    fn lists<T>(&mut self, name: &'static str, lists: &[Vec<T>], number: impl Fn(&T) -> u64) {
        self.heading(name, lists.len());
        for list in lists {
            self.field("", list.iter().map(&number));
        }
    }

    fn weights(&mut self, values: &[f32]) {
        self.heading("weights", values.len());
        hash_floats(&mut self.0, values);
    }

    fn heading(&mut self, name: &'static str, length: usize) {
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((length as u64).to_le_bytes());
    }
}

/// Adds floats to a digest, as little-endian bytes.
fn hash_floats(digest: &mut Sha256, values: &[f32]) {
    let hashed = in_bytes(values, |bytes| {
        digest.update(bytes);
        Ok(())
    });
    debug_assert!(hashed.is_ok(), "hashing can't fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the digest of some fields alone, without a model.
    fn of(add: impl Fn(&mut RunIdentity)) -> String {
        let mut identity = RunIdentity(Sha256::new());
        add(&mut identity);
        identity.fingerprint().digest
    }

    #[test]
    fn no_two_lists_share_their_bytes() {
        let all = [
            of(|identity| identity.field("a", [1, 2])),
            of(|identity| identity.field("a", [2, 1])),
            of(|identity| {
                identity.field("a", [1]);
                identity.field("a", [2]);
            }),
            of(|identity| identity.lists("a", &[vec![1_u64, 2], vec![]], |n| *n)),
            of(|identity| identity.lists("a", &[vec![1_u64], vec![2]], |n| *n)),
            of(|identity| identity.field("b", [1, 2])),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn every_setting_of_the_recipe_changes_the_identity() {
        let of_recipe = |recipe: &Recipe| of(|identity| identity.recipe(recipe));
        let usual = Recipe::default();
        let early = |metric, patience, every| Recipe {
            early_stop: Some(EarlyStop { metric, patience, every }),
            ..Recipe::default()
        };
        let others = [
            Recipe { epochs: 4, ..usual.clone() },
            Recipe { batch_size: 4, ..usual.clone() },
            Recipe { mini_batch: 4, ..usual.clone() },
            Recipe { learning_rate: 4e-3, ..usual.clone() },
            Recipe { warmup_ratio: 0.4, ..usual.clone() },
            Recipe { weight_decay: 0.4, ..usual.clone() },
            Recipe { max_gradient_norm: 4.0, ..usual.clone() },
            Recipe { scale: 4.0, ..usual.clone() },
            Recipe { label_smoothing: 0.4, ..usual.clone() },
            Recipe { loss: Loss::Mnrl, ..usual.clone() },
            Recipe { reversed: true, ..usual.clone() },
            Recipe { hard_negatives: 4, ..usual.clone() },
            Recipe { duplicates: true, ..usual.clone() },
            Recipe { dropout: true, ..usual.clone() },
            Recipe { seed: 4, ..usual.clone() },
            early(Metric::Loss, 3, None),
            early(Metric::Accuracy, 3, None),
            early(Metric::Loss, 4, None),
            early(Metric::Loss, 3, Some(4)),
            usual,
        ];
        let distinct: std::collections::BTreeSet<_> = others.iter().map(of_recipe).collect();
        assert_eq!(distinct.len(), others.len());
    }

    /// Before you change this value, raise [`FORMAT`] and keep the old identity, as `format1` does.
    /// Otherwise runs in progress would restart.
    #[test]
    fn the_identity_of_the_usual_recipe_is_fixed() {
        assert_eq!(
            of(|identity| identity.recipe(&Recipe::default())),
            "dfe9608923296f0ff4665111ee41bac51cc6d62143b1cfd040a0fe8930a31102"
        );
    }
}
