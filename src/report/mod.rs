//! A run's report for people, as text and as a self-contained page with plots.
//!
//! Owns the presentation of figures. Takes the figures from a run record or a receipt and computes
//! none. Never shows the text of a pair: neither source contains one.
//!
//! ```text
//! run_report  the report's data, from a record, a receipt, or a file of `train --report`
//! printable   removal of control characters from its texts
//! text        the report as text
//! html        the report as an HTML page
//! plot        SVG plots: loss, scores, differences with their bounds
//! page.css    style sheet of the page
//! ```

mod html;
mod plot;
mod printable;
mod run_report;
mod text;

pub(crate) use html::content;
pub use html::page;
pub(crate) use plot::{escape, losses};
pub use run_report::{RunReport, RunReportError};
