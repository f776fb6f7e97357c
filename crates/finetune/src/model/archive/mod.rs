//! A model folder as one zip, and back.
//!
//! Owns the zip's layout (one top folder, weights stored, the rest deflated) and the distrust of zips from outside.
//! Never knows what the files mean, nor where a zip comes from or goes to. Both ways work beside their destination
//! and rename at the end: what stands under the final name is whole. Both block; call them off the async threads.
//!
//! ```text
//! pack      folder to zip; the same folder gives the same bytes
//! unpack    zip to folder; checks every entry before the first byte
//! ```

mod pack;
mod unpack;

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use zip::result::ZipError;

pub use pack::pack;
pub use unpack::{Limits, unpack, unpack_within};

use crate::failure::{Failure, RetryDirective};

/// Why a folder could not be packed, or a zip not unpacked. Entries are told by their number, not their name.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Reading or writing failed.
    #[error("{action} {} failed", path.display())]
    Io {
        /// What was tried, such as `reading`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// The folder to pack holds something else than files and folders, or a name that is not Unicode.
    #[error("{} can't be packed: it is neither a file nor a folder with a Unicode name", path.display())]
    Unpackable {
        /// The offender.
        path: PathBuf,
    },
    /// The name for the top folder is not one plain name.
    #[error("{name:?} is no name for the archive's top folder")]
    TopName {
        /// The name.
        name: String,
    },
    /// Writing the zip failed for a reason of the format's.
    #[error("the zip could not be written")]
    Write(#[source] ZipError),
    /// The zip is damaged, cut short, of an unknown kind, or no zip at all.
    #[error("the zip can't be read")]
    Malformed(#[source] ZipError),
    /// An entry would land outside its folder, or has a name no model folder needs.
    #[error("the zip's entry {index} has a name that is not accepted")]
    UnsafeName {
        /// Number of the entry, from 0.
        index: usize,
    },
    /// An entry is a link or a device.
    #[error("the zip's entry {index} is neither a file nor a folder")]
    NotAFile {
        /// Number of the entry, from 0.
        index: usize,
    },
    /// Two entries have the same name, or one is both a file and a folder.
    #[error("the zip holds a name twice")]
    DuplicateName,
    /// Not all entries are below one top folder, or there is none.
    #[error("the zip's entries are not all below one top folder")]
    NotOneFolder,
    /// More entries or bytes than [`Limits`] allow.
    #[error("the zip holds more than {} entries or {} bytes", .0.entries, .0.bytes)]
    TooLarge(Limits),
    /// The folder it would be unpacked to is there already.
    #[error("{} is there already", path.display())]
    Occupied {
        /// The folder.
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
            | Self::NotAFile { .. }
            | Self::DuplicateName
            | Self::NotOneFolder
            | Self::TooLarge(_) => RetryDirective::Never,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Io { path, .. } => {
                format!("Check the space left and the rights on the disk that holds {}.", path.display())
            }
            Self::Unpackable { .. } => "Remove it from the model folder.".to_owned(),
            Self::TopName { .. } => "Give a plain name without slashes.".to_owned(),
            Self::Write(_) => "Check the number and the sizes of the files in the model folder.".to_owned(),
            Self::Occupied { .. } => "Remove the folder, or unpack to another place.".to_owned(),
            Self::Malformed(_)
            | Self::UnsafeName { .. }
            | Self::NotAFile { .. }
            | Self::DuplicateName
            | Self::NotOneFolder
            | Self::TooLarge(_) => {
                "The archive is damaged or was not made by this pipeline: use an older model.".to_owned()
            }
        }
    }
}

/// An error of the file system, with what was tried on what.
fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ArchiveError {
    move |source| ArchiveError::Io { action, path: path.to_path_buf(), source }
}

/// Whether this is one plain name: no separator, no `.` or `..`, nothing a shell or terminal trips over.
fn is_plain_name(name: &str) -> bool {
    let mut components = Path::new(name).components();
    let is_one = matches!(components.next(), Some(Component::Normal(_))) && components.next().is_none();
    is_one && name.len() <= 255 && !name.contains(|c: char| matches!(c, '/' | '\\' | ':') || c.is_control())
}

/// The folder a path is in; the working folder for a bare name.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes renames and new names in a folder survive a power cut.
fn sync_folder(folder: &Path) -> Result<(), ArchiveError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io_error("syncing", folder))
}
