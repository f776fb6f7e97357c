//! The load: people who insert, change and delete rows, operators who request and cancel runs, and
//! strangers who send what nobody should.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::stand_in::Order;
use super::system::System;
use super::truth::Truth;

/// Time that a request to the broker or to a worker may take.
const PATIENCE: Duration = Duration::from_secs(4);

/// Number of requests that may be open at a time: more would take longer than the system has to come to
/// rest.
const MAX_OPEN: usize = 2;

/// Purpose of a job request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    /// A run that publishes.
    Release,
    /// A run that publishes nothing.
    DryRun,
}

/// The load of an episode.
pub(crate) struct Load {
    random: ChaCha8Rng,
    pub(crate) truth: Truth,
    jobs: usize,
    /// Requests whose runs have not ended, as far as events tell.
    open: BTreeSet<String>,
    /// Requests that the broker has taken, by the ids of their jobs.
    pub(crate) accepted: Arc<Mutex<BTreeSet<(String, Asked)>>>,
    pub(crate) webhooks: usize,
    pub(crate) cancels: usize,
    tasks: JoinSet<()>,
    http: reqwest::Client,
}

impl Load {
    pub(crate) fn new(seed: u64) -> anyhow::Result<Self> {
        Ok(Self {
            random: ChaCha8Rng::seed_from_u64(seed ^ 0x10ad),
            truth: Truth::default(),
            jobs: 0,
            open: BTreeSet::new(),
            accepted: Arc::default(),
            webhooks: 0,
            cancels: 0,
            tasks: JoinSet::new(),
            http: reqwest::Client::builder().timeout(PATIENCE).build()?,
        })
    }

    /// Takes note of the end of a run.
    pub(crate) fn ended(&mut self, job: &str) {
        self.open.remove(job);
    }

    /// Empties the table, whose rows are all stored.
    pub(crate) async fn truncate(&mut self, system: &mut System) -> anyhow::Result<()> {
        if system.table(Order::Truncate).await?.is_some() {
            self.truth.truncate();
        }
        Ok(())
    }

    /// Does what happens within a tenth of a second.
    pub(crate) async fn step(&mut self, system: &mut System) -> anyhow::Result<()> {
        while self.tasks.try_join_next().is_some() {}
        if self.random.random_bool(0.7) {
            self.insert(system).await?;
        }
        if self.random.random_bool(0.12) {
            self.update(system).await?;
        }
        if self.random.random_bool(0.05) {
            self.delete(system).await?;
        }
        match self.random.random_range(0..60) {
            0 | 1 if self.open.len() < MAX_OPEN => self.request(system),
            2 if self.jobs > 0 => self.cancel(system),
            3 => self.send(system, "not a request"),
            4..=6 => self.call(system),
            _ => {}
        }
        Ok(())
    }

    async fn insert(&mut self, system: &mut System) -> anyhow::Result<()> {
        let (typo, corrected) = self.truth.new_texts(&mut self.random);
        let order = Order::Insert { typo: typo.clone(), corrected: corrected.clone() };
        if let Some(id) = system.table(order).await?.as_ref().and_then(Value::as_i64) {
            self.truth.insert((id, typo, corrected));
        }
        Ok(())
    }

    async fn update(&mut self, system: &mut System) -> anyhow::Result<()> {
        let Some(id) = self.truth.pick(&mut self.random) else { return Ok(()) };
        let (typo, corrected) = self.truth.new_texts(&mut self.random);
        let order = Order::Update { id, typo: typo.clone(), corrected: corrected.clone() };
        // A row whose insert is not committed yet can't be changed.
        if system.table(order).await? == Some(json!(true)) {
            self.truth.update((id, typo, corrected));
        }
        Ok(())
    }

    async fn delete(&mut self, system: &mut System) -> anyhow::Result<()> {
        let Some(id) = self.truth.pick(&mut self.random) else { return Ok(()) };
        if system.table(Order::Delete { id }).await? == Some(json!(true)) {
            self.truth.delete(id);
        }
        Ok(())
    }

    /// Requests a run. It counts as requested when the broker has acknowledged the request.
    fn request(&mut self, system: &System) {
        self.jobs += 1;
        let id = format!("chaos-{}", self.jobs);
        self.open.insert(id.clone());
        let asked = if self.random.random_bool(0.2) { Asked::DryRun } else { Asked::Release };
        let body =
            json!({ "job_id": id, "force": true, "dry_run": asked == Asked::DryRun, "reason": "chaos" });
        let (jetstream, accepted) = (jetstream::new(system.client.clone()), Arc::clone(&self.accepted));
        self.tasks.spawn(async move {
            let publish = async { jetstream.publish("training.jobs", body.to_string().into()).await?.await };
            if let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, publish).await {
                accepted.lock().unwrap_or_else(PoisonError::into_inner).insert((id, asked));
            }
        });
    }

    /// Sends a body that is no job request.
    fn send(&mut self, system: &System, body: &'static str) {
        let client = system.client.clone();
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, client.publish("training.jobs", body.into())).await;
        });
    }

    /// Cancels one of the newest jobs, whatever has become of it.
    fn cancel(&mut self, system: &System) {
        self.cancels += 1;
        let id = format!("chaos-{}", self.jobs.saturating_sub(self.random.random_range(0..3)).max(1));
        let client = system.client.clone();
        self.tasks.spawn(async move {
            let _ = tokio::time::timeout(PATIENCE, client.publish("training.cancel", id.into())).await;
        });
    }

    /// Calls a worker's webhook with a wrong secret, or with a body that is no change of a row.
    fn call(&mut self, system: &System) {
        self.webhooks += 1;
        let place = self.random.random_range(0..system.workers.len());
        let url = format!("http://127.0.0.1:{}/hooks/supabase", system.workers[place].http);
        let is_stranger = self.random.random_bool(0.5);
        let secret = if is_stranger {
            "a-wrong-secret-of-a-stranger".to_owned()
        } else {
            system.secrets.webhook.clone()
        };
        let body = match self.random.random_range(0..3) {
            0 => "{".to_owned(),
            1 => json!({ "type": "DELETE", "table": "typo_training_dataset", "schema": "public",
                         "record": null, "old_record": { "id": self.random.random_range(1..400_i64) } })
            .to_string(),
            _ => json!({ "type": "INSERT", "record": { "id": i64::MAX, "typo": "x" } }).to_string(),
        };
        let request = self.http.post(url).header("x-webhook-secret", secret).body(body);
        self.tasks.spawn(async move { drop(request.send().await) });
    }

    /// Returns the jobs whose requests the broker has taken.
    pub(crate) fn requested(&self) -> BTreeSet<(String, Asked)> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for requests that are on their way.
    pub(crate) async fn finish(&mut self) {
        self.open.clear();
        while self.tasks.join_next().await.is_some() {}
    }
}
