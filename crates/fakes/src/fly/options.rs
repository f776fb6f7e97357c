//! Options of the stand-in.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use secrecy::SecretString;

/// A token that is valid for some apps only, as a deploy token is.
#[derive(Debug, Clone)]
pub struct AppToken {
    /// Token in the header `Authorization`.
    pub token: SecretString,
    /// Apps that the token is valid for.
    pub apps: Vec<String>,
}

/// Options of the stand-in.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address of the Machines API; port 0 picks a free port.
    pub address: SocketAddr,
    /// Directory of the machines' output, one file a machine. Created if absent.
    pub logs: PathBuf,
    /// Token that is valid for every app.
    pub token: SecretString,
    /// Tokens that are valid for some apps only.
    pub app_tokens: Vec<AppToken>,
    /// Apps without a machine. The app of every machine exists anyway.
    pub apps: Vec<String>,
    /// Switch for the real API's rate limits: 1 request a second for each action on a machine, with
    /// a burst of 3, and 5 reads of a machine, with a burst of 10.
    pub rate_limits: bool,
}

impl Options {
    /// Returns options for an API on a free local port, with the token `fm2_local`.
    pub fn new(logs: impl Into<PathBuf>) -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            logs: logs.into(),
            token: SecretString::from("fm2_local"),
            app_tokens: Vec::new(),
            apps: Vec::new(),
            rate_limits: false,
        }
    }
}
