//! File operations on the data directory that return the run's errors.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use autovalidate_finetune::durable;
use serde::Serialize;

use crate::broker::BrokerError;
use crate::run::error::RunError;

/// Runs blocking work on a thread of the blocking pool.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RunError> + Send + 'static,
) -> Result<T, RunError> {
    tokio::task::spawn_blocking(work).await.map_err(RunError::panicked)?
}

/// Writes a file. Even after a crash, the file is complete or absent.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), RunError> {
    durable::replace(path, |file| file.write_all(bytes)).map_err(RunError::file("write", path))
}

/// Writes a file like [`replace`], with one value as JSON on each line.
pub(super) fn replace_json_lines(
    path: &Path,
    values: impl IntoIterator<Item = impl Serialize>,
) -> Result<(), RunError> {
    durable::replace_with(
        path,
        |source| RunError::file("write", path)(source),
        |file| {
            let mut file = BufWriter::new(file);
            for value in values {
                let line = serde_json::to_vec(&value).map_err(BrokerError::from)?;
                let written = file.write_all(&line).and_then(|()| file.write_all(b"\n"));
                written.map_err(RunError::file("write", path))?;
            }
            file.flush().map_err(RunError::file("write", path))
        },
    )
}

/// Moves a complete file to `path`. A missing folder is created.
pub(in crate::run) fn place(file: &Path, path: &Path) -> Result<(), RunError> {
    durable::place(file, path).map_err(RunError::file("write", path))
}

/// Removes the files with this suffix, except the `kept` newest. A file that can't be removed is
/// logged and stays.
pub(super) fn keep_newest(folder: &Path, suffix: &str, kept: usize) -> Result<(), RunError> {
    let mut known: Vec<_> = entries(folder)?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(suffix))
        .filter_map(|path| Some((std::fs::metadata(&path).ok()?.modified().ok()?, path)))
        .collect();
    known.sort();
    for (_, oldest) in known.iter().rev().skip(kept) {
        if let Err(error) = std::fs::remove_file(oldest) {
            tracing::warn!(%error, path = %oldest.display(), "an old file can't be removed");
        }
    }
    Ok(())
}

/// Returns the paths in a folder; none when the folder is missing.
pub(in crate::run) fn entries(folder: &Path) -> Result<Vec<PathBuf>, RunError> {
    match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(RunError::file("read", folder)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(RunError::file("read", folder)(error)),
    }
}

/// Removes a folder and everything below it. A missing folder is not an error: another worker on
/// the same disk may have removed it first.
pub(super) fn remove_folder(folder: &Path) -> Result<(), RunError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(RunError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}
