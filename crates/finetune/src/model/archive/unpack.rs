//! Unpacking of a zip into a folder. A zip comes from outside: nothing in it is trusted.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::read::ZipFile;
use zip::result::ZipError;

use super::{ArchiveError, io_error, is_plain_name, sync_folder};
use crate::durable::parent;

/// Limits on the contents of a zip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveLimits {
    /// Largest number of entries.
    pub entries: usize,
    /// Largest total size of the unpacked files, in bytes.
    pub bytes: u64,
}

impl Default for ArchiveLimits {
    /// Returns ten thousand entries and 16 GiB, many times the size of a model folder.
    fn default() -> Self {
        Self { entries: 10_000, bytes: 16 << 30 }
    }
}

/// Unpacks a zip below `into` and returns its top folder. Memory use is small whatever the file
/// sizes.
///
/// # Errors
/// When the zip is anything but one folder of plain files, exceeds the default [`ArchiveLimits`], or has a
/// top folder that already exists below `into`. Nothing new is then left below `into`.
pub fn unpack(zip_path: &Path, into: &Path) -> Result<PathBuf, ArchiveError> {
    unpack_within(zip_path, into, ArchiveLimits::default())
}

/// Unpacks a zip like [`unpack`], with other limits.
///
/// # Errors
/// The same as for [`unpack`].
pub fn unpack_within(zip_path: &Path, into: &Path, limits: ArchiveLimits) -> Result<PathBuf, ArchiveError> {
    let file = File::open(zip_path).map_err(io_error("opening", zip_path))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| read_error(error, zip_path))?;
    let top = check(&mut zip, zip_path, limits)?;
    let destination = into.join(&top);
    if destination.symlink_metadata().is_ok() {
        return Err(ArchiveError::Occupied { path: destination });
    }

    fs::create_dir_all(into).map_err(io_error("creating", into))?;
    // Beside the destination, hence on the same file system. Removed on drop, also on every error
    // below.
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
            // The sizes in the zip's directory may be false: only the bytes unpacked count.
            let copied = copy(entry.take(left.saturating_add(1)), &path, zip_path)?;
            left = left.checked_sub(copied).ok_or(ArchiveError::TooLarge(limits))?;
        }
    }
    let unpacked = beside.path().join(&top);
    sync_folders(&unpacked)?;
    // If the destination has appeared in the meantime, this fails unless it is an empty folder.
    fs::rename(&unpacked, &destination).map_err(io_error("renaming to", &destination))?;
    sync_folder(into)?;
    Ok(destination)
}

/// Checks every entry before the first byte is unpacked, and returns the name of the top folder.
fn check<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    zip_path: &Path,
    limits: ArchiveLimits,
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

/// Returns an entry's path: plain names joined by `/`, without a folder's trailing slash. Any other
/// form (absolute, `..`, `.`, empty names, backslashes, drive letters) is refused rather than
/// repaired.
fn entry_path<R: Read>(entry: &ZipFile<'_, R>, index: usize) -> Result<String, ArchiveError> {
    let name = entry.name().map_err(|_| ArchiveError::UnsafeName { index })?;
    let path = name.strip_suffix('/').unwrap_or(&name);
    match path.split('/').all(is_plain_name) {
        true => Ok(path.to_owned()),
        false => Err(ArchiveError::UnsafeName { index }),
    }
}

/// Returns true when an entry is of the kind that its name implies: a folder if the name ends in a
/// slash, else a file. Links and devices are neither.
fn is_plain_file_or_folder<R: Read>(entry: &ZipFile<'_, R>) -> bool {
    // Bits of a Unix mode that give the kind of a file. Writers that don't record the kind leave 0.
    const KIND: u32 = 0o170_000;
    let own = if entry.is_dir() { 0o040_000 } else { 0o100_000 };
    let kind = entry.unix_mode().unwrap_or(0) & KIND;
    kind == 0 || kind == own
}

/// Copies an entry to a new file, syncs it, and returns the number of bytes. Read and write errors
/// stay apart because their causes differ: a damaged zip and a full disk.
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

/// Converts a read error. I/O error kinds that mean wrong or missing bytes indicate a damaged zip;
/// all other kinds are errors of the disk.
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
