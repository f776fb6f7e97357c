//! Packing of a model folder into one zip, and unpacking.
//!
//! Owns the layout of our zips (one top folder, weights stored, other files deflated) and the checks
//! on zips from outside, which may have any layout. Never knows the meaning of the files, or a zip's
//! source or destination. Both functions write beside their destination and rename at the end, so the
//! final name never holds a partial result. Both block: call them off the async threads.
//!
//! ```text
//! pack      folder to zip; the same folder gives the same bytes
//! unpack    zip to folder; checks every entry before the first byte
//! ```

mod pack;
mod unpack;

use std::io;
use std::path::{Component, Path, PathBuf};

use zip::result::ZipError;

pub use pack::pack;
pub use unpack::{ArchiveLimits, UNPACKING, unpack, unpack_within};

use crate::durable;
use crate::failure::{Failure, RetryDirective};

/// Error of packing a folder or unpacking a zip. Messages identify an entry by its number, not by
/// its name.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading or writing failed.
    #[error("{action} {} failed", path.display())]
    Io {
        /// Attempted operation, such as `reading`.
        action: &'static str,
        /// File or folder of the operation.
        path: PathBuf,
        /// Error of the file system.
        #[source]
        source: io::Error,
    },
    /// The folder to pack contains something other than files and folders, or a name that is not
    /// plain Unicode.
    #[error("{} can't be packed: it is neither a file nor a folder with a Unicode name", path.display())]
    Unpackable {
        /// Path that can't be packed.
        path: PathBuf,
    },
    /// The name for the top folder is not one plain name.
    #[error("{name:?} can't be the name of the archive's top folder")]
    TopName {
        /// The name.
        name: String,
    },
    /// The zip can't be written because of a rule or limit of the format.
    #[error("the zip could not be written")]
    Write(#[source] ZipError),
    /// The zip is damaged, cut short, of an unsupported kind, or not a zip at all.
    #[error("the zip can't be read")]
    Malformed(#[source] ZipError),
    /// An entry would be written outside the top folder, or has a name that no model folder needs.
    #[error("the zip's entry {index} has a name that is not accepted")]
    UnsafeName {
        /// Number of the entry, from 0.
        index: usize,
    },
    /// A name is both a file and a folder.
    #[error("the zip holds a name as a file and as a folder")]
    FileAndFolder,
    /// The zip holds no file.
    #[error("the zip holds no file")]
    NoFile,
    /// The zip holds more entries or bytes than the [`ArchiveLimits`] allow.
    #[error("the zip holds more than {} entries or {} bytes", .0.entries, .0.bytes)]
    TooLarge(ArchiveLimits),
    /// The destination folder already exists.
    #[error("{} already exists", path.display())]
    Occupied {
        /// The destination folder.
        path: PathBuf,
    },
}

impl Failure for ArchiveError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Io { .. }
            | Self::Unpackable { .. }
            | Self::TopName { .. }
            | Self::Write(_)
            | Self::Occupied { .. } => RetryDirective::Person,
            Self::Malformed(_)
            | Self::UnsafeName { .. }
            | Self::FileAndFolder
            | Self::NoFile
            | Self::TooLarge(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io { path, .. } => {
                format!("Check free space and permissions on the disk that holds {}.", path.display())
            }
            Self::Unpackable { .. } => "Remove that path from the model folder, or rename it.".to_owned(),
            Self::TopName { .. } => "Use a plain name without slashes or colons.".to_owned(),
            Self::Write(_) => "Check the number and the sizes of the files in the model folder.".to_owned(),
            Self::Occupied { .. } => "Remove the folder, or unpack to another place.".to_owned(),
            Self::Malformed(_)
            | Self::UnsafeName { .. }
            | Self::FileAndFolder
            | Self::NoFile
            | Self::TooLarge(_) => {
                "Start from another model with --base-model, or pack the model folder again as a plain zip."
                    .to_owned()
            }
        }
    }
}

/// Returns a closure that adds the operation and its path to a file system error.
fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { action, path: path.to_path_buf(), source }
}

/// Returns true for one plain name: no separator, no `.` or `..`, no colon, no control character.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
    is_one && name.len() <= 255 && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// Syncs a folder, so that renames and new names in it survive a power failure.
fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    durable::sync_folder(folder).map_err(io_error("syncing", folder))
}
