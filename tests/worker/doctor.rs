//! `autovalidate doctor` looks at a NATS server of others, and changes nothing there.

use autovalidate::broker::{Broker, Connection, Remote, StreamSettings, Streams};

use crate::support::nats::NatsServer;
use crate::support::{DEADLINE, onnxruntime, within};

/// Runs the command against this NATS server, and returns the lines about NATS.
async fn nats_lines(url: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .arg("doctor")
        .current_dir(folder.path())
        .env_clear()
        .env("NATS_URL", url)
        .env("SUPABASE_URL", "http://127.0.0.1:9")
        .env("SUPABASE_ANON_KEY", "key")
        .env("HF_TOKEN", "token")
        .env("HF_REPO", "a/b")
        .env("HF_ENDPOINT", "http://127.0.0.1:9")
        .env("ORT_DYLIB_PATH", onnxruntime())
        .output();
    let output = within(DEADLINE, output).await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let Some(at) = lines.iter().position(|line| line.contains(" NATS: ")) else { return String::new() };
    let advice = lines.get(at + 1).filter(|line| line.trim_start().starts_with("what to do"));
    [lines[at]].into_iter().chain(advice.copied()).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_remote_server_is_checked_and_left_as_it_is() {
    let told = nats_lines("nats://worker:s3cr3t@127.0.0.1:9").await;
    assert!(told.starts_with("FAIL  NATS: can't connect to NATS") && told.contains("NATS_URL"), "{told}");
    assert!(!told.contains("s3cr3t"), "{told}");

    let folder = tempfile::tempdir().unwrap();
    let store = folder.path().join("store");
    let server = NatsServer::start(folder.path(), &format!("jetstream {{ store_dir: {store:?} }}")).await;
    let told = nats_lines(server.url()).await;
    assert!(told.starts_with("ok    NATS: nats-server 2.") && told.contains("is not there yet"), "{told}");
    let remote = Remote { urls: vec![server.url().to_owned()], ..Remote::default() };
    let connection = within(DEADLINE, Connection::open(&Broker::Remote(remote))).await.unwrap();
    let account = within(DEADLINE, connection.jetstream().query_account()).await.unwrap();
    assert_eq!((account.streams, account.consumers), (0, 0), "the command created nothing");

    within(DEADLINE, Streams::ensure(&connection, &StreamSettings::default())).await.unwrap();
    let told = nats_lines(server.url()).await;
    assert!(told.contains("has the worker's streams"), "{told}");
    assert_eq!(nats_lines("embedded").await, "", "an embedded server belongs to its worker");
}
