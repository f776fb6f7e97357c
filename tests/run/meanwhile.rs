//! The live version changes during a run: another release is published, or a person rolls back to
//! an older version.

use autovalidate::broker::{JobId, JobRequest, RunRecord, RunState};
use autovalidate::hub::{INDEX, ReleaseName, ReplacePolicy, Upload};
use autovalidate::report::RunReport;
use autovalidate::run::{AttemptEnding, Outcome, Pipeline, roll_back, settle};
use autovalidate_finetune::model::archive;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::run::{RunHarness, repository, stages};
use crate::support::within;
use crate::support::{DEADLINE, tiny};

/// Enqueues a run, and works on it until it ends.
async fn run(harness: &RunHarness, pipeline: &Pipeline) -> (JobId, AttemptEnding) {
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    (id, go_on(harness, pipeline).await)
}

/// Works on the next job of the queue, and returns how the attempt ended.
async fn go_on(harness: &RunHarness, pipeline: &Pipeline) -> AttemptEnding {
    let job = harness.next().await;
    let ending = within(DEADLINE, pipeline.run(&job, &CancellationToken::new())).await;
    let told = match &ending {
        AttemptEnding::Finished(finished) => AttemptEnding::Finished(finished.clone()),
        other => panic!("{other:?}"),
    };
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    told
}

fn outcome(ending: &AttemptEnding) -> &Outcome {
    match ending {
        AttemptEnding::Finished(finished) => &finished.outcome,
        other => panic!("{other:?}"),
    }
}

fn count(record: &RunRecord, stage: &str) -> usize {
    stages(record).iter().filter(|name| **name == stage).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rollback_a_run_that_began_before_is_published_only_when_a_person_asks() {
    let harness = RunHarness::new().await;
    let data = harness.data("one");
    let pipeline = harness.pipeline(&data);
    run(&harness, &pipeline).await;
    let first = harness.releases().await[0].name.version().to_owned();
    run(&harness, &pipeline).await;

    let request = JobRequest { epochs: Some(20), batch_size: Some(8), ..RunHarness::forced() };
    let id = within(DEADLINE, harness.jobs.enqueue(&request)).await.unwrap();
    let job = harness.next().await;
    let ending = harness.in_training(&pipeline, &job, async |stop| stop.cancel()).await;
    assert!(matches!(ending, AttemptEnding::Retry { failures: 0 }), "{ending:?}");
    within(DEADLINE, settle(job, ending, &harness.trigger)).await.unwrap();
    let (repository, beside) = (repository(&harness.hub), data.join("rollbacks"));
    let back = roll_back(&repository, &first, &beside, jiff::Timestamp::now());
    let back = within(DEADLINE, back).await.unwrap().release;

    let ending = go_on(&harness, &pipeline).await;
    assert_eq!(*outcome(&ending), Outcome::Withheld);
    let held = harness.record(&id).await;
    assert_eq!((held.state, held.failures, harness.releases().await.len()), (RunState::Refused, 0, 3));
    let error = held.error.clone().unwrap();
    assert!(error.message.contains(&first) && error.message.contains(back.version()), "{error:?}");
    assert!(error.advice.contains(&format!("autovalidate runs retry {id}")), "{error:?}");
    assert_eq!(harness.trigger.pending().await.unwrap(), 0, "nothing starts by itself");
    assert_eq!(held.packages.last().unwrap().instead_of.as_deref(), Some(back.as_str()));
    assert_eq!(harness.repository_index().await.live.unwrap().version, back.version());

    within(DEADLINE, harness.jobs.retry(&id)).await.unwrap();
    let ending = go_on(&harness, &pipeline).await;
    assert!(matches!(outcome(&ending), Outcome::Published(_)), "{ending:?}");
    let done = harness.record(&id).await;
    assert_eq!((done.state, done.error), (RunState::Done, None));
    assert_eq!(done.packages, held.packages, "the zip of the held run");
    assert_eq!(harness.releases().await.len(), 4);
}

/// Returns a zip of the tiny model, as another trainer might have published it.
fn zip_of_another(harness: &RunHarness, name: &ReleaseName) -> Vec<u8> {
    let packed = harness.data("other.zip");
    archive::pack(&tiny(), name.folder(), &packed).unwrap();
    std::fs::read(packed).unwrap()
}

fn later() -> ReleaseName {
    "finetuned-embedding-model-20990101000000.zip".parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_a_release_that_comes_in_between_the_model_is_judged_again() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    run(&harness, &pipeline).await;
    harness.hub.faults().rival(later().path(), zip_of_another(&harness, &later()));
    let (id, ending) = run(&harness, &pipeline).await;
    assert!(harness.hub.faults().spent());
    let Outcome::Published(artifact) = outcome(&ending) else { panic!("{ending:?}") };
    assert_eq!(artifact.path, "models/finetuned-embedding-model-20990101000001.zip");
    let record = harness.record(&id).await;
    assert_eq!((record.state, record.attempts, record.failures), (RunState::Done, 1, 0));
    let counts = ["train", "evaluate", "gate", "package", "publish"].map(|stage| count(&record, stage));
    assert_eq!(counts, [1, 2, 2, 2, 2]);
    let evaluated: Vec<_> = record.stages.iter().filter(|stage| stage.stage == "evaluate").collect();
    let before = |at: usize| &evaluated[at].figures["held_out"]["all"]["before"];
    assert_ne!(before(0), before(1));
    // The rival release is the model from before any training.
    let all = RunReport::of(&record).unwrap().report.held_out.all;
    assert_eq!(all.original, Some(all.before));
    assert_eq!(record.packages.len(), 1);
    assert_eq!(record.packages[0].instead_of.as_deref(), Some(later().as_str()));
    assert_eq!(harness.releases().await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_that_waited_is_judged_again_beside_what_was_published_meanwhile() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let job = harness.next().await;
    harness.killed_at(&pipeline, &job, "publish").await;
    drop(job);
    let archive = harness.data("other.zip");
    archive::pack(&tiny(), later().folder(), &archive).unwrap();
    let upload = Upload {
        release: later(),
        archive,
        extras: Vec::new(),
        listed: None,
        replaces: ReplacePolicy::Only(None),
        summary: "by another program".to_owned(),
        progress: None,
    };
    let repository = repository(&harness.hub);
    within(DEADLINE, repository.publish(upload)).await.unwrap();

    let ending = go_on(&harness, &pipeline).await;
    assert!(matches!(outcome(&ending), Outcome::Published(_)), "{ending:?}");
    let record = harness.record(&id).await;
    assert_eq!((record.state, record.attempts), (RunState::Done, 2));
    assert_eq!(["evaluate", "gate", "package"].map(|stage| count(&record, stage)), [2, 2, 2]);
    assert_eq!(record.packages[0].instead_of.as_deref(), Some(later().as_str()));
    assert!(record.artifact.unwrap().path > later().path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_between_the_last_look_and_the_commit_is_noticed() {
    let harness = RunHarness::new().await;
    let pipeline = harness.pipeline(&harness.data("one"));
    run(&harness, &pipeline).await;
    let mut index = serde_json::to_value(harness.repository_index().await).unwrap();
    let mut entry = index["models"][0].clone();
    let first = entry["version"].clone();
    (entry["version"], entry["path"]) = (json!(later().version()), json!(later().path()));
    entry["rollback_of"] = first.clone();
    index["models"].as_array_mut().unwrap().insert(0, entry);
    harness.hub.faults().rival(INDEX, index.to_string());
    harness.hub.faults().rival(later().path(), zip_of_another(&harness, &later()));
    let (id, ending) = run(&harness, &pipeline).await;
    assert!(harness.hub.faults().spent());
    assert_eq!(*outcome(&ending), Outcome::Withheld);
    let record = harness.record(&id).await;
    assert_eq!(record.state, RunState::Refused);
    assert!(record.error.unwrap().message.contains(first.as_str().unwrap()));
    assert_eq!(harness.releases().await.len(), 2);
    // A rollback from before the next run does not block that run.
    let (_, ending) = run(&harness, &pipeline).await;
    assert!(matches!(outcome(&ending), Outcome::Published(_)), "{ending:?}");
}
