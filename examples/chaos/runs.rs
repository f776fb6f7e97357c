//! Judges the records of the runs, read from the broker's bucket as JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use async_nats::jetstream;
use async_nats::jetstream::consumer::DeliverPolicy;
use serde_json::Value;

use super::load::Asked;
use super::programs::THRESHOLD;
use super::stored::messages;
use super::truth::MARK;

/// The records of all runs, by job.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) records: BTreeMap<String, Value>,
    /// Number of requests that wait or are being worked on.
    queued: u64,
    /// Number of pairs that no run has covered, as the workers tell it.
    pending: u64,
}

impl Runs {
    /// Reads the records and the length of the queue, and asks the workers for their status.
    pub(crate) async fn read(client: &async_nats::Client) -> anyhow::Result<Self> {
        let jetstream = &jetstream::new(client.clone());
        let queued = jetstream.get_stream("TRAINING").await?.cached_info().state.messages;
        let mut records = BTreeMap::new();
        for message in messages(jetstream, "KV_training_runs", DeliverPolicy::LastPerSubject).await? {
            let job = message.subject.rsplit('.').next().unwrap_or_default().to_owned();
            if !message.payload.is_empty() {
                records.insert(job, serde_json::from_slice(&message.payload)?);
            }
        }
        let status = client.request("training.status", "".into()).await?;
        let status: Value = serde_json::from_slice(&status.payload)?;
        let pending = status["pending"].as_u64().context("the status has no pending pairs")?;
        Ok(Self { records, queued, pending })
    }

    pub(crate) fn state(&self, job: &str) -> &str {
        self.records.get(job).and_then(|record| record["state"].as_str()).unwrap_or_default()
    }

    /// Returns what keeps the runs from being at rest.
    pub(crate) fn unrest(&self) -> Option<String> {
        let is_open = |job: &&String| ["queued", "running"].contains(&self.state(job));
        let open: Vec<_> = self.records.keys().filter(is_open).cloned().collect();
        let Self { queued, pending, .. } = self;
        // After a failure, the trigger waits for a quarter of an hour.
        if *pending >= THRESHOLD && self.errors().is_empty() {
            return Some(format!("{pending} pairs wait, and no run starts"));
        }
        (*queued > 0 || !open.is_empty())
            .then(|| format!("{queued} requests are queued; open runs: {open:?}"))
    }

    /// Returns the number of runs in each state.
    pub(crate) fn by_state(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for job in self.records.keys() {
            *counts.entry(self.state(job).to_owned()).or_default() += 1;
        }
        counts
    }

    /// Returns the errors of failed runs, with the number of each.
    pub(crate) fn errors(&self) -> BTreeMap<String, usize> {
        let mut errors = BTreeMap::new();
        for record in self.records.values().filter(|record| record["state"] == "failed") {
            let message = record["error"]["message"].as_str().unwrap_or("no error is recorded");
            *errors.entry(message.to_owned()).or_default() += 1;
        }
        errors
    }

    /// Returns what is wrong with the runs, once they are at rest.
    pub(crate) fn problems(&self, requested: &BTreeSet<(String, Asked)>) -> Vec<String> {
        let mut problems = Vec::new();
        for (job, asked) in requested {
            let Some(record) = self.records.get(job) else {
                problems.push(format!("lost: job {job} was accepted and has no record"));
                continue;
            };
            let has_artifact = !record["artifact"].is_null();
            match (record["state"].as_str(), asked) {
                (Some("done"), Asked::Release) if !has_artifact => {
                    problems.push(format!("lost: run {job} is done without a release"));
                }
                (_, Asked::DryRun) if has_artifact => problems.push(format!("dry run {job} published")),
                _ => {}
            }
        }
        let mut ranges = BTreeMap::new();
        for (job, record) in &self.records {
            if record.to_string().contains(MARK) {
                problems.push(format!("leaked: the record of {job} has a pair's text"));
            }
            if record["state"] == "failed" && record["error"].is_null() {
                problems.push(format!("run {job} failed without an error"));
            }
            let request = &record["request"];
            if let (Some(first), Some(last)) =
                (request["first_sequence"].as_u64(), request["last_sequence"].as_u64())
                && !job.contains("-again-")
            {
                ranges.insert((first, last), job);
            }
        }
        for ((one, job), (other, next)) in ranges.iter().zip(ranges.iter().skip(1)) {
            if one.1 >= other.0 {
                problems.push(format!("doubled: {job} and {next} are about the same pairs"));
            }
        }
        problems
    }
}
