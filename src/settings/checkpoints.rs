//! Settings of checkpoints: the time between two, and the storage they go to.

use std::time::Duration;

use super::durations;
use super::reader::SettingsReader;

/// Default time between two checkpoints: long enough that they cost almost nothing, short enough
/// that a crashed worker loses little work.
const EVERY: Duration = Duration::from_secs(30);

/// Storage for a run's checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, strum::Display, strum::EnumString)]
#[strum(serialize_all = "lowercase")]
pub enum CheckpointPlace {
    /// `DATA_DIR` only: a worker that resumes the run needs the same directory.
    #[default]
    Disk,
    /// `DATA_DIR` and JetStream's object store: any trainer can resume the run.
    JetStream,
}

/// Frequency and storage of checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// Storage for the checkpoints.
    pub place: CheckpointPlace,
    /// Time between two checkpoints; a stopping worker always writes one.
    pub every: Duration,
}

pub(super) fn checkpoints(reader: &mut SettingsReader<'_>) -> CheckpointSettings {
    let place =
        reader.parse_or("CHECKPOINT_STORE", "disk or jetstream", CheckpointPlace::default(), |_| true);
    // `off` leaves only the checkpoint that a stopping worker writes.
    let every = reader.duration(&durations::CHECKPOINT_EVERY, Some(EVERY)).unwrap_or(Duration::MAX);
    CheckpointSettings { place, every }
}
