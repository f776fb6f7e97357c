//! Files that runs keep on this disk, and the checkpoints that workers share through the broker.
//!
//! Owns the run's folder, the stored rows, the downloaded models, and the copying of checkpoints.
//! Never leaves a partial file under its final name, never writes the run record, and never
//! publishes.
//!
//! ```text
//! run_dir           the folder of a run, which the next attempt continues from
//! snapshots         the rows of runs, stored by their hash
//! model_cache       models downloaded from the Hub, and the choice of base model
//! model_finder      models by the names that people use
//! model_folders     folders of downloaded models, named by their content
//! name_lists        the lists of names that runs have read from `CATALOG`
//! checkpoint_sync   the copying of checkpoints to the broker and back
//! budget            the bytes that replaceable files may take
//! left_error        the error of an attempt that could not record it
//! files             file operations with the run's errors
//! ```

mod budget;
mod checkpoint_sync;
mod files;
mod left_error;
mod model_cache;
mod model_finder;
mod model_folders;
mod name_lists;
mod run_dir;
mod snapshots;

pub(in crate::run) use budget::keep_within;
pub(in crate::run) use checkpoint_sync::{CheckpointSync, remove_stored_checkpoint};
pub(crate) use files::blocking;
pub(in crate::run) use files::entries;
pub(in crate::run) use left_error::{leave_error, take_error};
pub use model_cache::ModelOrigin;
pub(in crate::run) use model_cache::{BaseModel, Baselines, ModelCache};
pub use model_finder::ModelFinder;
pub(in crate::run) use model_folders::on_disk;
pub use model_folders::sweep_models;
pub(in crate::run) use name_lists::NameLists;
pub(in crate::run) use run_dir::{Companions, RunDir};
pub use snapshots::{RowSource, erase_snapshots};
pub(in crate::run) use snapshots::{RunRows, Snapshots};
