//! Run records change only by compare-and-swap.

use autovalidate::broker::{BrokerError, JobId, JobRequest, RunRecord, RunState, Runs};
use jiff::Timestamp;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::within;

fn record(id: &str, second: i64) -> RunRecord {
    let request = JobRequest { epochs: Some(3), ..JobRequest::default() };
    RunRecord::new(id.parse().unwrap(), request, Timestamp::from_second(second).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_save_is_refused() {
    let bench = TestBroker::new().await;
    let runs = Runs::new(&bench.streams);
    let mut run = record("manual-1", 10);
    let created = within(DEADLINE, runs.create(&run)).await.unwrap();
    let twice = within(DEADLINE, runs.create(&run)).await.unwrap_err();
    assert!(matches!(twice, BrokerError::Exists { .. }), "{twice:?}");

    run.state = RunState::Running;
    let saved = within(DEADLINE, runs.save(&run, created)).await.unwrap();
    let stale = within(DEADLINE, runs.save(&run, created)).await.unwrap_err();
    assert!(matches!(stale, BrokerError::Conflict { .. }), "{stale:?}");
    let (loaded, revision) = within(DEADLINE, runs.load(&run.id)).await.unwrap().unwrap();
    assert_eq!(loaded, run);
    assert_eq!(revision, saved);
    let unknown: JobId = "manual-2".parse().unwrap();
    assert!(within(DEADLINE, runs.load(&unknown)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_newest_first_and_a_foreign_value_hides_none() {
    let bench = TestBroker::new().await;
    let runs = Runs::new(&bench.streams);
    assert!(within(DEADLINE, runs.list()).await.unwrap().is_empty());
    for (id, second) in [("a", 5), ("b", 9), ("c", 7)] {
        within(DEADLINE, runs.create(&record(id, second))).await.unwrap();
    }
    let bucket = bench.connection.jetstream().get_key_value("training_runs").await.unwrap();
    bucket.put("foreign", "not a record".into()).await.unwrap();
    let listed = within(DEADLINE, runs.list()).await.unwrap();
    let ids: Vec<_> = listed.iter().map(|run| run.id.as_str()).collect();
    assert_eq!(ids, ["b", "c", "a"]);
    let foreign = within(DEADLINE, runs.load(&"foreign".parse().unwrap())).await.unwrap_err();
    assert!(matches!(foreign, BrokerError::Unreadable { .. }), "{foreign:?}");
}
