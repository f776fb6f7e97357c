//! Commands that read change nothing on the broker, whatever the settings of the machine they run on.

use std::time::Duration;

use autovalidate::broker::{
    JobRequest, JobSettings, RunRecord, RunState, Runs, StatusService, StreamSettings,
};
use autovalidate::worker::{Status, StatusSettings};
use autovalidate_fakes::{hub, supabase};
use futures::{FutureExt, StreamExt};
use secrecy::ExposeSecret;

use crate::broker::ownership::everything;
use crate::support;
use crate::support::DEADLINE;
use crate::support::broker::{TestBroker, rows};
use crate::support::within;

/// A machine that runs commands: the settings that it needs, and others than the worker's.
struct Laptop {
    settings: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
}

impl Laptop {
    /// Runs a command, and returns its output.
    async fn run(&self, arguments: &[&str]) -> String {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .kill_on_drop(true);
        let output = within(DEADLINE, command.output()).await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("{out}{err}")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_read_leave_every_stream_and_consumer_as_it_is() {
    let bench = TestBroker::with(StreamSettings {
        duplicate_window: Duration::from_secs(3600),
        events_max_bytes: 1 << 20,
        ..StreamSettings::default()
    })
    .await;
    let ack_wait = Duration::from_secs(600);
    let jobs = bench.jobs(JobSettings { ack_wait, ..JobSettings::default() }).await;
    within(DEADLINE, bench.corrections().await.append(&rows(1..=3))).await.unwrap();
    let run = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    let settings = [
        ("NATS_URL", bench.url()),
        ("NATS_REPLICAS", "3".to_owned()),
        ("NATS_MAX_BYTES", "64MiB".to_owned()),
        ("TRAIN_ACK_WAIT", "5s".to_owned()),
        ("TRAIN_THRESHOLD", "7".to_owned()),
        ("SUPABASE_URL", supabase.url().to_string()),
        ("SUPABASE_ANON_KEY", supabase.anon_key().to_owned()),
        ("HF_ENDPOINT", hub.url().to_string()),
        ("HF_TOKEN", hub.token().expose_secret().to_owned()),
        ("HF_REPO", "local/model".to_owned()),
        ("ORT_DYLIB_PATH", support::onnxruntime().display().to_string()),
    ];
    let laptop = Laptop { settings: settings.into(), folder };
    let before = everything(&bench.connection).await;
    let commands: [&[&str]; 9] = [
        &["status"],
        &["status", "--json"],
        &["runs", "list"],
        &["runs", "show", run.as_str()],
        &["models", "list"],
        &["lineage", "1"],
        &["report", run.as_str()],
        &["quarantine", "list"],
        &["doctor"],
    ];
    for command in commands {
        let told = laptop.run(command).await;
        assert_eq!(everything(&bench.connection).await, before, "{command:?} said {told}");
    }

    // No worker runs, so the number that starts a run is this machine's; the command says so. It counts the
    // pairs and reads none of them: a million take seconds.
    let mut reads = bench.listen("$JS.API.CONSUMER.CREATE.CORRECTIONS").await;
    let told = laptop.run(&["status"]).await;
    within(DEADLINE, bench.connection.client().flush()).await.unwrap();
    assert!(reads.next().now_or_never().is_none(), "the pairs were read");
    // Whoever does read them is seen.
    bench.corrections().await;
    within(DEADLINE, reads.next()).await.unwrap();
    assert!(told.contains("3 of 7 pairs") && told.contains("no worker answers"), "{told}");
    // A trainer that died left its run in progress.
    let runs = Runs::new(&bench.streams);
    let (record, revision) = within(DEADLINE, runs.load(&run)).await.unwrap().unwrap();
    let running = RunRecord { state: RunState::Running, ..record };
    within(DEADLINE, runs.save(&running, revision)).await.unwrap();
    let told = laptop.run(&["status"]).await;
    assert!(told.contains("no trainer answers") && !told.contains("working on"), "{told}");

    // A worker answers with its own.
    let status = Status {
        pending: 3,
        threshold: 50,
        due: None,
        current_job: Some(run.clone()),
        queued: vec![],
        queued_more: 0,
        trainer_start: None,
        last_run: None,
        trainer_up: Some(true),
        settings: Some(StatusSettings {
            project: Some("public.pairs at https://a.supabase.co".into()),
            namespace: None,
            replicas: 1,
            max_wait: None,
            quiet: None,
            cooldown: 0,
        }),
        version: "0.1.0".into(),
    };
    let service = StatusService::start(&bench.streams, true, move || {
        let status = status.clone();
        async move { Ok(status) }.boxed()
    });
    let _service = within(DEADLINE, service).await.unwrap();
    let told = laptop.run(&["status"]).await;
    for part in ["3 of 50 pairs", "public.pairs at https://a.supabase.co", &format!("working on {run}")] {
        assert!(told.contains(part), "{told}");
    }
    assert!(!told.contains("no worker answers"), "{told}");
    supabase.shutdown().await;
    hub.shutdown().await;
}
