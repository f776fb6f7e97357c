//! A file of a commit: where its content is, and the hashes that name it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};

use crate::hub::digest::Digest;

/// Storage of a file's content, as far as clients can tell. The bytes of all kinds are in the object
/// store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// In git itself.
    Regular,
    /// As an LFS object.
    #[serde(alias = "xet")]
    Lfs,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct File {
    pub(super) kind: Kind,
    pub(super) size: u64,
    pub(super) sha256: Digest,
    /// SHA-1 of the git blob, in hex. The blob holds the content or the LFS pointer.
    pub(super) oid: String,
    /// Hash under which the Xet store has an LFS file as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) xet_hash: Option<String>,
}

impl File {
    pub(super) fn regular(content: &[u8]) -> Self {
        let (size, sha256) = (content.len() as u64, Digest::of(content));
        Self { kind: Kind::Regular, size, sha256, oid: git_oid(content), xet_hash: None }
    }

    pub(super) fn lfs(sha256: Digest, size: u64, xet_hash: Option<String>) -> Self {
        let oid = git_oid(pointer(sha256, size).as_bytes());
        Self { kind: Kind::Lfs, size, sha256, oid, xet_hash }
    }

    pub(super) fn is_lfs(&self) -> bool {
        self.kind == Kind::Lfs
    }

    /// Returns the ETag, as the Hub computes it: the content's SHA-256 for LFS, the git object's id
    /// otherwise.
    pub(super) fn etag(&self) -> String {
        if self.is_lfs() { format!("\"{}\"", self.sha256) } else { format!("\"{}\"", self.oid) }
    }

    /// Returns the LFS pointer, as lists of files show it under this name of the checksum.
    pub(super) fn lfs_json(&self, checksum: &str) -> Option<Value> {
        let size = pointer(self.sha256, self.size).len();
        self.is_lfs().then(|| json!({ checksum: self.sha256, "size": self.size, "pointerSize": size }))
    }
}

/// Returns the LFS pointer: the text that git stores in place of an LFS file.
pub(super) fn pointer(sha256: Digest, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}

fn git_oid(content: &[u8]) -> String {
    let hash = Sha1::new().chain_update(format!("blob {}\0", content.len())).chain_update(content).finalize();
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) type Files = BTreeMap<String, File>;
