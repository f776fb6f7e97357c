//! Settings of the message broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::reader::SettingsReader;

/// The message broker.
#[derive(Debug, Clone)]
pub enum Nats {
    /// A nats-server that the worker supervises, with its store in the data directory.
    Embedded {
        /// The program; found on `PATH` when not set.
        program: Option<PathBuf>,
        /// Where it listens; port 0 takes a free one.
        address: SocketAddr,
        /// How often its store is flushed to disk; `None` flushes every message before it is acknowledged. What a
        /// power failure takes, the ingest's audit finds missing and reads again from the table.
        sync_every: Option<Duration>,
    },
    /// A server somebody else runs.
    Remote {
        /// One or several addresses.
        urls: Vec<String>,
        /// A credentials file.
        credentials: Option<PathBuf>,
        /// A token.
        token: Option<SecretString>,
        /// Certificates to trust beside the system's.
        authority: Option<PathBuf>,
    },
}

/// The broker that the settings name.
pub(super) fn nats(reader: &mut SettingsReader<'_>) -> Nats {
    let address = reader.parse_or(
        "NATS_LISTEN",
        "an address with a port, such as 127.0.0.1:4222; port 0 takes a free one",
        SocketAddr::from(([127, 0, 0, 1], 4222)),
        |_| true,
    );
    let sync_every = reader.duration("NATS_SYNC", Some(Duration::from_secs(1)));
    let program = reader.path("NATS_SERVER");
    let credentials = reader.path("NATS_CREDS");
    let token = reader.secret("NATS_TOKEN");
    if let Some(path) = credentials.as_ref().filter(|path| !path.exists()) {
        let problem = format!("is {}, which doesn't exist", path.display());
        reader.problem("NATS_CREDS", problem);
    }
    let authority = reader.path("NATS_CA");
    if let Some(path) = authority.as_ref().filter(|path| !path.exists()) {
        let problem = format!("is {}, which doesn't exist", path.display());
        reader.problem("NATS_CA", problem);
    }
    match reader.text("NATS_URL") {
        None => Nats::Embedded { program, address, sync_every },
        Some(embedded) if embedded == "embedded" => Nats::Embedded { program, address, sync_every },
        Some(urls) => {
            let urls: Vec<String> = urls.split(',').map(|url| url.trim().to_owned()).collect();
            for url in &urls {
                let known = ["nats", "tls", "ws", "wss"];
                if !Url::parse(url).is_ok_and(|url| known.contains(&url.scheme()) && url.host().is_some()) {
                    let problem = format!(
                        "has {url:?}; each must be a URL such as nats://host:4222, or the whole `embedded`"
                    );
                    reader.problem("NATS_URL", problem);
                }
            }
            Nats::Remote { urls, credentials, token, authority }
        }
    }
}
