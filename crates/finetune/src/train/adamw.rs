//! Gradient clipping and AdamW in one pass over the parameters, in PyTorch's order of operations.
//!
//! Source: `torch.optim.AdamW` (single-tensor form) and `torch.nn.utils.clip_grad_norm_`. The
//! arithmetic stays strict (no reassociation, no approximate roots): approximations turned tiny
//! second moments into NaN.
//!
//! The work is cut into fixed chunks, so results don't depend on the number of threads.

use std::ops::Range;

use autovalidate_kernels::{AdamWStep, Factors, adamw};
use rayon::prelude::*;

use super::gradients::Gradient;

/// Number of elements per chunk: enough to be worth a task, few enough to spread over the threads.
const CHUNK: usize = 1 << 15;

/// Settings of AdamW.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment.
    pub beta_1: f32,
    /// Decay of the second moment.
    pub beta_2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay.
    pub weight_decay: f32,
}

impl AdamW {
    /// Returns PyTorch's defaults with this weight decay.
    pub fn with_decay(weight_decay: f32) -> Self {
        Self { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8, weight_decay }
    }

    /// Returns the bias corrections of both moments at an update, counted from 1.
    pub(super) fn corrections(&self, update: u64) -> [f64; 2] {
        [self.beta_1, self.beta_2].map(|beta| 1.0 - f64::from(beta).powf(update as f64))
    }

    /// Returns the share of a value that the weight decay of one update removes.
    pub(super) fn decay(&self, learning_rate: f32) -> f64 {
        f64::from(learning_rate) * f64::from(self.weight_decay)
    }
}

/// State of the optimizer.
#[derive(Debug, Clone, PartialEq)]
pub struct Moments {
    /// Running mean of the gradients, one number per parameter element.
    pub first: Vec<f32>,
    /// Running mean of the squared gradients, one number per parameter element.
    pub second: Vec<f32>,
    /// Number of updates made.
    pub step: u64,
    /// Factor by which weight decay has shrunk a decayed element whose gradient was always zero.
    pub decay_factor: f64,
}

impl Moments {
    /// Returns the state before the first update of `elements` parameter elements.
    pub fn zero(elements: usize) -> Self {
        Self { first: vec![0.0; elements], second: vec![0.0; elements], step: 0, decay_factor: 1.0 }
    }

    /// Counts an update whose weight decay removes the share `decay`.
    pub(super) fn count(&mut self, decay: f64) {
        self.step += 1;
        self.decay_factor *= 1.0 - decay;
    }
}

/// Returns the length of all gradients together, as one vector.
pub(super) fn norm(gradients: &[Gradient<'_>]) -> f32 {
    let chunks = |gradient| match gradient {
        Gradient::Dense(gradient) => gradient.chunks(CHUNK).map(Gradient::Dense).collect(),
        factors => vec![factors],
    };
    let parts: Vec<Gradient<'_>> = gradients.iter().copied().flat_map(chunks).collect();
    let sums: Vec<f64> = parts.par_iter().map(Gradient::squares).collect();
    sums.iter().sum::<f64>().sqrt() as f32
}

/// Returns the factor that shortens gradients of length `norm` to at most `longest`.
pub(super) fn clip_factor(norm: f32, longest: f32) -> f32 {
    (longest / (norm + 1e-6)).min(1.0)
}

/// Performs one update.
///
/// `gradients` are the parameters' gradients in order, together as long as `values`. The first
/// `decayed` elements are decayed. Every gradient is first multiplied by `gradient_scale`. The
/// blocks of a factored gradient are computed where they are used, and never leave the cache.
pub fn update(
    settings: AdamW,
    values: &mut [f32],
    gradients: &[Gradient<'_>],
    moments: &mut Moments,
    decayed: usize,
    learning_rate: f32,
    gradient_scale: f32,
) {
    let decay = settings.decay(learning_rate);
    moments.count(decay);
    let [correction_1, correction_2] = settings.corrections(moments.step);
    let kernel = AdamWStep {
        gradient_scale,
        take_1: 1.0 - settings.beta_1,
        keep_2: settings.beta_2,
        take_2: 1.0 - settings.beta_2,
        root_correction: correction_2.sqrt() as f32,
        epsilon: settings.epsilon,
        step_size: (f64::from(learning_rate) / correction_1) as f32,
        decay_factor: (1.0 - decay) as f32,
    };

    let mut tasks = Vec::new();
    let (mut values, mut first, mut second) = (values, &mut moments.first[..], &mut moments.second[..]);
    let mut done = 0;
    for piece in gradients.iter().copied().flat_map(Piece::of) {
        let length = piece.elements();
        let decay_factor = if done < decayed { kernel.decay_factor } else { 1.0 };
        done += length;
        let (value, rest) = values.split_at_mut(length);
        values = rest;
        let (moment_1, rest) = first.split_at_mut(length);
        first = rest;
        let (moment_2, rest) = second.split_at_mut(length);
        second = rest;
        tasks.push((value, piece, moment_1, moment_2, decay_factor));
    }
    tasks.into_par_iter().for_each_init(Vec::new, |room, (value, piece, first, second, decay_factor)| {
        adamw(&AdamWStep { decay_factor, ..kernel }, value, piece.numbers(room), first, second);
    });
}

/// Part of a gradient that one task works on.
enum Piece<'a> {
    /// Part of a dense gradient.
    Dense(&'a [f32]),
    /// Rows of a factored gradient.
    Rows(Factors<'a>, Range<usize>),
}

impl<'a> Piece<'a> {
    /// Splits a gradient into parts of about [`CHUNK`] numbers.
    fn of(gradient: Gradient<'a>) -> Vec<Self> {
        match gradient {
            Gradient::Dense(gradient) => gradient.chunks(CHUNK).map(Self::Dense).collect(),
            Gradient::Factors(factors) => {
                let (rows, step) = (factors.outputs(), (CHUNK / factors.inputs().max(1)).max(1));
                let part = |row: usize| Self::Rows(factors, row..(row + step).min(rows));
                (0..rows).step_by(step).map(part).collect()
            }
        }
    }

    fn elements(&self) -> usize {
        match self {
            Self::Dense(gradient) => gradient.len(),
            Self::Rows(factors, rows) => rows.len() * factors.inputs(),
        }
    }

    /// Returns the numbers of this part. Those of a factored gradient are computed into `room`.
    fn numbers<'r>(&'r self, room: &'r mut Vec<f32>) -> &'r [f32] {
        match self {
            Self::Dense(gradient) => gradient,
            Self::Rows(factors, rows) => {
                room.resize(self.elements(), 0.0);
                factors.write(rows.clone(), room);
                room
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_step_by_hand() {
        // torch: p=[1., -2.], g=[0.5, 0.], AdamW(lr=0.1, weight_decay=0.1), first element decayed.
        let mut values = [1.0, -2.0];
        let mut moments = Moments::zero(2);
        let gradients = [Gradient::Dense(&[0.5]), Gradient::Dense(&[0.0])];
        update(AdamW::with_decay(0.1), &mut values, &gradients, &mut moments, 1, 0.1, 1.0);
        // The first update moves by the learning rate whatever the gradient's size: 1 * 0.99 - 0.1.
        assert!((values[0] - 0.89).abs() < 1e-6, "{values:?}");
        assert_eq!(values[1], -2.0, "no gradient, no decay: no change");
        assert!((moments.decay_factor - 0.99).abs() < 1e-9);
    }

    #[test]
    fn clipping_is_torchs() {
        assert_eq!(clip_factor(0.5, 1.0), 1.0);
        assert!((clip_factor(4.0, 1.0) - 0.25).abs() < 1e-6);
        let gradients = [Gradient::Dense(&[3.0]), Gradient::Dense(&[4.0])];
        assert_eq!(norm(&gradients), 5.0);
    }
}
