//! The schedule of an episode: the same seed gives the same faults at the same times.

use std::time::Duration;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::faults::Fault;

/// Number of faults in a round.
pub(crate) const FAULTS_PER_ROUND: usize = 12;
/// Number of rounds of an episode.
pub(crate) const ROUNDS: u8 = 3;
/// Time in which the faults of a round strike.
pub(crate) const STORM: Duration = Duration::from_secs(24);
/// Shortest and longest time, in seconds, that a fault lasts.
const LASTS: std::ops::Range<f64> = 1.5..7.0;
/// Order in which the kinds of faults come, so that neighboring seeds have different ones.
const ORDER: u64 = 22;

/// Processes of an episode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Topology {
    /// Two listeners, two trainers, and a nats-server that is none of theirs.
    Cluster,
    /// One worker of both roles with its own nats-server.
    Machine,
}

/// A fault, with its time within the round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) lasts: Duration,
    pub(crate) fault: Fault,
    /// Number that chooses among processes of the same role.
    pub(crate) choice: usize,
}

/// Time of load and faults. The system is judged after it.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    /// True when the table is emptied, and its ids start anew, before the load.
    pub(crate) truncates: bool,
    pub(crate) faults: Vec<Planned>,
}

/// Schedule of an episode: one system, from its start to its end.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) seed: u64,
    pub(crate) topology: Topology,
    pub(crate) rounds: Vec<Round>,
}

impl Schedule {
    /// Returns the schedule of this seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut kinds = Fault::all();
        kinds.shuffle(&mut ChaCha8Rng::seed_from_u64(ORDER));
        let first = (seed as usize).wrapping_mul(usize::from(ROUNDS) * FAULTS_PER_ROUND);
        let mut kinds = (0..).map(|number: usize| kinds[first.wrapping_add(number) % kinds.len()]);
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let topology = if random.random_bool(0.6) { Topology::Cluster } else { Topology::Machine };
        let mut round = |number: u8| {
            let fault = |fault| Planned {
                at: STORM.mul_f64(random.random()),
                lasts: Duration::from_secs_f64(random.random_range(LASTS)),
                fault,
                choice: random.random_range(0..2),
            };
            let mut faults: Vec<_> = kinds.by_ref().take(FAULTS_PER_ROUND).map(fault).collect();
            faults.sort_by_key(|planned| planned.at);
            Round { truncates: number > 0 && random.random_bool(0.4), faults }
        };
        let rounds = (0..ROUNDS).map(&mut round).collect();
        Self { seed, topology, rounds }
    }
}
