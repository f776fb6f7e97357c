//! How many typos are made, and how hard they are.

use serde::{Deserialize, Serialize};

use super::Keyboard;

/// How typos are made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthesisSettings {
    /// Typos of each name and epoch; 0 makes none.
    pub variants: usize,
    /// The largest share of an epoch's pairs that may be made up, from 0 to 1.
    pub share: f64,
    /// Share of the typos that are drawn to be hard: less like their own name than `hard_below`, where the fuzzy
    /// matcher gives up and the model decides.
    pub hard_share: f64,
    /// A typo is hard when its fuzzy ratio to its own name is below this, from 0 to 100.
    pub hard_below: f64,
    /// The keyboard people type on.
    pub keyboard: Keyboard,
    /// Whether the rates of slips are learned from the real pairs; else they are fixed.
    pub learn_rates: bool,
}

impl Default for SynthesisSettings {
    /// The best of the recipes measured in `docs/quality.md`.
    fn default() -> Self {
        Self {
            variants: 20,
            share: 1.0,
            hard_share: 0.6,
            hard_below: 80.0,
            keyboard: Keyboard::Qwerty,
            learn_rates: true,
        }
    }
}

/// A setting that makes no sense.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting} is {value}; it must be {expected}")]
pub struct SettingsError {
    /// The setting.
    pub setting: &'static str,
    /// Its value.
    pub value: String,
    /// What it may be.
    pub expected: &'static str,
}

impl crate::failure::Failure for SettingsError {
    fn directive(&self) -> crate::failure::RetryDirective {
        crate::failure::RetryDirective::Never
    }

    fn advice(&self) -> String {
        format!("Set {} to {}.", self.setting, self.expected)
    }
}

impl SynthesisSettings {
    /// Checks every setting.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        let fail = |setting, value: String, expected| Err(SettingsError { setting, value, expected });
        if self.variants > 1_000 {
            return fail("variants", self.variants.to_string(), "at most 1000");
        }
        for (setting, value) in [("share", self.share), ("hard_share", self.hard_share)] {
            if !(0.0..=1.0).contains(&value) {
                return fail(setting, value.to_string(), "from 0 to 1");
            }
        }
        if !(0.0..=100.0).contains(&self.hard_below) {
            return fail("hard_below", self.hard_below.to_string(), "from 0 to 100");
        }
        Ok(())
    }

    /// Typos of each of `names` names, beside `real` pairs: [`variants`](Self::variants), or as many as keep
    /// [`share`](Self::share).
    pub(super) fn variants_beside(&self, names: usize, real: usize) -> usize {
        if self.share >= 1.0 {
            return self.variants;
        }
        let most = real as f64 * self.share.max(0.0) / (1.0 - self.share.max(0.0));
        self.variants.min((most / names.max(1) as f64) as usize)
    }
}
