//! Reasons for which a connection to NATS fails, each with the setting that mends it.

use std::error::Error;
use std::io;

use async_nats::{ConnectError, ConnectErrorKind, ServerError};
use rustls::{AlertDescription, CertificateError};

use super::remote::Remote;
use crate::failure::RetryDirective;

/// Reason for which a connection could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectFailure {
    /// No server can be reached at the address, or the connection broke.
    Unreachable,
    /// The client library does not take the address.
    Address,
    /// A server accepts the connection and says nothing, as one does that expects TLS first.
    NoGreeting,
    /// The server answers a TLS handshake with something else.
    NoTls {
        /// True when the handshake came before the server's greeting.
        first: bool,
    },
    /// No trusted authority has signed the server's certificate.
    UnknownAuthority,
    /// The server's certificate has expired or is for another name.
    ServerCertificate,
    /// The server wants a certificate from the client, which has none.
    ClientCertificateMissing,
    /// The server refuses the client's certificate.
    ClientCertificateRefused,
    /// A file of certificates or keys can't be used.
    CertificateFiles,
    /// The server refuses the connection with a sentence of its own.
    Server,
}

impl ConnectFailure {
    /// Finds the reason in the client's error.
    pub(super) fn of(error: &ConnectError, remote: &Remote) -> Self {
        let own_certificate = remote.client_certificate.is_some();
        if let Some(reason) = causes(error)
            .into_iter()
            .find_map(|cause| Self::of_tls(cause.downcast_ref()?, remote.tls_first, own_certificate))
        {
            return reason;
        }
        if causes(error).into_iter().any(|cause| cause.is::<ServerError>()) {
            return Self::Server;
        }
        match error.kind() {
            ConnectErrorKind::ServerParse => Self::Address,
            ConnectErrorKind::Tls => Self::CertificateFiles,
            ConnectErrorKind::TimedOut => Self::NoGreeting,
            // The client library has no kind for a server that closes the connection in silence.
            ConnectErrorKind::Io if error.to_string().contains("expected INFO, got nothing") => {
                Self::NoGreeting
            }
            ConnectErrorKind::Io
            | ConnectErrorKind::Dns
            | ConnectErrorKind::MaxReconnects
            | ConnectErrorKind::Authentication
            | ConnectErrorKind::AuthorizationViolation => Self::Unreachable,
        }
    }

    fn of_tls(error: &rustls::Error, first: bool, own_certificate: bool) -> Option<Self> {
        match error {
            // A signature is bad when an authority of the same name has another key.
            rustls::Error::InvalidCertificate(
                CertificateError::UnknownIssuer | CertificateError::BadSignature,
            ) => Some(Self::UnknownAuthority),
            rustls::Error::InvalidCertificate(_) => Some(Self::ServerCertificate),
            rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnknownCA
                | AlertDescription::AccessDenied,
            ) => Some(match own_certificate {
                true => Self::ClientCertificateRefused,
                false => Self::ClientCertificateMissing,
            }),
            rustls::Error::InvalidMessage(_) => Some(Self::NoTls { first }),
            _ => None,
        }
    }

    /// Returns the response that this reason calls for.
    pub(super) fn directive(self) -> RetryDirective {
        match self {
            Self::Unreachable | Self::NoGreeting | Self::Server => RetryDirective::Retry,
            Self::Address
            | Self::NoTls { .. }
            | Self::UnknownAuthority
            | Self::ServerCertificate
            | Self::ClientCertificateMissing
            | Self::ClientCertificateRefused
            | Self::CertificateFiles => RetryDirective::Person,
        }
    }

    /// Returns one sentence that names the setting to check.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Unreachable => "Check NATS_URL, and that the server is reachable from this machine.",
            Self::Address => "Correct NATS_URL: it must be a list of URLs such as nats://host:4222.",
            Self::NoGreeting => {
                "If the server expects TLS first (handshake_first in its settings), set NATS_TLS_FIRST to true. Otherwise check that NATS_URL has the port for clients, and ws:// or wss:// for a websocket port."
            }
            Self::NoTls { first: true } => {
                "The server greets before TLS, or has no TLS: remove NATS_TLS_FIRST, or set handshake_first on the server."
            }
            Self::NoTls { first: false } => {
                "The server has no TLS at this port: tls:// in NATS_URL, NATS_CA and NATS_CERT require it. Correct the port, or set up TLS on the server."
            }
            Self::UnknownAuthority => {
                "Set NATS_CA to the certificate of the authority that signed the server's, or correct it."
            }
            Self::ServerCertificate => {
                "Use the name in NATS_URL that the server's certificate is for, or renew that certificate."
            }
            Self::ClientCertificateMissing => {
                "Set NATS_CERT and NATS_KEY: the server wants a certificate from its clients."
            }
            Self::ClientCertificateRefused => {
                "Check NATS_CERT and NATS_KEY: the certificate must be valid today, and signed by the authority that the server trusts."
            }
            Self::CertificateFiles => {
                "Check that NATS_CA, NATS_CERT and NATS_KEY are readable PEM files, and that the key belongs to the certificate."
            }
            Self::Server => {
                "Do what the server's sentence asks for; a server that is full or starts up accepts later."
            }
        }
    }
}

/// Returns an error with all its causes. An I/O error hides the one it was made from.
pub(super) fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut found = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        found.push(cause);
        next = match cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner as &(dyn Error + 'static)),
            None => cause.source(),
        };
    }
    found
}
