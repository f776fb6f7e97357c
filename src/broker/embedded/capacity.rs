//! Limit of the store: the disk that it has and the disk that is left, less a reserve.
//!
//! Without a limit, nats-server takes three quarters of the disk that is free at its start. It does
//! not count what the store holds already, and it sets aside the full size of every stream that has
//! a limit of its own. So a volume that is half full would keep it from starting. And a store that
//! really fills the disk makes nats-server give up JetStream altogether, whereas at the limit it
//! only refuses new messages.
//!
//! A stream whose size limit is above the store's limit is left out at the start, with everything in
//! it. So the limit is never below what the streams have set aside, however full the disk is.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use nix::sys::statvfs::statvfs;
use serde::Deserialize;

/// Part of the disk that is left to everything else, such as logs, as a divisor.
const RESERVE_DIVISOR: u64 = 20;
/// Largest reserve, in bytes: on a large disk, a part would be more than anything else needs.
const LARGEST_RESERVE: u64 = 1 << 30;
/// Largest file with a stream's settings that is read, in bytes. It takes about one kilobyte.
const MAX_SETTINGS_BYTES: u64 = 1 << 20;

/// Returns the limit of a store in this folder, in bytes.
///
/// # Errors
/// Errors of the file system.
pub(super) fn limit(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder).map_err(io::Error::from)?;
    let unit = disk.fragment_size();
    let (size, free) = (disk.blocks() * unit, disk.blocks_available() * unit);
    let store = folder.join("jetstream");
    Ok(limit_of(size, free, size_of(&store)?, set_aside(&store)?))
}

/// Returns the limit for a disk of `size` bytes with `free` bytes left, of which the store takes
/// `used` and its streams have set aside `set_aside`. At most half of what is left is reserved, so
/// that a worker goes on working on a disk that others have filled.
fn limit_of(size: u64, free: u64, used: u64, set_aside: u64) -> u64 {
    let reserve = (size / RESERVE_DIVISOR).min(LARGEST_RESERVE).min(free / 2);
    used.saturating_add(free - reserve).max(set_aside)
}

/// Settings of a stream in its file `meta.inf`, as far as they matter here.
#[derive(Deserialize)]
struct StreamFile {
    #[serde(default)]
    max_bytes: i64,
}

/// Returns the sum of the size limits of the streams in a store, which are at
/// `<account>/streams/<stream>/meta.inf`. A file that can't be read counts as none: nats-server
/// reports a damaged stream itself.
fn set_aside(store: &Path) -> io::Result<u64> {
    let mut sum: u64 = 0;
    for account in folders(store)? {
        for stream in folders(&account.join("streams"))? {
            let Ok(file) = File::open(stream.join("meta.inf")) else { continue };
            let settings: Option<StreamFile> = serde_json::from_reader(file.take(MAX_SETTINGS_BYTES)).ok();
            let bytes = settings.and_then(|settings| u64::try_from(settings.max_bytes).ok());
            sum = sum.saturating_add(bytes.unwrap_or_default());
        }
    }
    Ok(sum)
}

/// Returns the entries of a folder; none when there is no such folder.
fn folders(folder: &Path) -> io::Result<Vec<std::path::PathBuf>> {
    match fs::read_dir(folder) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// Returns the size of all files below a folder; 0 when there is none. The server may remove files
/// meanwhile.
fn size_of(folder: &Path) -> io::Result<u64> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(error),
    };
    let mut size = 0;
    for entry in entries {
        let entry = entry?;
        size += match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => size_of(&entry.path())?,
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => return Err(error),
        };
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_does_not_shrink_as_the_store_grows() {
        let before = limit_of(1_000, 900, 0, 0);
        assert_eq!(before, 850);
        assert_eq!(limit_of(1_000, 100, 800, 0), before, "the store has taken what was free");
    }

    #[test]
    fn a_disk_that_others_have_filled_leaves_the_store_what_it_has() {
        assert_eq!(limit_of(1_000, 10, 20, 0), 25, "half of what is left");
        assert_eq!(limit_of(1_000, 0, 20, 0), 20, "nothing is left");
        let (disk, mib) = (252 << 30, 1 << 20);
        assert_eq!(limit_of(disk, 304 * mib, mib, 256 * mib), 256 * mib, "the events fit");
        assert_eq!(limit_of(disk, 100 << 30, 0, 0), 99 << 30, "a large disk is not kept empty");
    }

    #[test]
    fn the_size_limits_of_all_streams_are_set_aside() {
        let store = tempfile::tempdir().unwrap();
        assert_eq!(set_aside(&store.path().join("none")).unwrap(), 0);
        for (stream, meta) in [
            ("EVENTS", r#"{"Created":"2026-01-01T00:00:00Z","name":"EVENTS","max_bytes":1000}"#),
            ("PAIRS", r#"{"name":"PAIRS","max_bytes":-1}"#),
            ("OBJ", r#"{"name":"OBJ","max_bytes":24}"#),
            ("DAMAGED", "{"),
        ] {
            let folder = store.path().join("$G/streams").join(stream);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("meta.inf"), meta).unwrap();
        }
        fs::write(store.path().join("file"), "").unwrap();
        assert_eq!(set_aside(store.path()).unwrap(), 1_024);
    }

    #[test]
    fn files_are_counted_in_all_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(size_of(&folder.path().join("none")).unwrap(), 0);
        fs::create_dir_all(folder.path().join("a/b")).unwrap();
        fs::write(folder.path().join("a/one"), [0; 10]).unwrap();
        fs::write(folder.path().join("a/b/two"), [0; 5]).unwrap();
        assert_eq!(size_of(folder.path()).unwrap(), 15);
        assert!(limit(folder.path()).unwrap() > 0);
    }
}
