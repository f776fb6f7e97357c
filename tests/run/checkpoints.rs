//! Checkpoints on the broker: a trainer on another disk resumes the run of a killed one.

use autovalidate::broker::{CheckpointStore, RunRecord, RunState};
use autovalidate::hub::Digest;
use autovalidate_finetune::model::archive;
use nix::sys::signal::Signal;
use serde_json::json;

use super::processes::{SharedStandIns, event, is_progress, record};
use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::run::repository;
use crate::support::tiny;
use crate::support::within;

const SHARED: [(&str, &str); 3] =
    [("CHECKPOINT_STORE", "jetstream"), ("CHECKPOINT_EVERY", "100ms"), ("SYNTHESIS_VARIANTS", "1")];

/// Returns a request for a training of a few seconds, always from the same base model.
fn request() -> String {
    json!({ "force": true, "epochs": 30, "batch_size": 8, "base_model": tiny() }).to_string()
}

/// Returns the SHA-256 of the weights that a run has published.
async fn weights(stage: &SharedStandIns, record: &RunRecord) -> String {
    let repository = repository(&stage.hub);
    let newest = within(DEADLINE, repository.newest()).await.unwrap().unwrap();
    assert_eq!(newest.path(), record.artifact.as_ref().unwrap().path);
    let folder = tempfile::tempdir().unwrap();
    let zip = within(DEADLINE, repository.download(&newest, folder.path())).await.unwrap();
    let model = archive::unpack(&zip, &folder.path().join("unpacked")).unwrap();
    Digest::of_file(&model.join("model.safetensors")).unwrap().0.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trainer_with_another_disk_goes_on_from_a_killed_ones_checkpoint_and_ends_with_the_same_weights() {
    let (bench, stage) = (TestBroker::new().await, SharedStandIns::new().await);
    within(DEADLINE, bench.corrections().await.append(&crate::support::run::rows())).await.unwrap();
    let mut events = bench.listen("training.events.>").await;
    let client = bench.connection.client();
    let store = CheckpointStore::new(&bench.streams);
    let trainer = |name| stage.worker_with(&bench.url(), "trainer", name, &SHARED);

    let id = bench.requested(1).await;
    let mut undisturbed = trainer("undisturbed");
    client.publish("training.jobs", request().into()).await.unwrap();
    event(&mut events, |event| event.job == id && event.stage == "ended").await;
    let whole = record(&bench.streams, &id).await;
    assert_eq!(whole.state, RunState::Done, "{:?}\n{}", whole.error, undisturbed.log());
    let expected = weights(&stage, &whole).await;
    undisturbed.signal(Signal::SIGTERM);
    assert_eq!(undisturbed.exit_code().await, Some(0));

    let id = bench.requested(2).await;
    let mut killed = trainer("killed");
    client.publish("training.jobs", request().into()).await.unwrap();
    let stored = within(DEADLINE, async {
        loop {
            if let Some(step) = store.step(&id).await.unwrap() {
                return step;
            }
        }
    })
    .await;
    killed.signal(Signal::SIGKILL);
    killed.exit_code().await;
    let mut events = bench.listen("training.events.>").await;
    let second = trainer("second");
    let first_step = event(&mut events, |event| is_progress(event, &id)).await;
    assert!(first_step.detail["step"].as_u64().unwrap() > stored, "{stored} stored, then {first_step:?}");
    event(&mut events, |event| event.job == id && event.stage == "ended").await;
    let resumed = record(&bench.streams, &id).await;
    assert_eq!(
        (resumed.state, resumed.attempts),
        (RunState::Done, 2),
        "{:?}\n{}",
        resumed.error,
        second.log()
    );
    assert!(second.log().contains("the run resumes from its checkpoint"), "{}", second.log());
    assert_ne!(resumed.artifact, whole.artifact);
    assert_eq!(weights(&stage, &resumed).await, expected);

    // An ended run leaves no checkpoint in the store.
    assert_eq!(store.step(&id).await.unwrap(), None);
    let bucket = "OBJ_training_checkpoints";
    let bucket = bench.connection.jetstream().get_stream(bucket).await.unwrap();
    let chunks = bucket.info_with_subjects("$O.training_checkpoints.C.>").await.unwrap();
    assert_eq!(futures::TryStreamExt::try_collect::<Vec<_>>(chunks).await.unwrap(), []);
}
