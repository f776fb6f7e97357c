//! One run, one model: whatever crashes, stops, cancels or overtakes it.

use autovalidate::broker::{Event, JobRequest, RunState};
use autovalidate::report::RunReport;
use autovalidate::run::{AttemptEnding, Outcome, settle};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::site::{SOON, Site, phase, stages};
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
    let site = Site::new().await;
    let pipeline = site.pipeline(&site.data("one"));
    let id = within(SOON, site.jobs.enqueue(&Site::forced())).await.unwrap();
    let mut events = site.bench.listen("training.events.>").await;
    let stop = CancellationToken::new();
    let job = site.next().await;
    {
        let run = std::pin::pin!(pipeline.run(&job, &stop));
        tokio::select! {
            ending = run => panic!("{ending:?}"),
            () = phase(&mut events, "publish", "started") => {}
        }
    }
    drop(job);
    let before = site.record(&id).await;
    assert_eq!(before.state, RunState::Running);
    let release = before.release.clone().unwrap();

    let job = site.next().await;
    let ending = within(SOON, pipeline.run(&job, &stop)).await;
    assert!(published(&ending).ends_with(&release), "{ending:?}");
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let after = site.record(&id).await;
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
        "nothing else was live"
    );
    assert_eq!((report.newest.is_some(), report.legacy.is_some()), (true, false));
    assert_eq!(site.releases().await.len(), 1);
    assert!(!site.data("one").join("jobs").join(id.as_str()).exists());
    assert_eq!(site.trigger.pending().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_run_is_judged_beside_the_first_ones_release_and_by_its_test() {
    let site = Site::new().await;
    let pipeline = site.pipeline(&site.data("one"));
    let stop = CancellationToken::new();
    let mut records = Vec::new();
    for (round, base) in [None, Some(super::site::tiny().display().to_string())].into_iter().enumerate() {
        let late = crate::broker::setup::rows(9_001 + 100 * round as i64..=9_060 + 100 * round as i64);
        within(SOON, site.corrections.append(&late)).await.unwrap();
        let request = JobRequest { base_model: base, ..Site::forced() };
        let id = within(SOON, site.jobs.enqueue(&request)).await.unwrap();
        let job = site.next().await;
        let ending = within(SOON, pipeline.run(&job, &stop)).await;
        published(&ending);
        within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
        records.push(site.record(&id).await);
    }
    let report = |record| RunReport::of(record).unwrap().report;
    let (first, second) = (report(&records[0]), report(&records[1]));
    // The second run started from the original model again, and is compared with what the first one published.
    let all = &second.held_out.all;
    assert_ne!(all.original, Some(all.before.clone()));
    assert_eq!(first.legacy, None);
    let legacy = second.legacy.unwrap();
    assert_eq!(legacy.all.before.overall.queries, second.gate.legacy.unwrap().queries);
    // What the first run asked by hash is asked again; what was new to it is not any more.
    let by_hash =
        first.new_typo.all.after.overall.queries + first.unseen_correction.all.after.overall.queries;
    assert_eq!(legacy.all.after.overall.queries, by_hash);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_run_is_handed_back_and_goes_on_with_the_same_rows() {
    let site = Site::new().await;
    let pipeline = site.pipeline(&site.data("one"));
    let id = within(SOON, site.jobs.enqueue(&Site::long())).await.unwrap();
    let job = site.next().await;
    let ending = site.in_training(&pipeline, &job, async |stop| stop.cancel()).await;
    assert!(matches!(ending, AttemptEnding::Again { failures: 0 }), "{ending:?}");
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let handed_back = site.record(&id).await;
    assert_eq!((handed_back.state, handed_back.failures), (RunState::Queued, 0));

    // Rows that come meanwhile count for the next run, not for this one.
    let late = crate::broker::setup::rows(9_001..=9_003);
    within(SOON, site.corrections.append(&late)).await.unwrap();
    let job = site.next().await;
    let cancel = async |_: &CancellationToken| site.jobs.cancel(&id).await.map(drop).unwrap();
    let ending = site.in_training(&pipeline, &job, cancel).await;
    assert!(matches!(ending, AttemptEnding::Closed(RunState::Cancelled)), "{ending:?}");
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let cancelled = site.record(&id).await;
    assert_eq!(cancelled.state, RunState::Cancelled);
    assert_eq!(cancelled.dataset_hash, handed_back.dataset_hash);
    let sources: Vec<_> = cancelled
        .stages
        .iter()
        .filter(|stage| stage.stage == "fetch-data")
        .map(|stage| stage.figures["source"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(sources, ["stream", "snapshot"]);
    assert_eq!(site.jobs.outstanding().await.unwrap(), 0);
    assert_eq!(site.releases().await.len(), 0);

    // A person changes his mind: the cancellation doesn't stop the retry.
    within(SOON, site.jobs.retry(&id)).await.unwrap();
    let job = site.next().await;
    assert_eq!(job.retry(), 1);
    let ending = site.in_training(&pipeline, &job, async |stop| stop.cancel()).await;
    assert!(matches!(ending, AttemptEnding::Again { failures: 0 }), "{ending:?}");
}

/// The step and the number of steps that an event of the train stage tells, if it tells any.
fn step(message: &async_nats::Message) -> Option<(u64, u64)> {
    let event: Event = serde_json::from_slice(&message.payload).unwrap();
    let number = |name: &str| event.detail[name].as_u64();
    (event.stage == "train").then(|| Some((number("step")?, number("steps")?))).flatten()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_stopped_while_it_trains_goes_on_from_its_checkpoint_and_publishes() {
    const ENOUGH: u64 = 40;
    let site = Site::new().await;
    let mut pipeline = site.pipeline(&site.data("one"));
    // What is made up must be the same in the attempt that goes on.
    pipeline.plan.synthesis.variants = 1;
    let request = JobRequest { epochs: Some(20), batch_size: Some(8), ..Site::forced() };
    let id = within(SOON, site.jobs.enqueue(&request)).await.unwrap();
    let mut events = site.bench.listen("training.events.>").await;
    let job = site.next().await;
    let stop = CancellationToken::new();
    let (ending, told) = within(SOON, async {
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
    assert!(matches!(ending, AttemptEnding::Again { failures: 0 }), "{ending:?}");
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let folder = site.data("one").join("jobs").join(id.as_str());
    assert!(folder.join("checkpoint").join("checkpoint.safetensors").exists());

    let mut events = site.bench.listen("training.events.>").await;
    let job = site.next().await;
    let ending = within(SOON, pipeline.run(&job, &CancellationToken::new())).await;
    published(&ending);
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let mut steps = Vec::new();
    within(SOON, async {
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
    let record = site.record(&id).await;
    assert_eq!((record.state, record.attempts, record.failures), (RunState::Done, 2, 0));
    // The summary is of the whole training, whoever did it.
    let trained: Vec<_> = record.stages.iter().filter(|stage| stage.stage == "train").collect();
    assert_eq!(trained.len(), 2);
    assert_eq!(trained[1].figures["training"]["losses"].as_array().unwrap().len() as u64, all);
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_workers_on_one_run_the_later_finishes_and_the_earlier_stops() {
    let site = Site::new().await;
    let (one, other) = (site.pipeline(&site.data("one")), site.pipeline(&site.data("other")));
    let id = within(SOON, site.jobs.enqueue(&Site::forced())).await.unwrap();
    let mut events = site.bench.listen("training.events.>").await;
    // The same delivery twice is what a worker holds that was cut off and another that was given the job.
    let job = site.next().await;
    let stop = CancellationToken::new();
    let (first, second) = within(SOON, async {
        tokio::join!(one.run(&job, &stop), async {
            phase(&mut events, "load-base", "ended").await;
            other.run(&job, &stop).await
        })
    })
    .await;
    assert!(matches!(first, AttemptEnding::Overtaken), "{first:?}");
    published(&second);
    assert_eq!(site.releases().await.len(), 1);
    let record = site.record(&id).await;
    assert_eq!((record.state, record.attempts), (RunState::Done, 2));
    // Whoever gets the job once more finds that it has ended.
    let third = within(SOON, one.run(&job, &stop)).await;
    assert_eq!(published(&third), published(&second));
    assert_eq!(site.record(&id).await, record);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_keeps_dying_is_given_up_with_the_reason_and_can_be_retried() {
    let site = Site::new().await;
    let pipeline = site.pipeline(&site.data("one"));
    let id = within(SOON, site.jobs.enqueue(&Site::forced())).await.unwrap();
    let (mut record, revision) = site.runs.load(&id).await.unwrap().unwrap();
    (record.state, record.failures, record.attempts) = (RunState::Running, 4, 4);
    site.runs.save(&record, revision).await.unwrap();
    let job = site.next().await;
    let stop = CancellationToken::new();
    let ending = within(SOON, pipeline.run(&job, &stop)).await;
    assert!(matches!(ending, AttemptEnding::Closed(RunState::Failed)), "{ending:?}");
    within(SOON, settle(job, ending, &site.trigger)).await.unwrap();
    let dead = site.record(&id).await;
    assert_eq!(dead.error.unwrap().remedy, autovalidate::failure::RetryDirective::Person);
    assert_eq!(site.jobs.outstanding().await.unwrap(), 0);

    within(SOON, site.jobs.retry(&id)).await.unwrap();
    let job = site.next().await;
    let ending = within(SOON, pipeline.run(&job, &stop)).await;
    published(&ending);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_that_died_after_packaging_still_publishes_nothing() {
    let site = Site::new().await;
    let pipeline = site.pipeline(&site.data("one"));
    let request = JobRequest { dry_run: true, ..Site::forced() };
    within(SOON, site.jobs.enqueue(&request)).await.unwrap();
    let mut events = site.bench.listen("training.events.>").await;
    let job = site.next().await;
    let stop = CancellationToken::new();
    {
        let run = std::pin::pin!(pipeline.run(&job, &stop));
        tokio::select! {
            ending = run => panic!("{ending:?}"),
            () = phase(&mut events, "clean-up", "started") => {}
        }
    }
    let ending = within(SOON, pipeline.run(&job, &stop)).await;
    assert!(
        matches!(&ending, AttemptEnding::Finished(finished) if finished.outcome == Outcome::DryRun),
        "{ending:?}"
    );
    assert_eq!(site.releases().await.len(), 0);
}
