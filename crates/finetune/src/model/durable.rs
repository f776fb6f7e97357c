//! Files that are there whole or not at all.

use std::fs::File;
use std::io;
use std::path::Path;

/// Writes a file beside `path`, syncs it and renames it into place, so that no reader and no crash meets half of it.
pub(crate) fn replace(path: &Path, write: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any other new file: what the process's mask leaves of it. A temporary file is private otherwise.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut beside = builder.prefix(".partial-").tempfile_in(folder)?;
    write(beside.as_file_mut())?;
    beside.as_file().sync_all()?;
    beside.persist(path).map_err(|error| error.error)?;
    Ok(())
}
