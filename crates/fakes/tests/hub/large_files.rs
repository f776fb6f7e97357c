//! Large files: every way by which a client may upload them, and by which another one reads them.

use autovalidate_fakes::hub::{Hub, Options, Transfer};

use crate::support::{Bench, CLIENTS};

/// The setting that turns Xet off, as for a client without `hf-xet`.
const WITHOUT_XET: &[(&str, &str)] = &[("HF_HUB_DISABLE_XET", "1")];

#[tokio::test]
async fn a_client_as_it_is_installed_uploads_and_downloads_through_xet() {
    for client in CLIENTS {
        let bench = Bench::start().await;
        bench.prove(client, "upload.py", &[]).await;
        let xorbs = std::fs::read_dir(bench.folder.path().join("hub/xet/xorbs")).unwrap();
        assert!(xorbs.count() > 0, "{client} uploaded another way");

        // Without the object store, the bytes can only come from the Xet store.
        bench.hub.faults().end_links(u32::MAX);
        bench.prove(client, "download.py", &[("EXPECT", "xet")]).await;
        bench.hub.faults().end_links(0);
        bench.prove(client, "download.py", WITHOUT_XET).await;
    }
}

async fn without_xet(transfer: Transfer) {
    for client in CLIENTS {
        let bench = Bench::with(|options| Options { transfer, part_size: 1_000_000, ..options }).await;
        bench.prove(client, "upload.py", WITHOUT_XET).await;
        assert!(!bench.folder.path().join("hub/xet").exists(), "{client} {transfer:?}");
        bench.prove(client, "download.py", &[]).await;
    }
}

#[tokio::test]
async fn a_client_without_xet_uploads_whole_files() {
    without_xet(Transfer::Basic).await;
}

#[tokio::test]
async fn a_client_without_xet_uploads_files_in_parts() {
    without_xet(Transfer::Multipart).await;
}

#[tokio::test]
async fn a_hub_that_prefers_xet_takes_what_a_client_without_it_offers() {
    without_xet(Transfer::Xet).await;
}

#[tokio::test]
async fn what_came_through_xet_is_there_after_a_restart() {
    let mut bench = Bench::start().await;
    bench.prove("python", "upload.py", &[]).await;
    let before = bench.hub.commits("acme/large").await;
    bench.hub.shutdown().await;
    bench.hub = Hub::start(Options::new(bench.folder.path().join("hub"))).await.unwrap();
    assert_eq!(bench.hub.commits("acme/large").await, before);
    bench.hub.faults().end_links(u32::MAX);
    bench.prove("python", "download.py", &[("EXPECT", "xet")]).await;
}
