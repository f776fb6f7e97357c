//! Checkpoint store: a checkpoint is complete or absent, each run has at most one, and the bucket
//! grows only as needed.

use std::time::Duration;

use async_nats::jetstream::stream::Config;
use autovalidate::broker::{BrokerError, CheckpointStore, JobId};
use futures::TryStreamExt;
use jiff::Timestamp;

use crate::support::DEADLINE;
use crate::support::broker::TestBroker;
use crate::support::crash::crash_at;
use crate::support::within;

const STREAM: &str = "OBJ_training_checkpoints";

async fn stream(bench: &TestBroker) -> async_nats::jetstream::stream::Stream {
    within(DEADLINE, bench.connection.jetstream().get_stream(STREAM)).await.unwrap()
}

/// Returns the number of uploads that have chunks in the bucket.
async fn uploads(bench: &TestBroker) -> usize {
    let chunks = stream(bench).await.info_with_subjects("$O.training_checkpoints.C.>").await.unwrap();
    within(DEADLINE, chunks.try_collect::<Vec<_>>()).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_checkpoint_of_a_run_replaces_the_one_before_and_goes_with_its_run() {
    let bench = TestBroker::new().await;
    let store = CheckpointStore::new(&bench.streams);
    let (one, other) = (JobId::manual(1), JobId::manual(2));
    assert_eq!(within(DEADLINE, store.step(&one)).await.unwrap(), None);
    let (file, back) = (bench.folder.path().join("file"), bench.folder.path().join("back"));
    for (id, step, length) in [(&one, 5, 300_000), (&other, 1, 10), (&one, 9, 500_000)] {
        std::fs::write(&file, vec![step as u8; length]).unwrap();
        within(DEADLINE, store.put(id, step, &file)).await.unwrap();
        assert_eq!(within(DEADLINE, store.step(id)).await.unwrap(), Some(step));
        within(DEADLINE, store.fetch(id, &back)).await.unwrap();
        assert_eq!(std::fs::read(&back).unwrap(), vec![step as u8; length]);
    }
    assert_eq!(uploads(&bench).await, 2);
    within(DEADLINE, store.forget(&one, Timestamp::now())).await.unwrap();
    within(DEADLINE, store.forget(&one, Timestamp::now())).await.unwrap();
    assert_eq!(within(DEADLINE, store.step(&one)).await.unwrap(), None);
    assert!(within(DEADLINE, store.fetch(&one, &back)).await.is_err());
    assert_eq!(within(DEADLINE, store.step(&other)).await.unwrap(), Some(1));
    assert_eq!(uploads(&bench).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_off_anywhere_leaves_the_one_before_and_its_rest_is_swept() {
    let bench = TestBroker::new().await;
    let store = CheckpointStore::new(&bench.streams);
    let (id, file, back) =
        (JobId::manual(1), bench.folder.path().join("file"), bench.folder.path().join("back"));
    std::fs::write(&file, vec![1; 600_000]).unwrap();
    within(DEADLINE, store.put(&id, 1, &file)).await.unwrap();
    let mut cut_off = 0;
    for point in 0..60 {
        std::fs::write(&file, vec![2; 600_000]).unwrap();
        let ended = within(DEADLINE, crash_at(point, store.put(&id, 2, &file))).await;
        cut_off += u32::from(ended.is_none());
        // The last message of an upload that was cut off may still arrive between the two reads.
        let mut step = within(DEADLINE, store.step(&id)).await.unwrap().unwrap();
        loop {
            within(DEADLINE, store.fetch(&id, &back)).await.unwrap();
            let now = within(DEADLINE, store.step(&id)).await.unwrap().unwrap();
            if std::mem::replace(&mut step, now) == now {
                break;
            }
        }
        assert!(std::fs::read(&back).unwrap() == vec![step as u8; 600_000], "cut off at {point}");
        if ended.is_some() {
            assert_eq!(step, 2);
            break;
        }
        std::fs::write(&file, vec![1; 600_000]).unwrap();
        within(DEADLINE, store.put(&id, 1, &file)).await.unwrap();
    }
    assert!(cut_off > 5, "{cut_off}");
    // Chunks without an object may belong to an upload in progress, but not after an hour.
    let now = Timestamp::now();
    within(DEADLINE, store.forget(&id, now)).await.unwrap();
    assert!(uploads(&bench).await > 0);
    within(DEADLINE, store.forget(&id, now + Duration::from_secs(2 * 3600))).await.unwrap();
    assert_eq!(uploads(&bench).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_bucket_grows_with_what_it_is_for_and_what_is_damaged_is_not_taken() {
    let bench = TestBroker::new().await;
    let store = CheckpointStore::new(&bench.streams);
    let (id, file) = (JobId::manual(1), bench.folder.path().join("file"));
    let mut rooms = Vec::new();
    for megabytes in [1, 5, 1] {
        std::fs::write(&file, vec![7; megabytes << 20]).unwrap();
        within(DEADLINE, store.put(&id, 1, &file)).await.unwrap();
        let config = stream(&bench).await.cached_info().config.clone();
        rooms.push((config.max_bytes >> 20, config.max_age.as_secs() / 3600));
        // An operator may drop checkpoints earlier.
        let shorter = Config { max_age: Duration::from_secs(24 * 3600), ..config };
        within(DEADLINE, bench.connection.jetstream().update_stream(shorter)).await.unwrap();
    }
    assert_eq!(rooms, [(16, 14 * 24), (32, 24), (32, 24)]);
    let mut chunks = stream(&bench).await.info_with_subjects("$O.training_checkpoints.C.>").await.unwrap();
    let (subject, _) = within(DEADLINE, chunks.try_next()).await.unwrap().unwrap();
    let first = stream(&bench).await.direct_get_next_for_subject(&subject, None).await.unwrap();
    within(DEADLINE, stream(&bench).await.delete_message(first.sequence)).await.unwrap();
    let error = within(DEADLINE, store.fetch(&id, &bench.folder.path().join("back"))).await.unwrap_err();
    assert!(matches!(error, BrokerError::Request { .. }), "{error:?}");
}
