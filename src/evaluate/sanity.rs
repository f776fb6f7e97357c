//! Is what a model gives an embedding at all? Asked before anything is scored: a model can rank well on average
//! and still be broken for whoever loads it.

use std::fmt;
use std::time::{Duration, Instant};

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// How far a unit-length embedding's length may be from 1: single precision over some hundred values.
const UNIT_TOLERANCE: f64 = 1e-3;
/// Rounds of one measurement of speed.
const ROUNDS: usize = 5;
/// Measurements before a model is called slow: another program may have taken the processor during one.
const MEASUREMENTS: usize = 3;

/// What is wrong with a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Defect {
    /// Embeddings with a value that is no number or infinite.
    NotFinite {
        /// How many.
        embeddings: usize,
    },
    /// Embeddings that aren't of unit length though the folder normalizes.
    NotUnit {
        /// How many.
        embeddings: usize,
        /// The length farthest from 1.
        length: f64,
    },
    /// Encoding takes much longer than with the model it replaces.
    Slow {
        /// Times as long.
        factor: f64,
    },
}

/// The checks' result; no defect is sane.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Sanity {
    /// Embeddings looked at.
    pub embeddings: usize,
    /// Encode time as a multiple of that of the model it replaces; none if either was not measured.
    pub slowdown: Option<f64>,
    /// What is wrong.
    pub defects: Vec<Defect>,
}

impl Sanity {
    /// Checks `embeddings` `[texts, width]` of a model whose folder does or doesn't normalize, and how many times as
    /// long as the model it replaces it takes ([`slowdown`]), against the most that is allowed.
    pub fn check(
        embeddings: ArrayView2<'_, f32>,
        normalizes: bool,
        slowdown: Option<f64>,
        slowest: f64,
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
        if let Some(factor) = slowdown.filter(|factor| *factor > slowest) {
            defects.push(Defect::Slow { factor });
        }
        Self { embeddings: lengths.len(), slowdown, defects }
    }

    /// Whether the model gives embeddings at all, however long it takes.
    pub fn is_usable(&self) -> bool {
        self.defects.iter().all(|defect| matches!(defect, Defect::Slow { .. }))
    }

    /// Whether nothing is wrong.
    pub fn is_sane(&self) -> bool {
        self.defects.is_empty()
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFinite { embeddings } => {
                write!(formatter, "{embeddings} embeddings hold what is no number")
            }
            Self::NotUnit { embeddings, length } => {
                write!(formatter, "{embeddings} embeddings are not of unit length (one of {length:.4})")
            }
            Self::Slow { factor } => {
                write!(formatter, "encoding takes {factor:.2} times as long as with the model it replaces")
            }
        }
    }
}

/// How many times as long `after` takes as `before`: the median over rounds in which each runs once, taking turns at
/// going first, so that whatever else the machine does meets both. A figure above `slowest` is measured again, and
/// the lowest counts. None when `before` takes no time that can be measured.
///
/// # Errors
/// Those of the closures.
pub fn slowdown<E>(
    slowest: f64,
    mut before: impl FnMut() -> Result<(), E>,
    mut after: impl FnMut() -> Result<(), E>,
) -> Result<Option<f64>, E> {
    // The first call of each allocates.
    before()?;
    after()?;
    let mut lowest: Option<f64> = None;
    for _ in 0..MEASUREMENTS {
        let mut factors = Vec::with_capacity(ROUNDS);
        for round in 0..ROUNDS {
            let (old, new) = match round % 2 {
                0 => {
                    let old = timed(&mut before)?;
                    (old, timed(&mut after)?)
                }
                _ => {
                    let new = timed(&mut after)?;
                    (timed(&mut before)?, new)
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

fn timed<E>(work: &mut impl FnMut() -> Result<(), E>) -> Result<Duration, E> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}
