//! Settings of evaluation and synthesis: held-out rows, the gate, and synthetic typos.

use std::time::Duration;

use crate::evaluate::{FuzzyRule, GatePolicy, HoldOut, NewestWindow};
use crate::synthesis::{Keyboard, SynthesisSettings};

use super::durations;
use super::reader::SettingsReader;

pub(super) fn hold_out(reader: &mut SettingsReader<'_>) -> HoldOut {
    let default = HoldOut::default();
    let share = |share: &f64| (0.0..=0.5).contains(share);
    HoldOut {
        typos: reader.parse_or("HOLDOUT_TYPOS", "a share from 0 to 0.5", default.typos, share),
        corrections: reader.parse_or(
            "HOLDOUT_CORRECTIONS",
            "a share from 0 to 0.5",
            default.corrections,
            share,
        ),
        new_names: reader.parse_or("HOLDOUT_NEW_NAMES", "a share from 0 to 1", default.new_names, |share| {
            (0.0..=1.0).contains(share)
        }),
        newest: reader.parse_or(
            "HOLDOUT_NEWEST",
            "a share from 0 to 0.5 or a whole number of rows",
            default.newest,
            |window| match window {
                NewestWindow::Share(given) => share(given),
                NewestWindow::Count(_) => true,
            },
        ),
    }
}

pub(super) fn gate(reader: &mut SettingsReader<'_>) -> GatePolicy {
    let default = GatePolicy::default();
    let publish_when_unsure = reader.choice("GATE_UNSURE", "publish or hold", "publish", |text| match text {
        "publish" => Some(true),
        "hold" => Some(false),
        _ => None,
    });
    let default_budget = Duration::from_secs_f64(default.query_budget_ms / 1_000.0);
    let query_budget = reader.duration(&durations::GATE_QUERY_BUDGET, Some(default_budget));
    GatePolicy {
        minimum_queries: reader.parse_or(
            "GATE_MINIMUM_QUERIES",
            "a whole number from 1",
            default.minimum_queries,
            |queries| *queries > 0,
        ),
        margin: reader.parse_or("GATE_MARGIN", "from 0 to 1", default.margin, |n| (0.0..=1.0).contains(n)),
        confidence: reader.parse_or("GATE_CONFIDENCE", "from 0.5 to below 1", default.confidence, |n| {
            (0.5..1.0).contains(n)
        }),
        slowest: reader.parse_or("GATE_SLOWEST", "at least 1", default.slowest, |n: &f64| *n >= 1.0),
        query_budget_ms: query_budget.map_or(0.0, |budget| budget.as_secs_f64() * 1_000.0),
        publish_when_unsure: publish_when_unsure.unwrap_or(default.publish_when_unsure),
        fuzzy: fuzzy(reader),
        ..default
    }
}

/// Reads the rule of the backend's fuzzy matcher.
fn fuzzy(reader: &mut SettingsReader<'_>) -> FuzzyRule {
    let default = FuzzyRule::default();
    let metric = reader.choice(
        "SERVE_FUZZY_METRIC",
        "by-length, ratio, token-sort-ratio or weighted-ratio",
        default.metric.into(),
        |text| text.parse().ok(),
    );
    FuzzyRule {
        metric: metric.unwrap_or(default.metric),
        threshold: reader.parse_or("SERVE_FUZZY_THRESHOLD", "from 0 to 100", default.threshold, |ratio| {
            (0.0..=100.0).contains(ratio)
        }),
        dashes_are_spaces: reader.parse_or(
            "SERVE_DASHES_ARE_SPACES",
            "true or false",
            default.dashes_are_spaces,
            |_| true,
        ),
    }
}

pub(super) fn synthesis(reader: &mut SettingsReader<'_>) -> SynthesisSettings {
    let default = SynthesisSettings::default();
    let share = |share: &f64| (0.0..=1.0).contains(share);
    let variants =
        reader.parse_or("SYNTHESIS_VARIANTS", "from 0 (off) to 1000", default.variants, |n| *n <= 1_000);
    let keyboard =
        reader.choice("SYNTHESIS_KEYBOARD", "qwerty, qwertz or azerty", "qwerty", |text| match text {
            "qwerty" => Some(Keyboard::Qwerty),
            "qwertz" => Some(Keyboard::Qwertz),
            "azerty" => Some(Keyboard::Azerty),
            _ => None,
        });
    let budget = default.max_steps.map_or("off".to_owned(), |steps| steps.to_string());
    let max_steps =
        reader.choice("TRAIN_BUDGET", "a number of steps from 1, or off", &budget, |text| match text {
            "off" => Some(None),
            steps => steps.parse().ok().filter(|steps| *steps > 0).map(Some),
        });
    SynthesisSettings {
        variants,
        max_steps: max_steps.unwrap_or(default.max_steps),
        keyboard: keyboard.unwrap_or(default.keyboard),
        share: reader.parse_or("SYNTHESIS_SHARE", "from 0 to 1", default.share, share),
        hard_share: reader.parse_or("SYNTHESIS_HARD_SHARE", "from 0 to 1", default.hard_share, share),
        learn_rates: reader.parse_or("SYNTHESIS_LEARN_RATES", "true or false", default.learn_rates, |_| true),
        ..default
    }
}
