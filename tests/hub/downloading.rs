//! Listing and fetching releases.

use autovalidate::hub::{Extra, HubError, Repository, RetryPolicy, Stamp};
use autovalidate_fakes::hub::{Hub, Options};
use bytes::Bytes;
use jiff::Timestamp;

use crate::support::DEADLINE;
use crate::support::hub::{TestHub, access, name, patience, upload};
use crate::support::within;

#[tokio::test]
async fn a_repo_without_releases_has_no_newest() {
    let bench = TestHub::start().await;
    assert_eq!(bench.repository.newest().await.unwrap(), None);
    // Creating an existing repo is not an error, and changes nothing.
    bench.repository.create_if_missing(false).await.unwrap();
    assert_eq!(bench.commits().await, 0);
}

#[tokio::test]
async fn the_newest_is_found_among_pages_of_old_and_new_names() {
    let bench = TestHub::with(|options| Options { page_size: 2, ..options }, patience()).await;
    let versions = ["2025-01-05", "20250105", "20261101", "20261122", "20261122160509", "20261122160510"];
    for version in versions {
        let (archive, _) = bench.archive(1, 100);
        let mut upload = upload(version, archive);
        let other = format!("models/finetuned-embedding-model-{version}/config.json");
        upload.extras.push(Extra { path: other, content: Bytes::from_static(b"{}") });
        bench.publish_upload(upload).await.unwrap();
    }
    let releases = bench.repository.releases().await.unwrap();
    let names: Vec<_> = releases.iter().map(|release| release.name.clone()).collect();
    assert_eq!(names, versions.map(name).into_iter().rev().collect::<Vec<_>>());

    // With a clock that is far behind, the next name is still the newest.
    let behind: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let stamp = Stamp::next(behind, &names).unwrap();
    assert_eq!(stamp.to_string(), "20261122160511");
    bench.publish(&stamp.to_string(), 100).await.unwrap();
    assert_eq!(bench.repository.newest().await.unwrap().unwrap().name, stamp.into());
}

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_was() {
    let bench = TestHub::with(|options| options, RetryPolicy { attempts: 1, ..patience() }).await;
    let (archive, bytes) = bench.archive(1, 1_000_000);
    bench.publish_upload(upload("20261122160509", archive)).await.unwrap();
    let release = bench.repository.newest().await.unwrap().unwrap();
    let into = bench.folder.path().join("in");
    let download = || within(DEADLINE, bench.repository.download(&release, &into));
    let only_file = || {
        let mut files: Vec<_> =
            std::fs::read_dir(&into).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    };

    bench.hub.faults().cut_download(300_000);
    let cut = download().await;
    assert!(matches!(cut, Err(HubError::Connection(_))), "{cut:?}");
    let part = only_file();
    let there = std::fs::read(&part).unwrap();
    assert!(!there.is_empty() && there.len() <= 300_000 && bytes.starts_with(&there), "{}", there.len());

    // Wrong bytes in the partial file prove that the download resumes from it: the complete file
    // then fails its checksum and is deleted.
    std::fs::write(&part, vec![0; there.len()]).unwrap();
    assert!(matches!(download().await, Err(HubError::Checksum { .. })));
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 0);

    std::fs::write(&part, &there).unwrap();
    let path = download().await.unwrap();
    assert_eq!(path, only_file());
    assert_eq!(path, into.join(release.name.as_str()));
    assert!(std::fs::read(&path).unwrap() == bytes);

    // A complete file is not downloaded again; a damaged one is.
    bench.hub.faults().corrupt_download(1);
    assert_eq!(download().await.unwrap(), path);
    assert!(!bench.hub.faults().spent());
    std::fs::write(&path, vec![0; bytes.len()]).unwrap();
    assert!(matches!(download().await, Err(HubError::Checksum { .. })));
    assert!(bench.hub.faults().spent());
}

#[tokio::test]
async fn cuts_wrong_bytes_ended_links_and_a_busy_hub_are_overcome() {
    let bench = TestHub::with(|options| options, RetryPolicy { attempts: 10, ..patience() }).await;
    let (archive, bytes) = bench.archive(1, 1_000_000);
    bench.publish_upload(upload("20261122160509", archive)).await.unwrap();
    let release = bench.repository.newest().await.unwrap().unwrap();
    let faults = bench.hub.faults();
    faults.cut_download(200_000);
    faults.cut_download(100_000);
    faults.corrupt_download(1);
    faults.unavailable(1);
    faults.end_links(1);
    let path = within(DEADLINE, bench.repository.download(&release, bench.folder.path())).await.unwrap();
    assert!(std::fs::read(path).unwrap() == bytes);
    assert!(faults.spent());
}

#[tokio::test]
async fn a_hub_that_starts_again_still_serves_what_it_held() {
    let TestHub { hub, repository, folder } = TestHub::start().await;
    let bytes = Bytes::from(vec![7; 10_000]);
    let archive = folder.path().join("a.zip");
    std::fs::write(&archive, &bytes).unwrap();
    within(DEADLINE, repository.publish(upload("20261122160509", archive))).await.unwrap();
    hub.shutdown().await;

    let hub = Hub::start(Options::new(folder.path().join("hub"))).await.unwrap();
    let repository = Repository::with_retry_policy(access(&hub, hub.token().clone()), patience()).unwrap();
    let release = repository.newest().await.unwrap().unwrap();
    let path = within(DEADLINE, repository.download(&release, folder.path())).await.unwrap();
    assert_eq!(std::fs::read(path).unwrap(), bytes);
}

#[tokio::test]
async fn a_release_that_vanished_is_named() {
    let bench = TestHub::start().await;
    bench.publish("20261122160509", 100).await.unwrap();
    let mut release = bench.repository.newest().await.unwrap().unwrap();
    release.name = name("20261122160510");
    let gone = within(DEADLINE, bench.repository.download(&release, bench.folder.path())).await;
    let Err(HubError::NoFile { path }) = gone else { panic!("{gone:?}") };
    assert_eq!(path, release.path());
}
