//! A run's report for people: as text, and as a page with plots that needs nothing else.
//!
//! Owns how figures are drawn. Takes them from a run record or a receipt, computes none, and never shows a pair's
//! text: neither holds one.
//!
//! ```text
//! run  what is told, from a record, a receipt or a file of `autovalidate train --report`
//! text     as text
//! html     as a page
//! plot     axes and marks as SVG: loss, scores, differences with their bounds
//! ```

mod html;
mod plot;
mod run_report;
mod text;

pub use html::page;
pub use run_report::{RunReport, RunReportError};
