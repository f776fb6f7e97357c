//! The masks of dropout.
//!
//! A mask is a function of the run's seed, the step, the part of the batch and the place in the
//! encoder, and of nothing else. So a resumed run draws the same masks as an uninterrupted one, and
//! both passes over one part of a batch see the same masks without storing them.

use ort::session::SessionInputValue;
use ort::value::TensorRef;

use crate::model::{DropoutRates, EncoderConfig};
use crate::onnx::{DropoutPlace, MaskShape, RuntimeError, dropout_places};

use super::Recipe;
use super::packed::PackedTexts;

/// Dropout of a run: its places in the encoder, its rates and its seed.
pub(super) struct Dropout {
    places: Vec<DropoutPlace>,
    seed: u64,
    hidden: usize,
    heads: usize,
}

/// Dropout of one step.
#[derive(Clone, Copy)]
pub(super) struct Draws<'d> {
    dropout: &'d Dropout,
    step: u64,
}

/// Masks of one pass, ready to be fed; none when the run has no dropout.
pub(super) struct Masks(Vec<Mask>);

struct Mask {
    name: String,
    shape: Vec<usize>,
    factors: Vec<f32>,
}

impl Recipe {
    /// Returns the dropout rates of a run with this recipe and this encoder.
    pub(super) fn dropout_rates(&self, config: &EncoderConfig) -> DropoutRates {
        if self.dropout { config.dropout } else { DropoutRates::OFF }
    }
}

impl Dropout {
    pub(super) fn new(config: &EncoderConfig, recipe: &Recipe) -> Self {
        let places = dropout_places(config, recipe.dropout_rates(config));
        Self { places, seed: recipe.seed, hidden: config.hidden, heads: config.heads }
    }

    /// Returns the dropout of step `step`.
    pub(super) fn at(&self, step: u64) -> Draws<'_> {
        Draws { dropout: self, step }
    }
}

impl Draws<'_> {
    /// Returns the masks of part `part` of the step's batch, the same ones at each call.
    pub(super) fn masks(self, part: usize, texts: &PackedTexts) -> Masks {
        let Dropout { places, seed, hidden, heads } = self.dropout;
        let of_part = [self.step, part as u64].into_iter().fold(mix(*seed), |key, number| mix(key ^ number));
        let masks = places.iter().zip(0..).map(|(place, number)| {
            let shape = match place.shape {
                MaskShape::Rows => vec![texts.tokens(), *hidden],
                MaskShape::Attention => {
                    vec![texts.texts(), *heads, texts.longest(), texts.longest()]
                }
            };
            let factors = factors(mix(of_part ^ number), place.rate, shape.iter().product());
            Mask { name: place.name.clone(), shape, factors }
        });
        Masks(masks.collect())
    }
}

impl Masks {
    /// Appends each mask as a graph input.
    pub(super) fn feed<'a>(
        &'a self,
        inputs: &mut Vec<(String, SessionInputValue<'a>)>,
    ) -> Result<(), RuntimeError> {
        for Mask { name, shape, factors } in &self.0 {
            let tensor = TensorRef::from_array_view((shape.clone(), factors.as_slice()))
                .map_err(RuntimeError::call("take a mask"))?;
            inputs.push((name.clone(), tensor.into()));
        }
        Ok(())
    }
}

/// Increment of SplitMix64 (Steele, Lea and Flood 2014), which makes the generator a function of a
/// counter.
const INCREMENT: u64 = 0x9e37_79b9_7f4a_7c15;
/// Number of 16-bit draws in a 64-bit word. Rates are exact to 1/65,536.
const DRAWS: usize = 4;

/// Returns SplitMix64's output for this state.
fn mix(state: u64) -> u64 {
    let x = state.wrapping_add(INCREMENT);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Returns the factors of `count` numbers: 0 for a dropped number, `1 / (1 - rate)` for one that
/// stays.
fn factors(key: u64, rate: f32, count: usize) -> Vec<f32> {
    let dropped = (f64::from(rate) * 65_536.0).round() as u64;
    let kept = 1.0 / (1.0 - rate);
    let mut factors = Vec::with_capacity(count.next_multiple_of(DRAWS));
    for word in 0..count.div_ceil(DRAWS) as u64 {
        let bits = mix(key.wrapping_add(word.wrapping_mul(INCREMENT)));
        factors.extend([0, 16, 32, 48].map(|shift| {
            let draw = (bits >> shift) & 0xffff;
            if draw < dropped { 0.0 } else { kept }
        }));
    }
    factors.truncate(count);
    factors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_splitmix64s() {
        // The first outputs of the reference implementation for the state 1234567.
        let outputs: Vec<u64> =
            (0..3).map(|i| mix(1_234_567_u64.wrapping_add(INCREMENT.wrapping_mul(i)))).collect();
        let truth = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(outputs, truth);
    }

    #[test]
    fn a_mask_drops_its_share_and_keeps_the_mean() {
        for rate in [0.1, 0.5] {
            let factors = factors(mix(9), rate, 1_000_001);
            let dropped = factors.iter().filter(|factor| **factor == 0.0).count() as f64;
            let mean = factors.iter().map(|factor| f64::from(*factor)).sum::<f64>() / factors.len() as f64;
            // Six standard deviations of a million draws.
            assert!((dropped / 1e6 - f64::from(rate)).abs() < 3e-3, "{dropped} of a million at {rate}");
            assert!((mean - 1.0).abs() < 6e-3, "mean {mean} at {rate}");
        }
    }

    #[test]
    fn neighboring_steps_parts_and_places_draw_independently() {
        let key = |step: u64, part: u64, place: u64| {
            mix([step, part].into_iter().fold(mix(42), |key, number| mix(key ^ number)) ^ place)
        };
        let base = factors(key(3, 1, 2), 0.5, 100_000);
        for other in [key(4, 1, 2), key(3, 2, 2), key(3, 1, 3), key(1, 3, 2)] {
            let other = factors(other, 0.5, 100_000);
            let equal = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!((49_000..51_000).contains(&equal), "{equal} of 100,000 draws are equal");
        }
    }
}
