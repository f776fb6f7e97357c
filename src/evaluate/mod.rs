//! How good a model is at what it is for, and whether it may be published.
//!
//! Owns the hold-out that keeps the test apart from the training, the retrieval metrics, the fuzzy matcher as the
//! bar to beat, the gate and the report. Never loads a model, opens a file or connects to anything: embeddings
//! come in from a closure, so that any model can be scored. Everything but the measured speed is deterministic; the
//! one use of chance, the gate's resampling, is seeded.
//!
//! ```text
//! holdout      which pairs are never trained on
//! catalog    queries, and the names they are looked up among
//! retrieval    ranks of the right names by a model, and what they add up to
//! fuzzy        ranks by the string metric, and the slice of queries it leaves to the model
//! cohort       the newest rows, and those that earlier versions were judged by
//! sanity       is what the model gives an embedding at all?
//! gate         better, no worse, worse, or can't be told: may the model be published?
//! report       all of it in one struct
//! table        the report on one screen
//! ```

mod catalog;
mod cohort;
mod fuzzy;
mod gate;
mod holdout;
mod report;
mod retrieval;
mod sanity;
mod table;

pub use catalog::{Catalog, Query};
pub use cohort::{Cohorts, NewestWindow, NoWindow};
pub(crate) use fuzzy::FuzzyScorer;
pub use fuzzy::{FUZZY_THRESHOLD, FuzzyMatch, fuzzy_match, fuzzy_ratio};
pub use gate::{Gate, GatePolicy, Judgment, Verdict, judge};
pub use holdout::{HoldOut, Side, is_validation};
pub use report::{Answers, Comparison, EndToEnd, Group, Questions, Report};
pub use retrieval::{EvaluateError, Rank, Retrieval, Scores, held_out_loss, model_ranks};
pub use sanity::{Defect, Sanity, slowdown};
