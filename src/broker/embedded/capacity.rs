//! Limit of the store: the disk that it has and the disk that is left, less a reserve.
//!
//! Without a limit, nats-server takes three quarters of the disk that is free at its start. It does
//! not count what the store holds already, and it sets aside the full size of every stream that has
//! a limit of its own. So a volume that is half full would keep it from starting. And a store that
//! really fills the disk makes nats-server give up JetStream altogether, whereas at the limit it
//! only refuses new messages.

use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

/// Part of the disk that is left to everything else, such as logs, as a divisor.
const RESERVE_DIVISOR: u64 = 20;

/// Returns the limit of a store in this folder, in bytes.
///
/// # Errors
/// Errors of the file system.
pub(super) fn limit(folder: &Path) -> io::Result<u64> {
    let disk = statvfs(folder).map_err(io::Error::from)?;
    let unit = disk.fragment_size();
    let (size, free) = (disk.blocks() * unit, disk.blocks_available() * unit);
    Ok(limit_of(size, free, size_of(&folder.join("jetstream"))?))
}

/// Returns the limit for a disk of `size` bytes with `free` bytes left, of which the store takes
/// `used`.
fn limit_of(size: u64, free: u64, used: u64) -> u64 {
    used.saturating_add(free).saturating_sub(size / RESERVE_DIVISOR)
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
        let before = limit_of(1_000, 900, 0);
        assert_eq!(before, 850);
        assert_eq!(limit_of(1_000, 100, 800), before, "the store has taken what was free");
        assert_eq!(limit_of(1_000, 10, 20), 0, "others have filled the disk");
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
