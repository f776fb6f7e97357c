//! What the demo trains on: real names of cars, and typos as people would make them.
//!
//! Owns the demo's catalogue and a seeded generator of corrections. Never opens a file or a connection: the
//! catalogue is part of the program. It is apart from the typos that training synthesises on purpose, so that a
//! demo's figures say something about typos the model's own synthesiser did not draw.
//!
//! ```text
//! catalogue      the brands and models, from catalogue.csv
//! typos          one person's slip of the hand or the ear
//! corrections    pairs of a typo and its correction, all different
//! ```

mod catalogue;
mod corrections;
mod typos;

pub use catalogue::{Entry, catalogue};
pub use corrections::{Correction, corrections, corrections_of, hard_corrections_of};
