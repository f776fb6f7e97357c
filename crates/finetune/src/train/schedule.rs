//! Linear warm-up, then linear decay to zero, as `transformers.get_linear_schedule_with_warmup`
//! computes it.

/// Learning rate of each step of a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    peak: f32,
    warmup: usize,
    steps: usize,
}

impl Schedule {
    /// Returns the schedule of a run of `steps` steps, of which the first
    /// `ceil(steps * warmup_ratio)` warm up.
    pub fn new(peak: f32, steps: usize, warmup_ratio: f32) -> Self {
        // The decimal number as it was written, which is what Python computes with. In single
        // precision, 0.1 is a little more than a tenth, and the warm-up of 50 steps would take 6
        // instead of 5.
        let ratio = warmup_ratio.to_string().parse().unwrap_or_else(|_| f64::from(warmup_ratio));
        let warmup = (steps as f64 * ratio).ceil() as usize;
        Self { peak, warmup, steps }
    }

    /// Returns the learning rate of step `step`, counted from 0. The first step of a warm-up has
    /// rate 0, as in PyTorch.
    pub fn rate(&self, step: usize) -> f32 {
        let factor = if step < self.warmup {
            step as f64 / self.warmup.max(1) as f64
        } else {
            let left = self.steps.saturating_sub(step) as f64;
            left / self.steps.saturating_sub(self.warmup).max(1) as f64
        };
        (f64::from(self.peak) * factor) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_transformers() {
        // get_linear_schedule_with_warmup(optimizer, num_warmup_steps=2, num_training_steps=10),
        // peak 1.0.
        let schedule = Schedule::new(1.0, 10, 0.15);
        let rates: Vec<f32> = (0..10).map(|step| schedule.rate(step)).collect();
        let tenth = Schedule::new(1.0, 50, 0.1);
        assert_eq!((tenth.rate(1), tenth.rate(5)), (0.2, 1.0));
        assert_eq!(rates, [0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]);
    }
}
