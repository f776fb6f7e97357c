//! The disk of a data directory: a small file system of its own where this process may make one.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Size of a disk.
const SIZE: &str = "size=192m";
/// Name of the file that fills the disk.
const BALLAST: &str = "ballast";

/// A data directory, and the disk below it.
pub(crate) struct Disk {
    pub(crate) folder: PathBuf,
    mounted: bool,
}

impl Disk {
    /// Makes the folder, and mounts a small file system there if this process may.
    pub(crate) fn new(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let own = std::env::var_os(OWN_MOUNTS).is_some();
        let mount = || Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder).status();
        let mounted = own && mount().is_ok_and(|status| status.success());
        let folder = folder.canonicalize()?;
        Ok(Self { folder, mounted })
    }

    /// Takes every byte that is left. Returns false where the disk is not a small one.
    pub(crate) fn fill(&self) -> anyhow::Result<bool> {
        if !self.mounted {
            return Ok(false);
        }
        let mut file = File::create(self.folder.join(BALLAST))?;
        for size in [1 << 20, 1 << 12, 1] {
            let block = vec![0_u8; size];
            while file.write_all(&block).is_ok() {}
        }
        Ok(true)
    }

    /// Gives back what [`Disk::fill`] has taken.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        match std::fs::remove_file(self.folder.join(BALLAST)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            // Lazily: a process that has just been killed may still have a file open there.
            let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
        }
    }
}

/// Variable that says that mounts of this process are seen by nobody else, and end with it.
pub(crate) const OWN_MOUNTS: &str = "CHAOS_OWN_MOUNTS";
