//! The Xet store: content in deduplicated chunks, packed into xorbs, which shards describe.
//!
//! The store itself is `LocalClient` of the Xet library, which checks every hash. Clients reach it
//! through `routes`, at an origin of its own, with a token that the Hub issues. The object store
//! keeps each file as a whole besides, for clients without Xet and for the fault switches.

mod routes;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::OnceCell;
use xet_client::cas_client::{Client, DeletionControlableClient, DirectAccessClient, LocalClient};
use xet_client::error::ClientError;
use xet_core_structures::metadata_shard::file_structs::MDBFileInfo;
use xet_runtime::config::XetConfig;
use xet_runtime::core::XetContext;

use crate::hub::digest::Digest;
use crate::hub::objects::Objects;

pub(super) use routes::{Permission, router, token};

/// The Xet store of one Hub.
pub(super) struct Cas {
    directory: PathBuf,
    /// Opened by the first use: most Hubs never see a Xet client.
    store: OnceCell<Arc<LocalClient>>,
}

impl fmt::Debug for Cas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Cas").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// A file of the Xet store.
#[derive(Debug, Clone)]
struct Stored {
    xet_hash: String,
    info: MDBFileInfo,
}

impl Cas {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, store: OnceCell::new() }
    }

    async fn store(&self) -> Result<&Arc<LocalClient>, ClientError> {
        let open = || async {
            let context = XetContext::from_external(tokio::runtime::Handle::current(), XetConfig::new());
            LocalClient::new(context, &self.directory).await
        };
        self.store.get_or_try_init(open).await
    }

    /// Returns the Xet hash of the file with this checksum, and puts the file into the object store.
    /// `None` when no shard names the checksum.
    pub(super) async fn adopt(&self, sha256: Digest, objects: &Objects) -> io::Result<Option<String>> {
        // Content can be there only after a client has brought some.
        if self.store.get().is_none() && !self.directory.exists() {
            return Ok(None);
        }
        let Some(stored) = self.find(sha256).await.map_err(io::Error::other)? else { return Ok(None) };
        if objects.size(sha256).await.is_none() {
            let received = objects.receive(Box::pin(self.content(&stored.info).await?)).await?;
            if received.sha256 != sha256 {
                return Err(io::Error::other("a shard names another checksum than its content has"));
            }
            objects.keep(received)?;
        }
        Ok(Some(stored.xet_hash))
    }

    async fn find(&self, sha256: Digest) -> Result<Option<Stored>, ClientError> {
        let store = self.store().await?;
        let checksum = sha256.to_string();
        for (file, _) in store.list_file_shard_entries().await? {
            let Some((info, _)) = store.get_file_reconstruction_info(&file).await? else { continue };
            if info.metadata_ext.as_ref().is_some_and(|metadata| metadata.sha256.hex() == checksum) {
                return Ok(Some(Stored { xet_hash: file.hex(), info }));
            }
        }
        Ok(None)
    }

    /// Streams a file's content, one piece of a xorb at a time.
    async fn content<'a>(
        &self,
        info: &'a MDBFileInfo,
    ) -> io::Result<impl futures::Stream<Item = io::Result<Bytes>> + use<'a>> {
        let store = Arc::clone(self.store().await.map_err(io::Error::other)?);
        let pieces = stream::iter(&info.segments).then(move |segment| {
            let store = Arc::clone(&store);
            async move {
                let range = (segment.chunk_index_start, segment.chunk_index_end);
                store.get_xorb_ranges(&segment.xorb_hash, vec![range]).await.map_err(io::Error::other)
            }
        });
        Ok(pieces.map_ok(|pieces| stream::iter(pieces.into_iter().map(Ok))).try_flatten())
    }
}
