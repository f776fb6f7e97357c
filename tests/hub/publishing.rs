//! Publishing: every kind of transfer, and every fault on the way, ends in exactly one commit.

use std::time::Duration;

use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::hub::{Digest, Extra, HubError, RetryPolicy};
use autovalidate_fakes::hub::{Options, Transfer};
use axum::http::StatusCode;
use bytes::Bytes;

use crate::support::DEADLINE;
use crate::support::hub::{TestHub, collected, name, patience, upload};
use crate::support::within;

const VERSION: &str = "20261122160509";

async fn bench(transfer: Transfer) -> TestHub {
    TestHub::with(|options| Options { transfer, part_size: 300_000, ..options }, patience()).await
}

#[tokio::test]
async fn a_release_and_its_card_become_visible_in_one_commit() {
    for transfer in [Transfer::Basic, Transfer::Multipart] {
        let bench = bench(transfer).await;
        let (archive, bytes) = bench.archive(1, 2_000_001);
        let mut upload = upload(VERSION, archive);
        // A second LFS file, uploaded from memory.
        upload.extras.push(Extra { path: "models/index.bin".into(), content: Bytes::from_static(b"index") });
        let told = collected(&mut upload);
        let published = bench.publish_upload(upload).await.unwrap();

        assert_eq!(published.sha256, Digest::of(&bytes));
        assert_eq!((published.size, published.path.as_str()), (2_000_001, name(VERSION).path().as_str()));
        assert_eq!(bench.commits().await, 1, "{transfer:?}");
        assert_eq!(bench.paths().await, ["README.md", published.path.as_str(), "models/index.bin"]);
        assert_eq!(bench.repository.head().await.unwrap(), published.commit);

        let told = told.lock().unwrap().clone();
        let total = 2_000_001 + 5 + 7;
        assert!(told.iter().all(|sent| sent.total == total && sent.bytes <= total));
        assert_eq!(told.last().unwrap().bytes, 2_000_001 + 5, "{transfer:?}");

        let newest = bench.repository.newest().await.unwrap().unwrap();
        assert_eq!(
            (&newest.name, newest.size, newest.sha256),
            (&name(VERSION), 2_000_001, Some(published.sha256))
        );
        let fetched =
            within(DEADLINE, bench.repository.download(&newest, &bench.folder.path().join("in"))).await;
        assert!(std::fs::read(fetched.unwrap()).unwrap() == bytes, "{transfer:?}");
    }
}

#[tokio::test]
async fn where_the_hub_wants_xet_the_library_stores_and_commits() {
    let bench = bench(Transfer::Xet).await;
    let (archive, bytes) = bench.archive(1, 700_000);
    let published = bench.publish_upload(upload(VERSION, archive)).await.unwrap();
    assert_eq!(published.sha256, Digest::of(&bytes));
    assert_eq!(bench.commits().await, 1);
    assert_eq!(bench.paths().await, ["README.md", published.path.as_str()]);
    let newest = bench.repository.newest().await.unwrap().unwrap();
    assert_eq!((newest.size, newest.sha256), (700_000, Some(published.sha256)));

    // The content is in the Xet store, at its full size: these bytes can't be compressed.
    let stored = size_of_folder(&bench.folder.path().join("hub/xet/xorbs"));
    assert!(stored >= 700_000, "{stored}");
    let fetched = within(DEADLINE, bench.repository.download(&newest, &bench.folder.path().join("in"))).await;
    assert!(std::fs::read(fetched.unwrap()).unwrap() == bytes);
}

pub(super) fn size_of_folder(folder: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| match entry.metadata().unwrap() {
        metadata if metadata.is_dir() => size_of_folder(&entry.path()),
        metadata => metadata.len(),
    };
    entries.map(size).sum()
}

#[tokio::test]
async fn a_conflict_is_met_with_a_fresh_look_and_another_try() {
    for transfer in [Transfer::Basic, Transfer::Xet] {
        let bench = bench(transfer).await;
        bench.hub.faults().conflict(2);
        bench.publish(VERSION, 1_000).await.unwrap();
        assert!(bench.hub.faults().spent());
        assert_eq!(bench.commits().await, 1, "{transfer:?}");
    }
}

#[tokio::test]
async fn a_rivals_commit_in_between_stays_below_ours() {
    let bench = TestHub::start().await;
    bench.hub.faults().rival("notes.md", "from somebody else");
    let published = bench.publish(VERSION, 1_000).await.unwrap();
    assert_eq!(bench.commits().await, 2);
    assert_eq!(bench.paths().await, ["README.md", published.path.as_str(), "notes.md"]);
}

#[tokio::test]
async fn endless_conflicts_end() {
    let bench = TestHub::start().await;
    bench.hub.faults().conflict(u32::MAX);
    assert!(matches!(bench.publish(VERSION, 1_000).await, Err(HubError::Conflict)));
    assert_eq!(bench.commits().await, 0);
}

#[tokio::test]
async fn a_release_that_would_not_be_the_newest_is_not_committed() {
    let bench = TestHub::start().await;
    bench.hub.faults().rival(name("20270101").path(), "a release");
    let refused = bench.publish(VERSION, 1_000).await;
    let Err(HubError::Superseded { ours, newest }) = refused else { panic!("{refused:?}") };
    assert_eq!((ours, newest), (name(VERSION), name("20270101")));
    assert_eq!(bench.paths().await, [name("20270101").path()]);
}

#[tokio::test]
async fn a_name_that_holds_other_bytes_is_left_alone() {
    let bench = TestHub::start().await;
    let first = bench.publish(VERSION, 1_000).await.unwrap();
    assert!(matches!(bench.publish(VERSION, 1_001).await, Err(HubError::Taken { .. })));
    // Publishing the same bytes again makes no second release and no second commit.
    assert_eq!(bench.publish(VERSION, 1_000).await.unwrap(), first);
    assert_eq!(bench.commits().await, 1);
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_made_once() {
    for transfer in [Transfer::Basic, Transfer::Xet] {
        let bench = bench(transfer).await;
        bench.hub.faults().lose_commit_answer(1);
        let published = bench.publish(VERSION, 1_000).await.unwrap();
        assert!(bench.hub.faults().spent());
        assert_eq!(bench.commits().await, 1, "{transfer:?}");
        assert_eq!(bench.repository.head().await.unwrap(), published.commit);
    }
}

#[tokio::test]
async fn a_commit_without_an_answer_is_in_doubt_until_the_hub_can_be_asked() {
    let bench = bench(Transfer::Basic).await;
    bench.hub.faults().lose_commit_answer_and_refuse(StatusCode::FORBIDDEN);
    let error = bench.publish(VERSION, 1_000).await.unwrap_err();
    assert!(matches!(&error, HubError::Unanswered { .. }), "{error:?}");
    assert_eq!(error.directive(), RetryDirective::Retry);
    assert!(error.advice().contains("HF_TOKEN"), "{}", error.advice());
    bench.hub.faults().refuse(None);
    bench.publish(VERSION, 1_000).await.unwrap();
    assert_eq!(bench.commits().await, 1);
}

#[tokio::test]
async fn a_busy_hub_is_asked_again() {
    let bench = TestHub::start().await;
    let faults = bench.hub.faults();
    faults.unavailable(2);
    faults.fail_commit(2);
    bench.publish("20261122160509", 1_000).await.unwrap();
    assert!(faults.spent());
    faults.limit(2, Duration::from_secs(3600));
    bench.publish("202611221605100", 1_000).await.unwrap();
    assert!(faults.spent());
    assert_eq!(bench.commits().await, 2);
}

#[tokio::test]
async fn an_upload_that_is_cut_starts_over() {
    for transfer in [Transfer::Basic, Transfer::Multipart] {
        let bench = bench(transfer).await;
        bench.hub.faults().cut_upload(100_000);
        bench.hub.faults().cut_upload(1);
        let (archive, bytes) = bench.archive(1, 1_000_000);
        let mut upload = upload(VERSION, archive);
        let told = collected(&mut upload);
        let published = bench.publish_upload(upload).await.unwrap();
        assert_eq!(published.sha256, Digest::of(&bytes));
        assert!(bench.hub.faults().spent());
        assert_eq!(bench.commits().await, 1, "{transfer:?}");
        let told = told.lock().unwrap().clone();
        assert_eq!(told.last().unwrap().bytes, 1_000_000, "bytes lost to a cut are subtracted");
        assert!(told.windows(2).any(|pair| pair[1].bytes < pair[0].bytes), "{transfer:?}");
    }
}

#[tokio::test]
async fn a_link_that_ended_is_replaced() {
    for transfer in [Transfer::Basic, Transfer::Multipart] {
        let bench = bench(transfer).await;
        bench.hub.faults().end_links(1);
        let (archive, _) = bench.archive(1, 1_000_000);
        let mut upload = upload(VERSION, archive);
        let told = collected(&mut upload);
        bench.publish_upload(upload).await.unwrap();
        assert!(bench.hub.faults().spent(), "{transfer:?}");
        let told = told.lock().unwrap().clone();
        assert_eq!(told.iter().map(|sent| sent.bytes).max(), Some(1_000_000), "no byte counts twice");
        bench.hub.faults().end_links(u32::MAX);
        let refused = bench.publish("202611221605100", 1_000_000).await;
        assert!(matches!(refused, Err(HubError::Store { status: 403 })), "{refused:?}");
        assert_eq!(bench.commits().await, 1);
    }
}

#[tokio::test]
async fn a_slow_upload_may_take_longer_than_a_still_one() {
    let idle = Duration::from_millis(1500);
    let patience = RetryPolicy { idle, attempts: 1, ..patience() };
    let bench = TestHub::with(|options| options, patience).await;
    bench.hub.faults().slow_uploads(Duration::from_millis(40));
    let started = std::time::Instant::now();
    // The archive is larger than the socket buffers, so a slow reader slows down the upload.
    bench.publish(VERSION, 24_000_000).await.unwrap();
    assert!(started.elapsed() > idle, "too fast to prove anything");

    bench.hub.faults().slow_uploads(Duration::from_secs(3600));
    let still = bench.publish("202611221605100", 1_000_000).await;
    assert!(matches!(still, Err(HubError::TimedOut { limit }) if limit == idle), "{still:?}");
    assert_eq!(bench.commits().await, 1);
}

/// The memory of the process, client and Hub together, must not grow with the file.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn memory_does_not_grow_with_the_archive() {
    const SIZE: u64 = 256 * 1024 * 1024;
    fn peak_kilobytes() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
    let bench =
        TestHub::with(|options| Options { transfer: Transfer::Multipart, ..options }, patience()).await;
    let archive = bench.folder.path().join("large.zip");
    std::fs::File::create(&archive).unwrap().set_len(SIZE).unwrap();
    let before = peak_kilobytes();
    bench.publish_upload(upload(VERSION, archive)).await.unwrap();
    let newest = bench.repository.newest().await.unwrap().unwrap();
    within(DEADLINE, bench.repository.download(&newest, &bench.folder.path().join("in"))).await.unwrap();
    let grown = peak_kilobytes() - before;
    assert!(grown < 64 * 1024, "grew by {grown} kB");
}
