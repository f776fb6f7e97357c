//! Is what a model gives an embedding at all? Asked before anything is scored: a model can rank well on average
//! and still be broken for whoever loads it.

use std::time::Duration;

use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};

/// How far a unit-length embedding's length may be from 1: single precision over some hundred values.
const UNIT_TOLERANCE: f64 = 1e-3;
/// How much slower than the model it replaces a new one may encode: beyond what a busy machine explains.
const SLOWEST: f64 = 1.2;

/// What is wrong with a model.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Defect {
    /// Embeddings with a value that is no number or infinite.
    NotFinite {
        /// How many.
        embeddings: usize,
    },
    /// Embeddings that aren't of unit length though the folder normalises.
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
    /// Checks `embeddings` `[texts, width]` of a model whose folder does or doesn't normalise, and its time against
    /// that of the model it replaces, on the same texts on the same machine: `(before, after)`.
    pub fn check(
        embeddings: ArrayView2<'_, f32>,
        normalises: bool,
        times: Option<(Duration, Duration)>,
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
            finite.filter(|length| normalises && distance(length) > UNIT_TOLERANCE)
        };
        if let Some(farthest) = off().max_by(|one, other| distance(one).total_cmp(&distance(other))) {
            defects.push(Defect::NotUnit { embeddings: off().count(), length: *farthest });
        }
        let slowdown = times
            .filter(|(before, _)| !before.is_zero())
            .map(|(before, after)| after.as_secs_f64() / before.as_secs_f64());
        if let Some(factor) = slowdown.filter(|factor| *factor > SLOWEST) {
            defects.push(Defect::Slow { factor });
        }
        Self { embeddings: lengths.len(), slowdown, defects }
    }

    /// Whether nothing is wrong.
    pub fn is_sane(&self) -> bool {
        self.defects.is_empty()
    }
}
