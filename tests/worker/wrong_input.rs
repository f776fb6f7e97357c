//! Wrong base models: the record explains the error in one sentence, nothing is published, and no
//! files remain.

use std::path::Path;

use autovalidate::broker::{JobRequest, RunRecord, RunState};
use autovalidate::failure::RetryDirective;
use autovalidate_fakes::hub;
use autovalidate_fakes::supabase;
use bytes::Bytes;

use crate::support::run::repository;
use crate::support::worker::{REPO, TestWorker, insert};
use crate::support::{tiny, within};

/// Copies the folder of the small encoder.
fn copy(to: &Path) {
    for entry in [
        "config.json",
        "modules.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "sentence_bert_config.json",
        "model.safetensors",
        "1_Pooling/config.json",
        "2_Normalize/config.json",
    ] {
        let target = to.join(entry);
        std::fs::create_dir_all(target.parent().unwrap()).unwrap();
        std::fs::copy(tiny().join(entry), target).unwrap();
    }
}

async fn run_on(system: &mut TestWorker) -> RunRecord {
    insert(&system.supabase, 40).await;
    system.stored(40).await;
    system.worker.handles().jobs.enqueue(&JobRequest::default()).await.unwrap();
    system.ended().await
}

async fn fails_with(mend: impl Fn(&Path), expected: &str) {
    let base = tempfile::tempdir().unwrap();
    copy(base.path());
    mend(base.path());
    let mut system = TestWorker::start(base.path(), &[]).await;
    let record = run_on(&mut system).await;
    assert_eq!(record.state, RunState::Failed);
    let error = record.error.unwrap();
    assert!(error.message.contains(expected), "{error:?}");
    assert!(!error.advice.is_empty());
    assert_eq!(error.remedy, RetryDirective::Never);
    assert!(record.artifact.is_none());
    assert_eq!(system.hub.commits(REPO).await.len(), 1, "only the commit that made the repo");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_architecture_is_refused_by_name() {
    let mend = |folder: &Path| {
        let path = folder.join("config.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"bert\"", "\"gpt2\"");
        std::fs::write(path, text).unwrap();
    };
    fails_with(mend, "the model's model_type is gpt2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_weights_are_refused() {
    let mend = |folder: &Path| {
        let path = folder.join("model.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(path, &bytes[..bytes.len() - 100]).unwrap();
    };
    fails_with(mend, "is damaged: its header describes").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_leads_outside_its_folder_is_not_unpacked() {
    use std::io::Write;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("model/config.json", options).unwrap();
    zip.start_file("../outside.txt", options).unwrap();
    zip.write_all(b"here").unwrap();
    let zip = zip.finish().unwrap().into_inner();

    let folder = tempfile::tempdir().unwrap();
    let supabase = supabase::Supabase::start(supabase::Options::default()).await.unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    repository(&hub).create_if_missing(true).await.unwrap();
    // Someone else uploaded a zip to the folder of releases.
    hub.faults().rival("models/finetuned-embedding-model-20250101000000.zip", Bytes::from(zip));
    let mut system = TestWorker::start_with(folder, supabase, hub, &tiny(), &[]).await;
    // The rival's commit precedes ours. The first run meets this zip as the live release, compares with
    // the base model instead and says so. The second run asks for it as its base model, and fails.
    let reason = "the zip's entry 1 has a name that is not accepted";
    let beside = run_on(&mut system).await;
    assert_eq!(beside.state, RunState::Done, "{:?}", beside.error);
    let judged = beside.stages.iter().rfind(|stage| stage.stage == "gate").unwrap();
    assert!(judged.figures["sentence"].as_str().unwrap().contains(reason), "{:?}", judged.figures);
    let request = JobRequest { base_model: Some("20250101000000".to_owned()), ..JobRequest::default() };
    system.worker.handles().jobs.enqueue(&request).await.unwrap();
    let record = system.ended().await;
    assert_eq!((record.state, record.artifact), (RunState::Failed, None));
    let error = record.error.unwrap();
    assert!(error.message.contains(reason), "{error:?}");
    let outside: Vec<_> =
        walk(&system.data).into_iter().filter(|path| path.ends_with("outside.txt")).collect();
    assert!(outside.is_empty(), "{outside:?}");
    within(crate::support::DEADLINE, system.stop()).await;
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
