//! What the demo trains on: real names of cars, and typos as people would make them.
//!
//! Owns the demo's catalog and a seeded generator of corrections. Never opens a file or a connection: the
//! catalog is part of the program. It is apart from the typos that training synthesizes on purpose, so that a
//! demo's figures say something about typos the model's own synthesizer did not draw.
//!
//! ```text
//! catalog      the brands and models, from catalog.csv
//! typos          one person's slip of the hand or the ear
//! corrections    pairs of a typo and its correction, all different
//! ```

mod catalog;
mod corrections;
mod typos;

pub use catalog::{Entry, catalog};
pub use corrections::{Correction, corrections, corrections_of, hard_corrections_of};
