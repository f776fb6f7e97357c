//! Settings of the message broker.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::byte_size::ByteSize;
use super::durations;
use super::nats_url::{self, UrlLogin};
use super::reader::SettingsReader;
use crate::broker::{ClientCertificate, Names, Namespace, Remote, UserLogin};

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
        /// Token that clients must present, in place of the store's own. Always set when the address
        /// is not loopback: clients on other machines can't read the store's.
        token: Option<SecretString>,
    },
    /// A server or cluster that the worker does not supervise.
    Remote(Remote),
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
    let namespace = reader.parse_if_set("NATS_NAMESPACE", Namespace::EXPECTED, |text| text.parse().ok());
    let replicas_are_set = reader.is_set("NATS_REPLICAS");
    let replicas = reader.parse_or("NATS_REPLICAS", "1, 3 or 5", 1, |n| [1, 3, 5].contains(n));
    let max_bytes = reader.parse_if_set(
        "NATS_MAX_BYTES",
        "a size from 32MiB, such as 512MiB, 4GB or 1073741824",
        |text| text.parse().ok().map(|ByteSize(bytes)| bytes).filter(|bytes| *bytes >= LEAST_BYTES),
    );
    NatsStreams { names: Names::new(namespace), replicas, replicas_are_set, max_bytes }
}

/// Checks the settings of the embedded server. Clients on other machines need a token that they are
/// given.
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
    reader.check_length("NATS_TOKEN", token.as_ref());
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
    let sync_every = reader.duration(&durations::NATS_SYNC, Some(Duration::from_secs(1)));
    let program = reader.path("NATS_SERVER");
    let mut remote = Remote {
        urls: Vec::new(),
        credentials: reader.existing_path("NATS_CREDS"),
        token: reader.secret("NATS_TOKEN"),
        user: user(reader),
        authority: reader.existing_path("NATS_CA"),
        client_certificate: client_certificate(reader),
        tls_first: reader.parse_or("NATS_TLS_FIRST", "true or false", false, |_| true),
        domain: domain(reader),
    };
    match reader.text_or("NATS_URL", "embedded").as_str() {
        "embedded" => embedded(reader, program, address, sync_every, remote.token),
        text => {
            match nats_url::parse(text) {
                Ok((urls, login)) => {
                    remote.urls = urls;
                    take_login(reader, &mut remote, login);
                    check_tls(reader, &remote);
                }
                Err(problem) => reader.problem("NATS_URL", problem),
            }
            Nats::Remote(remote)
        }
    }
}

/// Reads the user and the password, which need each other.
fn user(reader: &mut SettingsReader<'_>) -> Option<UserLogin> {
    match (reader.text("NATS_USER"), reader.secret("NATS_PASSWORD")) {
        (Some(name), Some(password)) => Some(UserLogin { name, password }),
        (None, None) => None,
        (Some(_), None) => {
            reader.problem("NATS_PASSWORD", "is not set, but NATS_USER is; a token belongs into NATS_TOKEN");
            None
        }
        (None, Some(_)) => {
            reader.problem("NATS_USER", "is not set, but NATS_PASSWORD is");
            None
        }
    }
}

/// Reads the files of the client's certificate and key, which need each other.
fn client_certificate(reader: &mut SettingsReader<'_>) -> Option<ClientCertificate> {
    match (reader.existing_path("NATS_CERT"), reader.existing_path("NATS_KEY")) {
        (Some(certificate), Some(key)) => Some(ClientCertificate { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            reader
                .problem("NATS_KEY", "is not set, but NATS_CERT is; it is the file of the certificate's key");
            None
        }
        (None, Some(_)) => {
            reader.problem("NATS_CERT", "is not set, but NATS_KEY is");
            None
        }
    }
}

/// Reads the JetStream domain, which becomes one token of a subject.
fn domain(reader: &mut SettingsReader<'_>) -> Option<String> {
    let is_odd = |c: char| c.is_whitespace() || matches!(c, '.' | '*' | '>');
    reader.parse_if_set("NATS_DOMAIN", "one word without spaces, `.`, `*` and `>`", |domain| {
        (!domain.contains(is_odd)).then(|| domain.to_owned())
    })
}

/// Takes the user or token that stands in the URL. A second one in the settings is a mistake: only
/// one of them would be used. A credentials file may go with either, as servers with an
/// authentication callout want.
fn take_login(reader: &mut SettingsReader<'_>, remote: &mut Remote, login: Option<UrlLogin>) {
    let named = match (&remote.user, &remote.token) {
        (Some(_), Some(_)) => {
            reader.problem("NATS_TOKEN", "is set, and so is NATS_USER; keep one of them");
            Some("NATS_USER")
        }
        (Some(_), None) => Some("NATS_USER"),
        (None, Some(_)) => Some("NATS_TOKEN"),
        (None, None) => None,
    };
    if let (Some(_), Some(named)) = (&login, named) {
        reader.problem("NATS_URL", format!("has a user or a token, and {named} is set; keep one of them"));
    }
    match login {
        None => {}
        Some(UrlLogin::User(user)) => {
            reader.hide(user.password.clone());
            remote.user = Some(user);
        }
        Some(UrlLogin::Token(token)) => {
            reader.hide(token.clone());
            remote.token = Some(token);
        }
    }
}

/// Reports settings of TLS that an address without TLS would leave without effect.
fn check_tls(reader: &mut SettingsReader<'_>, remote: &Remote) {
    if !remote.urls.iter().any(|url| url.starts_with("ws:")) {
        if remote.tls_first && remote.urls.iter().any(|url| url.starts_with("wss:")) {
            reader.problem("NATS_TLS_FIRST", "is set, but wss:// always begins with TLS; remove it");
        }
        return;
    }
    for (name, set) in [
        ("NATS_CA", remote.authority.is_some()),
        ("NATS_CERT", remote.client_certificate.is_some()),
        ("NATS_TLS_FIRST", remote.tls_first),
    ] {
        if set {
            reader.problem(name, "needs TLS, which ws:// in NATS_URL does not have; use wss://");
        }
    }
}
