//! Synthetic typos of the live catalog, so that a model learns names that nobody has mistyped yet.
//!
//! Owns the kinds of slip, the rate of each (learned from real pairs where there are any), and the
//! generator that draws an epoch's synthetic pairs. Never opens a file, reads a clock or trains:
//! the catalog, the rates, the settings and a seed determine every result. On purpose, it shares no
//! code with the demo's typos.
//!
//! ```text
//! keyboard        adjacent keys, by keyboard layout
//! sounds          spellings that sound alike
//! slip            the kinds of slip, and every edit each can make to a text
//! alignment       the slips between a correction and its typo
//! rates           the rate of each slip, learned from pairs
//! settings        number and difficulty of synthetic typos
//! synthesizer     the synthetic pairs of an epoch
//! neighbors       similar names, for hard negatives
//! epoch_dataset   real and synthetic pairs of each epoch, in the form that training reads
//! ```

mod alignment;
mod epoch_dataset;
mod keyboard;
mod neighbors;
mod rates;
mod settings;
mod slip;
mod sounds;
mod synthesizer;

pub use alignment::{Alignment, align};
pub use epoch_dataset::{EpochDataset, TokenizedEpochDataset};
pub use keyboard::Keyboard;
pub use neighbors::Neighbors;
pub use rates::SlipRates;
pub use settings::{SynthesisError, SynthesisSettings};
pub use slip::Slip;
pub use synthesizer::{Synthesizer, SyntheticPair};
