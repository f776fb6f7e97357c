//! Which pairs a model is tested on and therefore never trained on.
//!
//! A pair's side follows from its text alone, so it is fixed when the pair arrives, is the same on every machine
//! and in every run, and doesn't depend on what else arrived. Raising a share only moves pairs out of training,
//! never from one run's test into the next run's training. The newest window is the exception: it follows the rows'
//! ids, and moves on.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::NewestWindow;
use crate::correction::normalize;

/// Part of what is hashed. A new version draws a new hold-out, which makes figures incomparable with older runs.
const SALT: &str = "autovalidate hold-out v1";

/// What a pair is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It is trained on.
    Train,
    /// Tested: a new typo of a correction that other pairs may have taught.
    NewTypo,
    /// Tested: a correction that occurs in no training pair.
    UnseenCorrection,
    /// Tested in this run only, as it is among its newest rows; the next run may train on it.
    Newest,
}

/// How much is held out. Shares are from 0 (nothing) to 1 (everything).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldOut {
    /// Share of the typos.
    pub typos: f64,
    /// Share of the corrections, with all their typos: smaller, since it costs what could have been learned.
    pub corrections: f64,
    /// The newest rows, out of one run each.
    pub newest: NewestWindow,
}

impl Default for HoldOut {
    fn default() -> Self {
        Self { typos: 0.10, corrections: 0.05, newest: NewestWindow::default() }
    }
}

impl HoldOut {
    /// The side of a pair by its text. A held-out correction decides first: all its pairs are out.
    pub fn side(&self, typo: &str, corrected: &str) -> Side {
        if self.holds_correction(corrected) {
            Side::UnseenCorrection
        } else if self.holds_typo(typo) {
            Side::NewTypo
        } else {
            Side::Train
        }
    }

    /// Whether this typo is held out, whatever it is corrected to. A synthesizer asks this of what it draws: a
    /// made-up typo that happens to be one of the test's must not be trained on either.
    pub fn holds_typo(&self, typo: &str) -> bool {
        place("typo", typo) < self.typos
    }

    /// Whether this correction is held out, with all its typos.
    pub fn holds_correction(&self, corrected: &str) -> bool {
        place("correction", corrected) < self.corrections
    }
}

/// Whether a held-out question is_validation early stop instead of judging the result: half of them, by the typo alone.
pub fn is_validation(typo: &str) -> bool {
    place("steering", typo) < 0.5
}

/// A text's place in [0, 1), spread evenly, the same for texts that are equal after normalizing.
fn place(kind: &str, text: &str) -> f64 {
    let mut hash = Sha256::new();
    for part in [SALT, kind, &normalize(text)] {
        hash.update(part);
        hash.update([0]);
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hash.finalize()[..8]);
    // 53 bits are what an f64 holds exactly, so the result can't round up to 1.
    (u64::from_be_bytes(head) >> 11) as f64 / (1u64 << 53) as f64
}
