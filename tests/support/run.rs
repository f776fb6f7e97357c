//! Shared setup of these tests: a broker, a local Hub, and pipelines that use both.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::{Event, Job, JobId, JobRequest, JobSettings, Jobs, RunRecord, Runs, SystemClock};
use autovalidate::correction::Row;
use autovalidate::corrections::Corrections;
use autovalidate::evaluate::{GatePolicy, Query, Side};
use autovalidate::hub::{HubAccess, Index, Release, Repository};
use autovalidate::run::{AttemptEnding, ModelCheck, Pipeline, RunSettings, settle};
use autovalidate::trigger::{Trigger, TriggerPolicy};
use autovalidate_fakes::demo;
use autovalidate_fakes::hub::{Hub, Options};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Recipe;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::{onnxruntime, tiny, within};

/// Time until a dead worker's job is delivered again.
pub const ACK_WAIT: Duration = Duration::from_secs(2);
/// Number of pairs in a run.
pub const PAIRS: usize = 80;
/// Hub repository of these tests.
pub const REPO: &str = "local/model";

pub struct RunHarness {
    pub bench: TestBroker,
    pub hub: Hub,
    pub corrections: Corrections,
    pub jobs: Jobs,
    pub runs: Runs,
    pub trigger: Trigger,
    runtime: Runtime,
}

pub fn access(hub: &Hub) -> HubAccess {
    HubAccess { endpoint: hub.url().clone(), token: Some(hub.token().clone()), repo: REPO.parse().unwrap() }
}

pub fn repository(hub: &Hub) -> Repository {
    Repository::open(access(hub)).unwrap()
}

/// Returns rows drawn by the demo.
pub fn rows() -> Vec<Row> {
    (1..)
        .zip(demo::corrections(5, PAIRS))
        .map(|(id, pair)| Row {
            id,
            typo: pair.typo,
            corrected: pair.corrected.to_owned(),
            domain: pair.domain.to_owned(),
            ..Row::default()
        })
        .collect()
}

/// Returns each row as a held-out query.
pub fn queries(rows: &[Row]) -> Vec<Query> {
    let query = |row: &Row| Query {
        domain: row.domain.clone(),
        typo: row.typo.clone(),
        corrected: row.corrected.clone(),
        side: Side::NewTypo,
    };
    rows.iter().map(query).collect()
}

impl RunHarness {
    pub async fn new() -> Self {
        Self::with(ACK_WAIT).await
    }

    /// Creates a harness where a crashed trainer's job is delivered again almost immediately.
    pub async fn quick_to_redeliver() -> Self {
        Self::with(Duration::from_millis(100)).await
    }

    async fn with(ack_wait: Duration) -> Self {
        Self::on(TestBroker::new().await, &rows(), ack_wait).await
    }

    /// Creates a harness on a given broker, with these pairs.
    pub async fn on(bench: TestBroker, pairs: &[Row], ack_wait: Duration) -> Self {
        let hub = Hub::start(Options::new(bench.folder.path().join("hub"))).await.unwrap();
        let corrections = bench.corrections().await;
        within(DEADLINE, corrections.append(pairs)).await.unwrap();
        let jobs = bench.jobs(JobSettings { ack_wait, ..JobSettings::default() }).await;
        let policy =
            TriggerPolicy { threshold: 1_000, max_wait: None, quiet: None, cooldown: Duration::ZERO };
        let trigger =
            Trigger::new(&bench.streams, &corrections, Arc::new(jobs.clone()), policy, Arc::new(SystemClock));
        let runs = Runs::new(&bench.streams);
        let runtime = Runtime::load(&onnxruntime(), 1).unwrap();
        Self { bench, hub, corrections, jobs, runs, trigger, runtime }
    }

    pub fn data(&self, name: &str) -> PathBuf {
        self.bench.folder.path().join(name)
    }

    /// Returns a trainer's pipeline with its own data directory.
    pub fn pipeline(&self, data_dir: &Path) -> Pipeline {
        Pipeline {
            runtime: self.runtime.clone(),
            repository: repository(&self.hub),
            corrections: self.corrections.clone(),
            runs: self.runs.clone(),
            events: self.bench.events(),
            checkpoints: None,
            clock: Arc::new(SystemClock),
            plan: RunSettings {
                tokenizer: Default::default(),
                synthesis: autovalidate::synthesis::SynthesisSettings { variants: 0, ..Default::default() },
                recipe: Recipe { epochs: 2, batch_size: 16, ..Recipe::default() },
                hold_out: Default::default(),
                templates: Default::default(),
                names: None,
                // Other tests use the processor, too.
                gate: GatePolicy { slowest: 100.0, ..GatePolicy::default() },
                base_model: tiny().display().to_string(),
                base_model_folders: Vec::new(),
                model_check: ModelCheck::new(env!("CARGO_BIN_EXE_autovalidate"), onnxruntime()),
                data_dir: data_dir.to_owned(),
                data_budget: u64::MAX,
                checkpoint_every: Duration::from_secs(30),
                private_repository: true,
            },
            metrics: Default::default(),
        }
    }

    /// Returns a request that publishes despite the gate, because the tiny model is not a useful
    /// one.
    pub fn forced() -> JobRequest {
        JobRequest { force: true, ..JobRequest::default() }
    }

    /// Returns a request whose training takes many seconds unless it is stopped.
    pub fn long() -> JobRequest {
        JobRequest { epochs: Some(100), batch_size: Some(2), ..Self::forced() }
    }

    /// Takes the job that has waited longest.
    pub async fn next(&self) -> Job {
        within(DEADLINE, self.jobs.next(&CancellationToken::new())).await.unwrap()
    }

    /// Works on a new job, in as many attempts as it takes, until its run has ended. Returns the record.
    pub async fn ended(&self, pipeline: &Pipeline, request: &JobRequest) -> RunRecord {
        let id = within(DEADLINE, self.jobs.enqueue(request)).await.unwrap();
        let job = self.next().await;
        // The attempts follow each other without the pauses that a trainer makes between them.
        let ending = loop {
            match within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await {
                AttemptEnding::Retry { .. } => {}
                ending => break ending,
            }
        };
        within(DEADLINE, settle(job, ending, &self.trigger)).await.unwrap();
        self.record(&id).await
    }

    /// Works on a job, and calls `act` at the first progress event of its training. The token
    /// passed to `act` stops the work.
    pub async fn in_training(
        &self,
        pipeline: &Pipeline,
        job: &Job,
        act: impl AsyncFnOnce(&CancellationToken),
    ) -> AttemptEnding {
        let mut events = self.bench.listen("training.events.>").await;
        let stop = CancellationToken::new();
        let (ending, ()) = within(DEADLINE, async {
            tokio::join!(pipeline.run(job, &stop), async {
                phase(&mut events, "train", "progress").await;
                act(&stop).await;
            })
        })
        .await;
        ending
    }

    /// Works on a job until this stage starts, and is dropped there, as a killed worker is.
    pub async fn killed_at(&self, pipeline: &Pipeline, job: &Job, stage: &str) {
        let mut events = self.bench.listen("training.events.>").await;
        let stop = CancellationToken::new();
        tokio::select! {
            ending = pipeline.run(job, &stop) => panic!("{ending:?}"),
            () = phase(&mut events, stage, "started") => {}
        }
    }

    pub async fn record(&self, id: &JobId) -> RunRecord {
        within(DEADLINE, self.runs.load(id)).await.unwrap().unwrap().0
    }

    pub async fn repository_index(&self) -> Index {
        within(DEADLINE, repository(&self.hub).index()).await.unwrap()
    }

    pub async fn releases(&self) -> Vec<Release> {
        within(DEADLINE, repository(&self.hub).releases()).await.unwrap()
    }
}

/// Returns the names of a record's stages, in order.
pub fn stages(record: &RunRecord) -> Vec<&str> {
    record.stages.iter().map(|stage| stage.stage.as_str()).collect()
}

/// Waits for an event of this stage and phase.
pub async fn phase(events: &mut async_nats::Subscriber, stage: &str, phase: &str) {
    within(DEADLINE, async {
        while let Some(message) = events.next().await {
            let event: Event = serde_json::from_slice(&message.payload).unwrap();
            if event.stage == stage && event.detail["phase"] == phase {
                return;
            }
        }
    })
    .await;
}
