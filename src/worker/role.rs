//! The role of a worker.

/// Role of a worker.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, strum::Display, strum::IntoStaticStr,
)]
#[strum(serialize_all = "lowercase")]
pub enum Role {
    /// Receives pairs and starts jobs.
    Listener,
    /// Runs jobs.
    Trainer,
    /// Listener and trainer in one process.
    #[default]
    All,
}

impl Role {
    /// Returns the name of the role.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns true when the worker receives pairs.
    pub fn listens(self) -> bool {
        self != Self::Trainer
    }

    /// Returns true when the worker runs jobs.
    pub fn trains(self) -> bool {
        self != Self::Listener
    }
}
