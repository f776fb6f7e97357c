//! Lists of runs come from the index, and an index is built once for records without one.

use autovalidate::broker::{
    JobId, JobRequest, LatestRuns, PublishedArtifact, RecordedError, RunRecord, RunState, Runs,
};
use autovalidate::failure::RetryDirective;
use futures::StreamExt;
use jiff::Timestamp;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::within;

fn record(number: u64) -> RunRecord {
    let at = Timestamp::from_second(1_700_000_000 + number.cast_signed()).unwrap();
    let mut record = RunRecord::new(JobId::manual(number), JobRequest::default(), at);
    (record.state, record.ended_at, record.attempts) = (RunState::Done, Some(at), 1);
    record
}

/// Returns the numbers of all runs, by page.
async fn listed(runs: &Runs) -> Vec<u64> {
    let (mut all, mut earlier) = (Vec::new(), None);
    loop {
        let page = within(DEADLINE, runs.page(earlier, 10)).await.unwrap();
        all.extend(page.runs.iter().map(|run| run.id.as_str()["manual-".len()..].parse::<u64>().unwrap()));
        earlier = page.earlier;
        if earlier.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_from_records_without_one_and_grows_with_them() {
    let bench = TestBroker::quick().await;
    let runs = Runs::new(&bench.streams);
    for number in 0..150 {
        within(DEADLINE, runs.create(&record(number))).await.unwrap();
    }
    let state = bench.connection.jetstream().get_key_value("trainer_state").await.unwrap();
    assert!(state.get("runs").await.unwrap().is_none(), "only a worker's start builds an index");
    let newest_first: Vec<u64> = (0..150).rev().collect();
    assert_eq!(listed(&runs).await, newest_first, "without an index");

    within(DEADLINE, runs.complete_index()).await.unwrap();
    assert!(state.get("runs.1").await.unwrap().is_some(), "so many runs take several pages");
    assert_eq!(listed(&runs).await, newest_first);
    for number in 150..220 {
        within(DEADLINE, runs.create(&record(number))).await.unwrap();
    }
    assert_eq!(listed(&runs).await, (0..220).rev().collect::<Vec<_>>());
    // A second worker starts: nothing is missing, so no record is read.
    let mut reads = bench.listen("$JS.API.DIRECT.GET.KV_training_runs.>").await;
    within(DEADLINE, Runs::new(&bench.another_worker().await).complete_index()).await.unwrap();
    let page = within(DEADLINE, runs.page(None, 40)).await.unwrap();
    assert!(page.runs.len() >= 40 && page.earlier.is_some());
    assert!(within(DEADLINE, runs.load(&JobId::manual(999))).await.unwrap().is_none());
    let first = within(DEADLINE, reads.next()).await.unwrap();
    assert!(first.subject.ends_with(".manual-999"), "a record was read: {}", first.subject);

    // A record that was written without the index, as by an earlier version.
    let bucket = bench.connection.jetstream().get_key_value("training_runs").await.unwrap();
    bucket.put("manual-220", serde_json::to_vec(&record(220)).unwrap().into()).await.unwrap();
    assert_eq!(listed(&runs).await.len(), 220);
    within(DEADLINE, runs.complete_index()).await.unwrap();
    assert_eq!(listed(&runs).await, (0..=220).rev().collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_new_and_old_runs_are_in_the_index() {
    let bench = TestBroker::quick().await;
    let runs = Runs::new(&bench.streams);
    within(DEADLINE, runs.complete_index()).await.unwrap();
    assert!(within(DEADLINE, runs.last_ended()).await.unwrap().is_none());
    for number in 0..150 {
        within(DEADLINE, runs.create(&record(number))).await.unwrap();
    }
    assert_eq!(within(DEADLINE, runs.last_ended()).await.unwrap().unwrap().id, JobId::manual(149));
    // The oldest one is tried again, and fails with a long message.
    let (mut old, revision) = within(DEADLINE, runs.load(&JobId::manual(0))).await.unwrap().unwrap();
    (old.state, old.ended_at) = (RunState::Running, None);
    let revision = within(DEADLINE, runs.save(&old, revision)).await.unwrap();
    let found =
        |page: autovalidate::broker::RunPage| page.runs.into_iter().find(|run| run.id == old.id).unwrap();
    let all = within(DEADLINE, runs.page(None, usize::MAX)).await.unwrap();
    assert_eq!(all.runs.len(), 150, "it is there once");
    assert_eq!(found(all).state, RunState::Running);
    let error =
        RecordedError { message: "m".repeat(2_000), advice: String::new(), remedy: RetryDirective::Person };
    let failed = RunRecord {
        state: RunState::Failed,
        ended_at: Some(Timestamp::from_second(1_800_000_000).unwrap()),
        error: Some(error),
        ..old.clone()
    };
    within(DEADLINE, runs.save(&failed, revision)).await.unwrap();
    let summary = found(within(DEADLINE, runs.page(None, usize::MAX)).await.unwrap());
    assert_eq!(summary.state, RunState::Failed);
    assert!(summary.error.unwrap().len() <= 120);
    assert_eq!(within(DEADLINE, runs.last_ended()).await.unwrap().unwrap(), failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_index_names_the_run_that_published_last_and_the_last_scores() {
    let bench = TestBroker::quick().await;
    let runs = Runs::new(&bench.streams);
    let evaluated = |number: u64, accuracy: f64, published: bool| {
        let scores = serde_json::json!({ "overall": { "accuracy_at_1": accuracy } });
        let artifact = PublishedArtifact {
            path: format!("{number}.zip"),
            commit: String::new(),
            sha256: String::new(),
            size: 1,
        };
        RunRecord {
            metrics: serde_json::json!({ "held_out": { "all": { "before": scores, "after": scores } } }),
            artifact: published.then_some(artifact),
            state: if published { RunState::Done } else { RunState::Refused },
            ..record(number)
        }
    };
    let latest = || async { within(DEADLINE, runs.latest()).await.unwrap() };
    within(DEADLINE, runs.create(&evaluated(1, 0.5, true))).await.unwrap();
    assert_eq!(latest().await, LatestRuns::default(), "without an index, nothing is read");
    within(DEADLINE, runs.complete_index()).await.unwrap();
    let of = |latest: LatestRuns| {
        let second = latest.published_at.map(|at| at.as_second() - 1_700_000_000);
        (second, latest.published.map(|scores| scores.after), latest.candidate.map(|scores| scores.after))
    };
    assert_eq!(of(latest().await), (Some(1), Some(0.5), Some(0.5)), "the index was built with it");
    within(DEADLINE, runs.create(&evaluated(3, 0.75, true))).await.unwrap();
    within(DEADLINE, runs.create(&evaluated(4, 0.25, false))).await.unwrap();
    // A run that ended earlier is written later, and most runs have no scores.
    within(DEADLINE, runs.create(&evaluated(2, 0.6, true))).await.unwrap();
    within(DEADLINE, runs.create(&record(5))).await.unwrap();
    assert_eq!(of(latest().await), (Some(3), Some(0.75), Some(0.6)));
}
