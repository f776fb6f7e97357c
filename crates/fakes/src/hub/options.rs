//! Options of a local Hub.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

/// Method that the Hub chooses when a client asks how to upload LFS content.
///
/// The Python client asks only where `hf-xet` is missing or disabled. Otherwise it uploads through
/// Xet without asking, and every Hub accepts that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transfer {
    /// One PUT per object.
    #[default]
    Basic,
    /// One PUT per part of [`Options::part_size`] bytes, then a call that joins the parts.
    Multipart,
    /// Xet, as on the real Hub. A client that doesn't offer `xet` gets `basic`.
    Xet,
}

/// Options of a local Hub.
#[derive(Debug, Clone)]
pub struct Options {
    /// Directory of the repos and their content. Created if absent, and reused by the next start.
    pub directory: PathBuf,
    /// Address to listen on; port 0 picks a free port. The object store and the Xet store take a
    /// second and a third port, which are free ones.
    pub address: SocketAddr,
    /// Token with every permission.
    pub token: SecretString,
    /// Token that reads everything and writes nothing.
    pub read_token: Option<SecretString>,
    /// Owner of the tokens, and of repos that are created without an owner.
    pub owner: String,
    /// Method of LFS uploads.
    pub transfer: Transfer,
    /// Bytes per part of a multipart upload.
    pub part_size: u64,
    /// Entries per page of a list of files or commits.
    pub page_size: usize,
}

impl Options {
    /// Returns options for a Hub on a free local port, with the token `hf_local` of the owner
    /// `local`.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            token: SecretString::from("hf_local"),
            read_token: None,
            owner: "local".to_owned(),
            transfer: Transfer::Basic,
            part_size: 16 * 1024 * 1024,
            page_size: 1_000,
        }
    }
}
