//! Checkpoints of a run in progress, and the restoration of the last one.

use std::time::{Duration, Instant};

use crate::failure::chain;
use crate::model::{EncoderConfig, Head};

use super::checkpoint::TrainingState;
use super::early_stop::Assessments;
use super::identity::{Format1Identity, RunIdentity};
use super::{
    Checkpoint, CheckpointError, Checkpoints, Interval, Pairs, ParameterBuffer, Recipe, Stepper, TrainError,
};
use crate::durable::remove_partial;

/// A run's checkpoints, if it keeps any.
pub(super) struct Resume(Option<KeptCheckpoints>);

struct KeptCheckpoints {
    checkpoints: Checkpoints,
    identity: RunIdentity,
    /// Set only when the folder holds a checkpoint of format 1: hashing every pair twice is not
    /// free.
    format1: Option<Format1Identity>,
    last: Instant,
    /// Number of parameter elements in a training state.
    elements: usize,
}

impl Resume {
    /// Returns the checkpoints of a run with these settings and starting weights. The caller then
    /// passes the run's pairs to [`covers`](Self::covers), epoch by epoch, before it restores the
    /// run.
    pub(super) fn new(
        checkpoints: Option<&Checkpoints>,
        recipe: &Recipe,
        encoder: (&EncoderConfig, Head),
        start: &ParameterBuffer,
    ) -> Self {
        Self(checkpoints.map(|checkpoints| {
            KeptCheckpoints {
                checkpoints: checkpoints.clone(),
                identity: RunIdentity::new(recipe, encoder, start),
                format1: (Checkpoint::format(&checkpoints.folder) == Some(1))
                    .then(|| Format1Identity::new(recipe, encoder, start)),
                last: Instant::now(),
                elements: start.values().len(),
            }
        }))
    }

    /// Adds the pairs of the next epoch, as they are batched, to the run's identity.
    pub(super) fn covers(&mut self, pairs: &Pairs) {
        if let Some(kept) = &mut self.0 {
            kept.identity.add_epoch(pairs);
            if let Some(format1) = &mut kept.format1 {
                format1.add_epoch(pairs);
            }
        }
    }

    /// Restores the last checkpoint into `stepper` and `watch`, and returns the losses and the time
    /// of its steps.
    ///
    /// A damaged checkpoint is useless, but no reason to fail: the run starts from its beginning.
    pub(super) fn restore(
        &self,
        stepper: &mut Stepper,
        watch: &mut Assessments,
    ) -> Result<(Vec<f32>, Duration), TrainError> {
        let nothing = (Vec::new(), Duration::ZERO);
        let Some(kept) = &self.0 else { return Ok(nothing) };
        remove_partial(&kept.checkpoints.folder);
        let run = match &kept.format1 {
            Some(format1) => format1.fingerprint(),
            None => kept.identity.fingerprint(),
        };
        let found = match Checkpoint::load(&kept.checkpoints.folder, &run) {
            Ok(found) => found,
            Err(error @ CheckpointError::Damaged { .. }) => {
                tracing::warn!(error = chain(&error), "the checkpoint is damaged; the run starts over");
                None
            }
            Err(error) => return Err(error.into()),
        };
        // The fingerprint covers the number of parameters, so they fit.
        let Some(checkpoint) = found.filter(|found| found.values.len() == kept.elements) else {
            return Ok(nothing);
        };
        tracing::info!(step = checkpoint.moments.step, "the run resumes from its checkpoint");
        stepper.restore(&checkpoint.values, checkpoint.moments)?;
        watch.restore(checkpoint.assessed);
        Ok((checkpoint.losses, checkpoint.elapsed))
    }

    /// Writes a checkpoint when it is time, and always when the run is about to stop. Returns true
    /// when it has written one.
    pub(super) fn after_step(
        &mut self,
        stepper: &mut Stepper,
        losses: &[f32],
        watch: &Assessments,
        elapsed: Duration,
        stopping: bool,
    ) -> Result<bool, TrainError> {
        let Some(kept) = &mut self.0 else { return Ok(false) };
        let due = match kept.checkpoints.interval {
            Interval::Steps(steps) => stepper.progress().0.is_multiple_of(steps.max(1)),
            Interval::Time(time) => kept.last.elapsed() >= time,
        };
        if !due && !stopping {
            return Ok(false);
        }
        let (parameters, moments) = stepper.state()?;
        let values = parameters.values();
        let assessed = watch.assessed();
        TrainingState { values, moments, losses, assessed, elapsed }
            .save(&kept.checkpoints.folder, &kept.identity.fingerprint())?;
        kept.last = Instant::now();
        Ok(true)
    }
}
