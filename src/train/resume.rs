//! Keeps a run's checkpoints while it goes, and finds where to go on.

use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::failure::chain;
use crate::model::{EncoderConfig, Head};

use super::checkpoint::{Standing, hex, in_bytes, sweep};
use super::early::Watch;
use super::{
    Checkpoint, CheckpointError, Checkpoints, Fingerprint, Interval, Pairs, ParameterBuffer, Recipe, Stepper,
    TrainError,
};

/// A run's checkpoints, if it keeps any.
pub(super) struct Resume(Option<Kept>);

struct Kept {
    checkpoints: Checkpoints,
    /// Of all that makes the run what it is, as far as it has been told.
    identity: Sha256,
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
        Self(checkpoints.map(|checkpoints| Kept {
            checkpoints: checkpoints.clone(),
            identity: identity(recipe, encoder, start),
            last: Instant::now(),
            elements: start.values().len(),
        }))
    }

    /// Takes in the pairs of the next epoch, as they are batched.
    pub(super) fn covers(&mut self, pairs: &Pairs) {
        if let Some(kept) = &mut self.0 {
            let Pairs { rows, sides, negatives, texts } = pairs;
            kept.identity.update(format!("{rows:?} {sides:?} {negatives:?} {texts:?}"));
        }
    }

    /// Puts the last checkpoint into `stepper` and `watch`; says the losses and the time of the steps it holds.
    ///
    /// A damaged checkpoint is worth nothing, but no reason to fail either: the run starts at its beginning.
    pub(super) fn restore(
        &self,
        stepper: &mut Stepper,
        watch: &mut Watch,
    ) -> Result<(Vec<f32>, Duration), TrainError> {
        let nothing = (Vec::new(), Duration::ZERO);
        let Some(kept) = &self.0 else { return Ok(nothing) };
        sweep(&kept.checkpoints.folder);
        let found = match Checkpoint::load(&kept.checkpoints.folder, &kept.run()) {
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
        watch: &Watch,
        elapsed: Duration,
        stopping: bool,
    ) -> Result<(), TrainError> {
        let Some(kept) = &mut self.0 else { return Ok(()) };
        let due = match kept.checkpoints.interval {
            Interval::Steps(steps) => stepper.progress().0.is_multiple_of(steps.max(1)),
            Interval::Time(time) => kept.last.elapsed() >= time,
        };
        if due || stopping {
            let (parameters, moments) = stepper.standing()?;
            let values = parameters.values();
            let assessed = watch.assessed();
            Standing { values, moments, losses, assessed, elapsed }
                .save(&kept.checkpoints.folder, &kept.run())?;
            kept.last = Instant::now();
        }
        Ok(())
    }
}

impl Kept {
    fn run(&self) -> Fingerprint {
        Fingerprint(hex(&self.identity.clone().finalize()))
    }
}

/// A digest that has taken in the recipe, the encoder, and the weights the run starts with.
fn identity(recipe: &Recipe, encoder: (&EncoderConfig, Head), start: &ParameterBuffer) -> Sha256 {
    let mut digest = Sha256::new();
    digest.update(env!("CARGO_PKG_VERSION"));
    // `Debug` of plain numbers is exact, and says every field, new ones included.
    digest.update(format!("{recipe:?} {encoder:?} {:?}", start.vocabulary().ids()));
    let hashed = in_bytes(start.values(), |bytes| {
        digest.update(bytes);
        Ok(())
    });
    debug_assert!(hashed.is_ok(), "hashing can't fail");
    digest
}
