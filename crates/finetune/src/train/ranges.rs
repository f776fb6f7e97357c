//! The allowed ranges of a recipe's settings: one table for recipes, settings and job requests.

use std::fmt;

/// Range of the allowed values of one setting. Its `Display` suits an error message:
/// `from 1 to 1000`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range<T> {
    low: End<T>,
    /// `None` when any larger value is allowed, too.
    high: Option<End<T>>,
}

/// End of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End<T> {
    /// The value itself is allowed.
    Included(T),
    /// Only values beyond this one are allowed.
    Excluded(T),
}

/// Largest number of hard negatives per pair: the number of nearest names that are known.
pub const MOST_HARD_NEGATIVES: usize = 10;

/// Number of passes over the pairs.
pub const EPOCHS: Range<usize> = Range::from_to(1, 1_000);
/// Number of pairs in a batch. A batch of one has no negatives.
pub const BATCH_SIZE: Range<usize> = Range::from_to(2, 4_096);
/// Number of pairs whose texts are encoded at a time.
pub const MINI_BATCH: Range<usize> = Range::at_least(1);
/// Peak learning rate.
pub const LEARNING_RATE: Range<f32> = Range::between(0.0, 1.0);
/// Share of the steps over which the learning rate rises.
pub const WARMUP_RATIO: Range<f32> = Range::share_below(1.0);
/// AdamW's weight decay.
pub const WEIGHT_DECAY: Range<f32> = Range::share_below(1.0);
/// Largest gradient norm. Longer gradients are scaled down to it.
pub const MAX_GRADIENT_NORM: Range<f32> = Range::between(0.0, f32::INFINITY);
/// Factor of the cosines before the softmax.
pub const SCALE: Range<f32> = Range { low: End::Excluded(0.0), high: Some(End::Included(1_000.0)) };
/// Share of every target that is spread evenly over the batch's positives.
pub const LABEL_SMOOTHING: Range<f32> = Range::share_below(1.0);
/// Number of hard negatives per pair.
pub const HARD_NEGATIVES: Range<usize> = Range::from_to(0, MOST_HARD_NEGATIVES);
/// Number of consecutive assessments without a new best score that ends a run.
pub const PATIENCE: Range<usize> = Range::from_to(1, 1_000);
/// Number of steps between two assessments.
pub const ASSESS_EVERY: Range<usize> = Range::at_least(1);

impl<T> Range<T> {
    const fn from_to(low: T, high: T) -> Self {
        Self { low: End::Included(low), high: Some(End::Included(high)) }
    }

    const fn at_least(low: T) -> Self
    where
        T: Copy,
    {
        Self { low: End::Included(low), high: None }
    }

    const fn between(low: T, high: T) -> Self {
        Self { low: End::Excluded(low), high: Some(End::Excluded(high)) }
    }
}

impl Range<f32> {
    const fn share_below(high: f32) -> Self {
        Self { low: End::Included(0.0), high: Some(End::Excluded(high)) }
    }
}

impl<T: PartialOrd> Range<T> {
    /// Returns true for an allowed value. NaN and infinity are never allowed.
    pub fn contains(&self, value: &T) -> bool {
        // A comparison with NaN is always false.
        let above = match &self.low {
            End::Included(low) => value >= low,
            End::Excluded(low) => value > low,
        };
        let below = match &self.high {
            Some(End::Included(high)) => value <= high,
            Some(End::Excluded(high)) => value < high,
            None => true,
        };
        above && below
    }
}

impl<T: fmt::Display> fmt::Display for Range<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (End::Included(low), Some(End::Included(high))) = (&self.low, &self.high) {
            return write!(formatter, "from {low} to {high}");
        }
        match &self.low {
            End::Included(low) => write!(formatter, "at least {low}")?,
            End::Excluded(low) => write!(formatter, "above {low}")?,
        }
        match &self.high {
            Some(End::Included(high)) => write!(formatter, " and at most {high}"),
            Some(End::Excluded(high)) => write!(formatter, " and below {high}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_as_the_text_says() {
        assert_eq!(EPOCHS.to_string(), "from 1 to 1000");
        assert_eq!([0, 1, 1_000, 1_001].map(|n| EPOCHS.contains(&n)), [false, true, true, false]);
        assert_eq!(LEARNING_RATE.to_string(), "above 0 and below 1");
        assert_eq!([0.0, 1e-30, 1.0].map(|n| LEARNING_RATE.contains(&n)), [false, true, false]);
        assert_eq!(WARMUP_RATIO.to_string(), "at least 0 and below 1");
        assert_eq!([-0.1, 0.0, 1.0].map(|n| WARMUP_RATIO.contains(&n)), [false, true, false]);
        assert_eq!(SCALE.to_string(), "above 0 and at most 1000");
        assert_eq!(MAX_GRADIENT_NORM.to_string(), "above 0 and below inf");
        assert!(!MAX_GRADIENT_NORM.contains(&f32::INFINITY));
        assert_eq!(MINI_BATCH.to_string(), "at least 1");
    }

    #[test]
    fn what_is_no_number_is_in_no_range() {
        for range in [LEARNING_RATE, WARMUP_RATIO, WEIGHT_DECAY, MAX_GRADIENT_NORM, SCALE, LABEL_SMOOTHING] {
            assert!(!range.contains(&f32::NAN), "{range}");
        }
    }
}
