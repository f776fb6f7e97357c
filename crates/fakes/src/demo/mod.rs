//! The demo's training data: real car names, and typos like those that people make.
//!
//! Owns the demo's catalog and a seeded generator of corrections. Never opens a file or a
//! connection: the catalog is part of the program. The generator shares no code with the synthetic
//! typos of training, on purpose: the demo's scores then cover typos that the model's own
//! synthesizer did not draw.
//!
//! ```text
//! catalog      brands and models, from catalog.csv
//! typos        slips that turn a name into a typo
//! corrections  unique pairs of a typo and its correction
//! ```

mod catalog;
mod corrections;
mod typos;

pub use catalog::{Entry, cars, cars_csv, catalog};
pub use corrections::{Correction, corrections, corrections_of, hard_corrections_of};
