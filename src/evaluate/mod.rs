//! Evaluation: measures how well a model finds the right names, and decides whether it may be
//! published.
//!
//! Owns the hold-out that separates test from training, the retrieval metrics, the fuzzy matcher as
//! the baseline, the gate and the report. Never loads a model, opens a file or connects to
//! anything: a closure supplies the embeddings, so that any model can be scored. Everything but the
//! measured speed is deterministic; the gate's resampling is the only use of randomness, and it is
//! seeded.
//!
//! ```text
//! holdout      pairs that are never trained on
//! catalog      queries, and the names they are looked up in
//! retrieval    ranks of the right names by a model, and the scores over them
//! fuzzy        ranks by the string metric, and the slice of queries left to the model
//! fuzzy_rule   the string metric and the threshold of the backend, as settings
//! cohort       the newest rows, and the rows that judged earlier versions
//! sanity       checks that the model's embeddings are usable and its speed acceptable
//! gate         verdict (better, no worse, worse, cannot tell) and the decision to publish
//! string_metrics  the best string metric, as the bar for the model
//! weighted_ratio rapidfuzz's weighted ratio
//! serving      advice on combining the model with the fuzzy matcher
//! report       all results in one struct
//! outline      the report without the figures whose number grows with the domains
//! table        the report on one screen
//! ```

mod catalog;
mod cohort;
mod fuzzy;
mod fuzzy_rule;
mod gate;
mod holdout;
mod outline;
mod report;
mod retrieval;
mod sanity;
mod serving;
mod string_metrics;
mod table;
mod weighted_ratio;

pub use catalog::{Catalog, Query};
pub use cohort::{Cohorts, NewestWindow, NoWindow};
pub use fuzzy::{FuzzyMatch, FuzzyMatcher, fuzzy_ratio};
pub(crate) use fuzzy::{FuzzyName, FuzzyQuery};
pub use fuzzy_rule::{FuzzyMetric, FuzzyRule};
pub use gate::{Gate, GatePolicy, Judgment, Verdict, judge};
pub use holdout::{HoldOut, Side, is_validation};
pub use report::{Comparison, EndToEnd, Group, ModelRanks, QuerySet, Report};
pub use retrieval::{EvaluateError, Rank, Retrieval, Scores, held_out_loss, model_ranks, model_ranks_with};
pub use sanity::{Defect, Sanity, Speed, query_time, slowdown, timed};
pub use serving::{ServedAccuracy, ServingAdvice, ServingTrials};
pub use string_metrics::{MetricScores, StringMetric};
pub use weighted_ratio::weighted_ratio;
