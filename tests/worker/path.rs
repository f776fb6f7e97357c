//! The whole path: inserted corrections become a published, better model.

use std::process::Stdio;

use autovalidate::broker::RunState;
use autovalidate::run::{RECEIPT, Receipt};
use autovalidate_finetune::model::{ModelFolder, archive};
use autovalidate_finetune::train::Encoder;
use serde_json::json;

use crate::support::DEADLINE;
use crate::support::run::repository;
use crate::support::worker::{REPO, TestWorker, WEBHOOK_SECRET, another_client, insert, post};
use crate::support::{self, runtime, tiny, within};

#[tokio::test(flavor = "multi_thread")]
async fn corrections_become_a_published_model() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    insert(&system.supabase, 119).await;
    // Refused rows are stored with their reason, and do not count toward the threshold.
    post(
        &system.supabase,
        &json!([
            { "typo": "", "corrected": "Audi", "domain": "brand" },
            { "typo": "audi", "corrected": "Audi", "domain": "brand" },
            { "typo": "au\u{7}di", "corrected": "Audi", "domain": "brand" },
            { "typo": "x".repeat(257), "corrected": "Audi", "domain": "brand" },
        ]),
    )
    .await;
    post(&system.supabase, &json!({ "typo": "audii", "corrected": "Audi", "domain": "brand" })).await;

    let record = system.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_eq!(record.id.as_str(), "pairs-1-120");
    assert_eq!(record.row_count, Some(120));
    assert!(record.verdict.is_some() && record.dataset_hash.is_some());
    let stages: Vec<&str> = record.stages.iter().map(|stage| stage.stage.as_str()).collect();
    let all = ["load-base", "fetch-data", "train", "evaluate", "gate", "package", "publish", "clean-up"];
    assert_eq!(stages, all);
    assert!(record.stages.iter().all(|stage| stage.ended_at.is_some() && stage.error.is_none()));
    let quarantined = system.worker.handles().corrections.quarantined_counts().await.unwrap();
    assert_eq!(quarantined.values().sum::<u64>(), 4, "{quarantined:?}");

    let artifact = record.artifact.clone().unwrap();
    let receipt = fetched(&system, &artifact.path).await.receipt;
    assert_eq!(receipt.job, "pairs-1-120");
    assert_eq!(receipt.dataset.rows, 120);
    assert!(receipt.onnx_parity > 0.9999);
    let proof = receipt.parity_proof.as_ref().unwrap();
    assert!(proof.texts > 0 && proof.tokenized_as == ["transformers 4", "transformers 5"], "{proof:?}");
    let training = receipt.training;
    assert!(training.epoch_losses.last() < training.epoch_losses.first(), "{:?}", training.epoch_losses);
    assert_eq!(system.hub.commits(REPO).await.len(), 2, "the commit that made the repo, and the release's");
    assert!(!system.data.join("jobs").join("pairs-1-120").exists(), "the run's files are removed");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_nats_client_starts_a_run_which_starts_from_the_newest_release() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    insert(&system.supabase, 120).await;
    let first = system.ended().await;
    assert_eq!(first.state, RunState::Done, "{:?}", first.error);
    let artifact = first.artifact.clone().unwrap();

    let script = "import asyncio, sys, nats\n\
        async def main():\n    client = await nats.connect(sys.argv[1])\n    await client.publish('training.jobs', b'{}')\n    await client.flush()\n    print((await client.request('training.status', b'', timeout=10)).data.decode())\n\
        asyncio.run(main())";
    let client = tokio::process::Command::new(support::python())
        .args(["-c", script, &system.nats_url()])
        .stdin(Stdio::null())
        .output();
    let output = within(DEADLINE, client).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&status["threshold"], &status["pending"]), (&json!(120), &json!(0)));

    let second = system.ended().await;
    assert_eq!(second.state, RunState::Done, "{:?}", second.error);
    assert!(second.id.as_str().starts_with("manual-"), "{}", second.id);
    assert_eq!(second.base_model.as_deref(), Some(artifact.path.as_str()));
    let newest = second.artifact.clone().unwrap();
    assert!(newest.path > artifact.path, "the backend loads the greatest name");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_published_model_finds_more_names_than_the_one_it_replaces() {
    let settings = [
        ("TRAIN_THRESHOLD", "400"),
        ("TRAIN_EPOCHS", "6"),
        ("TRAIN_BATCH_SIZE", "32"),
        ("TRAIN_LEARNING_RATE", "0.005"),
        ("SYNTHESIS_VARIANTS", "6"),
    ];
    let mut system = TestWorker::start(&tiny(), &settings).await;
    insert(&system.supabase, 400).await;
    let record = system.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_eq!(record.verdict.as_deref(), Some("better"));
    let published = fetched(&system, &record.artifact.unwrap().path).await;
    let receipt = &published.receipt;
    let scores = &receipt.report.held_out.all;
    assert!(scores.after.overall.accuracy_at_1 > scores.before.overall.accuracy_at_1);

    // Checks the same without the product's scorer. Rows have ids from 1, in the order of their
    // insertion.
    let rows: Vec<_> = autovalidate_fakes::demo::corrections(7, 400);
    let held_out = &receipt.dataset.held_out_ids;
    let queries: Vec<_> = rows
        .iter()
        .zip(1..)
        .filter(|(_, id)| held_out.contains(*id))
        .map(|(row, _)| (row.domain, row.typo.as_str(), row.corrected))
        .collect();
    let mut names: Vec<_> = rows.iter().map(|row| (row.domain, row.corrected)).collect();
    names.sort_unstable();
    names.dedup();
    let found = |folder: &ModelFolder| found_first(folder, &queries, &names);
    let (before, after) = (found(&ModelFolder::open(&tiny()).unwrap()), found(&published.model));
    assert!(after >= before + queries.len() / 10, "{before} before, {after} after, of {}", queries.len());
    system.stop().await;
}

/// Counts the typos whose right name is the nearest one of its domain, by cosine.
fn found_first(folder: &ModelFolder, queries: &[(&str, &str, &str)], names: &[(&str, &str)]) -> usize {
    let templates = autovalidate::templates::Templates::default();
    let unit = |texts: &[String]| {
        let mut rows = Encoder::embed_with(&runtime(), folder, texts).unwrap();
        for mut row in rows.rows_mut() {
            let length = row.dot(&row).sqrt();
            row /= length;
        }
        rows
    };
    let typos: Vec<_> = queries.iter().map(|(domain, typo, _)| templates.render(domain, typo)).collect();
    let texts: Vec<_> = names.iter().map(|(domain, name)| templates.render(domain, name)).collect();
    let cosines = unit(&typos).dot(&unit(&texts).t());
    let nearest = |query: usize, domain: &str| {
        let of_domain = names.iter().enumerate().filter(|(_, name)| name.0 == domain);
        of_domain.max_by(|a, b| cosines[[query, a.0]].total_cmp(&cosines[[query, b.0]])).unwrap().1.1
    };
    queries.iter().enumerate().filter(|(query, (domain, _, right))| nearest(*query, domain) == *right).count()
}

/// A release that was downloaded.
struct Fetched {
    receipt: Receipt,
    model: ModelFolder,
    _folder: tempfile::TempDir,
}

/// Downloads a release as the backend does, checks that its folder loads and embeds, and returns
/// its receipt and its model.
async fn fetched(system: &TestWorker, path: &str) -> Fetched {
    let repository = repository(&system.hub);
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
    let receipt = serde_json::from_slice(&std::fs::read(top.join(RECEIPT)).unwrap()).unwrap();
    Fetched { receipt, model, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_publishes_nothing_and_absurd_requests_are_refused() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "1000")]).await;
    insert(&system.supabase, 60).await;
    system.stored(60).await;

    let client = system.worker.handles().streams.connection().client().clone();
    for body in ["not json", r#"{"epochs": 0}"#, r#"{"color": "red"}"#, r#"{"dry_run": true}"#] {
        client.publish("training.jobs", body.into()).await.unwrap();
    }
    for field in [serde_json::Value::Null, json!("epochs"), json!("color")] {
        let refused = system.event("refused").await;
        assert_eq!(refused.detail["field"], field);
    }
    let record = system.ended().await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert!(record.request.dry_run && record.artifact.is_none());
    assert_eq!(system.hub.commits(REPO).await.len(), 1, "only the commit that made the repo");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_ask_no_more_however_many_runs_there_were() {
    let system = TestWorker::start(&tiny(), &[]).await;
    let runs = &system.worker.handles().runs;
    for sequence in 1..=30 {
        let id = autovalidate::broker::JobId::manual(sequence);
        let record = autovalidate::broker::RunRecord::new(
            id,
            Default::default(),
            "2026-01-01T00:00:00Z".parse().unwrap(),
        );
        within(DEADLINE, runs.create(&record)).await.unwrap();
    }
    // Another client of the account sees the worker's JetStream requests.
    let watching = another_client(system.worker.handles()).await;
    let mut reads = watching.subscribe("$JS.API.DIRECT.GET.KV_training_runs.>").await.unwrap();
    watching.flush().await.unwrap();
    for path in ["healthz", "metrics"] {
        let url = format!("http://{}/{path}", system.worker.http());
        assert_eq!(reqwest::get(url).await.unwrap().status(), 200);
    }
    // The first read seen must be this one.
    let nobody = "nobody".parse().unwrap();
    assert!(within(DEADLINE, runs.load(&nobody)).await.unwrap().is_none());
    let message = within(DEADLINE, futures::StreamExt::next(&mut reads)).await.unwrap();
    assert!(message.subject.ends_with(".nobody"), "a record was read: {}", message.subject);
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_healthz_says_what_the_worker_says() {
    let system = TestWorker::start(&tiny(), &[]).await;
    let ask = |address: String| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command
            .args(["healthz", "--address", &address])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null());
        within(DEADLINE, async move { command.output().await.unwrap() })
    };
    let address = system.worker.http().to_string();
    let healthy = ask(address.clone()).await;
    assert!(healthy.status.success() && healthy.stdout == b"ok\n", "{healthy:?}");
    system.stop().await;
    // Another program answers on that port by now.
    let stranger = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let elsewhere = stranger.local_addr().unwrap().to_string();
    let page = axum::routing::get(|| async { "<html>welcome</html>" });
    let served = axum::serve(stranger, axum::Router::new().route("/healthz", page)).into_future();
    let served = tokio::spawn(served);
    let strange = ask(elsewhere).await;
    assert_eq!(strange.status.code(), Some(1), "{strange:?}");
    assert!(String::from_utf8_lossy(&strange.stderr).contains("is not a worker"), "{strange:?}");
    served.abort();
    let gone = ask(address.clone()).await;
    assert_eq!(gone.status.code(), Some(1));
    let told = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(told.contains(&format!("no worker answers at {address}")), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_webhook_answer() {
    let system = TestWorker::start(&tiny(), &[]).await;
    let base = format!("http://{}", system.worker.http());
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
    system.stop().await;
}
