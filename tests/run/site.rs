//! What these tests share: a broker, a local Hub, and pipelines over them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use autovalidate::broker::{Event, Job, JobId, JobRequest, JobSettings, Jobs, RunRecord, Runs, SystemClock};
use autovalidate::correction::Row;
use autovalidate::corrections::Corrections;
use autovalidate::hub::{HubAccess, Index, Release, Repository};
use autovalidate::run::{AttemptEnding, Pipeline, Plan};
use autovalidate::trigger::{Trigger, TriggerPolicy};
use autovalidate_fakes::demo;
use autovalidate_fakes::hub::{Hub, Options};
use autovalidate_finetune::onnx::Runtime;
use autovalidate_finetune::train::Recipe;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::broker::setup::Bench;
use crate::support::{onnxruntime, within};

/// Generous: other tests share the machine.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// How long a dead worker's job waits.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(2);
/// Pairs of a run.
pub(super) const PAIRS: usize = 80;
/// The repository of these tests.
pub(super) const REPO: &str = "local/model";

pub(crate) struct Site {
    pub(super) bench: Bench,
    pub(super) hub: Hub,
    pub(super) corrections: Corrections,
    pub(super) jobs: Jobs,
    pub(super) runs: Runs,
    pub(super) trigger: Trigger,
    runtime: Runtime,
}

/// The tiny model of the fixtures.
pub(super) fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crates/finetune/tests/fixtures/tiny")
}

pub(super) fn access(hub: &Hub) -> HubAccess {
    HubAccess { endpoint: hub.url().clone(), token: Some(hub.token().clone()), repo: REPO.parse().unwrap() }
}

/// Rows as the demo draws them.
pub(super) fn rows() -> Vec<Row> {
    (1..)
        .zip(demo::corrections(5, PAIRS))
        .map(|(id, pair)| Row {
            id,
            typo: pair.typo,
            corrected: pair.corrected.to_owned(),
            domain: pair.domain.to_owned(),
            created_at: None,
        })
        .collect()
}

impl Site {
    pub(super) async fn new() -> Self {
        Self::with(ACK_WAIT).await
    }

    /// A site where a crashed trainer's job is delivered again as soon as somebody asks.
    pub(crate) async fn quick_to_redeliver() -> Self {
        Self::with(Duration::from_millis(100)).await
    }

    async fn with(ack_wait: Duration) -> Self {
        let bench = Bench::new().await;
        let hub = Hub::start(Options::new(bench.folder.path().join("hub"))).await.unwrap();
        let corrections = bench.corrections().await;
        within(SOON, corrections.append(&rows())).await.unwrap();
        let jobs = bench.jobs(JobSettings { ack_wait, ..JobSettings::default() }).await;
        let policy =
            TriggerPolicy { threshold: 1_000, max_wait: None, quiet: None, cooldown: Duration::ZERO };
        let trigger =
            Trigger::new(&bench.streams, &corrections, Arc::new(jobs.clone()), policy, Arc::new(SystemClock));
        let runs = Runs::new(&bench.streams);
        let runtime = Runtime::load(&onnxruntime(), 1).unwrap();
        Self { bench, hub, corrections, jobs, runs, trigger, runtime }
    }

    pub(super) fn data(&self, name: &str) -> PathBuf {
        self.bench.folder.path().join(name)
    }

    /// A trainer's pipeline with a data directory of its own.
    pub(super) fn pipeline(&self, data_dir: &Path) -> Pipeline {
        Pipeline {
            runtime: self.runtime.clone(),
            repository: Repository::open(access(&self.hub)).unwrap(),
            corrections: self.corrections.clone(),
            runs: self.runs.clone(),
            events: self.bench.events(),
            checkpoints: None,
            clock: Arc::new(SystemClock),
            plan: Plan {
                synthesis: autovalidate::synthesis::SynthesisSettings { variants: 0, ..Default::default() },
                recipe: Recipe { epochs: 2, batch_size: 16, ..Recipe::default() },
                hold_out: Default::default(),
                templates: Default::default(),
                names: None,
                gate: Default::default(),
                base_model: tiny().display().to_string(),
                data_dir: data_dir.to_owned(),
                checkpoint_every: Duration::from_secs(30),
                private_repository: true,
            },
        }
    }

    /// A request that publishes whatever the gate says: the tiny model knows nothing.
    pub(super) fn forced() -> JobRequest {
        JobRequest { force: true, ..JobRequest::default() }
    }

    /// A request whose training takes many seconds, unless it is stopped.
    pub(super) fn long() -> JobRequest {
        JobRequest { epochs: Some(100), batch_size: Some(2), ..Self::forced() }
    }

    /// The job that has waited longest.
    pub(super) async fn next(&self) -> Job {
        within(SOON, self.jobs.next(&CancellationToken::new())).await.unwrap()
    }

    /// Works on a job, and acts as soon as its training tells how far it is. What it acts with stops the work.
    pub(super) async fn in_training(
        &self,
        pipeline: &Pipeline,
        job: &Job,
        act: impl AsyncFnOnce(&CancellationToken),
    ) -> AttemptEnding {
        let mut events = self.bench.listen("training.events.>").await;
        let stop = CancellationToken::new();
        let (ending, ()) = within(SOON, async {
            tokio::join!(pipeline.run(job, &stop), async {
                phase(&mut events, "train", "progress").await;
                act(&stop).await;
            })
        })
        .await;
        ending
    }

    pub(super) async fn record(&self, id: &JobId) -> RunRecord {
        within(SOON, self.runs.load(id)).await.unwrap().unwrap().0
    }

    pub(super) async fn repository_index(&self) -> Index {
        within(SOON, Repository::open(access(&self.hub)).unwrap().index()).await.unwrap()
    }

    pub(super) async fn releases(&self) -> Vec<Release> {
        within(SOON, Repository::open(access(&self.hub)).unwrap().releases()).await.unwrap()
    }
}

/// The names of a record's stages, in order.
pub(super) fn stages(record: &RunRecord) -> Vec<&str> {
    record.stages.iter().map(|stage| stage.stage.as_str()).collect()
}

/// Waits for a stage's event with this phase.
pub(super) async fn phase(events: &mut async_nats::Subscriber, stage: &str, phase: &str) {
    within(SOON, async {
        while let Some(message) = events.next().await {
            let event: Event = serde_json::from_slice(&message.payload).unwrap();
            if event.stage == stage && event.detail["phase"] == phase {
                return;
            }
        }
    })
    .await;
}
