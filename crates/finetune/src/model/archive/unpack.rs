//! Unpacking of a zip into a folder. A zip comes from outside: nothing in it is trusted.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::{ArchiveError, io_error, is_plain_name, sync_folder};
use crate::durable::parent;

/// Name prefix of the folder that a zip is unpacked into before it is complete.
pub const UNPACKING: &str = ".unpacking-";
/// Files and folders that file browsers add to a zip.
const ADDED: [&str; 4] = ["__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini"];

/// Length of the longest name of an entry, in bytes.
const LONGEST_NAME: usize = 1_024;
/// Largest number of folders and names in the name of an entry. Models have three or four.
const DEEPEST: usize = 16;

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

/// Unpacks a zip into the folder `into`, which must be absent or empty, and returns the innermost
/// folder that holds all files. Memory use is small whatever the file sizes.
///
/// Reads what Python's `zipfile` reads, so that a zip that the backend loads is not refused here:
/// files with or without folders around them, `./`, backslashes, repeated names (the last one
/// counts), and links, which become files. Leaves out what macOS and Windows add for themselves.
///
/// # Errors
/// When the zip can't be read, holds no file, holds a name that leads outside, or exceeds the default
/// [`ArchiveLimits`]. Nothing new is then left in or beside `into`.
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
    let Plan { files, folders } = check(&mut zip, zip_path, limits)?;
    if fs::read_dir(into).is_ok_and(|mut entries| entries.next().is_some()) || into.is_file() {
        return Err(ArchiveError::Occupied { path: into.to_owned() });
    }

    let around = parent(into);
    fs::create_dir_all(around).map_err(io_error("creating", around))?;
    // Beside the destination, hence on the same file system. Removed on drop, also on every error
    // below.
    let beside = tempfile::Builder::new()
        .prefix(UNPACKING)
        .tempdir_in(around)
        .map_err(io_error("creating a folder in", around))?;
    let unpacked = beside.path().join("all");
    for path in std::iter::once(&String::new()).chain(&folders) {
        let folder = unpacked.join(path);
        fs::create_dir_all(&folder).map_err(io_error("creating", &folder))?;
    }
    let mut left = limits.bytes;
    for (path, index) in files {
        let entry = zip.by_index(index).map_err(|error| read_error(error, zip_path))?;
        // The sizes in the zip's directory may be false: only the bytes unpacked count.
        let copied = copy(entry.take(left.saturating_add(1)), &unpacked.join(path), zip_path)?;
        left = left.checked_sub(copied).ok_or(ArchiveError::TooLarge(limits))?;
    }
    sync_folders(&unpacked)?;
    // If the destination has appeared in the meantime, this fails unless it is an empty folder.
    fs::rename(&unpacked, into).map_err(io_error("renaming to", into))?;
    sync_folder(around)?;
    innermost(into)
}

/// Files of a zip with the number of each one's entry, and the folders around them.
#[derive(Default)]
struct Plan {
    files: BTreeMap<String, usize>,
    folders: BTreeSet<String>,
}

/// Checks every entry before the first byte is unpacked.
fn check<R: Read + Seek>(
    zip: &mut ZipArchive<R>,
    zip_path: &Path,
    limits: ArchiveLimits,
) -> Result<Plan, ArchiveError> {
    if zip.len() > limits.entries {
        return Err(ArchiveError::TooLarge(limits));
    }
    let mut plan = Plan::default();
    let mut bytes = 0u64;
    for index in 0..zip.len() {
        let entry = zip.by_index_raw(index).map_err(|error| read_error(error, zip_path))?;
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes {
            return Err(ArchiveError::TooLarge(limits));
        }
        let name = entry.name().map_err(|_| ArchiveError::UnsafeName { index })?;
        let Some(path) = entry_path(&name, index)? else { continue };
        plan.folders.extend(path.match_indices('/').map(|(end, _)| path[..end].to_owned()));
        if name.ends_with(['/', '\\']) {
            plan.folders.insert(path);
        } else {
            plan.files.insert(path, index);
        }
    }
    if plan.files.keys().any(|path| plan.folders.contains(path)) {
        return Err(ArchiveError::FileAndFolder);
    }
    if plan.files.is_empty() { Err(ArchiveError::NoFile) } else { Ok(plan) }
}

/// Returns an entry's path: plain names joined by `/`. `None` for the top itself, and for files that
/// a computer's file browser has added.
///
/// A name that leads outside (`..`, drive letters) is refused. Python would drop these parts, but no
/// tool that packs a model writes them.
fn entry_path(name: &str, index: usize) -> Result<Option<String>, ArchiveError> {
    let parts: Vec<&str> = name.split(['/', '\\']).filter(|part| !matches!(*part, "" | ".")).collect();
    // Each entry makes all folders of its name, so a deep name would cost its length squared.
    let fits = name.len() <= LONGEST_NAME && parts.len() <= DEEPEST;
    if !fits || !parts.iter().all(|part| is_plain_name(part)) {
        return Err(ArchiveError::UnsafeName { index });
    }
    let added = |part: &&str| ADDED.contains(part) || part.starts_with("._");
    let is_model = !parts.is_empty() && !parts.iter().any(added);
    Ok(is_model.then(|| parts.join("/")))
}

/// Returns the innermost folder that holds everything in `folder`.
fn innermost(folder: &Path) -> Result<PathBuf, ArchiveError> {
    let mut inner = folder.to_owned();
    loop {
        let mut entries = fs::read_dir(&inner).map_err(io_error("reading", &inner))?;
        match (entries.next(), entries.next()) {
            (Some(Ok(only)), None) if only.path().is_dir() => inner = only.path(),
            _ => return Ok(inner),
        }
    }
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
