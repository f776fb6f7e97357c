//! Outline of a training's summary: its size does not depend on the number of steps.

use autovalidate_finetune::train::Summary;

/// Largest number of losses in an outline.
const LOSSES: usize = 256;
/// Largest number of epochs whose losses an outline keeps apart.
const EPOCHS: usize = 64;
/// Largest number of assessments in an outline.
const ASSESSMENTS: usize = 32;

/// Returns a summary for a run's record and events, which are messages of limited size. Where there
/// are many losses, each one in the outline is the mean of equally many neighbors. The receipt is a
/// file and has all of them.
pub(in crate::run) fn training_outline(summary: &Summary) -> Summary {
    let every = summary.assessments.len().div_ceil(ASSESSMENTS).max(1);
    Summary {
        losses: means(&summary.losses, LOSSES),
        epoch_losses: means(&summary.epoch_losses, EPOCHS),
        assessments: summary.assessments.iter().step_by(every).copied().collect(),
        ..summary.clone()
    }
}

/// Returns the values, or the means of neighbors if there are more than `most` values.
fn means(values: &[f32], most: usize) -> Vec<f32> {
    let neighbors = values.len().div_ceil(most).max(1);
    values.chunks(neighbors).map(|chunk| chunk.iter().sum::<f32>() / chunk.len() as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_losses_become_the_means_of_neighbors_and_few_stay() {
        assert_eq!(means(&[1.0, 2.0, 3.0], 3), [1.0, 2.0, 3.0]);
        assert_eq!(means(&[1.0, 2.0, 3.0, 5.0, 7.0], 3), [1.5, 4.0, 7.0]);
        assert!(means(&[], 3).is_empty());
        for count in [255, 256, 257, 100_000] {
            assert!(means(&vec![0.5; count], LOSSES).len() <= LOSSES, "{count}");
        }
    }
}
