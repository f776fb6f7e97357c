//! External servers: tokens, TLS with a private certificate authority, and several addresses.

use std::path::{Path, PathBuf};
use std::process::Command;

use autovalidate::broker::{Broker, BrokerError, Connection, Remote};
use autovalidate::failure::{Failure, RetryDirective};
use secrecy::SecretString;

use crate::support::DEADLINE;
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

/// Creates a certificate for `localhost`, signed by a private certificate authority, with the
/// system's openssl. Returns the paths of the certificate and its key.
pub(super) fn certificate(folder: &Path) -> (PathBuf, PathBuf) {
    let (authority, authority_key) = (folder.join("authority.pem"), folder.join("authority.key"));
    let (certificate, key) = (folder.join("server.pem"), folder.join("server.key"));
    let (request, extensions) = (folder.join("server.csr"), folder.join("server.ext"));
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(&extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    let mut arguments = vec!["req", "-x509", "-days", "2", "-subj", "/CN=test authority"];
    let (a, ak) = (text(&authority), text(&authority_key));
    arguments.extend(new_key);
    arguments.extend(["-keyout", &ak, "-out", &a]);
    run(&arguments);
    let (k, r) = (text(&key), text(&request));
    let mut arguments = vec!["req", "-new", "-subj", "/CN=localhost"];
    arguments.extend(new_key);
    arguments.extend(["-keyout", &k, "-out", &r]);
    run(&arguments);
    let (c, e) = (text(&certificate), text(&extensions));
    run(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        &r,
        "-CA",
        &a,
        "-CAkey",
        &ak,
        "-CAcreateserial",
        "-extfile",
        &e,
        "-out",
        &c,
    ]);
    // The server sends the whole chain, so one file is enough for both sides.
    let chain =
        std::fs::read_to_string(&certificate).unwrap() + &std::fs::read_to_string(&authority).unwrap();
    std::fs::write(&certificate, chain).unwrap();
    (certificate, key)
}
