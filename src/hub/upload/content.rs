//! A file of the commit: the source of its bytes, its size, and its checksum.

use std::io::{self, SeekFrom};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use crate::hub::digest::Digest;
use crate::hub::download::blocking;
use crate::hub::error::HubError;

/// Number of leading bytes that the Hub inspects to choose a file's upload mode.
const SAMPLE: u64 = 512;

#[derive(Debug, Clone)]
pub(super) enum Source {
    File(PathBuf),
    Memory(Bytes),
}

#[derive(Debug, Clone)]
pub(super) struct Content {
    /// Path in the repo.
    pub(super) path: String,
    pub(super) source: Source,
    pub(super) size: u64,
    pub(super) sha256: Digest,
}

impl Content {
    /// Reads a source once to compute its size and checksum.
    pub(super) async fn measure(path: String, source: Source) -> Result<Self, HubError> {
        let (sha256, size) = match &source {
            Source::Memory(bytes) => (Digest::of(bytes), bytes.len() as u64),
            Source::File(file) => {
                let (open, failed) = (file.clone(), HubError::file(file));
                blocking(move || Digest::of_file(&open)).await.map_err(failed)?
            }
        };
        Ok(Self { path, source, size, sha256 })
    }

    /// Returns the leading bytes that the Hub inspects.
    pub(super) async fn sample(&self) -> Result<Bytes, HubError> {
        self.piece(SAMPLE).await
    }

    /// Returns all bytes, in memory. Only for small files.
    pub(super) async fn whole(&self) -> Result<Bytes, HubError> {
        self.piece(self.size).await
    }

    async fn piece(&self, length: u64) -> Result<Bytes, HubError> {
        match &self.source {
            Source::Memory(bytes) => Ok(bytes.slice(..bytes.len().min(length as usize))),
            Source::File(path) => {
                let read = async {
                    let mut piece = Vec::new();
                    tokio::fs::File::open(path).await?.take(length).read_to_end(&mut piece).await?;
                    Ok(Bytes::from(piece))
                };
                read.await.map_err(HubError::file(path))
            }
        }
    }

    /// Returns a reader from byte `start` on.
    pub(super) async fn reader(
        &self,
        start: u64,
    ) -> Result<Box<dyn tokio::io::AsyncRead + Send + Unpin>, HubError> {
        match &self.source {
            Source::Memory(bytes) => {
                Ok(Box::new(io::Cursor::new(bytes.slice(bytes.len().min(start as usize)..))))
            }
            Source::File(path) => {
                let open = async {
                    let mut file = tokio::fs::File::open(path).await?;
                    file.seek(SeekFrom::Start(start)).await?;
                    Ok(file)
                };
                Ok(Box::new(open.await.map_err(HubError::file(path))?))
            }
        }
    }
}
