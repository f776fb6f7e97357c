//! `autovalidate doctor` finds what is wrong with a set-up, and changes nothing.

use autovalidate::broker::{Broker, Connection, Remote, StreamSettings, Streams};
use autovalidate_fakes::{hub, supabase};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::nats::NatsServer;
use crate::support::{DEADLINE, onnxruntime, tiny, within};

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

/// Services of a set-up that works.
struct SetUp {
    supabase: supabase::Supabase,
    hub: hub::Hub,
    folder: tempfile::TempDir,
}

impl SetUp {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
        let read_token = Some("hf_reads".to_owned().into());
        let options = hub::Options { read_token, ..hub::Options::new(folder.path().join("hub")) };
        let hub = hub::Hub::start(options).await.unwrap();
        Self { supabase, hub, folder }
    }

    /// Runs the command with these settings changed, and returns its exit code and each check that is not
    /// `ok`, with its outcome.
    async fn doctor(&self, changed: &[(&str, &str)]) -> (Option<i32>, Vec<(String, String)>) {
        let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .args(["doctor", "--json"])
            .current_dir(self.folder.path())
            .env_clear()
            .env("SUPABASE_URL", self.supabase.url().as_str())
            .env("SUPABASE_SERVICE_KEY", self.supabase.service_key())
            .env("HF_ENDPOINT", self.hub.url().as_str())
            .env("HF_TOKEN", self.hub.token().expose_secret())
            .env("HF_REPO", "local/model")
            .env("BASE_MODEL", tiny())
            .env("DATA_DIR", self.folder.path().join("data"))
            .env("HTTP_ADDR", "127.0.0.1:0")
            .env("ORT_DYLIB_PATH", onnxruntime())
            .envs(changed.iter().copied())
            .output();
        let output = within(DEADLINE, output).await.unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let text = |finding: &Value, field: &str| finding[field].as_str().unwrap().to_owned();
        let told = findings.iter().filter(|finding| finding["outcome"] != "ok");
        assert!(told.clone().all(|finding| finding["advice"].is_string()), "{findings:?}");
        let told = told.map(|finding| (text(finding, "check"), text(finding, "outcome")));
        (output.status.code(), told.collect())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_new_set_up_passes_with_notes_and_a_broken_one_fails_at_its_own_check() {
    let set_up = SetUp::new().await;
    let note = |check: &str| (check.to_owned(), "note".to_owned());
    let new = vec![note("catalog"), note("Hub")];
    assert_eq!(set_up.doctor(&[]).await, (Some(0), new.clone()), "no catalog, and no repo yet");
    assert!(!set_up.folder.path().join("data").exists(), "the command made a folder");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = listener.local_addr().unwrap().to_string();
    let empty = set_up.folder.path().join("names.csv");
    std::fs::write(&empty, "name\n").unwrap();
    let empty = empty.display().to_string();
    type Broken<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);
    let broken: [Broken<'_>; 9] = [
        (&[("SUPABASE_SERVICE_KEY", "no-such-key")], &["table", "Realtime"]),
        (&[("SUPABASE_TABLE", "no_such_table")], &["table", "Realtime"]),
        (&[("DATA_DIR", "/proc/data")], &["data directory"]),
        (&[("HTTP_ADDR", &taken)], &["port"]),
        (&[("CATALOG", &empty)], &["catalog"]),
        (&[("HF_TOKEN", "hf_unknown")], &["Hub"]),
        (&[("HF_TOKEN", "hf_reads")], &["Hub"]),
        (&[("BASE_MODEL", "local/no-such-model")], &["base model"]),
        (&[("NATS_URL", "nats://127.0.0.1:9")], &["NATS"]),
    ];
    for (changed, expected) in broken {
        let (code, told) = set_up.doctor(changed).await;
        let failed: Vec<&str> =
            told.iter().filter(|(_, outcome)| outcome == "failed").map(|(check, _)| check.as_str()).collect();
        assert_eq!((code, failed.as_slice()), (Some(1), expected), "{changed:?}");
    }
    drop(listener);
    let (code, told) = set_up.doctor(&[("TRAIN_TRESHOLD", "5"), ("HF_HUB_CACHE", "/tmp")]).await;
    assert_eq!((code, told), (Some(0), [vec![note("settings")], new].concat()));
    let anon = set_up.supabase.anon_key().to_owned();
    let (code, told) = set_up.doctor(&[("SUPABASE_SERVICE_KEY", ""), ("SUPABASE_ANON_KEY", &anon)]).await;
    assert_eq!(code, Some(0));
    assert!(told.contains(&note("table")), "an empty table, or a hidden one: {told:?}");
}
