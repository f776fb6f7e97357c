//! Content on disk, named by its SHA-256. An upload streams into a temporary file, which gets its
//! name only after the checksum is known.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt;

use crate::hub::digest::{Digest, Hasher};

#[derive(Debug)]
pub(super) struct Objects {
    directory: PathBuf,
    incoming: PathBuf,
}

/// Content that arrived completely but has no name yet. Dropping it deletes the content.
pub(super) struct Received {
    file: NamedTempFile,
    pub(super) sha256: Digest,
    pub(super) size: u64,
}

impl Objects {
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        let objects = Self { directory: directory.join("objects"), incoming: directory.join("incoming") };
        tokio::fs::create_dir_all(&objects.directory).await?;
        // Partial uploads of an earlier run are useless.
        match tokio::fs::remove_dir_all(&objects.incoming).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => tokio::fs::create_dir_all(&objects.incoming).await?,
        }
        Ok(objects)
    }

    pub(super) fn path(&self, sha256: Digest) -> PathBuf {
        self.directory.join(sha256.to_string())
    }

    /// Returns the object's size in bytes, or `None` when the object is not stored.
    pub(super) async fn size(&self, sha256: Digest) -> Option<u64> {
        Some(tokio::fs::metadata(self.path(sha256)).await.ok()?.len())
    }

    /// Streams content to a temporary file and computes its checksum and size.
    pub(super) async fn receive<S, E>(&self, mut pieces: S) -> io::Result<Received>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: std::error::Error + Send + Sync + 'static,
    {
        let temporary = NamedTempFile::new_in(&self.incoming)?;
        let mut file = tokio::fs::File::from_std(temporary.reopen()?);
        let (mut hasher, mut size) = (Hasher::default(), 0);
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(io::Error::other)?;
            hasher.update(&piece);
            size += piece.len() as u64;
            file.write_all(&piece).await?;
        }
        file.sync_all().await?;
        Ok(Received { file: temporary, sha256: hasher.digest(), size })
    }

    /// Stores received content under its checksum.
    pub(super) fn keep(&self, received: Received) -> io::Result<Digest> {
        received.file.persist(self.path(received.sha256)).map_err(|error| error.error)?;
        Ok(received.sha256)
    }

    /// Stores content that is already in memory.
    pub(super) async fn put(&self, bytes: Bytes) -> io::Result<Digest> {
        let (incoming, sha256) = (self.incoming.clone(), Digest::of(&bytes));
        let path = self.path(sha256);
        let write = move || {
            let mut file = NamedTempFile::new_in(incoming)?;
            file.write_all(&bytes)?;
            file.as_file().sync_all()?;
            file.persist(path).map_err(|error| error.error)?;
            Ok(sha256)
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }

    /// Keeps part `number` of an object until the object is joined. Returns the part's ETag.
    pub(super) async fn keep_part(&self, oid: Digest, number: u64, received: Received) -> io::Result<String> {
        let directory = self.parts(oid);
        tokio::fs::create_dir_all(&directory).await?;
        let etag = received.sha256.to_string();
        received.file.persist(directory.join(number.to_string())).map_err(|error| error.error)?;
        Ok(etag)
    }

    /// Joins the parts with these numbers and ETags. `None` when a part is missing or its content
    /// does not match its ETag.
    pub(super) async fn join_parts(
        &self,
        oid: Digest,
        parts: Vec<(u64, String)>,
    ) -> io::Result<Option<Received>> {
        let (directory, incoming) = (self.parts(oid), self.incoming.clone());
        let join = move || {
            let mut whole = NamedTempFile::new_in(incoming)?;
            for (number, etag) in &parts {
                let path = directory.join(number.to_string());
                if !path.exists() || Digest::of_file(&path)?.0.to_string() != *etag {
                    return Ok(None);
                }
                io::copy(&mut std::fs::File::open(&path)?, &mut whole)?;
            }
            whole.as_file().sync_all()?;
            let (sha256, size) = Digest::of_file(whole.path())?;
            std::fs::remove_dir_all(&directory)?;
            Ok(Some(Received { file: whole, sha256, size }))
        };
        tokio::task::spawn_blocking(join).await.map_err(io::Error::other)?
    }

    fn parts(&self, oid: Digest) -> PathBuf {
        self.incoming.join(format!("parts-{oid}"))
    }
}
