//! Live releases and base models that other people and programs have made, or changed under their
//! names.

use std::path::{Path, PathBuf};
use std::process::Command;

use autovalidate::broker::{JobRequest, RunState};
use autovalidate::failure::Failure;
use autovalidate::hub::{Extra, HubAccess, INDEX, RepoName, Repository, Upload};
use autovalidate::run::{ModelFinder, RunError};
use autovalidate_finetune::model::archive;
use axum::http::StatusCode;
use bytes::Bytes;

use crate::support::hub::{name, publish_zip, upload};
use crate::support::run::{RunHarness, access, repository, stages};
use crate::support::{DEADLINE, copy_folder, python, tiny, within};

const BASE: &str = "acme/base";

async fn publish(harness: &RunHarness, version: &str, archive: PathBuf) {
    publish_zip(&repository(&harness.hub), version, archive).await;
}

/// Copies the tiny model, with these weights in PyTorch's own format in place of its own.
fn pickled(to: &Path, weights: &str) {
    copy_folder(&tiny(), to);
    std::fs::remove_file(to.join("model.safetensors")).unwrap();
    let weights = tiny().join("../torch").join(weights);
    std::fs::copy(weights, to.join("pytorch_model.bin")).unwrap();
}

/// Packs a folder with Python, as someone's pipeline might: two folders around it, and the files of a
/// Mac beside it.
fn packed(harness: &RunHarness, folder: &Path) -> PathBuf {
    let zip = harness.data("by-python.zip");
    let script = "import pathlib, sys, zipfile\n\
        source = pathlib.Path(sys.argv[1])\n\
        with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_BZIP2) as packed:\n\
        \x20   packed.writestr('__MACOSX/out/._model', b'x')\n\
        \x20   packed.writestr('.DS_Store', b'x')\n\
        \x20   for path in sorted(source.rglob('*')):\n\
        \x20       packed.write(path, './out/model/' + str(path.relative_to(source)))\n";
    let done = Command::new(python()).args(["-c", script]).args([folder, &zip]).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    zip
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pickle_in_a_zip_of_another_layout_is_trained_on() {
    let harness = RunHarness::new().await;
    let folder = harness.data("pickled");
    pickled(&folder, "tiny-float32.bin");
    publish(&harness, "20260101", packed(&harness, &folder)).await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_eq!(record.base_model, Some(name("20260101").path()));
    assert_eq!(record.live_unreadable, None);
    // The live model is the original one in another format, and scores the same.
    let all = &record.metrics["held_out"]["all"];
    assert_eq!(all["before"], all["original"]);
    let live = ModelFinder {
        repository: Some(repository(&harness.hub)),
        data_dir: harness.data("one"),
        base_model: pipeline.plan.base_model.clone(),
    };
    let live = within(DEADLINE, live.find("live")).await.unwrap();
    assert!(live.path().join("model.safetensors").exists(), "the run published safetensors");
}

#[tokio::test(flavor = "multi_thread")]
async fn past_a_release_that_cant_be_read_the_run_starts_from_the_base_model_and_says_so() {
    let harness = RunHarness::new().await;
    let folder = harness.data("code");
    pickled(&folder, "module.bin");
    publish(&harness, "20260101", packed(&harness, &folder)).await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let reason = "the name torch.nn.modules.linear.Linear";

    // A request that names the release fails before any training, and one that names another model
    // gets past it.
    let named = JobRequest { base_model: Some(name("20260101").path()), ..RunHarness::forced() };
    let record = harness.ended(&pipeline, &named).await;
    assert_eq!((record.state, stages(&record)), (RunState::Failed, vec!["load-base"]));
    assert!(record.error.unwrap().message.contains(reason));
    let other =
        JobRequest { base_model: Some(tiny().display().to_string()), dry_run: true, ..RunHarness::forced() };
    let record = harness.ended(&pipeline, &other).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);

    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_eq!(record.base_model.as_deref(), Some("tiny"));
    let told = record.live_unreadable.clone().unwrap();
    assert!(
        told.contains(reason) && told.contains("20260101") && told.contains("tiny takes its place"),
        "{told}"
    );
    let gate = record.stages.iter().find(|stage| stage.stage == "gate").unwrap();
    assert!(gate.figures["sentence"].as_str().unwrap().contains(&told), "{:?}", gate.figures);
    let (repository, newest) = (repository(&harness.hub), harness.releases().await.remove(0));
    let zip = within(DEADLINE, repository.download(&newest, &harness.data("in"))).await.unwrap();
    let top = archive::unpack(&zip, &harness.data("unpacked")).unwrap();
    let card = std::fs::read_to_string(top.join("README.md")).unwrap();
    assert!(card.contains(&told), "{card}");
    assert_eq!(record.packages[0].instead_of, Some(name("20260101").to_string()));

    // From then on the live release is ours, and nothing is said any more.
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!((record.state, record.live_unreadable), (RunState::Done, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zip_under_yesterdays_name_is_seen() {
    let harness = RunHarness::new().await;
    let first = harness.data("first.zip");
    archive::pack(&tiny(), "first", &first).unwrap();
    publish(&harness, "20260101", first).await;
    let folder = harness.data("pickled");
    pickled(&folder, "tiny-float64.bin");
    let second = std::fs::read(packed(&harness, &folder)).unwrap();
    let pipeline = harness.pipeline(&harness.data("one"));
    // Somebody uploads another zip under the live name, just before the run publishes.
    harness.hub.faults().rival(name("20260101").path(), Bytes::from(second));
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert!(harness.hub.faults().spent());
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    let count = |stage: &str| stages(&record).iter().filter(|name| **name == stage).count();
    assert_eq!(["train", "evaluate", "publish"].map(count), [1, 2, 2], "it was judged again");
    let stored = std::fs::read_dir(harness.data("one/models")).unwrap();
    let stored: Vec<_> = stored.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(stored.iter().all(|name| name.starts_with("20260101.")), "{stored:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_keep_the_model_from_being_published_is_found_before_training() {
    let harness = RunHarness::new().await;
    let zip = harness.data("first.zip");
    archive::pack(&tiny(), "first", &zip).unwrap();
    publish(&harness, "20260101", zip.clone()).await;
    let pipeline = harness.pipeline(&harness.data("one"));
    harness.hub.faults().rival(INDEX, "{");
    publish(&harness, "20260102", zip.clone()).await;
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    // Three attempts, because the index may only have been garbled on its way.
    assert_eq!((record.state, stages(&record)), (RunState::Failed, vec!["load-base"; 3]));
    assert!(record.error.unwrap().advice.contains(INDEX));

    harness.hub.faults().rival(INDEX, "{\"schema\":1}");
    publish(&harness, "of-summer", zip).await;
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!((record.state, stages(&record)), (RunState::Failed, vec!["load-base"]));
    assert!(record.error.unwrap().message.contains("sorts after every date"));
}

/// Puts a model folder into the repo [`BASE`], or changes it.
async fn put_base(harness: &RunHarness, changes: &[(&str, Vec<u8>)]) {
    let access = HubAccess { repo: BASE.parse::<RepoName>().unwrap(), ..access(&harness.hub) };
    let repository = Repository::open(access).unwrap();
    within(DEADLINE, repository.create_if_missing(false)).await.unwrap();
    let version = jiff::Timestamp::now().as_nanosecond().to_string();
    let archive = harness.data("any.zip");
    std::fs::write(&archive, &version).unwrap();
    let extra = |(path, content): &(&str, Vec<u8>)| Extra {
        path: (*path).to_owned(),
        content: Bytes::from(content.clone()),
    };
    let upload = Upload { extras: changes.iter().map(extra).collect(), ..upload(&version, archive) };
    within(DEADLINE, repository.publish(upload)).await.unwrap();
}

fn tiny_files() -> Vec<(&'static str, Vec<u8>)> {
    [
        "config.json",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "1_Pooling/config.json",
        "model.safetensors",
    ]
    .map(|name| (name, std::fs::read(tiny().join(name)).unwrap()))
    .to_vec()
}

#[tokio::test]
async fn a_base_model_of_the_hub_is_looked_at_again_and_each_refusal_is_told() {
    let harness = RunHarness::new().await;
    let finder = |data: &str, base: &str| ModelFinder {
        repository: Some(repository(&harness.hub)),
        data_dir: harness.data(data),
        base_model: base.to_owned(),
    };
    let find = async |finder: ModelFinder, name: &str| within(DEADLINE, finder.find(name)).await;
    within(DEADLINE, repository(&harness.hub).create_if_missing(true)).await.unwrap();
    let missing = find(finder("one", BASE), "base").await.unwrap_err();
    assert!(
        missing.to_string().starts_with("BASE_MODEL: ") && missing.advice().contains("BASE_MODEL"),
        "{missing}"
    );
    let asked = find(finder("one", "acme/other"), BASE).await.unwrap_err();
    assert!(asked.to_string().starts_with("base_model of the job request: "), "{asked}");

    put_base(&harness, &tiny_files()).await;
    let first = find(finder("one", BASE), "base").await.unwrap();
    put_base(&harness, &[("README.md", b"---\nlicense: mit\n---\n".to_vec())]).await;
    assert_eq!(
        find(finder("one", BASE), "base").await.unwrap().path(),
        first.path(),
        "a card is no other model"
    );
    let mut bert: serde_json::Value =
        serde_json::from_slice(&std::fs::read(tiny().join("sentence_bert_config.json")).unwrap()).unwrap();
    bert["max_seq_length"] = 12.into();
    put_base(&harness, &[("sentence_bert_config.json", bert.to_string().into_bytes())]).await;
    let second = find(finder("one", BASE), "base").await.unwrap();
    assert_eq!((first.max_tokens, second.max_tokens), (32, 12));

    // A gated repo: the stored model is used where there is one, otherwise the Hub's sentence is told.
    let sentence = "Access to model acme/base is restricted.";
    harness.hub.faults().refuse_below("/acme/base/resolve", StatusCode::FORBIDDEN, "GatedRepo", sentence);
    assert_eq!(find(finder("one", BASE), "base").await.unwrap().path(), second.path());
    let gated = find(finder("two", BASE), "base").await.unwrap_err();
    assert!(
        matches!(&gated, RunError::BaseModel { source, .. } if source.to_string().contains(sentence)),
        "{gated:?}"
    );
    assert!(
        gated.advice().contains("BASE_MODEL") && gated.advice().contains("conditions"),
        "{}",
        gated.advice()
    );
    assert_eq!(std::fs::read_dir(harness.data("two/models")).unwrap().count(), 0, "no half-made folder");
    harness.hub.faults().refuse_below(
        "/api/models/acme/base",
        StatusCode::UNAUTHORIZED,
        "RepoNotFound",
        "Repository not found",
    );
    assert_eq!(find(finder("one", BASE), "base").await.unwrap().path(), second.path());
    harness.hub.faults().refuse_below("", StatusCode::OK, "", "");

    harness.hub.faults().rename("acme/former", BASE);
    let renamed = find(finder("three", "acme/former"), "base").await.unwrap();
    assert_eq!(renamed.max_tokens, 12, "the Hub's redirect is followed");
}
