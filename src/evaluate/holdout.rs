//! Hold-out: pairs that a model is tested on and therefore never trained on.
//!
//! The text alone decides the side of a pair. The side is therefore fixed when the pair arrives, is
//! the same on every machine and in every run, and does not depend on other pairs. Raising a share
//! only moves pairs out of training, never from one run's test into the next run's training. The
//! newest window is the exception: it follows the row ids, and moves with each run.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::NewestWindow;
use crate::correction::normalize;
use crate::default_value::is_default;

/// Salt of the hash. A new version draws a new hold-out, and its scores can't be compared with
/// those of older runs.
const SALT: &str = "autovalidate hold-out v1";

/// Use of a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Trained on.
    Train,
    /// Tested: a new typo of a correction that other pairs may have trained.
    NewTypo,
    /// Tested: a correction that occurs in no training pair. Synthetic typos of it are trained on.
    UnseenCorrection,
    /// Tested: a correction of which nothing is trained on, not even synthetic typos. It stands for the
    /// names that come after the training.
    NewName,
    /// Tested in this run only, because the pair is among its newest rows. The next run may train
    /// on it.
    Newest,
}

/// Shares of pairs that are held out, each from 0 (nothing) to 1 (everything).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HoldOut {
    /// Share of typos.
    pub typos: f64,
    /// Share of corrections, each with all its typos. Smaller than the share of typos, because
    /// these pairs are lost to training.
    pub corrections: f64,
    /// Share of the held-out corrections that get no synthetic typos either. Receipts from before this
    /// setting lack it, which means none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub new_names: f64,
    /// Newest rows; each row is held out of one run only.
    pub newest: NewestWindow,
}

impl Default for HoldOut {
    fn default() -> Self {
        Self { typos: 0.10, corrections: 0.05, new_names: 0.5, newest: NewestWindow::default() }
    }
}

impl HoldOut {
    /// Returns the side of a pair by its text. The correction is checked first: all pairs of a
    /// held-out correction are held out.
    pub fn side(&self, typo: &str, corrected: &str) -> Side {
        if self.holds_correction(corrected) {
            let is_new = place("new name", corrected) < self.new_names;
            if is_new { Side::NewName } else { Side::UnseenCorrection }
        } else if self.holds_typo(typo) {
            Side::NewTypo
        } else {
            Side::Train
        }
    }

    /// True when this typo is held out, whatever its correction. The synthesizer checks each typo
    /// it draws: a synthetic typo that equals a test typo must not be trained on either.
    pub fn holds_typo(&self, typo: &str) -> bool {
        place("typo", typo) < self.typos
    }

    /// True when this correction is held out, with all its typos.
    pub fn holds_correction(&self, corrected: &str) -> bool {
        place("correction", corrected) < self.corrections
    }
}

/// True when a held-out query belongs to the validation set, which decides an early stop, and not
/// to the queries that judge the result. The typo alone decides; half of the queries belong to the
/// validation set.
pub fn is_validation(typo: &str) -> bool {
    place("steering", typo) < 0.5
}

/// Hashes a text to a number in [0, 1), evenly spread. Texts that are equal after normalizing get
/// the same number.
fn place(kind: &str, text: &str) -> f64 {
    let mut hash = Sha256::new();
    for part in [SALT, kind, &normalize(text)] {
        hash.update(part);
        hash.update([0]);
    }
    let mut head = [0; 8];
    head.copy_from_slice(&hash.finalize()[..8]);
    // An f64 holds 53 bits exactly, so the result can't round up to 1.
    (u64::from_be_bytes(head) >> 11) as f64 / (1u64 << 53) as f64
}
