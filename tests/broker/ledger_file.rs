//! The ledger on disk: what a start takes from it, and when it takes nothing.

use std::path::PathBuf;
use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use autovalidate::broker::{StreamSettings, Streams};
use autovalidate::corrections::{Corrections, LedgerFile};
use autovalidate::row_identity::RowId;

use crate::support::broker::{TestBroker, row, rows};
use crate::support::{DEADLINE, within};

fn path(bench: &TestBroker) -> PathBuf {
    bench.folder.path().join("ledger/pairs")
}

/// Starts a worker that writes its ledger after each message.
async fn start(bench: &TestBroker, streams: &Streams) -> Corrections {
    let file = LedgerFile::new(path(bench)).written_after(1, Duration::ZERO);
    within(DEADLINE, Corrections::open_with(streams, "pairs", file)).await.unwrap()
}

/// Starts a worker on another disk.
async fn another(streams: &Streams) -> Corrections {
    within(DEADLINE, Corrections::open(streams, "pairs")).await.unwrap()
}

/// Stores rows, and has the ledger written.
async fn store(corrections: &Corrections, ids: std::ops::RangeInclusive<i64>) {
    within(DEADLINE, corrections.append(&rows(ids))).await.unwrap();
    known(corrections, &[]).await;
}

/// Returns which of these ids are known.
async fn known(corrections: &Corrections, ids: &[i64]) -> Vec<i64> {
    let missing = within(DEADLINE, corrections.missing(ids)).await.unwrap();
    ids.iter().copied().filter(|id| !missing.contains(id)).collect()
}

async fn stream(bench: &TestBroker) -> Stream {
    let context = jetstream::new(bench.connection.client().clone());
    within(DEADLINE, context.get_stream(bench.streams.names().corrections().to_string())).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_reads_only_what_came_after_the_file() {
    let bench = TestBroker::new().await;
    store(&start(&bench, &bench.streams).await, 1..=5).await;
    let other = another(&bench.streams).await;
    within(DEADLINE, other.append(&rows(6..=8))).await.unwrap();
    // Whoever reads the stream doesn't know this row any more.
    within(DEADLINE, stream(&bench).await.delete_message(2)).await.unwrap();
    assert_eq!(known(&another(&bench.streams).await, &[1, 2, 3]).await, [1, 3]);
    let again = start(&bench, &bench.streams).await;
    assert_eq!(known(&again, &[1, 2, 3, 4, 5, 6, 7, 8, 9]).await, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(within(DEADLINE, again.append(&[row(3), row(9)])).await.unwrap().stored, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_made_anew_or_emptied_is_read_from_its_beginning() {
    let bench = TestBroker::new().await;
    store(&start(&bench, &bench.streams).await, 1..=5).await;
    let context = jetstream::new(bench.connection.client().clone());
    let name = bench.streams.names().corrections().to_string();
    within(DEADLINE, context.delete_stream(name)).await.unwrap();
    let streams =
        within(DEADLINE, Streams::ensure(&bench.connection, &StreamSettings::default())).await.unwrap();
    let other = another(&streams).await;
    within(DEADLINE, other.append(&rows(101..=110))).await.unwrap();
    let again = start(&bench, &streams).await;
    assert_eq!(known(&again, &[1, 5, 101, 110]).await, [101, 110]);
    store(&again, 111..=111).await;
    within(DEADLINE, stream(&bench).await.purge().into_future()).await.unwrap();
    within(DEADLINE, other.append(&rows(112..=113))).await.unwrap();
    assert_eq!(known(&start(&bench, &streams).await, &[101, 111, 112, 113]).await, [112, 113]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_ignored_and_replaced() {
    let bench = TestBroker::new().await;
    store(&start(&bench, &bench.streams).await, 1..=5).await;
    let whole = std::fs::read(path(&bench)).unwrap();
    for damaged in [&whole[..whole.len() - 1], b"", b"something else"] {
        std::fs::write(path(&bench), damaged).unwrap();
        assert_eq!(known(&start(&bench, &bench.streams).await, &[1, 5, 6]).await, [1, 5]);
        let replaced = std::fs::read(path(&bench)).unwrap();
        assert!(replaced != damaged && replaced.starts_with(&whole[..8]));
    }
    // A folder that can't be made keeps no worker from starting.
    std::fs::remove_dir_all(path(&bench).parent().unwrap()).unwrap();
    std::fs::write(path(&bench).parent().unwrap(), "").unwrap();
    store(&start(&bench, &bench.streams).await, 6..=6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erased_row_leaves_the_file() {
    let bench = TestBroker::new().await;
    let ids = ["3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c66", "3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c67"];
    let ids = ids.map(|id| RowId::of_text(id).unwrap());
    let is_in_file = |id: &RowId| {
        let bytes = std::fs::read(path(&bench)).unwrap();
        let text = id.text().unwrap().as_bytes().to_vec();
        bytes.windows(text.len()).any(|window| window == text)
    };
    let corrections = start(&bench, &bench.streams).await;
    let stored: Vec<_> = ids.iter().zip(1..).map(|(id, number)| row(number).with_id(id)).collect();
    within(DEADLINE, corrections.append(&stored)).await.unwrap();
    known(&corrections, &[]).await;
    assert!(ids.iter().all(is_in_file));
    within(DEADLINE, corrections.forget(&[ids[0].number()], &[])).await.unwrap();
    known(&corrections, &[]).await;
    assert!(!is_in_file(&ids[0]) && is_in_file(&ids[1]));
    // The worker is stopped when another one erases the row.
    drop(corrections);
    within(DEADLINE, another(&bench.streams).await.forget(&[ids[1].number()], &[])).await.unwrap();
    assert!(is_in_file(&ids[1]));
    let again = start(&bench, &bench.streams).await;
    within(DEADLINE, again.complete_erasures()).await.unwrap();
    known(&again, &[]).await;
    assert!(!is_in_file(&ids[1]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_last_rows_were_erased_is_recognized() {
    let bench = TestBroker::new().await;
    let corrections = start(&bench, &bench.streams).await;
    store(&corrections, 1..=80).await;
    let erased: Vec<i64> = (10..=80).collect();
    within(DEADLINE, corrections.forget(&erased, &[])).await.unwrap();
    known(&corrections, &[]).await;
    let other = another(&bench.streams).await;
    within(DEADLINE, other.append(&rows(81..=83))).await.unwrap();
    within(DEADLINE, stream(&bench).await.delete_message(5)).await.unwrap();
    assert_eq!(known(&start(&bench, &bench.streams).await, &[5, 9, 83]).await, [5, 9, 83]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_stream_was_emptied_writes_no_file_of_what_it_remembers() {
    let bench = TestBroker::new().await;
    let corrections = start(&bench, &bench.streams).await;
    store(&corrections, 1..=5).await;
    within(DEADLINE, stream(&bench).await.purge().into_future()).await.unwrap();
    store(&corrections, 6..=7).await;
    assert!(!path(&bench).exists());
    assert_eq!(known(&start(&bench, &bench.streams).await, &[1, 5, 6, 7]).await, [6, 7]);
}
