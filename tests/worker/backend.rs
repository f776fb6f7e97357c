//! The backend beside a worker, with the libraries that it pins: it loads what the worker published,
//! and computes the same embeddings.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use autovalidate::broker::RunState;
use autovalidate::catalog_row::CatalogRow;
use autovalidate::evaluate::{Catalog, Query, Side, model_ranks};
use autovalidate::run::{ModelFinder, Scorer};
use autovalidate::templates::Templates;
use autovalidate_fakes::{demo, hub, supabase};
use autovalidate_finetune::model::archive;
use axum::http::StatusCode;
use ndarray::Array2;
use secrecy::ExposeSecret;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::hub::publish_zip;
use crate::support::run::repository;
use crate::support::worker::{REPO, TestWorker, insert};
use crate::support::{local, runtime, tiny, within};

/// Deadline of one answer. The first one of a process waits until PyTorch is loaded.
const PATIENCE: Duration = Duration::from_secs(120);

/// One look of the backend at the repo.
#[derive(Debug, Deserialize)]
struct Look {
    version: String,
    downloaded: bool,
    embeddings: Vec<Vec<f32>>,
}

/// A process of the backend.
struct Backend {
    process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Backend {
    /// Starts a process whose cache is in this folder.
    async fn start(hub: &hub::Hub, folder: &Path) -> Self {
        let mut process = python("backend.py")
            .args([hub.url().as_str().trim_end_matches('/'), hub.token().expose_secret(), REPO])
            .arg(folder)
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let requests = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut backend = Self { process, requests, answers };
        assert_eq!(backend.answer().await, r#"["4.56", "0.35", "5.1"]"#);
        backend
    }

    async fn answer(&mut self) -> String {
        within(PATIENCE, self.answers.next_line()).await.unwrap().expect("the backend ended")
    }

    async fn look(&mut self, texts: &[String]) -> Look {
        let request = format!("{}\n", serde_json::to_string(texts).unwrap());
        within(PATIENCE, self.requests.write_all(request.as_bytes())).await.unwrap();
        serde_json::from_str(&self.answer().await).unwrap()
    }

    /// Returns the backend's answers to what was typed, given as domain and text.
    async fn search(&mut self, rows: &[(&str, &str)], typed: &[(&str, String)]) -> Vec<Vec<String>> {
        let request = format!("{}\n", serde_json::json!({ "rows": rows, "typed": typed }));
        within(PATIENCE, self.requests.write_all(request.as_bytes())).await.unwrap();
        serde_json::from_str(&self.answer().await).unwrap()
    }

    async fn stop(self) {
        let Self { mut process, requests, answers } = self;
        drop((requests, answers));
        assert!(within(PATIENCE, process.wait()).await.unwrap().success());
    }
}

/// Returns a command that runs a script with the libraries of the backend.
fn python(script: &str) -> Command {
    let mut command = Command::new(local("backend/bin/python"));
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker").join(script))
        .env_clear()
        .env("OMP_NUM_THREADS", "1")
        .kill_on_drop(true);
    command
}

/// Returns the texts that the backend indexes and those that it asks for.
fn texts() -> Vec<String> {
    let models =
        [("Toyota", "Corolla"), ("Škoda", "Octavia"), ("BYD", "Seal"), ("Mercedes-Benz", "C 63 AMG")];
    let indexed = models.iter().flat_map(|(brand, model)| {
        [format!("car brand: {brand} models: {model}"), format!("car model: {model} by {brand}")]
    });
    let asked = ["car brand: toyta", "car model: corola", "car brand: mercedez", "car model: "];
    indexed.chain(asked.map(str::to_owned)).collect()
}

/// Embeds texts with the live model, as the trainer reads it.
async fn own_embeddings(hub: &hub::Hub, data_dir: &Path, texts: &[String]) -> Vec<Vec<f32>> {
    let finder = ModelFinder {
        repository: Some(repository(hub)),
        data_dir: data_dir.to_owned(),
        base_model: tiny().display().to_string(),
    };
    let folder = within(PATIENCE, finder.find("live")).await.unwrap();
    let embeddings = Scorer::open(&runtime(), &folder, texts).unwrap().embed(texts).unwrap();
    embeddings.rows().into_iter().map(|row| row.to_vec()).collect()
}

/// Returns the smallest cosine between two models' embeddings of the same text.
fn agreement(one: &[Vec<f32>], other: &[Vec<f32>]) -> f32 {
    assert_eq!(one.len(), other.len());
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    let cosine = |(a, b): (&Vec<f32>, &Vec<f32>)| {
        assert_eq!(a.len(), b.len());
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    // A cosine that is no number is lower than any.
    let lowest = one.iter().zip(other).map(cosine).map(|cosine| if cosine.is_nan() { -2.0 } else { cosine });
    lowest.fold(1.0, f32::min)
}

/// Checks that the backend's first answer is the name that evaluation ranks first.
async fn finds_what_the_backend_answers(backend: &mut Backend, hub: &hub::Hub, data_dir: &Path) {
    let rows = demo::cars();
    let named = rows.iter().step_by(7).flat_map(|(brand, model)| [("brand", *brand), ("model", *model)]);
    let typed: Vec<(&str, String)> =
        named.map(|(domain, name)| (domain, name.replace('a', "e") + "x")).collect();
    let answers = backend.search(&rows, &typed).await;
    assert_eq!(answers.len(), typed.len());
    let query = |((domain, typo), answer): (&(&str, String), &Vec<String>)| Query {
        domain: (*domain).to_owned(),
        typo: typo.clone(),
        corrected: answer[0].clone(),
        side: Side::NewTypo,
    };
    let queries: Vec<Query> = typed.iter().zip(&answers).map(query).collect();
    let row = |(brand, model): &(&str, &str)| CatalogRow::together([("brand", *brand), ("model", *model)]);
    let rows: Vec<CatalogRow> = rows.iter().map(row).collect();
    let templates = Templates::default();
    let catalog = Catalog::new(rows.iter().flat_map(CatalogRow::names)).with_indexed(&rows, &templates);
    let embeddings = std::cell::RefCell::new(Vec::new());
    let collect = |texts: &[String]| -> Result<Array2<f32>, std::convert::Infallible> {
        embeddings.borrow_mut().extend_from_slice(texts);
        Ok(Array2::zeros((texts.len(), 1)))
    };
    model_ranks(&queries, &catalog, &templates, collect).unwrap();
    let texts = embeddings.into_inner();
    let own = own_embeddings(hub, data_dir, &texts).await;
    let by_text: HashMap<&String, &Vec<f32>> = texts.iter().zip(&own).collect();
    let embed = |texts: &[String]| -> Result<Array2<f32>, std::convert::Infallible> {
        let rows: Vec<f32> = texts.iter().flat_map(|text| by_text[text].iter().copied()).collect();
        Ok(Array2::from_shape_vec((texts.len(), own[0].len()), rows).unwrap())
    };
    let ranks = model_ranks(&queries, &catalog, &templates, embed).unwrap();
    assert!(ranks.iter().all(|rank| *rank == Some(1)), "{ranks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_backend_loads_the_newest_release_once_and_embeds_as_the_trainer_does() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("backend");
    std::fs::create_dir(&cache).unwrap();
    let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    let older = folder.path().join("older.zip");
    archive::pack(&tiny(), "older", &older).unwrap();
    publish_zip(&repository(&hub), "20250105", older).await;
    let (own, foreign) = (folder.path().join("own"), folder.path().join("foreign.zip"));
    let settings = [("TRAIN_THRESHOLD", "120")];
    let mut system = TestWorker::start_with(folder, supabase, hub, &tiny(), &settings).await;
    insert(&system.supabase, 120).await;
    let run = system.ended().await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.error);
    let release = within(PATIENCE, repository(&system.hub).newest()).await.unwrap().unwrap();
    let version = run.packages[0].release.clone();
    assert_eq!(release.name.to_string(), version);

    // The first look downloads what the worker published.
    let texts = texts();
    let mut backend = Backend::start(&system.hub, &cache).await;
    let first = backend.look(&texts).await;
    assert!(first.downloaded && version == format!("finetuned-embedding-model-{}.zip", first.version));
    let ours = own_embeddings(&system.hub, &own, &texts).await;
    assert!(agreement(&first.embeddings, &ours) >= 0.9999, "{first:?}\n{ours:?}");
    finds_what_the_backend_answers(&mut backend, &system.hub, &own).await;
    backend.stop().await;

    // While no newer name is there, another process of the backend downloads nothing.
    let resolve = format!("/{REPO}/resolve");
    system.hub.faults().refuse_below(&resolve, StatusCode::FORBIDDEN, "GatedRepo", "no downloads");
    let mut backend = Backend::start(&system.hub, &cache).await;
    let second = backend.look(&texts).await;
    assert_eq!((&second.version, second.downloaded), (&first.version, false));
    assert_eq!(second.embeddings, first.embeddings);
    system.hub.faults().refuse_below("", StatusCode::OK, "", "");

    // Another program's release with a newer name is read alike by the backend and by the trainer.
    let source = within(PATIENCE, repository(&system.hub).download(&release, &own)).await.unwrap();
    let made = python("other_program.py").args([&source, &foreign]).output();
    let made = within(PATIENCE, made).await.unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    publish_zip(&repository(&system.hub), "29990101", foreign).await;
    let third = backend.look(&texts).await;
    assert_eq!((third.version.as_str(), third.downloaded), ("29990101", true));
    let ours = own_embeddings(&system.hub, &own, &texts).await;
    assert!(agreement(&third.embeddings, &ours) >= 0.9999, "{third:?}\n{ours:?}");
    assert!(agreement(&third.embeddings, &first.embeddings) < 0.999, "another model");
    backend.stop().await;
    system.stop().await;
}
