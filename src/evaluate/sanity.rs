//! Sanity checks of a model's embeddings and speed, made before anything is scored. A model can
//! rank well on average and still be broken for everyone who loads it.

use std::fmt;
use std::time::{Duration, Instant};

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

use super::GatePolicy;

/// Tolerance of a unit-length embedding's length: single precision over several hundred values.
const UNIT_TOLERANCE: f64 = 1e-3;
/// Number of rounds in one measurement of speed.
const ROUNDS: usize = 5;
/// Number of measurements before a model counts as slow: another program may have used the
/// processor during one of them.
const MEASUREMENTS: usize = 3;
/// Largest number of times that each query is timed before the model counts as slow.
const QUERY_ROUNDS: usize = 10;

/// Defect of a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Defect {
    /// Embeddings with a value that is NaN or infinite.
    NotFinite {
        /// Number of such embeddings.
        embeddings: usize,
    },
    /// Embeddings that are not of unit length although the model folder normalizes.
    NotUnit {
        /// Number of such embeddings.
        embeddings: usize,
        /// Length that is farthest from 1.
        length: f64,
    },
    /// Encoding that takes much longer than with the model being replaced, and longer than a person
    /// should wait.
    Slow {
        /// Encode time as a multiple of that of the model being replaced.
        factor: f64,
        /// Encode time of one query, in milliseconds; `None` in records from before it was measured.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        query_ms: Option<f64>,
    },
}

/// Measured speed of a new model.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Speed {
    /// Encode time as a multiple of that of the model being replaced; see [`slowdown`].
    pub slowdown: Option<f64>,
    /// Encode time of one query; see [`query_time`].
    pub query: Option<Duration>,
}

/// Result of the checks. A model without defects is sane.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sanity {
    /// Number of embeddings checked.
    pub embeddings: usize,
    /// Encode time as a multiple of that of the model being replaced; `None` if either was not
    /// measured.
    pub slowdown: Option<f64>,
    /// Encode time of one query by the new model, in milliseconds; `None` if it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_ms: Option<f64>,
    /// Defects found.
    pub defects: Vec<Defect>,
}

impl Sanity {
    /// Checks `embeddings` `[texts, width]` and the speed of a model. `normalizes` says that the model
    /// folder normalizes its embeddings. A model is slow only beyond both limits of the policy. What was
    /// not measured is no defect.
    pub fn check(
        embeddings: ArrayView2<'_, f32>,
        normalizes: bool,
        speed: Speed,
        policy: &GatePolicy,
    ) -> Self {
        let mut defects = Vec::new();
        let lengths: Vec<f64> = embeddings
            .axis_iter(Axis(0))
            .map(|row| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt())
            .collect();
        let broken = lengths.iter().filter(|length| !length.is_finite()).count();
        if broken > 0 {
            defects.push(Defect::NotFinite { embeddings: broken });
        }
        let distance = |length: &f64| (length - 1.0).abs();
        let off = || {
            let finite = lengths.iter().filter(|length| length.is_finite());
            finite.filter(|length| normalizes && distance(length) > UNIT_TOLERANCE)
        };
        if let Some(farthest) = off().max_by(|one, other| distance(one).total_cmp(&distance(other))) {
            defects.push(Defect::NotUnit { embeddings: off().count(), length: *farthest });
        }
        let query_ms = speed.query.map(|query| query.as_secs_f64() * 1_000.0);
        let within_budget = speed.query.is_some_and(|query| query <= policy.query_budget());
        if let Some(factor) = speed.slowdown.filter(|factor| *factor > policy.slowest && !within_budget) {
            defects.push(Defect::Slow { factor, query_ms });
        }
        Self { embeddings: lengths.len(), slowdown: speed.slowdown, query_ms, defects }
    }

    /// True when the embeddings are usable, however long encoding takes.
    pub fn is_usable(&self) -> bool {
        self.defects.iter().all(|defect| matches!(defect, Defect::Slow { .. }))
    }

    /// True when the checks found no defect.
    pub fn is_sane(&self) -> bool {
        self.defects.is_empty()
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { embeddings } => {
                write!(formatter, "{embeddings} embeddings contain NaN or infinite values")
            }
            Self::NotUnit { embeddings, length } => {
                write!(formatter, "{embeddings} embeddings are not of unit length (one of {length:.4})")
            }
            Self::Slow { factor, query_ms } => {
                write!(
                    formatter,
                    "encoding takes {factor:.2} times as long as with the model being replaced"
                )?;
                query_ms.map_or(Ok(()), |time| write!(formatter, " ({time:.1} ms for a query)"))
            }
        }
    }
}

/// Returns the run time of `after` as a multiple of that of `before`. Each closure runs once per call and
/// returns its run time; see [`timed`]. The result is the median over rounds. The closures take turns at
/// going first, so that other work on the machine affects both equally. A result above `slowest` is measured
/// again, and the lowest result counts. Returns `None` when the run time of `before` is too short to measure.
///
/// # Errors
/// Errors of the closures.
pub fn slowdown<E>(
    slowest: f64,
    mut before: impl FnMut() -> Result<Duration, E>,
    mut after: impl FnMut() -> Result<Duration, E>,
) -> Result<Option<f64>, E> {
    // The first call of each closure allocates memory.
    before()?;
    after()?;
    let mut lowest: Option<f64> = None;
    for _ in 0..MEASUREMENTS {
        let mut factors = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let (old, new) = match round % 2 {
                0 => {
                    let old = before()?;
                    (old, after()?)
                }
                _ => {
                    let new = after()?;
                    (before()?, new)
                }
            };
            if old.is_zero() {
                return Ok(None);
            }
            factors.push(new.as_secs_f64() / old.as_secs_f64());
        }
        factors.sort_by(f64::total_cmp);
        let median = factors[ROUNDS / 2];
        let best = lowest.map_or(median, |lowest| lowest.min(median));
        lowest = Some(best);
        if best <= slowest {
            break;
        }
    }
    Ok(lowest)
}

/// Returns the time that one query takes, without what other programs take from the processor: the median
/// over `queries` of each query's shortest run time. `encode` is called with the number of a query and
/// returns its run time; see [`timed`]. Another program only ever makes a query longer, so a result above
/// `budget` is measured again, several times before it counts. Returns `None` when there are no queries.
///
/// # Errors
/// The error of the closure.
pub fn query_time<E>(
    queries: usize,
    budget: Duration,
    mut encode: impl FnMut(usize) -> Result<Duration, E>,
) -> Result<Option<Duration>, E> {
    if queries == 0 {
        return Ok(None);
    }
    // The first call allocates memory.
    encode(0)?;
    let mut shortest = vec![Duration::MAX; queries];
    let mut median = Duration::MAX;
    for _ in 0..QUERY_ROUNDS {
        for (query, shortest) in shortest.iter_mut().enumerate() {
            *shortest = encode(query)?.min(*shortest);
        }
        let mut sorted = shortest.clone();
        sorted.sort_unstable();
        median = sorted[queries / 2];
        if median <= budget {
            break;
        }
    }
    Ok(Some(median))
}

/// Measures the run time of a piece of work.
///
/// # Errors
/// The error of the work.
pub fn timed<E>(work: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}
