//! Trouble that passes by itself while a run is under way: it costs time, and no run.

use std::collections::BTreeSet;

use autovalidate::broker::RunState;
use autovalidate::failure::RetryDirective;
use autovalidate::run::{AttemptEnding, Pipeline, erase_snapshots};
use axum::http::StatusCode;
use tokio_util::sync::CancellationToken;

use crate::support::run::RunHarness;
use crate::support::{DEADLINE, within};

/// Works on a run whose Hub refuses the token in its first `refused` attempts, and returns the endings of
/// all attempts, and the state of the run.
async fn attempts(
    harness: &RunHarness,
    pipeline: &Pipeline,
    refused: usize,
) -> (Vec<AttemptEnding>, RunState) {
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let job = harness.next().await;
    harness.hub.faults().refuse(Some(StatusCode::FORBIDDEN));
    let mut endings = Vec::new();
    loop {
        if endings.len() == refused {
            harness.hub.faults().refuse(None);
        }
        // Not settled, so that the test does not wait for the pause between two attempts.
        endings.push(within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await);
        let record = harness.record(&id).await;
        if endings.len() <= refused {
            assert_eq!(record.error.unwrap().remedy, RetryDirective::Person, "the error is told at once");
        }
        if record.state != RunState::Queued {
            return (endings, record.state);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_hub_refuses_for_a_moment_costs_an_attempt_and_no_run() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let (endings, state) = attempts(&harness, &pipeline, 2).await;
    assert!(matches!(endings[0], AttemptEnding::Retry { failures: 1 }), "{endings:?}");
    assert!(matches!(endings[1], AttemptEnding::Retry { failures: 2 }), "{endings:?}");
    assert_eq!((endings.len(), state), (3, RunState::Done));
    assert_eq!(harness.releases().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_hub_goes_on_refusing_fails_the_run_after_three_attempts() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let (endings, state) = attempts(&harness, &pipeline, 9).await;
    assert_eq!((endings.len(), state), (3, RunState::Failed), "{endings:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_while_nobody_knows_whether_it_published_is_looked_up() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let job = harness.next().await;
    harness.hub.faults().lose_commit_answer_and_refuse(StatusCode::FORBIDDEN);
    let stop = CancellationToken::new();
    let work = || within(DEADLINE, pipeline.run(&job, &stop));
    let ending = work().await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 1 }), "{ending:?}");

    // The answer of the commit was lost, and the run waits for its next attempt.
    assert_eq!(harness.jobs.cancel(&id).await.unwrap(), RunState::Running, "a trainer looks first");
    let ending = work().await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 2 }), "the Hub can't be asked: {ending:?}");
    harness.hub.faults().refuse(None);
    let ending = work().await;
    assert!(matches!(ending, AttemptEnding::Finished(_)), "{ending:?}");
    let record = harness.record(&id).await;
    assert_eq!(record.state, RunState::Done);
    assert_eq!(record.artifact.unwrap().path, harness.releases().await[0].path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_failed_while_nobody_knew_whether_it_published_is_looked_up_by_the_next_run() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let job = harness.next().await;
    harness.hub.faults().lose_commit_answer_and_refuse(StatusCode::FORBIDDEN);
    for _ in 0..3 {
        within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
    }
    let failed = harness.record(&id).await;
    assert_eq!((failed.state, failed.artifact), (RunState::Failed, None));
    job.complete().await.unwrap();

    harness.hub.faults().refuse(None);
    let next = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!(next.state, RunState::Done, "{:?}", next.error);
    let found = harness.record(&id).await;
    assert_eq!((found.state, &found.error), (RunState::Done, &None));
    let live: BTreeSet<String> = harness.releases().await.iter().map(|release| release.path()).collect();
    let recorded = [found, next].map(|record| record.artifact.unwrap().path);
    assert_eq!(live, BTreeSet::from(recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_erased_while_a_run_stores_its_rows_cost_no_run() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let pipeline = harness.pipeline(&data);
    let request = RunHarness::forced();
    // The listener of the same worker does this for each row that was deleted from the table.
    let erasing = async {
        loop {
            erase_snapshots(&data, BTreeSet::from([1])).await.unwrap();
        }
    };
    let record = tokio::select! {
        record = harness.ended(&pipeline, &request) => record,
        () = erasing => unreachable!(),
    };
    assert_eq!((record.state, record.failures), (RunState::Done, 0), "{:?}", record.error);
    assert_eq!(erase_snapshots(&data, BTreeSet::from([1])).await.unwrap(), 0, "the row is on no disk");
}
