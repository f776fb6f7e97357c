//! Typos made from the live catalog, so that a model learns names nobody has mistyped yet.
//!
//! Owns the kinds of slip, how often each happens (learned from real pairs where there are any), and the
//! generator that draws an epoch's synthetic pairs. Never opens a file, reads a clock or trains: everything follows
//! from the catalog, the rates, the settings and a seed. It shares no code with the demo's typos on purpose.
//!
//! ```text
//! keyboard      which keys touch
//! sounds        what is written alike because it sounds alike
//! slip          the kinds of slip, and every way each can happen to a text
//! alignment     which slips lead from a correction to a typo
//! rates         how often each slip happens, learned from pairs
//! settings      how much is made, and how hard
//! synthesizer   an epoch's synthetic pairs
//! neighbors    names that are easily taken for one another
//! examples       real and synthetic pairs of each epoch, as training asks for them
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
pub use epoch_dataset::{EpochDataset, TokenizedLessons};
pub use keyboard::Keyboard;
pub use neighbors::Neighbors;
pub use rates::SlipRates;
pub use settings::{SettingsError, SynthesisSettings};
pub use slip::Slip;
pub use synthesizer::{Synthesizer, SyntheticPair};
