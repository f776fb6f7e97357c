//! Keeps a run's checkpoints while it goes, and finds where to go on.

use std::time::{Duration, Instant};

use crate::failure::chain;
use crate::model::{EncoderConfig, Head};

use super::checkpoint::{TrainingState, sweep};
use super::early_stop::Assessments;
use super::identity::{Format1Identity, RunIdentity};
use super::{
    Checkpoint, CheckpointError, Checkpoints, Interval, Pairs, ParameterBuffer, Recipe, Stepper, TrainError,
};

/// A run's checkpoints, if it keeps any.
pub(super) struct Resume(Option<Kept>);

struct Kept {
    checkpoints: Checkpoints,
    identity: RunIdentity,
    /// Set only where the folder holds a checkpoint of that format: hashing every pair twice is not free.
    format1: Option<Format1Identity>,
    last: Instant,
    /// Numbers of a standing.
    elements: usize,
}

impl Resume {
    /// Of a run with these settings that starts with these weights. Its pairs are told epoch by epoch, with
    /// [`covers`](Self::covers), before it is restored.
    pub(super) fn new(
        checkpoints: Option<&Checkpoints>,
        recipe: &Recipe,
        encoder: (&EncoderConfig, Head),
        start: &ParameterBuffer,
    ) -> Self {
        Self(checkpoints.map(|checkpoints| {
            Kept {
                checkpoints: checkpoints.clone(),
                identity: RunIdentity::new(recipe, encoder, start),
                format1: (Checkpoint::format(&checkpoints.folder) == Some(1))
                    .then(|| Format1Identity::new(recipe, encoder, start)),
                last: Instant::now(),
                elements: start.values().len(),
            }
        }))
    }

    /// Takes in the pairs of the next epoch, as they are batched.
    pub(super) fn covers(&mut self, pairs: &Pairs) {
        if let Some(kept) = &mut self.0 {
            kept.identity.add_epoch(pairs);
            if let Some(format1) = &mut kept.format1 {
                format1.add_epoch(pairs);
            }
        }
    }

    /// Puts the last checkpoint into `stepper` and `watch`; says the losses and the time of the steps it holds.
    ///
    /// A damaged checkpoint is worth nothing, but no reason to fail either: the run starts at its beginning.
    pub(super) fn restore(
        &self,
        stepper: &mut Stepper,
        watch: &mut Assessments,
    ) -> Result<(Vec<f32>, Duration), TrainError> {
        let nothing = (Vec::new(), Duration::ZERO);
        let Some(kept) = &self.0 else { return Ok(nothing) };
        sweep(&kept.checkpoints.folder);
        let run = match &kept.format1 {
            Some(format1) => format1.fingerprint(),
            None => kept.identity.fingerprint(),
        };
        let found = match Checkpoint::load(&kept.checkpoints.folder, &run) {
            Ok(found) => found,
            Err(error @ CheckpointError::Damaged { .. }) => {
                tracing::warn!(error = chain(&error), "a run starts at its beginning");
                None
            }
            Err(error) => return Err(error.into()),
        };
        // The fingerprint covers the number of parameters, so they fit.
        let Some(checkpoint) = found.filter(|found| found.values.len() == kept.elements) else {
            return Ok(nothing);
        };
        tracing::info!(step = checkpoint.moments.step, "a run goes on from its checkpoint");
        stepper.restore(&checkpoint.values, checkpoint.moments)?;
        watch.restore(checkpoint.assessed);
        Ok((checkpoint.losses, checkpoint.elapsed))
    }

    /// Writes a checkpoint when it is time, and always when the run is about to stop.
    pub(super) fn after_step(
        &mut self,
        stepper: &mut Stepper,
        losses: &[f32],
        watch: &Assessments,
        elapsed: Duration,
        stopping: bool,
    ) -> Result<(), TrainError> {
        let Some(kept) = &mut self.0 else { return Ok(()) };
        let due = match kept.checkpoints.interval {
            Interval::Steps(steps) => stepper.progress().0.is_multiple_of(steps.max(1)),
            Interval::Time(time) => kept.last.elapsed() >= time,
        };
        if due || stopping {
            let (parameters, moments) = stepper.state()?;
            let values = parameters.values();
            let assessed = watch.assessed();
            TrainingState { values, moments, losses, assessed, elapsed }
                .save(&kept.checkpoints.folder, &kept.identity.fingerprint())?;
            kept.last = Instant::now();
        }
        Ok(())
    }
}
