//! A run's report for people: as text, and as a page with plots that needs nothing else.
//!
//! Owns how figures are drawn. Takes them from a run record or a receipt, computes none, and never shows a pair's
//! text: neither holds one.
//!
//! ```text
//! account  what is told, from a record, a receipt or a file of `autovalidate train --report`
//! text     as text
//! html     as a page
//! plot     axes and marks as SVG: loss, scores, differences with their bounds
//! ```

mod account;
mod html;
mod plot;
mod text;

pub use account::{Account, AccountError};
pub use html::page;
