//! Rollback: an older version becomes live again, even with concurrent commits and lost answers.

use std::collections::BTreeMap;
use std::path::PathBuf;

use autovalidate::hub::{Digest, Extra, Listed, Upload};
use autovalidate::run::{RECEIPT, RollbackError, RolledBack, roll_back};
use autovalidate_finetune::model::archive;
use serde_json::Value;

use super::pages::{file, listed};
use crate::support::DEADLINE;
use crate::support::hub::{TestHub, name};
use crate::support::{tiny, within};

const FIRST: &str = "20261122160509";
const SECOND: &str = "20261122160510";

/// Writes a zip of the tiny model, as another program would make it. `weights` is appended to the
/// weights file.
fn zip(bench: &TestHub, version: &str, weights: &str) -> PathBuf {
    let packed = bench.folder.path().join("tiny.zip");
    archive::pack(&tiny(), "tiny", &packed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let top = archive::unpack(&packed, &folder.path().join("unpacked")).unwrap();
    let path = top.join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(weights.as_bytes());
    std::fs::write(&path, bytes).unwrap();
    std::fs::write(top.join("README.md"), format!("# {version}\n")).unwrap();
    let zip = bench.folder.path().join(format!("{version}-made.zip"));
    archive::pack(&top, name(version).folder(), &zip).unwrap();
    zip
}

/// Publishes the zip as one of our versions, with an entry in the index.
async fn publish(bench: &TestHub, version: &str, weights: &str) {
    let archive = zip(bench, version, weights);
    bench.publish_upload(Upload { archive, ..listed(bench, version, weights) }).await.unwrap();
}

async fn back(bench: &TestHub, version: &str) -> Result<RolledBack, RollbackError> {
    let now = "2026-11-26T12:00:00Z".parse().unwrap();
    within(DEADLINE, roll_back(&bench.repository, version, &bench.folder.path().join("rollbacks"), now)).await
}

/// Returns the top folder of the newest release, and the files below it by path.
async fn newest(bench: &TestHub) -> (String, BTreeMap<String, Vec<u8>>) {
    let release = bench.repository.newest().await.unwrap().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let zip = within(DEADLINE, bench.repository.download(&release, folder.path())).await.unwrap();
    let top = archive::unpack(&zip, &folder.path().join("unpacked")).unwrap();
    let mut files = BTreeMap::new();
    let mut folders = vec![top.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let below = path.strip_prefix(&top).unwrap().display().to_string();
                files.insert(below, std::fs::read(path).unwrap());
            }
        }
    }
    (top.file_name().unwrap().to_string_lossy().into_owned(), files)
}

#[tokio::test]
async fn an_older_version_is_live_again_under_a_new_name_with_the_same_content() {
    let bench = TestHub::start().await;
    publish(&bench, FIRST, "one").await;
    let (_, before) = newest(&bench).await;
    publish(&bench, SECOND, "two").await;

    let done = back(&bench, FIRST).await.unwrap();
    assert_eq!(done.release, name("20261126120000"));
    assert_eq!((done.version.as_str(), done.instead_of.as_str()), (FIRST, SECOND));
    let (top, mut after) = newest(&bench).await;
    assert_eq!(top, name("20261126120000").folder());
    let receipt: Value = serde_json::from_slice(&after.remove(RECEIPT).unwrap()).unwrap();
    assert_eq!(receipt["version"], "20261126120000");
    assert_eq!(
        (&receipt["rollback_of"]["version"], &receipt["rollback_of"]["instead_of"]),
        (&FIRST.into(), &SECOND.into())
    );
    let card = String::from_utf8(after.insert("README.md".to_owned(), before["README.md"].clone()).unwrap())
        .unwrap();
    assert!(card.contains(&format!("Rollback of `{FIRST}`")), "{card}");
    assert!(after == before, "only card and receipt may differ");

    let index = bench.repository.index().await.unwrap();
    let live = index.live.clone().unwrap();
    assert_eq!((live.version.as_str(), live.re_embed), ("20261126120000", true));
    let entry = index.entry("20261126120000").unwrap();
    assert_eq!(entry.rollback_of.as_deref(), Some(FIRST));
    assert_eq!(entry.weights_sha256, Some(Digest::of(&before["model.safetensors"])));
    assert_eq!(entry.verdict.as_deref(), Some("better"), "the first version's verdict is kept");
    assert!(file(&bench, "README.md").await.contains("Rollback of"));
    let commits = bench.hub.commits(crate::support::hub::REPO).await;
    assert_eq!(commits.len(), 4);
    assert_eq!(
        commits[3].summary,
        format!("Roll back to {FIRST}: add finetuned-embedding-model-20261126120000.zip")
    );
    assert!(
        std::fs::read_dir(bench.folder.path().join("rollbacks")).unwrap().next().is_none(),
        "temporary files remain"
    );

    // Roll forward again, on top of the rollback.
    let again = back(&bench, SECOND).await.unwrap();
    assert_eq!(again.release, name("20261126120001"));
}

#[tokio::test]
async fn code_in_an_older_version_is_not_published_once_more() {
    let bench = TestHub::start().await;
    let unpacked = archive::unpack(&zip(&bench, FIRST, "one"), &bench.folder.path().join("changed")).unwrap();
    for name in ["evil.py", "1_Pooling/evil.py", ".evil.py", "other.bin"] {
        std::fs::write(unpacked.join(name), "import os").unwrap();
    }
    let archive = bench.folder.path().join("evil.zip");
    archive::pack(&unpacked, name(FIRST).folder(), &archive).unwrap();
    bench.publish_upload(Upload { archive, ..listed(&bench, FIRST, "one") }).await.unwrap();
    publish(&bench, SECOND, "two").await;
    back(&bench, FIRST).await.unwrap();
    let (_, files) = newest(&bench).await;
    assert!(files.contains_key("modules.json") && files.contains_key("1_Pooling/config.json"));
    assert!(!files.keys().any(|name| name.contains("evil") || name == "other.bin"), "{:?}", files.keys());
}

#[tokio::test]
async fn nonsense_is_refused_and_changes_nothing() {
    let bench = TestHub::start().await;
    assert!(matches!(back(&bench, FIRST).await, Err(RollbackError::Unknown { .. })));
    publish(&bench, FIRST, "one").await;
    publish(&bench, SECOND, "two").await;
    let refused = back(&bench, SECOND).await.unwrap_err();
    assert_eq!(refused.to_string(), format!("version {SECOND} is live already, as {SECOND}"));
    assert!(matches!(back(&bench, "20200101").await, Err(RollbackError::Unknown { .. })));
    assert_eq!(bench.commits().await, 2);
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_rollback() {
    let bench = TestHub::start().await;
    let tell_weights = |weights: &str| {
        let mut bytes = std::fs::read(tiny().join("model.safetensors")).unwrap();
        bytes.extend_from_slice(weights.as_bytes());
        Some(Digest::of(&bytes))
    };
    for (version, weights) in [(FIRST, "one"), (SECOND, "two")] {
        let mut upload = listed(&bench, version, weights);
        upload.archive = zip(&bench, version, weights);
        let Listed { entry, .. } = upload.listed.as_mut().unwrap();
        entry.weights_sha256 = tell_weights(weights);
        bench.publish_upload(upload).await.unwrap();
    }
    bench.hub.faults().lose_commit_answer(1);
    back(&bench, FIRST).await.unwrap();
    assert!(bench.hub.faults().spent());
    assert_eq!(bench.commits().await, 3);
    // A person who got no answer repeats the command.
    let refused = back(&bench, FIRST).await;
    assert!(
        matches!(&refused, Err(RollbackError::AlreadyLive { live, .. }) if live == "20261126120000"),
        "{refused:?}"
    );
    assert_eq!(bench.commits().await, 3);
}

#[tokio::test]
async fn a_release_that_comes_in_between_is_not_buried() {
    let bench = TestHub::start().await;
    publish(&bench, FIRST, "one").await;
    publish(&bench, SECOND, "two").await;
    // This release would sort below ours, and so would never have been live.
    bench.hub.faults().rival(name("20261122160511").path(), "a release");
    let refused = back(&bench, FIRST).await;
    assert!(
        matches!(&refused, Err(RollbackError::Superseded { newest }) if *newest == name("20261122160511")),
        "{refused:?}"
    );
    assert_eq!(bench.commits().await, 3);
    // A commit without a release does not stop the rollback.
    bench.hub.faults().rival("notes.md", "from somebody else");
    back(&bench, FIRST).await.unwrap();
    assert_eq!(bench.commits().await, 5);
}

#[tokio::test]
async fn a_release_of_another_program_can_be_made_live_again() {
    let bench = TestHub::start().await;
    let old = crate::support::hub::upload("20251231", zip(&bench, "20251231", "old"));
    bench.publish_upload(Upload { extras: Vec::<Extra>::new(), ..old }).await.unwrap();
    publish(&bench, FIRST, "one").await;
    back(&bench, "20251231").await.unwrap();
    let index = bench.repository.index().await.unwrap();
    let entry = index.entry("20261126120000").unwrap();
    assert_eq!((entry.rollback_of.as_deref(), entry.verdict.as_deref()), (Some("20251231"), None));
    assert_eq!(entry.dimension, Some(24));
}

/// Proves that a rollback's upload is cheap on a Hub with Xet, which stores only new content.
#[tokio::test]
async fn under_a_new_name_xet_stores_the_weights_once() {
    const WEIGHTS: u64 = 8_000_000;
    let bench = TestHub::with(
        |options| autovalidate_fakes::hub::Options {
            transfer: autovalidate_fakes::hub::Transfer::Xet,
            ..options
        },
        crate::support::hub::patience(),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let (weights, _) = bench.archive(1, WEIGHTS as usize);
    std::fs::copy(weights, folder.path().join("model.safetensors")).unwrap();
    let stored = || super::publishing::size_of_folder(&bench.folder.path().join("hub/xet/xorbs"));
    let mut sizes = Vec::new();
    for version in [FIRST, SECOND] {
        let archive = bench.folder.path().join(format!("{version}-made.zip"));
        archive::pack(folder.path(), name(version).folder(), &archive).unwrap();
        bench.publish_upload(Upload { archive, ..listed(&bench, version, "one") }).await.unwrap();
        sizes.push(stored());
    }
    assert!(sizes[0] >= WEIGHTS && sizes[1] - sizes[0] < WEIGHTS / 4, "{sizes:?}");
}
