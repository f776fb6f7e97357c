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
//! letters         classes of characters
//! words           words of a name, and words that people add to one
//! slip            the kinds of slip
//! edit            every edit that each kind of slip can make to a text
//! alignment       the slips between a correction and its typo
//! rates           the rate of each slip, learned from pairs
//! settings        number and difficulty of synthetic typos
//! domain_names    names of a domain: words that may be added, texts that stand for several
//! draw            the draw of one typo
//! synthesizer     the synthetic pairs of an epoch
//! neighbors       similar names, for hard negatives
//! tempered_sample a sample of the real pairs for an epoch that can't hold them all
//! pair_table      the real pairs of a run, by position
//! epoch_dataset   real and synthetic pairs of each epoch, in the form that training reads
//! ```

mod alignment;
mod domain_names;
mod draw;
mod edit;
mod epoch_dataset;
mod keyboard;
mod letters;
mod neighbors;
mod pair_table;
mod rates;
mod settings;
mod slip;
mod sounds;
mod synthesizer;
mod tempered_sample;
mod words;

pub use alignment::{Alignment, align};
pub use edit::Typing;
pub use epoch_dataset::{EpochDataset, TokenizedEpochDataset};
pub use keyboard::Keyboard;
pub use neighbors::Neighbors;
pub use pair_table::PairTable;
pub use rates::SlipRates;
pub use settings::{SynthesisError, SynthesisSettings};
pub use slip::{Slip, SlipSet};
pub use synthesizer::{Synthesizer, SyntheticPair};
