//! External servers: tokens, TLS with a private certificate authority, and several addresses.

use std::path::Path;

use autovalidate::broker::{Broker, BrokerError, Connection, Remote};
use autovalidate::failure::{Failure, RetryDirective};
use secrecy::SecretString;

use crate::support::DEADLINE;
use crate::support::certificate::certificate;
use crate::support::nats::NatsServer;
use crate::support::within;

/// Starts a nats-server with JetStream and `configuration`. Also returns its port, because the
/// tests connect by names of 127.0.0.1.
pub(super) async fn serve(folder: &Path, configuration: &str) -> (NatsServer, u16) {
    let store = folder.join("store");
    let server =
        NatsServer::start(folder, &format!("jetstream {{ store_dir: {store:?} }}\n{configuration}")).await;
    let port = server.url().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap();
    (server, port)
}

pub(super) async fn open(remote: Remote) -> Result<Connection, BrokerError> {
    within(DEADLINE, Connection::open(&Broker::Remote(remote))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_the_door_and_a_wrong_one_needs_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = serve(folder.path(), "authorization { token: \"right\" }").await;
    let with = |token: Option<&str>| Remote {
        // Nothing listens on the first address: one working address is enough.
        urls: vec!["nats://127.0.0.1:1".to_owned(), format!("nats://127.0.0.1:{port}")],
        token: token.map(SecretString::from),
        ..Remote::default()
    };
    open(with(Some("right"))).await.unwrap();
    let only = |token| Remote { urls: vec![format!("nats://127.0.0.1:{port}")], ..with(token) };
    for token in [Some("wrong"), None] {
        let error = open(only(token)).await.unwrap_err();
        assert!(matches!(error, BrokerError::Refused { .. }), "{error:?}");
        assert_eq!(error.directive(), RetryDirective::Person, "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_under_an_own_authority_needs_the_authority() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?} }}");
    let (_server, port) = serve(folder.path(), &tls).await;
    let remote =
        |authority| Remote { urls: vec![format!("tls://localhost:{port}")], authority, ..Remote::default() };
    open(remote(Some(certificate))).await.unwrap();
    let error = open(remote(None)).await.unwrap_err();
    assert!(matches!(error, BrokerError::Connect { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_names_an_authority_is_not_let_through_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, _) = certificate(folder.path());
    let (_server, port) = serve(folder.path(), "").await;
    let remote = Remote {
        urls: vec![format!("nats://127.0.0.1:{port}")],
        authority: Some(certificate),
        ..Remote::default()
    };
    let error = open(remote).await.unwrap_err();
    assert!(matches!(error, BrokerError::Connect { .. }), "{error:?}");
}
