//! Each run makes one model, even if it crashes, is stopped, is cancelled, or is overtaken.

use autovalidate::broker::{Event, JobRequest, RunState};
use autovalidate::report::RunReport;
use autovalidate::run::{AttemptEnding, Outcome, settle};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::support::DEADLINE;
use crate::support::run::{RunHarness, phase, stages};
use crate::support::within;

fn published(ending: &AttemptEnding) -> &str {
    match ending {
        AttemptEnding::Finished(finished) => match &finished.outcome {
            Outcome::Published(artifact) => &artifact.path,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_killed_after_packaging_publishes_the_same_zip_without_training_again() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let stop = CancellationToken::new();
    let job = harness.next().await;
    harness.killed_at(&pipeline, &job, "publish").await;
    drop(job);
    let before = harness.record(&id).await;
    assert_eq!(before.state, RunState::Running);
    let release = before.release.clone().unwrap();

    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &stop)).await;
    assert!(published(&ending).ends_with(&release), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let after = harness.record(&id).await;
    assert_eq!((after.state, after.attempts, after.failures), (RunState::Done, 2, 1));
    assert_eq!(stages(&after).iter().filter(|stage| **stage == "train").count(), 1, "{after:?}");
    assert_eq!(after.artifact.as_ref().unwrap().sha256, before.packages[0].sha256);
    let account = RunReport::of(&after).unwrap();
    assert_eq!(account.training.losses.len(), account.training.steps);
    assert!(account.onnx_parity.unwrap() > 0.9999);
    let report = &account.report;
    assert!(report.sanity.is_usable() && report.sanity.embeddings > 0 && report.sanity.slowdown.is_some());
    assert_eq!(
        report.held_out.all.original,
        Some(report.held_out.all.before.clone()),
        "no other model was live"
    );
    assert_eq!((report.newest.is_some(), report.legacy.is_some()), (true, false));
    assert_eq!(harness.releases().await.len(), 1);
    assert!(!harness.data("one").join("jobs").join(id.as_str()).exists());
    assert_eq!(harness.trigger.pending().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_judged_beside_the_first_ones_release_and_by_its_test() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let stop = CancellationToken::new();
    let mut records = Vec::new();
    for (round, base) in [None, Some(crate::support::tiny().display().to_string())].into_iter().enumerate() {
        let late = crate::support::broker::rows(9_001 + 100 * round as i64..=9_060 + 100 * round as i64);
        within(DEADLINE, harness.corrections.append(&late)).await.unwrap();
        let request = JobRequest { base_model: base, ..RunHarness::forced() };
        let id = within(DEADLINE, harness.jobs.enqueue(&request)).await.unwrap();
        let job = harness.next().await;
        let ending = within(DEADLINE, pipeline.run(&job, &stop)).await;
        published(&ending);
        within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
        records.push(harness.record(&id).await);
    }
    let report = |record| RunReport::of(record).unwrap().report;
    let (first, second) = (report(&records[0]), report(&records[1]));
    // The second run also started from the original model, and is compared with the first run's
    // release.
    let all = &second.held_out.all;
    assert_ne!(all.original, Some(all.before.clone()));
    assert_eq!(first.legacy, None);
    let legacy = second.legacy.unwrap();
    assert_eq!(legacy.all.before.overall.queries, second.gate.legacy.unwrap().queries);
    // The queries held out by hash are asked again. The first run's newest rows are not.
    let by_hash =
        first.new_typo.all.after.overall.queries + first.unseen_correction.all.after.overall.queries;
    assert_eq!(legacy.all.after.overall.queries, by_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_is_handed_back_and_goes_on_with_the_same_rows() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::long())).await.unwrap();
    let job = harness.next().await;
    let ending = harness.in_training(&pipeline, &job, async |stop| stop.cancel()).await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 0 }), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let handed_back = harness.record(&id).await;
    assert_eq!((handed_back.state, handed_back.failures), (RunState::Queued, 0));

    // Rows that arrive now belong to the next run, not to this one.
    let late = crate::support::broker::rows(9_001..=9_003);
    within(DEADLINE, harness.corrections.append(&late)).await.unwrap();
    let job = harness.next().await;
    let cancel = async |_: &CancellationToken| harness.jobs.cancel(&id).await.map(drop).unwrap();
    let ending = harness.in_training(&pipeline, &job, cancel).await;
    assert!(matches!(ending, AttemptEnding::Closed(RunState::Cancelled)), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let cancelled = harness.record(&id).await;
    assert_eq!(cancelled.state, RunState::Cancelled);
    assert_eq!(cancelled.dataset_hash, handed_back.dataset_hash);
    let sources: Vec<_> = cancelled
        .stages
        .iter()
        .filter(|stage| stage.stage == "fetch-data")
        .map(|stage| stage.figures["source"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sources, ["stream", "snapshot"]);
    assert_eq!(harness.jobs.outstanding().await.unwrap(), 0);
    assert_eq!(harness.releases().await.len(), 0);

    // A person may retry a cancelled run: the earlier cancellation does not stop the retry.
    within(DEADLINE, harness.jobs.retry(&id)).await.unwrap();
    let job = harness.next().await;
    assert_eq!(job.retry(), 1);
    let ending = harness.in_training(&pipeline, &job, async |stop| stop.cancel()).await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 0 }), "{ending:?}");
}

/// Returns `(step, steps)` of an event of the train stage, if the event has both.
fn step(message: &async_nats::Message) -> Option<(u64, u64)> {
    let event: Event = serde_json::from_slice(&message.payload).unwrap();
    let number = |name: &str| event.detail[name].as_u64();
    (event.stage == "train").then(|| Some((number("step")?, number("steps")?))).flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stopped_while_it_trains_goes_on_from_its_checkpoint_and_publishes() {
    const ENOUGH: u64 = 40;
    let harness = RunHarness::new().await;
    let mut pipeline = harness.pipeline(&harness.data("one"));
    // The attempt that resumes must draw the same synthetic typos.
    pipeline.plan.synthesis.variants = 1;
    let request = JobRequest { epochs: Some(20), batch_size: Some(8), ..RunHarness::forced() };
    let id = within(DEADLINE, harness.jobs.enqueue(&request)).await.unwrap();
    let mut events = harness.bench.listen("training.events.>").await;
    let job = harness.next().await;
    let stop = CancellationToken::new();
    let (ending, told) = within(DEADLINE, async {
        tokio::join!(pipeline.run(&job, &stop), async {
            loop {
                let message = events.next().await.unwrap();
                if let Some((step, steps)) = step(&message).filter(|(step, _)| *step >= ENOUGH) {
                    stop.cancel();
                    return (step, steps);
                }
            }
        })
    })
    .await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 0 }), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let folder = harness.data("one").join("jobs").join(id.as_str());
    assert!(folder.join("checkpoint").join("checkpoint.safetensors").exists());

    let mut events = harness.bench.listen("training.events.>").await;
    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
    published(&ending);
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let mut steps = Vec::new();
    within(DEADLINE, async {
        while let Some(message) = events.next().await {
            let event: Event = serde_json::from_slice(&message.payload).unwrap();
            if event.stage == "train" && event.detail["phase"] == "ended" {
                return;
            }
            steps.extend(step(&message));
        }
    })
    .await;
    let (done, all) = told;
    assert!(!steps.is_empty() && steps.iter().all(|(step, _)| *step > done), "{done} done, then {steps:?}");
    let record = harness.record(&id).await;
    assert_eq!((record.state, record.attempts, record.failures), (RunState::Done, 2, 0));
    // The summary covers the whole training, over both attempts.
    let trained: Vec<_> = record.stages.iter().filter(|stage| stage.stage == "train").collect();
    assert_eq!(trained.len(), 2);
    let training = &trained[1].figures["training"];
    assert_eq!(training["steps"].as_u64(), Some(all));
    let losses = training["losses"].as_array().unwrap().len() as u64;
    assert_eq!(losses, all.div_ceil(all.div_ceil(256)), "each stands for equally many steps");
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_on_one_run_the_later_finishes_and_the_earlier_stops() {
    let harness = RunHarness::new().await;
    let (one, other) = (harness.pipeline(&harness.data("one")), harness.pipeline(&harness.data("other")));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let mut events = harness.bench.listen("training.events.>").await;
    // One delivery used twice stands for two workers: one that lost its connection, and one that
    // got the job after it.
    let job = harness.next().await;
    let stop = CancellationToken::new();
    let (first, second) = within(DEADLINE, async {
        tokio::join!(one.run(&job, &stop), async {
            phase(&mut events, "load-base", "ended").await;
            other.run(&job, &stop).await
        })
    })
    .await;
    assert!(matches!(first, AttemptEnding::Overtaken), "{first:?}");
    published(&second);
    assert_eq!(harness.releases().await.len(), 1);
    let record = harness.record(&id).await;
    assert_eq!((record.state, record.attempts), (RunState::Done, 2));
    // A worker that gets the job again finds that the run has ended.
    let third = within(DEADLINE, one.run(&job, &stop)).await;
    assert_eq!(published(&third), published(&second));
    assert_eq!(harness.record(&id).await, record);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_keeps_dying_is_given_up_with_the_reason_and_can_be_retried() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let (mut record, revision) = harness.runs.load(&id).await.unwrap().unwrap();
    (record.state, record.failures, record.attempts) = (RunState::Running, 4, 4);
    harness.runs.save(&record, revision).await.unwrap();
    let job = harness.next().await;
    let stop = CancellationToken::new();
    let ending = within(DEADLINE, pipeline.run(&job, &stop)).await;
    assert!(matches!(ending, AttemptEnding::Closed(RunState::Failed)), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let dead = harness.record(&id).await;
    assert_eq!(dead.error.unwrap().remedy, autovalidate::failure::RetryDirective::Person);
    assert_eq!(harness.jobs.outstanding().await.unwrap(), 0);

    within(DEADLINE, harness.jobs.retry(&id)).await.unwrap();
    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &stop)).await;
    published(&ending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_died_after_packaging_still_publishes_nothing() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let request = JobRequest { dry_run: true, ..RunHarness::forced() };
    within(DEADLINE, harness.jobs.enqueue(&request)).await.unwrap();
    let job = harness.next().await;
    let stop = CancellationToken::new();
    harness.killed_at(&pipeline, &job, "clean-up").await;
    let ending = within(DEADLINE, pipeline.run(&job, &stop)).await;
    assert!(
        matches!(&ending, AttemptEnding::Finished(finished) if finished.outcome == Outcome::DryRun),
        "{ending:?}"
    );
    assert_eq!(harness.releases().await.len(), 0);
}
