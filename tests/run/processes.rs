//! Several processes of the program at once: roles, kill -9 and signals.

use std::path::PathBuf;
use std::process::Stdio;

use autovalidate::broker::{Event, JobId, RunRecord, RunState, Runs, Streams};
use autovalidate_fakes::{demo, hub, supabase};
use futures::StreamExt;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::run::{PAIRS, REPO, repository};
use crate::support::{onnxruntime, tiny, within};

/// Stand-ins that the workers of a test share.
pub(super) struct SharedStandIns {
    pub(super) folder: tempfile::TempDir,
    pub(super) hub: hub::Hub,
    pub(super) supabase: supabase::Supabase,
}

impl SharedStandIns {
    pub(super) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
        let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
        Self { folder, hub, supabase }
    }

    /// Starts a worker process with its own data directory.
    pub(super) fn worker(&self, nats: &str, role: &str, name: &str) -> Worker {
        self.worker_with(nats, role, name, &[])
    }

    /// Starts a worker process with additional settings.
    pub(super) fn worker_with(
        &self,
        nats: &str,
        role: &str,
        name: &str,
        settings: &[(&str, &str)],
    ) -> Worker {
        let data = self.folder.path().join(name);
        std::fs::create_dir_all(&data).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .args(["worker", "--role", role])
            .current_dir(&data)
            .env_clear()
            .env("SUPABASE_URL", self.supabase.url().as_str())
            .env("SUPABASE_ANON_KEY", self.supabase.anon_key())
            .env("HF_ENDPOINT", self.hub.url().as_str())
            .env("HF_TOKEN", self.hub.token().expose_secret())
            .env("HF_REPO", REPO)
            .env("BASE_MODEL", tiny())
            .env("ORT_DYLIB_PATH", onnxruntime())
            .env("DATA_DIR", &data)
            .env("HTTP_ADDR", "127.0.0.1:0")
            .env("NATS_URL", nats)
            .env("NATS_REPLICAS", if nats.contains(',') { "3" } else { "1" })
            .env("TRAIN_ACK_WAIT", "5s")
            .env("TRAIN_THREADS", "1")
            .env("TRAIN_EPOCHS", "1")
            .env("SYNTHESIS_VARIANTS", "0")
            .env("TRAIN_COOLDOWN", "off")
            .env("TRAIN_THRESHOLD", PAIRS.to_string())
            .env("RUST_LOG", "autovalidate=info")
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(data.join("log")).unwrap())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Worker { child, data }
    }

    /// Inserts the pairs, as the app does.
    pub(super) fn insert(&self) {
        for pair in demo::corrections(5, PAIRS) {
            self.supabase.insert(&pair.typo, pair.corrected, pair.domain);
        }
    }

    pub(super) async fn releases(&self) -> usize {
        within(DEADLINE, repository(&self.hub).releases()).await.unwrap().len()
    }
}

/// Worker process.
pub(super) struct Worker {
    child: Child,
    data: PathBuf,
}

impl Worker {
    pub(super) fn signal(&self, signal: Signal) {
        let pid = self.child.id().unwrap();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub(super) async fn exit_code(&mut self) -> Option<i32> {
        within(DEADLINE, self.child.wait()).await.unwrap().code()
    }

    pub(super) fn log(&self) -> String {
        std::fs::read_to_string(self.data.join("log")).unwrap_or_default()
    }

    /// True when this worker works on the run.
    fn works_on(&self, id: &JobId) -> bool {
        self.data.join("jobs").join(id.as_str()).exists()
    }
}

/// Waits for an event that satisfies `wanted`.
pub(super) async fn event(events: &mut async_nats::Subscriber, wanted: impl Fn(&Event) -> bool) -> Event {
    within(DEADLINE * 2, async {
        loop {
            let message = events.next().await.unwrap();
            let event: Event = serde_json::from_slice(&message.payload).unwrap();
            if wanted(&event) {
                return event;
            }
        }
    })
    .await
}

pub(super) async fn record(streams: &Streams, id: &JobId) -> RunRecord {
    within(DEADLINE, Runs::new(streams).load(id)).await.unwrap().unwrap().0
}

pub(super) const LONG: &str = r#"{"force":true,"epochs":100,"batch_size":2}"#;

pub(super) fn is_progress(event: &Event, id: &JobId) -> bool {
    event.job == *id && event.stage == "train" && event.detail["phase"] == "progress"
}

#[tokio::test(flavor = "multi_thread")]
async fn two_listeners_and_two_trainers_share_the_work_and_a_killed_trainers_job_goes_to_the_other() {
    let (bench, stage) = (TestBroker::new().await, SharedStandIns::new().await);
    let mut events = bench.listen("training.events.>").await;
    let url = bench.url();
    let _listeners = [stage.worker(&url, "listener", "l1"), stage.worker(&url, "listener", "l2")];
    let mut trainers = [stage.worker(&url, "trainer", "t1"), stage.worker(&url, "trainer", "t2")];
    stage.insert();
    // Two listeners see every pair, but start only one run.
    let first = event(&mut events, |event| event.stage == "ended").await;
    assert!(first.job.as_str().starts_with("pairs-1-"), "{first:?}");
    within(DEADLINE, async {
        while bench.corrections().await.last_sequence().await.unwrap() < PAIRS as u64 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(bench.corrections().await.last_sequence().await.unwrap(), PAIRS as u64);

    let id = bench.requested(2).await;
    let before = stage.releases().await;
    bench.connection.client().publish("training.jobs", LONG.into()).await.unwrap();
    event(&mut events, |event| is_progress(event, &id)).await;
    let at_work = trainers.iter().position(|trainer| trainer.works_on(&id)).unwrap();
    trainers[at_work].signal(Signal::SIGKILL);
    trainers[at_work].exit_code().await;
    let ended = event(&mut events, |event| event.job == id && event.stage == "ended").await;
    let log = trainers[1 - at_work].log();
    assert_eq!(ended.detail["state"], "done", "{ended:?}\n{log}");
    let record = record(&bench.streams, &id).await;
    assert_eq!((record.attempts, record.failures), (2, 1));
    assert_eq!(stage.releases().await, before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_trainer_hands_its_job_back_and_exits_cleanly_and_a_second_signal_forces() {
    let (bench, stage) = (TestBroker::new().await, SharedStandIns::new().await);
    within(DEADLINE, bench.corrections().await.append(&crate::support::run::rows())).await.unwrap();
    let mut events = bench.listen("training.events.>").await;
    let (url, id) = (bench.url(), bench.requested(1).await);
    let mut first = stage.worker(&url, "trainer", "t1");
    bench.connection.client().publish("training.jobs", LONG.into()).await.unwrap();
    event(&mut events, |event| is_progress(event, &id)).await;
    first.signal(Signal::SIGTERM);
    let ended = event(&mut events, |event| event.job == id && event.stage == "ended").await;
    assert_eq!(ended.detail["state"], "queued");
    assert_eq!(first.exit_code().await, Some(0), "{}", first.log());
    let handed_back = record(&bench.streams, &id).await;
    assert_eq!((handed_back.state, handed_back.failures), (RunState::Queued, 0));

    let mut second = stage.worker(&url, "trainer", "t2");
    event(&mut events, |event| is_progress(event, &id)).await;
    second.signal(Signal::SIGTERM);
    second.signal(Signal::SIGINT);
    assert_eq!(second.exit_code().await, Some(130), "{}", second.log());
    assert_eq!(stage.releases().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_broker_is_silent_still_ends_soon_and_leaves_its_checkpoint() {
    let (bench, stage) = (TestBroker::new().await, SharedStandIns::new().await);
    within(DEADLINE, bench.corrections().await.append(&crate::support::run::rows())).await.unwrap();
    let mut events = bench.listen("training.events.>").await;
    let (url, id) = (bench.url(), bench.requested(1).await);
    let mut trainer = stage.worker(&url, "trainer", "t");
    let mut listener = stage.worker(&url, "listener", "l");
    bench.connection.client().publish("training.jobs", LONG.into()).await.unwrap();
    let seen = event(&mut events, |event| is_progress(event, &id)).await;

    let server = Pid::from_raw(bench.connection.server().unwrap().pid().unwrap().try_into().unwrap());
    kill(server, Signal::SIGSTOP).unwrap();
    trainer.signal(Signal::SIGTERM);
    listener.signal(Signal::SIGTERM);
    // STOP_DEADLINE is four minutes.
    assert_eq!(listener.exit_code().await, Some(0), "{}", listener.log());
    assert_eq!(trainer.exit_code().await, Some(0), "{}", trainer.log());
    assert!(trainer.log().contains("broker-silent"), "{}", trainer.log());
    kill(server, Signal::SIGCONT).unwrap();

    // The job is delivered again, and goes on where it was.
    let next = stage.worker(&url, "trainer", "t");
    let starts = |event: &Event| event.stage == "train" && event.detail["phase"] == "started";
    event(&mut events, starts).await;
    let resumed = event(&mut events, |event| is_progress(event, &id)).await;
    assert!(resumed.detail["step"].as_u64() > seen.detail["step"].as_u64(), "{resumed:?}\n{}", next.log());
}
