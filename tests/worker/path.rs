//! Inserted corrections become a published, better model.

use std::process::Stdio;

use autovalidate::broker::RunState;
use autovalidate::hub::Repository;
use autovalidate::run::{RECEIPT, Receipt};
use autovalidate_finetune::model::{ModelFolder, archive};
use autovalidate_finetune::train::Encoder;
use serde_json::json;

use super::harness::{House, PATIENCE, REPO, WEBHOOK_SECRET, insert, post, tiny};
use crate::support::{self, runtime, within};

#[tokio::test(flavor = "multi_thread")]
async fn corrections_become_a_published_model_and_then_a_better_one() {
    let mut house = House::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    insert(&house.supabase, 119).await;
    // Refused rows are kept, marked, and don't count.
    post(
        &house.supabase,
        &json!([
            { "typo": "", "corrected": "Audi", "domain": "brand" },
            { "typo": "audi", "corrected": "Audi", "domain": "brand" },
            { "typo": "au\u{7}di", "corrected": "Audi", "domain": "brand" },
            { "typo": "x".repeat(257), "corrected": "Audi", "domain": "brand" },
        ]),
    )
    .await;
    post(&house.supabase, &json!({ "typo": "audii", "corrected": "Audi", "domain": "brand" })).await;

    let record = house.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_eq!(record.id.as_str(), "pairs-1-120");
    assert_eq!(record.row_count, Some(120));
    assert!(record.verdict.is_some() && record.dataset_hash.is_some());
    let stages: Vec<&str> = record.stages.iter().map(|stage| stage.stage.as_str()).collect();
    let all = ["load-base", "fetch-data", "train", "evaluate", "gate", "package", "publish", "clean-up"];
    assert_eq!(stages, all);
    assert!(record.stages.iter().all(|stage| stage.ended_at.is_some() && stage.error.is_none()));
    let quarantined = house.worker.handles().corrections.quarantined_counts().await.unwrap();
    assert_eq!(quarantined.values().sum::<u64>(), 4, "{quarantined:?}");

    let artifact = record.artifact.clone().unwrap();
    let receipt = fetched(&house, &artifact.path).await;
    assert_eq!(receipt.job, "pairs-1-120");
    assert_eq!(receipt.dataset.rows, 120);
    assert!(receipt.onnx_parity > 0.9999);
    let training = receipt.training;
    assert!(training.epoch_losses.last() < training.epoch_losses.first(), "{:?}", training.epoch_losses);
    assert_eq!(house.hub.commits(REPO).await.len(), 2, "the repository's own commit and the release's");
    assert!(!house.data.join("jobs").join("pairs-1-120").exists(), "the run's files are removed");

    // Any NATS client starts a run, from the release that was just published.
    let script = "import asyncio, sys, nats\n\
        async def main():\n    client = await nats.connect(sys.argv[1])\n    await client.publish('training.jobs', b'{}')\n    await client.flush()\n    print((await client.request('training.status', b'', timeout=10)).data.decode())\n\
        asyncio.run(main())";
    let client = tokio::process::Command::new(support::python())
        .args(["-c", script, &house.nats_url()])
        .stdin(Stdio::null())
        .output();
    let output = within(PATIENCE, client).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["threshold"], &status["pending"]), (&json!(120), &json!(0)));

    let second = house.ended().await;
    assert_eq!(second.state, RunState::Done, "{:?}", second.error);
    assert!(second.id.as_str().starts_with("manual-"), "{}", second.id);
    assert_eq!(second.base_model.as_deref(), Some(artifact.path.as_str()));
    let newest = second.artifact.clone().unwrap();
    assert!(newest.path > artifact.path, "the backend takes the greatest name");
    house.stop().await;
}

/// Fetches a release as the backend does and gives its receipt; the folder loads and embeds.
async fn fetched(house: &House, path: &str) -> Receipt {
    let access = autovalidate::hub::HubAccess {
        endpoint: house.hub.url().clone(),
        token: Some(house.hub.token().clone()),
        repo: REPO.parse().unwrap(),
    };
    let repository = Repository::open(access).unwrap();
    let release = repository.newest().await.unwrap().unwrap();
    assert_eq!(release.path(), path);
    let folder = tempfile::tempdir().unwrap();
    let zip = repository.download(&release, folder.path()).await.unwrap();
    let top = archive::unpack(&zip, &folder.path().join("unpacked")).unwrap();
    assert_eq!(top.file_name().unwrap().to_str(), Some(release.name.folder()));
    let model = ModelFolder::open(&top).unwrap();
    let embeddings = Encoder::embed_with(&runtime(), &model, &["car brand: audii"]).unwrap();
    assert!(embeddings.iter().all(|value| value.is_finite()));
    let card = std::fs::read_to_string(top.join("README.md")).unwrap();
    assert!(card.contains("library_name: sentence-transformers") && !card.contains("audii"));
    serde_json::from_slice(&std::fs::read(top.join(RECEIPT)).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_publishes_nothing_and_absurd_requests_are_refused() {
    let mut house = House::start(&tiny(), &[("TRAIN_THRESHOLD", "1000")]).await;
    insert(&house.supabase, 60).await;
    house.stored(60).await;

    let client = house.worker.handles().streams.connection().client().clone();
    for body in ["not json", r#"{"epochs": 0}"#, r#"{"color": "red"}"#, r#"{"dry_run": true}"#] {
        client.publish("training.jobs", body.into()).await.unwrap();
    }
    for field in [serde_json::Value::Null, json!("epochs"), json!("color")] {
        let refused = house.event("refused").await;
        assert_eq!(refused.detail["field"], field);
    }
    let record = house.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert!(record.request.dry_run && record.artifact.is_none());
    assert_eq!(house.hub.commits(REPO).await.len(), 1, "only the repository's own commit");
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_ask_no_more_however_many_runs_there_were() {
    let house = House::start(&tiny(), &[]).await;
    let runs = &house.worker.handles().runs;
    for sequence in 1..=30 {
        let id = autovalidate::broker::JobId::manual(sequence);
        let record = autovalidate::broker::RunRecord::new(
            id,
            Default::default(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        within(PATIENCE, runs.create(&record)).await.unwrap();
    }
    // Another client of the account sees what the worker asks of JetStream.
    let watching = async_nats::connect(house.nats_url()).await.unwrap();
    let mut reads = watching.subscribe("$JS.API.DIRECT.GET.KV_training_runs.>").await.unwrap();
    watching.flush().await.unwrap();
    for path in ["healthz", "metrics"] {
        let url = format!("http://{}/{path}", house.worker.http());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    }
    // The first read that is seen is this one.
    let nobody = "nobody".parse().unwrap();
    assert!(within(PATIENCE, runs.load(&nobody)).await.unwrap().is_none());
    let message = within(PATIENCE, futures::StreamExt::next(&mut reads)).await.unwrap();
    assert!(message.subject.ends_with(".nobody"), "a record was read: {}", message.subject);
    house.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_webhook_answer() {
    let house = House::start(&tiny(), &[]).await;
    let base = format!("http://{}", house.worker.http());
    let client = reqwest::Client::new();
    let get = |path: &str| client.get(format!("{base}{path}")).send();
    assert_eq!(get("/healthz").await.unwrap().status(), 200);
    let metrics = get("/metrics").await.unwrap().text().await.unwrap();
    for name in [
        "autovalidate_broker_up 1",
        "autovalidate_pairs_pending 0",
        "autovalidate_realtime_connected",
        "autovalidate_runs_waiting 0",
    ] {
        assert!(metrics.contains(name), "{metrics}");
    }
    let hook = |secret: Option<&str>, body: &'static str| {
        let request = client.post(format!("{base}/hooks/supabase")).body(body);
        match secret {
            Some(secret) => request.header("x-webhook-secret", secret),
            None => request,
        }
        .send()
    };
    let body = r#"{"type":"INSERT","schema":"public","table":"typo_training_dataset","record":{"id":1},"old_record":null}"#;
    assert_eq!(hook(None, body).await.unwrap().status(), 401);
    assert_eq!(hook(Some("wrong"), body).await.unwrap().status(), 401);
    assert_eq!(hook(Some(WEBHOOK_SECRET), "{").await.unwrap().status(), 400);
    assert_eq!(hook(Some(WEBHOOK_SECRET), body).await.unwrap().status(), 202);
    house.stop().await;
}
