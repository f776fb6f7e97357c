//! Access to a broker that somebody else runs: addresses, login, TLS, and the JetStream domain.

use std::path::PathBuf;

use async_nats::ConnectOptions;
use secrecy::{ExposeSecret, SecretString};

use super::error::BrokerError;

/// A server or cluster that this process does not supervise.
#[derive(Debug, Clone, Default)]
pub struct Remote {
    /// Server addresses, such as `nats://one:4222`, `tls://one:4222` or `wss://one`. Any one of them
    /// gives access to the whole cluster. They hold no user and no password, because the client
    /// library ignores those and logs its addresses.
    pub urls: Vec<String>,
    /// Path of a credentials file (JWT and nkey seed), as `nsc` writes it.
    pub credentials: Option<PathBuf>,
    /// Authentication token.
    pub token: Option<SecretString>,
    /// User and password.
    pub user: Option<UserLogin>,
    /// File of PEM certificates to trust instead of the system's, for a server with a private
    /// certificate authority.
    pub authority: Option<PathBuf>,
    /// Certificate with which this client proves who it is.
    pub client_certificate: Option<ClientCertificate>,
    /// True when TLS starts before the server greets, as with `handshake_first` in its settings.
    pub tls_first: bool,
    /// JetStream domain of the servers that store the streams, when it is not the one of the servers
    /// that the client connects to.
    pub domain: Option<String>,
}

/// User and password.
#[derive(Debug, Clone)]
pub struct UserLogin {
    /// Name of the user.
    pub name: String,
    /// Password of the user.
    pub password: SecretString,
}

/// A client's certificate and its key, as PEM files.
#[derive(Debug, Clone)]
pub struct ClientCertificate {
    /// File of the certificate, with the certificates between it and the authority.
    pub certificate: PathBuf,
    /// File of the private key.
    pub key: PathBuf,
}

/// Kind of proof that a client presents. It decides which setting a refusal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Login {
    /// None.
    Anonymous,
    /// A token.
    Token,
    /// A user and a password.
    User,
    /// A credentials file.
    Credentials,
}

impl Remote {
    /// Returns the kind of proof that the client presents.
    pub(super) fn login(&self) -> Login {
        match self {
            Self { credentials: Some(_), .. } => Login::Credentials,
            Self { user: Some(_), .. } => Login::User,
            Self { token: Some(_), .. } => Login::Token,
            Self { .. } => Login::Anonymous,
        }
    }

    /// Adds login and TLS to the options of a connection.
    ///
    /// # Errors
    /// [`BrokerError::Credentials`].
    pub(super) async fn apply(&self, mut options: ConnectOptions) -> Result<ConnectOptions, BrokerError> {
        if let Some(path) = &self.credentials {
            options = options
                .credentials_file(path)
                .await
                .map_err(|source| BrokerError::Credentials { path: path.clone(), source })?;
        }
        if let Some(token) = &self.token {
            options = options.token(token.expose_secret().to_owned());
        }
        if let Some(user) = &self.user {
            options = options.user_and_password(user.name.clone(), user.password.expose_secret().to_owned());
        }
        if let Some(path) = &self.authority {
            options = options.add_root_certificates(path.clone());
        }
        if let Some(own) = &self.client_certificate {
            options = options.add_client_certificate(own.certificate.clone(), own.key.clone());
        }
        if self.tls_first {
            options = options.tls_first();
        }
        // Required for all addresses: the client gives the ones that a server tells it no scheme.
        options = options.require_tls(self.requires_tls());
        if self.has_scheme(&["ws", "wss"]) {
            // A server tells the ports of its websockets without a scheme, and the client would
            // speak plain NATS to them.
            options = options.ignore_discovered_servers();
        }
        Ok(options)
    }

    /// Returns true when a connection without TLS must not be made. A named authority is meant to
    /// prove the server's identity, and a certificate the client's: both need TLS.
    fn requires_tls(&self) -> bool {
        self.tls_first
            || self.authority.is_some()
            || self.client_certificate.is_some()
            || self.has_scheme(&["tls"])
    }

    fn has_scheme(&self, schemes: &[&str]) -> bool {
        let scheme = |url: &String| url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        self.urls.iter().filter_map(scheme).any(|scheme| schemes.contains(&scheme.as_str()))
    }
}
