//! Size of a folder that is read.

use std::path::Path;

/// Largest number of files whose sizes are added up.
const MOST_FILES: usize = 20_000;

/// Returns the size of the files below a folder in bytes, without following links to folders.
pub(super) fn folder_size(folder: &Path) -> u64 {
    let mut left = MOST_FILES;
    size_of(folder, &mut left)
}

fn size_of(folder: &Path, left: &mut usize) -> u64 {
    let mut size = 0_u64;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(still) = left.checked_sub(1) else { break };
        *left = still;
        let more = match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path(), left),
            // A link to a file counts as the file.
            Ok(_) => std::fs::metadata(entry.path()).map_or(0, |metadata| metadata.len()),
            Err(_) => 0,
        };
        size = size.saturating_add(more);
    }
    size
}
