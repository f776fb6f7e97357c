//! Everything a run keeps on this disk, and the checkpoints it shares through the broker.
//!
//! ```text
//! run_dir           the folder a run writes into, for whoever takes the run up again
//! snapshots         the rows of runs, kept by their hash
//! model_cache       models fetched from the Hub; finds the one a run starts from
//! checkpoint_sync   checkpoints to the broker and back
//! ```

mod checkpoint_sync;
mod model_cache;
mod run_dir;
mod snapshots;

pub(in crate::run) use checkpoint_sync::{CheckpointSync, remove_stored_checkpoint};
pub(in crate::run) use model_cache::{BaseModel, MODELS, ModelCache, blocking, on_disk};
pub use model_cache::{ModelFinder, ModelOrigin};
pub(in crate::run) use run_dir::{Companions, RunDir, entries, keep_newest, put, replace};
pub use snapshots::RowSource;
pub(in crate::run) use snapshots::{SNAPSHOTS, Snapshots, TakenRows};
