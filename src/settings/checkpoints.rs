//! Settings of checkpoints: how often, and where they go.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::reader::SettingsReader;

/// Long enough to cost nothing, short enough that a dead worker's loss doesn't hurt.
const EVERY: Duration = Duration::from_secs(30);

/// Where a run's checkpoints go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CheckpointPlace {
    /// Into `DATA_DIR`: whoever goes on with a run needs the same one.
    #[default]
    Disk,
    /// There, and into JetStream's object store: any trainer goes on.
    JetStream,
}

impl fmt::Display for CheckpointPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Disk => "disk",
            Self::JetStream => "jetstream",
        })
    }
}

impl FromStr for CheckpointPlace {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "disk" => Ok(Self::Disk),
            "jetstream" => Ok(Self::JetStream),
            _ => Err(()),
        }
    }
}

/// How often, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CheckpointSettings {
    /// Where they go.
    pub place: CheckpointPlace,
    /// Time between two; a stopping worker writes one in any case.
    pub every: Duration,
}

pub(super) fn checkpoints(reader: &mut SettingsReader<'_>) -> CheckpointSettings {
    let place =
        reader.parse_or("CHECKPOINT_STORE", "disk or jetstream", CheckpointPlace::default(), |_| true);
    // `off` leaves the one that a stopping worker writes.
    let every = reader.duration("CHECKPOINT_EVERY", Some(EVERY)).unwrap_or(Duration::MAX);
    CheckpointSettings { place, every }
}
