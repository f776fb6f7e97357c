//! The provenance of released models: the data and settings that each was made from, and the
//! return to an earlier model.
//!
//! Owns the receipt of a release, the lineage of a model and of a pair, the replay of a run, and
//! the rollback to an older version. Never changes or removes a release: a rollback publishes a new
//! one. A replay never publishes.
//!
//! ```text
//! lineage        everything besides the rows that determines a model's weights
//! receipt        the receipt that travels in a release's zip
//! pair_lineage   the versions that descend from a pair
//! replay         the repetition of a run, and the comparison of its weights
//! rollback       the publication of an older version under a new name
//! ```

mod lineage;
mod pair_lineage;
mod receipt;
mod replay;
mod rollback;

pub use lineage::{Ancestor, Lineage, weights_digest};
pub use pair_lineage::{PairLineage, PairUse, numbers_of, trace_pair};
pub use receipt::{ParityProof, Receipt, RollbackOf};
pub(in crate::run) use receipt::{release_scores, release_serving};
pub use replay::{ReplaySpec, Replayed, Sources, replay};
pub use rollback::{RollbackError, RolledBack, roll_back};
