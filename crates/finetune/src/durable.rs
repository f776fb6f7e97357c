//! Files that are complete or absent: written beside their final path, synced, then renamed.
//!
//! Every complete write of the workspace goes through here; only downloads, which resume a partial
//! file, rename on their own. Readers see a rename within a folder as atomic.
//! It survives a power failure only when both the file's bytes and the folder's new entry are
//! synced.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Name prefix of a file that is still being written.
const PARTIAL: &str = ".partial-";
/// Name suffix that version 0.1.0 gave to unfinished checkpoints.
const PARTIAL_SUFFIX: &str = ".partial";

/// Replaces the file at `path` with the bytes that `write` writes. Neither a reader nor a crash
/// ever sees half of a file.
///
/// A missing folder is created. On failure nothing is left behind, and an earlier file at `path`
/// stays unchanged.
///
/// # Errors
/// Errors of the file system and of `write`.
pub fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    replace_with(path, |error| error, write)
}

/// Replaces a file like [`replace`], for a `write` with its own error type. `failed` wraps errors
/// of the file system.
///
/// # Errors
/// Errors of the file system and of `write`.
pub fn replace_with<E>(
    path: &Path,
    failed: impl Fn(io::Error) -> E,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let folder = parent(path);
    fs::create_dir_all(folder).map_err(&failed)?;
    // The name is unique: a worker that has lost its run may still be writing the same file.
    let mut beside = partial(folder).map_err(&failed)?;
    write(beside.as_file_mut())?;
    beside.as_file().sync_all().map_err(&failed)?;
    beside.persist(path).map_err(|error| failed(error.error))?;
    sync_folder(folder).map_err(&failed)
}

/// Creates the file at `path` with these bytes, complete or not at all, and replaces nothing. A private
/// file can be read by its owner only.
///
/// # Errors
/// Errors of the file system; [`io::ErrorKind::AlreadyExists`] when there is something at `path`.
pub fn create(path: &Path, bytes: &[u8], private: bool) -> io::Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    let mut beside =
        if private { tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder) } else { partial(folder) }?;
    beside.write_all(bytes)?;
    beside.as_file().sync_all()?;
    beside.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(folder)
}

/// Moves a complete file to `path`. A missing folder is created.
///
/// # Errors
/// Errors of the file system, for example when `path` is on another disk.
pub fn place(file: &Path, path: &Path) -> io::Result<()> {
    let folder = parent(path);
    fs::create_dir_all(folder)?;
    File::open(file)?.sync_all()?;
    fs::rename(file, path)?;
    sync_folder(folder)
}

/// Removes half-written files that a killed process left in a folder. Best effort: such files only
/// take up space.
pub fn remove_partial(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PARTIAL) || name.ends_with(PARTIAL_SUFFIX) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Syncs a folder, so that renames and new names in it survive a power failure.
///
/// # Errors
/// Errors of the file system.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns the folder that contains a path; the working folder for a bare name.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn partial(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The mode of any new file, reduced by the process's umask. A temporary file is private
        // otherwise.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.prefix(PARTIAL).tempfile_in(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("below/file");
        replace(&path, |file| file.write_all(b"old")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(parent(&path)).unwrap().count(), 1);
    }

    #[test]
    #[cfg(unix)]
    fn a_file_that_is_there_is_not_created_again_and_a_private_one_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        let (private, public) = (folder.path().join("below/private"), folder.path().join("public"));
        create(&private, b"old", true).unwrap();
        assert_eq!(mode(&private) & 0o777, 0o600);
        create(&public, b"", false).unwrap();
        assert_ne!(mode(&public) & 0o044, 0, "others may read it, as the umask allows");
        let again = create(&private, b"new", true).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&private).unwrap(), b"old");
        assert_eq!(fs::read_dir(parent(&private)).unwrap().count(), 1);
    }

    #[test]
    fn only_half_written_files_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".partial-x", "checkpoint.partial", "whole"] {
            fs::write(folder.path().join(name), b"").unwrap();
        }
        remove_partial(folder.path());
        let left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["whole"]);
    }
}
