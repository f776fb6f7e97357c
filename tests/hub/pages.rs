//! Index and model card of the repo: both change together with the release, and text by other
//! people stays.

use autovalidate::hub::{Entry, HubError, INDEX, Index, Listed, Upload};
use autovalidate_fakes::hub::{Options, Transfer};
use serde_json::{Map, Value, json};

use crate::support::DEADLINE;
use crate::support::hub::{TestHub, name, patience, upload};
use crate::support::within;

const FIRST: &str = "20261122160509";
const SECOND: &str = "20261122160510";

/// Returns an upload of a release with an index entry and a card. Equal `weights` stand for equal
/// models.
pub(super) fn listed(bench: &TestHub, version: &str, weights: &str) -> Upload {
    let (archive, _) = bench.archive(version.parse().unwrap(), 1_000);
    let entry = Entry {
        version: version.to_owned(),
        path: name(version).path(),
        sha256: None,
        size: 0,
        weights_sha256: Some(autovalidate::hub::Digest::of(weights.as_bytes())),
        dimension: Some(384),
        base_model: Some("acme/base".to_owned()),
        verdict: Some("better".to_owned()),
        metrics: None,
        serving: None,
        published_at: "2026-11-22T16:05:09Z".parse().unwrap(),
        rollback_of: None,
        other: Map::new(),
    };
    let card = format!(
        "---\n# autovalidate writes this block anew with each release; delete this line to keep changes\ntags:\n- onnx\n---\n\n\
         <!-- autovalidate:begin -->\ncard of {version}\n<!-- autovalidate:end -->\n"
    );
    Upload { extras: Vec::new(), listed: Some(Listed { card, entry }), ..upload(version, archive) }
}

/// Reads a file of the repo at its head.
pub(super) async fn file(bench: &TestHub, path: &str) -> String {
    let url = bench.hub.url().join(&format!("{}/resolve/main/{path}", crate::support::hub::REPO)).unwrap();
    let token = secrecy::ExposeSecret::expose_secret(bench.hub.token()).to_owned();
    let answer = reqwest::Client::new().get(url).bearer_auth(token).send();
    within(DEADLINE, async { answer.await.unwrap().error_for_status().unwrap().text().await.unwrap() }).await
}

#[tokio::test]
async fn index_and_card_change_in_the_commit_that_publishes() {
    for transfer in [Transfer::Basic, Transfer::Xet] {
        let bench = TestHub::with(|options| Options { transfer, ..options }, patience()).await;
        let first = bench.publish_upload(listed(&bench, FIRST, "one")).await.unwrap();
        assert_eq!(bench.commits().await, 1);
        assert_eq!(bench.paths().await, ["README.md", first.path.as_str(), INDEX], "{transfer:?}");
        let second = bench.publish_upload(listed(&bench, SECOND, "two")).await.unwrap();
        assert_eq!(bench.commits().await, 2);

        let index = bench.repository.index().await.unwrap();
        let live = index.live.unwrap();
        assert_eq!((live.version.as_str(), live.path, live.re_embed), (SECOND, second.path, true));
        let told: Vec<_> = index.models.iter().map(|entry| (entry.version.as_str(), entry.sha256)).collect();
        assert_eq!(told, [(SECOND, Some(second.sha256)), (FIRST, Some(first.sha256))]);
        assert!(index.models.iter().all(|entry| entry.size == 1_000));
        assert!(file(&bench, "README.md").await.contains("card of 20261122160510"));
    }
}

#[tokio::test]
async fn what_a_rival_writes_into_the_index_in_between_is_kept() {
    let bench = TestHub::start().await;
    bench.publish_upload(listed(&bench, FIRST, "one")).await.unwrap();
    let mut index: Value = serde_json::from_str(&file(&bench, INDEX).await).unwrap();
    index["team"] = json!("claims");
    index["models"][0]["note"] = json!("the good one");
    bench.hub.faults().rival(INDEX, index.to_string());
    bench.publish_upload(listed(&bench, SECOND, "one")).await.unwrap();
    assert!(bench.hub.faults().spent());
    assert_eq!(bench.commits().await, 3);
    let index = bench.repository.index().await.unwrap();
    assert_eq!(index.other["team"], "claims");
    assert_eq!(index.entry(FIRST).unwrap().other["note"], "the good one");
    assert!(!index.live.unwrap().re_embed, "the weights are the same");
}

#[tokio::test]
async fn of_a_persons_page_every_word_stays_and_a_lost_answer_makes_no_second_entry() {
    let bench = TestHub::start().await;
    bench.hub.faults().rival("README.md", "# Our cars\n");
    bench.hub.faults().lose_commit_answer(1);
    bench.publish_upload(listed(&bench, FIRST, "one")).await.unwrap();
    assert!(bench.hub.faults().spent());
    assert_eq!(bench.commits().await, 2, "the rival's and ours");
    let page = file(&bench, "README.md").await;
    assert!(page.starts_with("# Our cars\n\n<!-- autovalidate:begin -->"), "{page}");
    assert!(page.contains("card of 20261122160509") && !page.contains("tags:"), "{page}");
    assert_eq!(bench.repository.index().await.unwrap().models.len(), 1);

    let page = "# Our cars\n<!-- autovalidate:begin --><!-- autovalidate:end -->\nAsk us.\n";
    bench.hub.faults().rival("README.md", page);
    bench.publish_upload(listed(&bench, SECOND, "one")).await.unwrap();
    let page = file(&bench, "README.md").await;
    assert!(page.starts_with("# Our cars\n") && page.ends_with("\nAsk us.\n"), "{page}");
    assert!(page.contains("card of 20261122160510"), "{page}");

    bench.hub.faults().rival("README.md", &b"caf\xe9\n"[..]);
    bench.publish_upload(listed(&bench, "20261122160511", "one")).await.unwrap();
    let index = bench.repository.index().await.unwrap();
    assert_eq!(index.live.unwrap().version, "20261122160511");
    assert!(!file(&bench, "README.md").await.contains("card of"), "an unreadable page is not rewritten");
}

#[tokio::test]
async fn a_damaged_index_is_a_persons_to_repair() {
    let bench = TestHub::start().await;
    bench.publish_upload(listed(&bench, FIRST, "one")).await.unwrap();
    bench.hub.faults().rival(INDEX, "{");
    let refused = bench.publish_upload(listed(&bench, SECOND, "one")).await;
    assert!(matches!(refused, Err(HubError::Index)), "{refused:?}");
    assert_eq!(bench.commits().await, 2, "the first and the rival's");
    assert!(matches!(Index::read(b"{"), Err(HubError::Index)));
}
