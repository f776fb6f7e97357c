//! The identity of a run as version 0.1.0 computed it: a digest over `Debug` text.
//!
//! Only checkpoints that version 0.1.0 left behind need it. The types below are frozen copies of
//! the types whose `Debug` text was hashed; their names and fields must never change.

use std::fmt::Debug;

use sha2::{Digest, Sha256};

use crate::train::checkpoint::hex;
use crate::train::{Fingerprint, Pairs, ParameterBuffer};

use super::hash_floats;

/// The running digest of format 1.
pub(in crate::train) struct Format1Identity(Sha256);

impl Format1Identity {
    pub(in crate::train) fn new(
        recipe: &crate::train::Recipe,
        encoder: (&crate::model::EncoderConfig, crate::model::Head),
        start: &ParameterBuffer,
    ) -> Self {
        let mut digest = Sha256::new();
        // Only this version of the program wrote format 1.
        digest.update("0.1.0");
        let (recipe, encoder) = (Recipe::of(recipe), (EncoderConfig::of(encoder.0), Head::of(encoder.1)));
        digest.update(format!("{recipe:?} {encoder:?} {:?}", start.vocabulary().ids()));
        hash_floats(&mut digest, start.values());
        Self(digest)
    }

    pub(in crate::train) fn add_epoch(&mut self, pairs: &Pairs) {
        let Pairs { rows, sides, negatives, texts } = pairs;
        self.0.update(format!("{rows:?} {sides:?} {negatives:?} {texts:?}"));
    }

    pub(in crate::train) fn fingerprint(&self) -> Fingerprint {
        Fingerprint { format: 1, digest: hex(&self.0.clone().finalize()) }
    }
}

/// Declares structs whose fields are only read by `Debug`.
macro_rules! frozen {
    ($($name:ident { $($field:ident: $type:ty),* $(,)? })*) => {
        $(
            #[derive(Debug)]
            #[allow(dead_code, reason = "read by `Debug`, whose text is hashed")]
            struct $name { $($field: $type),* }
        )*
    };
}

frozen! {
    Recipe {
        epochs: usize,
        batch_size: usize,
        mini_batch: usize,
        learning_rate: f32,
        warmup_ratio: f32,
        weight_decay: f32,
        max_gradient_norm: f32,
        scale: f32,
        label_smoothing: f32,
        loss: Word,
        reversed: bool,
        hard_negatives: usize,
        duplicates: bool,
        early_stop: Option<EarlyStop>,
        dropout: bool,
        seed: u64,
    }
    EarlyStop { metric: Word, patience: usize, every: Option<usize> }
    EncoderConfig {
        architecture: Word,
        layers: usize,
        hidden: usize,
        heads: usize,
        intermediate: usize,
        vocabulary: usize,
        positions: usize,
        token_types: usize,
        relative_buckets: usize,
        padding: Option<usize>,
        epsilon: f32,
        dropout: DropoutRates,
    }
    DropoutRates { hidden: f32, attention: f32 }
    Head { pooling: Word, normalise: bool }
}

/// Name of an enum's variant, which `Debug` shows without quotes.
struct Word(&'static str);

impl Debug for Word {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Recipe {
    fn of(recipe: &crate::train::Recipe) -> Self {
        use crate::onnx::Loss;
        use crate::train::Metric;
        let early_stop = recipe.early_stop.map(|rule| EarlyStop {
            metric: Word(match rule.metric {
                Metric::Loss => "Loss",
                Metric::Accuracy => "Accuracy",
            }),
            patience: rule.patience,
            every: rule.every,
        });
        Self {
            epochs: recipe.epochs,
            batch_size: recipe.batch_size,
            mini_batch: recipe.mini_batch,
            learning_rate: recipe.learning_rate,
            warmup_ratio: recipe.warmup_ratio,
            weight_decay: recipe.weight_decay,
            max_gradient_norm: recipe.max_gradient_norm,
            scale: recipe.scale,
            label_smoothing: recipe.label_smoothing,
            loss: Word(match recipe.loss {
                Loss::MnrlSymmetric => "MnrlSymmetric",
                Loss::Mnrl => "Mnrl",
            }),
            reversed: recipe.reversed,
            hard_negatives: recipe.hard_negatives,
            duplicates: recipe.duplicates,
            early_stop,
            dropout: recipe.dropout,
            seed: recipe.seed,
        }
    }
}

impl EncoderConfig {
    fn of(config: &crate::model::EncoderConfig) -> Self {
        use crate::model::Architecture;
        Self {
            architecture: Word(match config.architecture {
                Architecture::Bert => "Bert",
                Architecture::Roberta => "Roberta",
                Architecture::XlmRoberta => "XlmRoberta",
                Architecture::DistilBert => "DistilBert",
                Architecture::Mpnet => "Mpnet",
            }),
            layers: config.layers,
            hidden: config.hidden,
            heads: config.heads,
            intermediate: config.intermediate,
            vocabulary: config.vocabulary,
            positions: config.positions,
            token_types: config.token_types,
            relative_buckets: config.relative_buckets,
            padding: config.padding,
            epsilon: config.epsilon,
            dropout: DropoutRates { hidden: config.dropout.hidden, attention: config.dropout.attention },
        }
    }
}

impl Head {
    fn of(head: crate::model::Head) -> Self {
        use crate::model::Pooling;
        let pooling = match head.pooling {
            Pooling::Mean => "Mean",
            Pooling::Cls => "Cls",
            Pooling::Max => "Max",
        };
        Self { pooling: Word(pooling), normalise: head.normalize }
    }
}
