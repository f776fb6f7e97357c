//! A worker, with the servers it needs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use async_nats::Subscriber;
use autovalidate::broker::{Event, JobId, RunRecord};
use autovalidate::settings::{Needs, Settings};
use autovalidate::worker::{BrokerHandles, Role, Worker, WorkerOptions};
use autovalidate_fakes::{hub, supabase};
use futures::StreamExt;
use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::support;
use crate::support::DEADLINE;

pub use super::run::REPO;
pub const WEBHOOK_SECRET: &str = "a-webhook-secret";

/// A worker, its local Supabase and Hub, and its events.
pub struct TestWorker {
    pub supabase: supabase::Supabase,
    pub hub: hub::Hub,
    pub worker: Worker,
    pub events: Subscriber,
    pub data: PathBuf,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

/// Returns the settings of a worker that uses these stand-ins and a broker of its own.
pub fn environment(
    supabase: &supabase::Supabase,
    hub: &hub::Hub,
    base: &Path,
    data: &Path,
) -> HashMap<&'static str, String> {
    HashMap::from([
        ("SUPABASE_URL", supabase.url().to_string()),
        ("SUPABASE_ANON_KEY", supabase.anon_key().to_owned()),
        ("HF_ENDPOINT", hub.url().to_string()),
        ("HF_TOKEN", hub.token().expose_secret().to_owned()),
        ("HF_REPO", REPO.to_owned()),
        ("BASE_MODEL", base.display().to_string()),
        ("DATA_DIR", data.display().to_string()),
        ("ORT_DYLIB_PATH", support::onnxruntime().display().to_string()),
        ("NATS_SERVER", support::nats_server().display().to_string()),
        ("NATS_LISTEN", "127.0.0.1:0".to_owned()),
        ("HTTP_ADDR", "127.0.0.1:0".to_owned()),
        ("WEBHOOK_SECRET", WEBHOOK_SECRET.to_owned()),
        ("TRAIN_COOLDOWN", "off".to_owned()),
        ("TRAIN_THREADS", "1".to_owned()),
        ("TRAIN_EPOCHS", "3".to_owned()),
        ("TRAIN_BATCH_SIZE", "16".to_owned()),
        // Other tests use the processor, too.
        ("GATE_SLOWEST", "100".to_owned()),
        ("SYNTHESIS_VARIANTS", "2".to_owned()),
    ])
}

impl TestWorker {
    /// Starts all servers and the worker, with a base model and additional settings.
    pub async fn start(base: &Path, more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
        let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
        Self::start_with(folder, supabase, hub, base, more).await
    }

    pub async fn start_with(
        folder: tempfile::TempDir,
        supabase: supabase::Supabase,
        hub: hub::Hub,
        base: &Path,
        more: &[(&str, &str)],
    ) -> Self {
        Self::start_as(Role::All, folder, supabase, hub, base, more).await
    }

    pub async fn start_as(
        role: Role,
        folder: tempfile::TempDir,
        supabase: supabase::Supabase,
        hub: hub::Hub,
        base: &Path,
        more: &[(&str, &str)],
    ) -> Self {
        let data = folder.path().join("data");
        let mut environment = environment(&supabase, &hub, base, &data);
        environment.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
        let needs = Needs { supabase: true, hub: true, runtime: true };
        let settings = Settings::read(&|name| environment.get(name).cloned(), None, needs).unwrap();
        let stop = CancellationToken::new();
        let program = Some(env!("CARGO_BIN_EXE_autovalidate").into());
        let options = WorkerOptions { program, ..role.into() };
        let worker = Worker::start(&settings, options, stop.clone()).await.unwrap();
        let client = worker.handles().streams.connection().client();
        let events = client.subscribe("training.events.>").await.unwrap();
        client.flush().await.unwrap();
        Self { supabase, hub, worker, events, data, stop, _folder: folder }
    }

    /// Returns the address for NATS clients, with the token.
    pub fn nats_url(&self) -> String {
        url_with_token(self.worker.handles())
    }

    /// Waits for the next event of this stage.
    #[track_caller]
    pub fn event(&mut self, stage: &'static str) -> impl Future<Output = Event> {
        support::within(DEADLINE, async move {
            loop {
                let message = self.events.next().await.expect("the subscription ended");
                let event: Event = serde_json::from_slice(&message.payload).unwrap();
                if event.stage == stage {
                    return event;
                }
            }
        })
    }

    /// Waits for a run to end, and returns its record.
    #[track_caller]
    pub fn ended(&mut self) -> impl Future<Output = RunRecord> {
        let runs = self.worker.handles().runs.clone();
        let event = self.event("ended");
        async move {
            let job: JobId = event.await.job;
            runs.load(&job).await.unwrap().unwrap().0
        }
    }

    /// Waits until this many pairs are stored.
    #[track_caller]
    pub fn stored(&mut self, pairs: u64) -> impl Future<Output = ()> {
        let corrections = self.worker.handles().corrections.clone();
        let mut arrivals = self.worker.take_ingest_events().expect("the ingest's events are taken once");
        support::within(DEADLINE, async move {
            while corrections.last_sequence().await.unwrap() < pairs {
                arrivals.recv().await.unwrap();
            }
        })
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        self.stop.cancel();
        support::within(DEADLINE, self.worker.join()).await.unwrap();
        self.supabase.shutdown().await;
        self.hub.shutdown().await;
    }
}

/// Returns the address of an embedded server for NATS clients, with the token.
pub fn url_with_token(handles: &BrokerHandles) -> String {
    let server = handles.streams.connection().server().unwrap();
    server.url().replace("nats://", &format!("nats://{}@", server.token().unwrap().expose_secret()))
}

/// Returns another connection to a worker's embedded server. The client takes no token from a URL.
pub async fn another_client(handles: &BrokerHandles) -> async_nats::Client {
    let server = handles.streams.connection().server().unwrap();
    let token = server.token().unwrap().expose_secret().to_owned();
    let connecting = async_nats::ConnectOptions::with_token(token).connect(server.url());
    support::within(DEADLINE, connecting).await.unwrap()
}

/// Inserts the demo's first `count` corrections over HTTP, as the app does.
pub async fn insert(supabase: &supabase::Supabase, count: usize) {
    let rows: Vec<_> = autovalidate_fakes::demo::corrections(7, count)
        .into_iter()
        .map(|pair| serde_json::json!({ "typo": pair.typo, "corrected": pair.corrected, "domain": pair.domain }))
        .collect();
    post(supabase, &serde_json::json!(rows)).await;
}

pub async fn post(supabase: &supabase::Supabase, rows: &serde_json::Value) {
    let url = supabase.url().join("rest/v1/typo_training_dataset").unwrap();
    let answer = reqwest::Client::new()
        .post(url)
        .header("apikey", supabase.anon_key())
        .bearer_auth(supabase.anon_key())
        .json(rows)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 201, "{}", answer.text().await.unwrap());
}
