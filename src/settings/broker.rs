//! Settings of the message broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::byte_size::ByteSize;
use super::reader::SettingsReader;
use crate::broker::{Names, Namespace};

/// The NATS server that the worker uses.
#[derive(Debug, Clone)]
pub enum Nats {
    /// A nats-server that the worker supervises, with its store in the data directory.
    Embedded {
        /// Path of the nats-server program; the one on `PATH` when not set.
        program: Option<PathBuf>,
        /// Address that the server listens on; port 0 picks a free port.
        address: SocketAddr,
        /// Period between flushes of the store to disk; `None` flushes every message before it is
        /// acknowledged. With a period, a power failure can lose messages; the ingest's audit finds
        /// their rows missing and reads them again from the table.
        sync_every: Option<Duration>,
        /// Token that clients must present. Always set when the address is not loopback.
        token: Option<SecretString>,
    },
    /// A server or cluster that the worker does not supervise.
    Remote {
        /// One or several server addresses.
        urls: Vec<String>,
        /// Path of a credentials file.
        credentials: Option<PathBuf>,
        /// Authentication token.
        token: Option<SecretString>,
        /// File of certificates to trust in addition to the system's.
        authority: Option<PathBuf>,
    },
}

/// Settings of the streams on the NATS server.
#[derive(Debug, Clone)]
pub struct NatsStreams {
    /// Names of the streams, buckets and subjects, below the namespace.
    pub names: Names,
    /// Number of copies of every stream and bucket in a cluster.
    pub replicas: usize,
    /// True when the number of copies is set.
    pub replicas_are_set: bool,
    /// Largest total size of the streams and buckets, in bytes, if it is set.
    pub max_bytes: Option<u64>,
}

/// Smallest value of `NATS_MAX_BYTES`: the smallest share of it holds a large job request.
const LEAST_BYTES: u64 = 32 << 20;

/// Reads the settings of the streams.
pub(super) fn streams(reader: &mut SettingsReader<'_>) -> NatsStreams {
    let namespace = reader.text("NATS_NAMESPACE").and_then(|text| match text.parse::<Namespace>() {
        Ok(namespace) => Some(namespace),
        Err(_) => {
            reader.problem("NATS_NAMESPACE", format!("is {text:?}; it must be {}", Namespace::EXPECTED));
            None
        }
    });
    let replicas_are_set = reader.is_set("NATS_REPLICAS");
    let replicas = reader.parse_or("NATS_REPLICAS", "1, 3 or 5", 1, |n| [1, 3, 5].contains(n));
    let max_bytes = reader.text("NATS_MAX_BYTES").and_then(|text| match text.parse::<ByteSize>() {
        Ok(ByteSize(bytes)) if bytes >= LEAST_BYTES => Some(bytes),
        Ok(_) | Err(_) => {
            let problem =
                format!("is {text:?}; it must be a size from 32MiB, such as 512MiB, 4GB or 1073741824");
            reader.problem("NATS_MAX_BYTES", problem);
            None
        }
    });
    NatsStreams { names: Names::new(namespace), replicas, replicas_are_set, max_bytes }
}

/// Checks the settings of the embedded server. Anybody who can reach it without a token can read
/// and write every pair.
fn embedded(
    reader: &mut SettingsReader<'_>,
    program: Option<PathBuf>,
    address: SocketAddr,
    sync_every: Option<Duration>,
    token: Option<SecretString>,
) -> Nats {
    if !address.ip().to_canonical().is_loopback() && token.is_none() {
        reader.problem(
            "NATS_LISTEN",
            format!(
                "is {address}, which other machines can reach; set NATS_TOKEN to any long random text, or listen on 127.0.0.1:{}",
                address.port()
            ),
        );
    }
    // nats-server takes such a token for the hash of another one.
    if token.as_ref().is_some_and(|token| token.expose_secret().starts_with("$2")) {
        reader.problem("NATS_TOKEN", "begins with $2, as a bcrypt hash does; set it to another random text");
    }
    Nats::Embedded { program, address, sync_every, token }
}

/// Reads the settings of the broker.
pub(super) fn nats(reader: &mut SettingsReader<'_>) -> Nats {
    let address = reader.parse_or(
        "NATS_LISTEN",
        "an address with a port, such as 127.0.0.1:4222; port 0 picks a free port",
        SocketAddr::from(([127, 0, 0, 1], 4222)),
        |_| true,
    );
    let sync_every = reader.duration("NATS_SYNC", Some(Duration::from_secs(1)));
    let program = reader.path("NATS_SERVER");
    let credentials = reader.existing_path("NATS_CREDS");
    let token = reader.secret("NATS_TOKEN");
    let authority = reader.existing_path("NATS_CA");
    match reader.text("NATS_URL") {
        None => embedded(reader, program, address, sync_every, token),
        Some(url) if url == "embedded" => embedded(reader, program, address, sync_every, token),
        Some(urls) => {
            let urls: Vec<String> = urls.split(',').map(|url| url.trim().to_owned()).collect();
            for url in &urls {
                let known = ["nats", "tls", "ws", "wss"];
                if !Url::parse(url).is_ok_and(|url| known.contains(&url.scheme()) && url.host().is_some()) {
                    let problem = format!(
                        "has {url:?}; it must be `embedded` alone, or a list of URLs such as nats://host:4222"
                    );
                    reader.problem("NATS_URL", problem);
                }
            }
            Nats::Remote { urls, credentials, token, authority }
        }
    }
}
