//! Each action is asked once, done by the command's own code, and told.

use autovalidate::broker::RunState;
use serde_json::json;

use super::{Browser, worker};
use crate::support::run::repository;
use crate::support::worker::{insert, post};
use crate::support::{DEADLINE, within};

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_started_cancelled_and_retried_and_a_model_rolled_back() {
    let mut system = worker(&[("TRAIN_THRESHOLD", "1000")]).await;
    insert(&system.supabase, 120).await;
    system.stored(120).await;
    let browser = Browser::logged_in(&system).await;
    for _ in 0..2 {
        let (status, said) = browser.act("train", &[("force", "on")]).await;
        assert!(status == 200 && said.contains("is on the queue"), "{said}");
        let record = system.ended().await;
        assert_eq!(record.state, RunState::Done, "{:?}", record.error);
        assert_eq!(record.request.reason.as_deref(), Some("console"));
        assert!(record.request.force && record.artifact.is_some());
    }
    let releases = within(DEADLINE, repository(&system.hub).releases()).await.unwrap();
    let [newest, older] = releases.as_slice() else { panic!("{releases:?}") };
    let (status, said) = browser.act("rollback", &[("version", older.name.version())]).await;
    assert!(status == 200 && said.contains("is live again"), "{said}");
    let live = within(DEADLINE, repository(&system.hub).newest()).await.unwrap().unwrap();
    assert!(live.name > newest.name);
    let (status, said) = browser.act("rollback", &[("version", "20010101000000")]).await;
    assert!(status == 404 && said.contains("What to do"), "{said}");

    // A run that has ended can't be cancelled, and one that is done can't be retried.
    let done = within(DEADLINE, system.worker.handles().runs.page(None, 1)).await.unwrap().runs[0].id.clone();
    for action in ["cancel", "retry"] {
        let (status, said) = browser.act(action, &[("run", done.as_str())]).await;
        assert!(status == 409 && said.contains("Not done"), "{action}: {said}");
        assert_eq!(browser.act(action, &[("run", "nobody")]).await.0, 404);
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_released_dropped_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let catalog = folder.path().join("names.csv");
    std::fs::write(&catalog, "domain,name\nbrand,Audi\n").unwrap();
    let system = worker(&[("CATALOG", catalog.to_str().unwrap())]).await;
    let corrections = system.worker.handles().corrections.clone();
    let row =
        |typo: &str, corrected: &str| json!({ "typo": typo, "corrected": corrected, "domain": "brand" });
    let rows = json!([row("audii", "Audi"), row("bmww", "BMW"), row("fordd", "Ford"), row("audi", "Audi")]);
    post(&system.supabase, &rows).await;
    let browser = Browser::logged_in(&system).await;
    let kept = || async { within(DEADLINE, corrections.quarantined(None)).await.unwrap() };
    while kept().await.len() < 3 || within(DEADLINE, corrections.last_sequence()).await.unwrap() < 1 {
        tokio::task::yield_now().await;
    }
    let id = |typo: &str, kept: &[autovalidate::corrections::Quarantined]| {
        kept.iter().find(|kept| kept.row.typo == typo).unwrap().row.id.to_string()
    };
    let all = kept().await;
    let (bmw, ford, unchanged) = (id("bmww", &all), id("fordd", &all), id("audi", &all));

    let (status, said) = browser.act("release", &[("row", &bmw)]).await;
    assert!(status == 200 && said.contains("released"), "{said}");
    assert_eq!(within(DEADLINE, corrections.last_sequence()).await.unwrap(), 2);
    let (status, said) = browser.act("release", &[("row", &unchanged)]).await;
    assert!(status == 409 && said.contains("Not done"), "nobody can learn from it: {said}");
    let (status, said) = browser.act("drop", &[("row", &ford)]).await;
    assert!(status == 200 && said.contains("dropped"), "{said}");
    assert_eq!(kept().await.len(), 1);
    let (status, _) = browser.act("drop", &[("row", &ford)]).await;
    assert_eq!(status, 404, "it is gone");
    let (status, said) = browser.act("forget", &[("row", &bmw)]).await;
    assert!(status == 200 && said.contains("is erased"), "{said}");
    let rows = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap().rows;
    assert!(rows.iter().all(|row| row.id.to_string() != bmw));
    system.stop().await;
}
