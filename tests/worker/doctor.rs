//! `autovalidate doctor` finds what is wrong with a set-up, and changes nothing.

use autovalidate::broker::{Broker, Connection, Remote, StreamSettings, Streams};
use autovalidate_fakes::{hub, supabase};
use secrecy::ExposeSecret;
use serde_json::Value;

use crate::support::nats::NatsServer;
use crate::support::worker::{TestWorker, WEBHOOK_SECRET};
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
        .env("BASE_MODEL", tiny())
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

    /// Returns the command with these arguments, and with these settings changed.
    fn command(&self, arguments: &[&str], changed: &[(&str, &str)]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command
            .args(["doctor", "--json"])
            .args(arguments)
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
            .envs(changed.iter().copied());
        command
    }

    /// Runs the command with these settings changed, and returns its exit code and each check that is not
    /// `ok`, with its outcome.
    async fn doctor(&self, changed: &[(&str, &str)]) -> (Option<i32>, Vec<(String, String)>) {
        let output = within(DEADLINE, self.command(&[], changed).output()).await.unwrap();
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

impl SetUp {
    /// Runs the command with these arguments and settings changed, and returns its exit code and the finding
    /// of one check, if it has one.
    async fn finding(
        &self,
        check: &str,
        arguments: &[&str],
        changed: &[(&str, &str)],
    ) -> (Option<i32>, Value) {
        let output = within(DEADLINE, self.command(arguments, changed).output()).await.unwrap();
        let findings: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let finding = findings.into_iter().find(|finding| finding["check"] == check);
        (output.status.code(), finding.unwrap_or_default())
    }
}

/// Text of a row that a killed check has left.
const INTERRUPTED: &str = "autovalidate-doctor-probe-0";

#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_inserted_seen_and_removed_with_what_an_earlier_check_left() {
    let set_up = SetUp::new().await;
    let kept = set_up.supabase.insert("toyta", "Toyota", "brand");
    set_up.supabase.insert(INTERRUPTED, INTERRUPTED, "brand");
    let mut commits = set_up.supabase.commits();
    let before = *within(DEADLINE, commits.wait_for(|count| *count == 2)).await.unwrap();
    let (code, finding) = set_up.finding("insert", &["--insert"], &[]).await;
    assert_eq!((code, &finding["outcome"]), (Some(0), &Value::from("ok")), "{finding}");
    assert!(finding["found"].as_str().unwrap().contains("shown by Realtime after"), "{finding}");
    assert_eq!(set_up.supabase.ids(), [kept]);
    assert_eq!(*commits.borrow_and_update() - before, 3, "the row's insert, and both removals");

    let anon = set_up.supabase.anon_key().to_owned();
    let changed = [("SUPABASE_SERVICE_KEY", ""), ("SUPABASE_ANON_KEY", anon.as_str())];
    let (code, finding) = set_up.finding("insert", &["--insert"], &changed).await;
    assert_eq!((code, &finding["outcome"]), (Some(1), &Value::from("failed")), "{finding}");
    assert!(finding["advice"].as_str().unwrap().contains("SUPABASE_SERVICE_KEY"), "{finding}");
    assert!(!commits.has_changed().unwrap(), "nothing was inserted that the key might not remove");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_realtime_does_not_show_is_removed_too() {
    let set_up = SetUp::new().await;
    set_up.supabase.faults().drop_events(100);
    let (code, finding) = set_up.finding("insert", &["--insert"], &[]).await;
    assert_eq!(code, Some(1), "{finding}");
    assert!(
        finding["found"].as_str().unwrap().starts_with("Realtime showed none of 2 inserted rows"),
        "{finding}"
    );
    assert_eq!(set_up.supabase.ids(), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_the_row_is_there_removes_it_first() {
    let set_up = SetUp::new().await;
    set_up.supabase.faults().drop_events(100);
    let mut commits = set_up.supabase.commits();
    let command = set_up.command(&["--insert"], &[]).stdout(std::process::Stdio::piped()).spawn().unwrap();
    within(DEADLINE, commits.wait_for(|count| *count == 1)).await.unwrap();
    assert_eq!(set_up.supabase.ids().len(), 1);
    let process = nix::unistd::Pid::from_raw(command.id().unwrap().try_into().unwrap());
    nix::sys::signal::kill(process, nix::sys::signal::SIGINT).unwrap();
    let output = within(DEADLINE, command.wait_with_output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.code() == Some(1) && told.contains("stopped by a signal"), "{told}");
    assert_eq!(set_up.supabase.ids(), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_takes_the_webhook_and_trains_on_no_probe() {
    let mut worker = TestWorker::start(&tiny(), &[]).await;
    let set_up = SetUp::new().await;
    let host = worker.worker.http().to_string();
    let settings = [
        ("SUPABASE_URL", worker.supabase.url().as_str().to_owned()),
        ("SUPABASE_SERVICE_KEY", worker.supabase.service_key().to_owned()),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
    ];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let hook = format!("http://{host}/hooks/supabase");
    let (code, row) = set_up.finding("insert", &["--insert", "--webhook", &hook], &settings).await;
    assert_eq!(code, Some(0), "{row}");
    let (code, call) = set_up.finding("webhook", &["--webhook", &hook], &settings).await;
    assert_eq!((code, &call["outcome"]), (Some(0), &Value::from("ok")), "{call}");

    // Pairs are stored in the order of the table, so the probe's row has been looked at before this one.
    worker.supabase.insert("toyta", "Toyota", "brand");
    worker.stored(1).await;
    let corrections = &worker.worker.handles().corrections;
    assert_eq!(corrections.last_sequence().await.unwrap(), 1, "only the real pair was stored");

    let elsewhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, changed, expected) in [
        (hook.clone(), ("WEBHOOK_SECRET", "another secret of 16"), "another WEBHOOK_SECRET"),
        (hook.clone(), ("SUPABASE_TABLE", "others"), "another table than others"),
        (
            format!("http://{host}/hooks/supabse"),
            settings[2],
            "which is no worker's answer at /hooks/supabse",
        ),
        (format!("http://{elsewhere}/hooks/supabase"), settings[2], "can't be reached"),
        (
            set_up.hub.url().join("hooks/supabase").unwrap().to_string(),
            settings[2],
            "which is no worker's answer",
        ),
    ] {
        let changed = [&settings[..], &[changed]].concat();
        let (code, call) = set_up.finding("webhook", &["--webhook", &url], &changed).await;
        let found = call["found"].as_str().unwrap();
        assert!(code == Some(1) && found.contains(expected), "{url}: {call}");
        assert!(!call.to_string().contains("another secret of 16"), "{call}");
    }
    let (_, call) = set_up.finding("webhook", &["--webhook", &hook], &[("WEBHOOK_SECRET", "")]).await;
    assert_eq!(call["found"], "WEBHOOK_SECRET is not set");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_without_a_secret_is_told_apart_from_a_wrong_path() {
    let worker = TestWorker::start(&tiny(), &[("WEBHOOK_SECRET", "")]).await;
    let set_up = SetUp::new().await;
    let hook = format!("http://{}/hooks/supabase", worker.worker.http());
    let changed = [("WEBHOOK_SECRET", "a secret of 16 characters")];
    let (code, call) = set_up.finding("webhook", &["--webhook", &hook], &changed).await;
    assert_eq!(code, Some(1));
    assert!(call["found"].as_str().unwrap().contains("has no WEBHOOK_SECRET"), "{call}");
}
