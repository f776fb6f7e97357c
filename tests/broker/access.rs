//! The settings' ways into servers of others: users and tokens, TLS first, certificates of clients,
//! and websockets.

use autovalidate::broker::{Connection, Remote, StreamSettings, Streams};
use autovalidate::settings::{Nats, Needs, Settings, SettingsError};

use super::remote::{open, serve};
use crate::support::DEADLINE;
use crate::support::certificate::certificate;
use crate::support::within;

/// Reads the settings of the broker from these variables.
pub(super) fn settings(variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment =
        |name: &str| variables.iter().find(|(each, _)| *each == name).map(|(_, value)| (*value).to_owned());
    Settings::read(&environment, None, Needs::default())
}

/// Returns the access that these variables name.
pub(super) fn remote(variables: &[(&str, &str)]) -> Remote {
    match settings(variables).unwrap().nats {
        Nats::Remote(remote) => remote,
        Nats::Embedded { .. } => panic!("NATS_URL is set"),
    }
}

/// Connects and sets up the streams, as a worker does.
async fn works(variables: &[(&str, &str)]) -> Connection {
    let connection = open(remote(variables)).await.unwrap();
    within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_and_a_password_come_from_the_url_or_from_their_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) =
        serve(folder.path(), r#"authorization { user: "a@b", password: "p/q,r:s%" }"#).await;
    let with = |login: &str| format!("nats://{login}127.0.0.1:{port}");
    works(&[("NATS_URL", &with("a%40b:p%2Fq%2Cr%3As%25@"))]).await;
    works(&[("NATS_URL", &with("")), ("NATS_USER", "a@b"), ("NATS_PASSWORD", "p/q,r:s%")]).await;
    // Nothing listens on the first address. Its user holds for the whole list.
    let list = format!("nats://a%40b:p%2Fq%2Cr%3As%25@127.0.0.1:1,{}", with(""));
    works(&[("NATS_URL", &list)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_without_a_password_holds_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, port) = serve(folder.path(), r#"authorization { token: "right+1" }"#).await;
    works(&[("NATS_URL", &format!("nats://right%2B1@127.0.0.1:{port}"))]).await;
    works(&[("NATS_URL", &format!("nats://right+1@127.0.0.1:{port}"))]).await;
    works(&[("NATS_URL", &format!("nats://127.0.0.1:{port}")), ("NATS_TOKEN", "right+1")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_comes_first_where_the_server_wants_it() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let tls = format!("tls {{ cert_file: {certificate:?}, key_file: {key:?}, handshake_first: true }}");
    let (_server, port) = serve(folder.path(), &tls).await;
    let url = format!("nats://localhost:{port}");
    let authority = certificate.to_str().unwrap();
    works(&[("NATS_URL", &url), ("NATS_CA", authority), ("NATS_TLS_FIRST", "true")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_proves_itself_with_a_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = certificate(folder.path());
    let authority = folder.path().join("authority.pem");
    let tls = format!(
        "tls {{ cert_file: {certificate:?}, key_file: {key:?}, ca_file: {authority:?}, verify: true }}"
    );
    let (_server, port) = serve(folder.path(), &tls).await;
    let url = format!("tls://localhost:{port}");
    let [authority, certificate, key] = [&authority, &certificate, &key].map(|path| path.to_str().unwrap());
    works(&[("NATS_URL", &url), ("NATS_CA", authority), ("NATS_CERT", certificate), ("NATS_KEY", key)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_carries_everything_with_and_without_tls() {
    let folder = tempfile::tempdir().unwrap();
    let login = r#"authorization { user: worker, password: simple }"#;
    let plain = format!("{login}\nwebsocket {{ listen: \"127.0.0.1:-1\", no_tls: true }}");
    let (server, _) = serve(&folder.path().join("plain"), &plain).await;
    let url = server.websocket_url().replace("ws://", "ws://worker:simple@");
    works(&[("NATS_URL", &url)]).await;

    let (certificate, key) = certificate(&folder.path().join("tls"));
    let tls = format!(
        "{login}\nwebsocket {{ listen: \"127.0.0.1:-1\", tls {{ cert_file: {certificate:?}, key_file: {key:?} }} }}"
    );
    let (server, _) = serve(&folder.path().join("tls"), &tls).await;
    let url = server.websocket_url().replace("127.0.0.1", "localhost");
    let login = [("NATS_USER", "worker"), ("NATS_PASSWORD", "simple")];
    works(&[("NATS_URL", &url), ("NATS_CA", certificate.to_str().unwrap()), login[0], login[1]]).await;
}

#[test]
fn settings_that_contradict_each_other_are_told_at_the_start() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let file = file.path().to_str().unwrap();
    let url = ("NATS_URL", "nats://host");
    let in_url = ("NATS_URL", "nats://worker:s3cr3t@host");
    for (variables, told) in [
        (vec![in_url, ("NATS_TOKEN", "t")], "NATS_URL has a user or a token, and NATS_TOKEN is set"),
        (
            vec![in_url, ("NATS_USER", "u"), ("NATS_PASSWORD", "p")],
            "NATS_URL has a user or a token, and NATS_USER is set",
        ),
        (
            vec![url, ("NATS_TOKEN", "t"), ("NATS_USER", "u"), ("NATS_PASSWORD", "p")],
            "NATS_TOKEN is set, and so is NATS_USER",
        ),
        (vec![url, ("NATS_USER", "u")], "NATS_PASSWORD is not set"),
        (vec![url, ("NATS_PASSWORD", "p")], "NATS_USER is not set"),
        (vec![url, ("NATS_CERT", file)], "NATS_KEY is not set"),
        (vec![url, ("NATS_KEY", file)], "NATS_CERT is not set"),
        (vec![url, ("NATS_CERT", "/nowhere.pem"), ("NATS_KEY", file)], "NATS_CERT is \"/nowhere.pem\""),
        (vec![url, ("NATS_DOMAIN", "a.b")], "NATS_DOMAIN is \"a.b\""),
        (vec![url, ("NATS_TLS_FIRST", "soon")], "NATS_TLS_FIRST is \"soon\""),
        (vec![("NATS_URL", "ws://host"), ("NATS_CA", file)], "NATS_CA needs TLS"),
        (vec![("NATS_URL", "wss://host"), ("NATS_TLS_FIRST", "true")], "NATS_TLS_FIRST is set, but wss://"),
        (vec![("NATS_URL", "nats://a,wss://b")], "NATS_URL mixes websocket addresses and others"),
    ] {
        let problems = settings(&variables).unwrap_err().to_string();
        assert!(problems.contains(told) && problems.starts_with("1 problem "), "{variables:?}:\n{problems}");
        assert!(!problems.contains("s3cr3t"), "{problems}");
    }
    // A credentials file goes with a user: servers with an authentication callout want both.
    assert!(settings(&[in_url, ("NATS_CREDS", file)]).is_ok());
}
