//! Zip to folder. A zip comes from outside: nothing in it is believed.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::{ArchiveError, io_error, is_plain_name, parent, sync_folder};

/// What a zip may hold at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of entries.
    pub entries: usize,
    /// Bytes, unpacked.
    pub bytes: u64,
}

impl Default for Limits {
    /// Ten thousand entries and 16 GiB: many times what a model folder holds.
    fn default() -> Self {
        Self { entries: 10_000, bytes: 16 << 30 }
    }
}

/// Unpacks a zip below `into` and gives back its top folder. Memory stays small whatever the sizes.
///
/// # Errors
/// When the zip is anything but one folder of plain files, holds more than the default [`Limits`], or the folder
/// is there already; then nothing is left below `into`.
pub fn unpack(zip_path: &Path, into: &Path) -> Result<PathBuf, ArchiveError> {
    unpack_within(zip_path, into, Limits::default())
}

/// [`unpack`], with limits.
///
/// # Errors
/// As [`unpack`].
pub fn unpack_within(zip_path: &Path, into: &Path, limits: Limits) -> Result<PathBuf, ArchiveError> {
    let file = File::open(zip_path).map_err(io_error("opening", zip_path))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| read_error(error, zip_path))?;
    let top = check(&mut zip, zip_path, limits)?;
    let destination = into.join(&top);
    if destination.symlink_metadata().is_ok() {
        return Err(ArchiveError::Occupied { path: destination });
    }

    fs::create_dir_all(into).map_err(io_error("creating", into))?;
    // Beside the destination, on the same file system. Removed on drop, so on every error below too.
    let beside = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(into)
        .map_err(io_error("creating a folder in", into))?;
    let mut left = limits.bytes;
    for index in 0..zip.len() {
        let entry = zip.by_index(index).map_err(|error| read_error(error, zip_path))?;
        let path = beside.path().join(entry_path(&entry, index)?);
        let folder = if entry.is_dir() { &path } else { parent(&path) };
        fs::create_dir_all(folder).map_err(io_error("creating", folder))?;
        if entry.is_file() {
            // The sizes in the zip's directory are a claim; what counts is what comes out.
            let copied = copy(entry.take(left.saturating_add(1)), &path, zip_path)?;
            left = left.checked_sub(copied).ok_or(ArchiveError::TooLarge(limits))?;
        }
    }
    let unpacked = beside.path().join(&top);
    sync_folders(&unpacked)?;
    // Should the destination have appeared meanwhile, this fails unless it is an empty folder.
    fs::rename(&unpacked, &destination).map_err(io_error("renaming to", &destination))?;
    sync_folder(into)?;
    Ok(destination)
}

/// Checks every entry before the first byte is unpacked, and gives back the name of the top folder.
fn check<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    zip_path: &Path,
    limits: Limits,
) -> Result<String, ArchiveError> {
    if zip.len() > limits.entries {
        return Err(ArchiveError::TooLarge(limits));
    }
    if zip.has_duplicate_names() {
        return Err(ArchiveError::DuplicateName);
    }
    let mut top: Option<String> = None;
    let (mut files, mut folders) = (HashSet::new(), HashSet::new());
    let mut bytes = 0u64;
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| read_error(error, zip_path))?;
        if !is_plain_file_or_folder(&entry) {
            return Err(ArchiveError::NotAFile { index });
        }
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes {
            return Err(ArchiveError::TooLarge(limits));
        }
        let path = entry_path(&entry, index)?;
        let (first, below) = path.split_once('/').unwrap_or((&path, ""));
        if top.get_or_insert_with(|| first.to_owned()) != first || (entry.is_file() && below.is_empty()) {
            return Err(ArchiveError::NotOneFolder);
        }
        folders.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        if entry.is_dir() {
            folders.insert(path);
        } else if !files.insert(path) {
            return Err(ArchiveError::DuplicateName);
        }
    }
    if !files.is_disjoint(&folders) {
        return Err(ArchiveError::DuplicateName);
    }
    top.ok_or(ArchiveError::NotOneFolder)
}

/// An entry's path, made of plain names and `/` only, without the slash that ends a folder's. Anything cleverer
/// (absolute, `..`, `.`, empty names, backslashes, drive letters) is refused rather than repaired.
fn entry_path<R: Read>(entry: &ZipFile<'_, R>, index: usize) -> Result<String, ArchiveError> {
    let name = entry.name().map_err(|_| ArchiveError::UnsafeName { index })?;
    let path = name.strip_suffix('/').unwrap_or(&name);
    match path.split('/').all(is_plain_name) {
        true => Ok(path.to_owned()),
        false => Err(ArchiveError::UnsafeName { index }),
    }
}

/// Whether an entry is what its name says: a folder if it ends in a slash, else a file; no link, no device.
fn is_plain_file_or_folder<R: Read>(entry: &ZipFile<'_, R>) -> bool {
    // The kind of a file in a Unix mode; 0 is what writers leave that know no kinds.
    const KIND: u32 = 0o170_000;
    let own = if entry.is_dir() { 0o040_000 } else { 0o100_000 };
    let kind = entry.unix_mode().unwrap_or(0) & KIND;
    kind == 0 || kind == own
}

/// Copies an entry to a new file and syncs it; gives back the number of bytes. Reading and writing fail for
/// different reasons, a damaged zip and a full disk, so they are told apart.
fn copy(mut entry: impl Read, path: &Path, zip_path: &Path) -> Result<u64, ArchiveError> {
    let mut file = File::create_new(path).map_err(io_error("creating", path))?;
    let mut buffer = vec![0; 128 << 10];
    let mut copied = 0;
    loop {
        let read = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read_error(ZipError::Io(error), zip_path)),
        };
        file.write_all(&buffer[..read]).map_err(io_error("writing", path))?;
        copied += read as u64;
    }
    file.sync_all().map_err(io_error("syncing", path))?;
    Ok(copied)
}

/// The kinds by which a reader says that bytes are wrong or missing make a damaged zip; the others are the disk's.
fn read_error(error: ZipError, zip_path: &Path) -> ArchiveError {
    use io::ErrorKind::{InvalidData, InvalidInput, Other, UnexpectedEof};
    match error {
        ZipError::Io(source)
            if !matches!(source.kind(), InvalidData | InvalidInput | Other | UnexpectedEof) =>
        {
            io_error("reading", zip_path)(source)
        }
        other => ArchiveError::Malformed(other),
    }
}

fn sync_folders(folder: &Path) -> Result<(), ArchiveError> {
    for entry in fs::read_dir(folder).map_err(io_error("reading", folder))? {
        let path = entry.map_err(io_error("reading", folder))?.path();
        if path.is_dir() {
            sync_folders(&path)?;
        }
    }
    sync_folder(folder)
}
