//! What a worker does.

use std::fmt;

/// What a worker does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// Takes pairs in and starts jobs.
    Listener,
    /// Works on jobs.
    Trainer,
    /// Both.
    #[default]
    All,
}

impl Role {
    /// Whether pairs are taken in.
    pub fn listens(self) -> bool {
        self != Self::Trainer
    }

    /// Whether jobs are worked on.
    pub fn trains(self) -> bool {
        self != Self::Listener
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Listener => "listener",
            Self::Trainer => "trainer",
            Self::All => "all",
        })
    }
}
