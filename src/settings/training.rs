//! Settings of training: when it starts, its tokens, and its parameters.

use std::time::Duration;

use autovalidate_finetune::model::TokenizerChoice;
use autovalidate_finetune::train::{EarlyStop, Metric, Recipe, ranges};

use super::durations;
use super::reader::SettingsReader;
use crate::trigger::TriggerPolicy;

/// Default patience of early stopping: the number of assessments in a row without an improvement
/// that stop a run. Used when a metric is set and a patience is not.
pub const DEFAULT_PATIENCE: usize = 3;

/// Reads the policy that decides when training starts.
pub(super) fn trigger(reader: &mut SettingsReader<'_>) -> TriggerPolicy {
    TriggerPolicy {
        threshold: reader.parse_or("TRAIN_THRESHOLD", "a whole number from 1", 100, |n: &u64| *n > 0),
        max_wait: reader.duration(&durations::TRAIN_MAX_WAIT, Some(Duration::from_secs(7 * 24 * 3600))),
        quiet: reader.duration(&durations::TRAIN_QUIET, None),
        cooldown: reader
            .duration(&durations::TRAIN_COOLDOWN, Some(Duration::from_secs(600)))
            .unwrap_or_default(),
    }
}

/// Reads the choice of tokens to train on.
pub(super) fn tokenizer(reader: &mut SettingsReader<'_>) -> TokenizerChoice {
    let choice = reader.choice("TRAIN_TOKENIZER", "keep or characters", "characters", |text| match text {
        "keep" => Some(TokenizerChoice::Keep),
        "characters" => Some(TokenizerChoice::Characters),
        _ => None,
    });
    choice.unwrap_or(TokenizerChoice::Characters)
}

/// Reads the training parameters.
pub(super) fn recipe(reader: &mut SettingsReader<'_>) -> Recipe {
    let default = Recipe::default();
    Recipe {
        epochs: reader.number("TRAIN_EPOCHS", &ranges::EPOCHS, default.epochs),
        batch_size: reader.number("TRAIN_BATCH_SIZE", &ranges::BATCH_SIZE, default.batch_size),
        learning_rate: reader.number("TRAIN_LEARNING_RATE", &ranges::LEARNING_RATE, default.learning_rate),
        label_smoothing: reader.number(
            "TRAIN_LABEL_SMOOTHING",
            &ranges::LABEL_SMOOTHING,
            default.label_smoothing,
        ),
        hard_negatives: reader.number(
            "TRAIN_HARD_NEGATIVES",
            &ranges::HARD_NEGATIVES,
            default.hard_negatives,
        ),
        early_stop: early_stop(reader),
        dropout: reader.parse_or("TRAIN_DROPOUT", "true or false", default.dropout, |_| true),
        seed: reader.parse_or("TRAIN_SEED", "a whole number", default.seed, |_| true),
        ..default
    }
}

fn early_stop(reader: &mut SettingsReader<'_>) -> Option<EarlyStop> {
    let metric = reader.choice("TRAIN_EARLY_STOP", "off, loss or accuracy", "off", |text| match text {
        "off" => Some(None),
        "loss" => Some(Some(Metric::Loss)),
        "accuracy" => Some(Some(Metric::Accuracy)),
        _ => None,
    });
    let patience = reader.number("TRAIN_PATIENCE", &ranges::PATIENCE, DEFAULT_PATIENCE);
    let every = reader.choice("TRAIN_ASSESS_EVERY", "epoch, or a number of steps from 1", "epoch", |text| {
        let steps = || text.parse().ok().filter(|steps| ranges::ASSESS_EVERY.contains(steps));
        if text == "epoch" { Some(None) } else { steps().map(Some) }
    });
    metric.flatten().map(|metric| EarlyStop { metric, patience, every: every.flatten() })
}
