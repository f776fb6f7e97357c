//! Our releases, read and changed with the official Python client: we may rely on whatever that client
//! accepts. The stand-in Hub itself is tested in `crates/fakes/tests/hub`.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use autovalidate::hub::{Card, DomainScores, License, ReleaseScores, Serving};
use autovalidate_fakes::hub::Hub;
use secrecy::ExposeSecret;
use tokio::process::Command;

use crate::support::hub::TestHub;
use crate::support::{local, python, within};

/// Runs a script against a Hub, with a clean environment.
async fn drive(script: &str, hub: &Hub, folder: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub").join(script);
    let command = Command::new(python())
        .arg(script)
        .args([hub.url().as_str().trim_end_matches('/'), hub.token().expose_secret()])
        .arg(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    within(Duration::from_secs(90), command).await.unwrap()
}

/// Returns a card with every section.
fn card() -> Card {
    let scores = ReleaseScores { accuracy_at_1: 0.25, mrr_at_10: 0.5, recall_at_3: 0.75 };
    let after = ReleaseScores { accuracy_at_1: 0.875, ..scores };
    let domain =
        |domain: &str, queries| DomainScores { domain: domain.into(), queries, before: scores, after };
    Card {
        repo: "acme/cars".parse().unwrap(),
        release: "finetuned-embedding-model-20261122160509.zip".parse().unwrap(),
        base_model: Some("sentence-transformers/all-MiniLM-L6-v2".parse().unwrap()),
        license: Some(License { id: "apache-2.0".into(), name: None, link: None }),
        dimensions: 384,
        trained_pairs: 600,
        held_out_pairs: 60,
        synthesized_pairs: 1_820,
        scores: vec![domain("overall", 60), domain("a \"b\": <!-- c\\\n- d", 7), domain("nobody asked", 0)],
        more_domains: 0,
        verdict: "Better: on every domain.".into(),
        serving: Some(Serving {
            queries: 60,
            rule: Default::default(),
            today: 0.9,
            cosine_weight: 0.25,
            ratio_weight: 0.75,
            by_mixture: 0.95,
            threshold: 101.0,
            by_threshold: 0.925,
            standard_error: 0.03,
        }),
        settings: vec![("epochs".into(), "4".into())],
    }
}

#[tokio::test]
async fn the_official_client_reads_the_card_and_its_figures() {
    let bench = TestHub::start().await;
    let mut upload = super::pages::listed(&bench, "20261122160509", "one");
    let card = Card { release: upload.release.clone(), ..card() };
    upload.listed.as_mut().unwrap().card = card.to_string();
    bench.publish_upload(upload).await.unwrap();
    // A person changes the page with the official tool, which writes the YAML anew.
    let output = drive("card_update.py", &bench.hub, bench.folder.path()).await;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(told["configs"], serde_json::json!(["a \"b\": &lt;!-- c\\ - d", "overall", "person's"]));
    assert!(!super::pages::file(&bench, "README.md").await.contains("\n# autovalidate"), "comments are gone");
    // The next release changes its own fields, and leaves those of the person.
    let mut upload = super::pages::listed(&bench, "20261122160510", "two");
    upload.listed.as_mut().unwrap().card =
        Card { release: upload.release.clone(), ..card.clone() }.to_string();
    bench.publish_upload(upload).await.unwrap();
    let output = drive("card.py", &bench.hub, bench.folder.path()).await;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(told["library_name"], "sentence-transformers");
    assert_eq!(told["pipeline_tag"], "sentence-similarity");
    assert_eq!(told["base_model"], "sentence-transformers/all-MiniLM-L6-v2");
    assert_eq!(told["tags"][0], "sentence-transformers");
    assert_eq!(told["license"], "mit", "the person's license stays");
    let tags = told["tags"].as_array().unwrap();
    assert!(tags.contains(&"cars".into()) && tags.contains(&"onnx".into()), "{tags:?}");
    assert_eq!(told["language"], "de");
    let results = told["results"].as_array().unwrap();
    assert_eq!(results.len(), 6, "{results:?}");
    let first = serde_json::json!([
        "held-out accepted corrections, overall",
        "information-retrieval",
        "cosine_accuracy@1",
        0.875,
        "overall"
    ]);
    assert_eq!(results[0], first);
    assert_eq!(results[3][0], "held-out accepted corrections, a \"b\": &lt;!-- c\\ - d");
}

/// The card's code for serving runs with the backend's libraries and ranks by both parts of the mixture.
#[tokio::test]
async fn the_cards_code_for_serving_ranks_by_cosine_and_ratio() {
    let card = card().to_string();
    assert!(card.contains("| the model alone | 0.925 |\n| 0.25 · cosine + 0.75 · ratio | 0.950 |"), "{card}");
    let code = card.split("```python\n").last().unwrap().split("```").next().unwrap();
    let test = r#"
class model:
    def encode(text, normalize_embeddings):
        assert (text, normalize_embeddings) == ("car model: golf  plus".replace("  ", " "), True)
        return np.array([1.0, 0.0])

names = ["Golf-Plus", "Golf", "Passat", "Golf"]
vectors = np.array([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0], [-1.0, 0.0]])
found = search(" golf  plus", names, vectors, "car model: {}")
assert found == ["Golf-Plus", "Golf", "Passat"], found
"#;
    let python = Command::new(local("backend/bin/python"))
        .args(["-c", &format!("{code}{test}")])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = within(Duration::from_secs(90), python).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
