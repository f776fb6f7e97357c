//! Every page, with what it has to show.

use autovalidate::broker::{JobId, JobRequest, RunRecord, RunState};
use jiff::Timestamp;
use serde_json::json;

use super::{Browser, worker};
use crate::support::worker::{insert, post};
use crate::support::{DEADLINE, within};

/// Text that an app's user may have typed.
const HOSTILE: &str = "<script>alert(1)</script>";

#[tokio::test(flavor = "multi_thread")]
async fn each_page_shows_a_run_its_model_and_its_pairs_and_no_markup_of_strangers() {
    let mut system = worker(&[("TRAIN_THRESHOLD", "120")]).await;
    let browser = Browser::logged_in(&system).await;
    let first = browser.page("/").await;
    for part in ["No new pairs", "of 120 pairs", "No run has ended yet", "subscribed", "none since the start"]
    {
        assert!(first.contains(part), "{part}: {first}");
    }
    insert(&system.supabase, 119).await;
    post(
        &system.supabase,
        &json!([
            { "typo": HOSTILE, "corrected": "Audi", "domain": HOSTILE },
            { "typo": "audi", "corrected": "Audi", "domain": HOSTILE },
        ]),
    )
    .await;
    let record = system.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    let (id, version) = (record.id.to_string(), record.artifact.clone().unwrap().path);
    let version = version.trim_start_matches("models/finetuned-embedding-model-").trim_end_matches(".zip");

    // The Hub is asked once a page was shown.
    within(DEADLINE, async {
        while !browser.page("/models").await.contains(version) || !browser.page("/").await.contains(version) {
        }
    })
    .await;
    let models = browser.page("/models").await;
    let run = browser.page(&format!("/runs/{id}")).await;
    let (home, runs, pairs) =
        (browser.page("/").await, browser.page("/runs").await, browser.page("/pairs").await);
    for (page, parts) in [
        (&home, vec![id.as_str(), "Last run", "unchanged", version]),
        (&runs, vec![&id, "done", "published"]),
        (
            &run,
            vec![
                &id,
                "clean-up",
                "autovalidate runs replay",
                "accuracy@1",
                "Loss of each optimizer step",
                "settled",
                version,
            ],
        ),
        (&models, vec![version, "live", "Right answers over time", &id]),
        (&pairs, vec!["brand", "unchanged", "&lt;script&gt;alert(1)&lt;/script&gt;", "Drop…"]),
    ] {
        for part in parts {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains(HOSTILE) && !page.contains("style=") && !page.contains("onclick"), "{page}");
        assert!(
            !page.contains("src=\"http") && !page.contains("href=\"http"),
            "nothing comes from elsewhere"
        );
        assert!(page.contains("<html lang=\"en\">") && page.contains("Skip to the content"));
    }
    assert!(!run.contains("audii"), "a page of a run shows no pair");
    for unknown in ["/runs/nobody", "/runs/..%2f..", "/actions/explode", "/actions/cancel"] {
        assert_eq!(browser.get(unknown).await.status(), 404, "{unknown}");
    }
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_shown_with_its_advice_and_many_runs_by_page() {
    let system = worker(&[]).await;
    let runs = &system.worker.handles().runs;
    for number in 0..120 {
        let at = Timestamp::from_second(1_700_000_000 + number).unwrap();
        let mut record = RunRecord::new(JobId::manual(number.unsigned_abs()), JobRequest::default(), at);
        (record.state, record.ended_at, record.attempts) = (RunState::Done, Some(at), 1);
        if number == 118 {
            let error = json!({ "message": "the Hub <b>refused</b>", "advice": "Give HF_TOKEN write access.", "remedy": "person" });
            (record.state, record.error) = (RunState::Failed, serde_json::from_value(error).unwrap());
        }
        within(DEADLINE, runs.create(&record)).await.unwrap();
    }
    let browser = Browser::logged_in(&system).await;
    let home = browser.page("/").await;
    for part in
        ["manual-119", "Last failure", "manual-118", "&lt;b&gt;refused", "Give HF_TOKEN write access."]
    {
        assert!(home.contains(part), "{part}: {home}");
    }
    let (mut path, mut seen) = ("/runs".to_owned(), Vec::new());
    loop {
        let page = browser.page(&path).await;
        let ids = page.split("href=\"/runs/").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned());
        seen.extend(ids);
        match page.split_once("href=\"/runs?earlier=") {
            Some((_, rest)) => path = format!("/runs?earlier={}", rest.split('"').next().unwrap()),
            None => break,
        }
    }
    let all: Vec<String> = (0..120).rev().map(|number| format!("manual-{number}")).collect();
    assert_eq!(seen, all);
    system.stop().await;
}
