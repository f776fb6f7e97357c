//! Where a released model comes from, and how to get back to it.
//!
//! ```text
//! lineage        what decides a model's weights beside its rows
//! receipt        what travels in the zip
//! pair_lineage   the versions that descend from a pair
//! replay         makes a run's model again and compares the weights
//! rollback       makes an older version live again
//! ```

mod lineage;
mod pair_lineage;
mod receipt;
mod replay;
mod rollback;

pub use lineage::{Ancestor, Lineage, weights_digest};
pub use pair_lineage::{PairLineage, PairUse, trace_pair};
pub(in crate::run) use receipt::last_row;
pub use receipt::{RECEIPT, Receipt, RollbackOf};
pub use replay::{Blueprint, Replayed, Sources, replay};
pub use rollback::{RollbackError, RolledBack, roll_back};
