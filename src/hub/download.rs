//! Download of one release. A cut download resumes, and the file gets its name only after its
//! content is verified.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hf_hub::{HFRepository, HFResult, RepoTypeModel};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncWriteExt, BufWriter};

use super::digest::{Digest, Hasher};
use super::error::HubError;
use super::limits::MODEL_BYTES;
use super::listing::CommitId;
use super::release::Release;
use super::wire::Wire;

/// Size of the write buffer in bytes.
const BUFFER: usize = 256 * 1024;

/// Downloads a release as of a commit into a folder. Bytes that are already there, of the complete
/// file or of a part, are not downloaded again.
pub(super) async fn download(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    commit: &CommitId,
    release: &Release,
    folder: &Path,
) -> Result<PathBuf, HubError> {
    if release.size > MODEL_BYTES {
        return Err(HubError::TooLarge { path: release.path(), limit: MODEL_BYTES });
    }
    tokio::fs::create_dir_all(folder).await.map_err(HubError::file(folder))?;
    let path = folder.join(release.name.as_str());
    if is_whole(&path, release).await? {
        return Ok(path);
    }
    // The content is part of the name, so that parts of two different files are never joined.
    let part = match release.content() {
        Some(content) => folder.join(format!(".{}.{content}.part", release.name)),
        None => folder.join(format!(".{}.part", release.name)),
    };
    let fetch = Fetch { wire, library, commit, release, part: &part };
    let mut failures = 0;
    loop {
        let error = match fetch.run().await {
            Ok(()) => break,
            // The next attempt may get the right bytes, and gets a new link for an expired one.
            Err(error @ (HubError::Checksum { .. } | HubError::Store { .. })) => error,
            Err(error) if error.is_transient() => error,
            Err(error) => return Err(error),
        };
        failures += 1;
        wire.pause("download", failures, error).await?;
    }
    tokio::fs::rename(&part, &path).await.map_err(HubError::file(&path))?;
    sync_folder(folder).await?;
    Ok(path)
}

struct Fetch<'a> {
    wire: &'a Wire,
    library: &'a HFRepository<RepoTypeModel>,
    commit: &'a CommitId,
    release: &'a Release,
    part: &'a Path,
}

impl Fetch<'_> {
    /// Makes one attempt: resumes the part file of an earlier attempt, downloads the rest, and
    /// verifies the complete content.
    async fn run(&self) -> Result<(), HubError> {
        let size = self.release.size;
        let mut hasher = taken_up(self.part, size).await?;
        let in_file = HubError::file;
        let file = OpenOptions::new().create(true).append(true).open(self.part).await;
        let mut file = BufWriter::with_capacity(BUFFER, file.map_err(in_file(self.part))?);
        if hasher.bytes() < size {
            let fetched = self.append(&mut file, &mut hasher).await;
            // The bytes before a cut are kept for the next attempt.
            file.flush().await.map_err(in_file(self.part))?;
            fetched?;
        }
        file.get_ref().sync_all().await.map_err(in_file(self.part))?;
        let as_listed = self.release.sha256.is_none_or(|sha256| sha256 == hasher.digest());
        if hasher.bytes() == size && as_listed {
            return Ok(());
        }
        tokio::fs::remove_file(self.part).await.map_err(in_file(self.part))?;
        Err(HubError::Checksum { path: self.release.path() })
    }

    async fn append(&self, file: &mut BufWriter<File>, hasher: &mut Hasher) -> Result<(), HubError> {
        let path = self.release.path();
        let (start, size) = (hasher.bytes(), self.release.size);
        let idle = self.wire.patience.idle;
        let builder =
            self.library.download_file_stream().filename(path.clone()).revision(self.commit.as_str());
        let opened = if start == 0 {
            awaited(self.wire.patience.answer, builder.send()).await?
        } else {
            awaited(self.wire.patience.answer, builder.range(start..size).send()).await?
        };
        let (length, mut pieces) =
            opened.map_err(|error| HubError::library(error, &self.wire.access, &path))?;
        if length.is_some_and(|length| length != size - start) {
            // The server ignored the range, or the file has changed: start over.
            return Err(self.forget(file).await);
        }
        while let Some(piece) = awaited(idle, pieces.next()).await? {
            let piece: HFResult<Bytes> = piece;
            let piece = piece.map_err(|error| HubError::library(error, &self.wire.access, &path))?;
            if hasher.bytes() + piece.len() as u64 > size {
                return Err(self.forget(file).await);
            }
            hasher.update(&piece);
            file.write_all(&piece).await.map_err(HubError::file(self.part))?;
        }
        Ok(())
    }

    /// Empties the part file, whose content is useless.
    async fn forget(&self, file: &mut BufWriter<File>) -> HubError {
        let emptied = async {
            file.flush().await?;
            file.get_ref().set_len(0).await
        };
        match emptied.await {
            Ok(()) => HubError::Checksum { path: self.release.path() },
            Err(source) => HubError::File { path: self.part.to_owned(), source },
        }
    }
}

/// Awaits a step of a transfer that must go on within this time.
pub(super) async fn awaited<T>(limit: Duration, future: impl Future<Output = T>) -> Result<T, HubError> {
    tokio::time::timeout(limit, future).await.map_err(|_| HubError::TimedOut { limit })
}

/// Returns true when the file exists with the listed size and checksum. A file without a listed
/// checksum cannot be verified, so the result is false.
async fn is_whole(path: &Path, release: &Release) -> Result<bool, HubError> {
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.len() != release.size => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(HubError::file(path)(error)),
    }
    let Some(sha256) = release.sha256 else { return Ok(false) };
    let (file, failed) = (path.to_owned(), HubError::file(path));
    blocking(move || Digest::of_file(&file)).await.map(|(found, _)| found == sha256).map_err(failed)
}

/// Hashes the part file of an earlier attempt. Deletes a part file that is longer than the release.
async fn taken_up(part: &Path, size: u64) -> Result<Hasher, HubError> {
    let file = part.to_owned();
    let read = move || {
        let mut hasher = Hasher::default();
        match std::fs::File::open(&file) {
            Ok(mut open) if open.metadata()?.len() <= size => hasher.read_from(&mut open)?,
            Ok(_) => std::fs::remove_file(&file)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(hasher)
    };
    blocking(read).await.map_err(HubError::file(part))
}

/// Syncs the folder, so that a rename in it survives a power failure.
async fn sync_folder(folder: &Path) -> Result<(), HubError> {
    let open = folder.to_owned();
    blocking(move || std::fs::File::open(open)?.sync_all()).await.map_err(HubError::file(folder))
}

/// Runs blocking file work outside the async threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
