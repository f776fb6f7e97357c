//! Settings for the number and difficulty of synthetic typos.

use serde::{Deserialize, Serialize};

use super::{Keyboard, SlipRates, SlipSet, Typing};
use crate::default_value::is_default;

/// Settings of the synthesizer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SynthesisSettings {
    /// Number of typos per name and epoch; 0 makes none.
    pub variants: usize,
    /// Maximum share of synthetic pairs in an epoch, from 0 to 1.
    pub share: f64,
    /// Share of hard typos, from 0 to 1. A hard typo has a fuzzy ratio to its own name below
    /// `hard_below`, where the fuzzy matcher does not answer and the model decides.
    pub hard_share: f64,
    /// Fuzzy ratio, from 0 to 100, below which a typo counts as hard.
    pub hard_below: f64,
    /// Layout of the keyboard that people type on.
    pub keyboard: Keyboard,
    /// Learns the rates of the slips from the real pairs when true; otherwise the default rates
    /// apply.
    pub learn_rates: bool,
    /// Kinds of slip that are learned and drawn. Records of earlier versions lack it, which means the
    /// kinds that they had.
    #[serde(default, skip_serializing_if = "is_default")]
    pub slips: SlipSet,
    /// Largest number of optimizer steps of a training. When the pairs of its epochs would need more, each
    /// epoch has a sample of them. Records of earlier versions lack it, which means no limit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub max_steps: Option<usize>,
}

impl Default for SynthesisSettings {
    /// Best of the recipes measured in `docs/explanation/quality.md`.
    fn default() -> Self {
        Self {
            variants: 14,
            share: 1.0,
            hard_share: 0.6,
            hard_below: 80.0,
            keyboard: Keyboard::Qwerty,
            learn_rates: true,
            slips: SlipSet::Full,
            max_steps: Some(5_000),
        }
    }
}

/// Error for a setting outside its allowed range.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{setting} is {value}; it must be {expected}")]
pub struct SynthesisError {
    /// Name of the setting.
    pub setting: &'static str,
    /// Value that was given.
    pub value: String,
    /// Allowed range, in words.
    pub expected: &'static str,
}

impl crate::failure::Failure for SynthesisError {
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
    /// The first setting that is outside its allowed range.
    pub fn check(&self) -> Result<(), SynthesisError> {
        let fail = |setting, value: String, expected| Err(SynthesisError { setting, value, expected });
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

    /// Returns the way in which people type.
    pub fn typing(&self) -> Typing {
        Typing { keyboard: self.keyboard, slips: self.slips }
    }

    /// Returns the rates of the slips: learned from `(typo, corrected)` pairs, or assumed.
    pub fn rates<'a>(&self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> SlipRates {
        match self.learn_rates {
            true => SlipRates::learn(pairs, self.typing()),
            false => SlipRates::assumed(self.slips),
        }
    }

    /// Returns the largest number of pairs of an epoch, for a training with these numbers of epochs and of
    /// pairs in a batch.
    pub fn epoch_limit(&self, epochs: usize, batch: usize) -> Option<usize> {
        self.max_steps.map(|steps| (steps / epochs.max(1)).max(1).saturating_mul(batch))
    }

    /// Returns the number of typos per name for `names` names and `real` real pairs:
    /// [`variants`](Self::variants), or fewer if [`share`](Self::share) requires it.
    pub(super) fn variants_beside(&self, names: usize, real: usize) -> usize {
        if self.share >= 1.0 {
            return self.variants;
        }
        let most = real as f64 * self.share.max(0.0) / (1.0 - self.share.max(0.0));
        self.variants.min((most / names.max(1) as f64) as usize)
    }
}
