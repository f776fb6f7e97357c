//! What to serve, from where.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

/// How the Hub asks for LFS content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// One PUT per object.
    #[default]
    Basic,
    /// PUTs of parts of [`Options::part_size`], then a call that joins them.
    Multipart,
    /// Through the Xet library, into a directory on this machine. Such content can't be served back: the
    /// commit names it by SHA-256, and where its bytes lie only the Xet library knows. A client that doesn't
    /// offer `xet` is answered `basic`.
    Xet,
}

/// What a local Hub serves.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where repos and their content lie; made if absent, and found again by the next start.
    pub directory: PathBuf,
    /// Where to listen; port 0 takes a free one. The object store takes a second, free port.
    pub address: SocketAddr,
    /// The token that may do everything.
    pub token: SecretString,
    /// Who the token belongs to: the owner of a repo created without one.
    pub owner: String,
    /// How to ask for LFS content.
    pub transfer: Transfer,
    /// Bytes per part of a multipart upload.
    pub part_size: u64,
    /// Entries per page of a file list.
    pub page_size: usize,
}

impl Options {
    /// A Hub on a free local port, with the token `hf_local` of the owner `local`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: SecretString::from("hf_local"),
            owner: "local".to_owned(),
            transfer: Transfer::Basic,
            part_size: 16 * 1024 * 1024,
            page_size: 1_000,
        }
    }
}
