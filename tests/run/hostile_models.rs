//! Models that somebody made to do harm: named by a request, or uploaded as a release.

use std::path::{Path, PathBuf};
use std::time::Duration;

use autovalidate::broker::{JobRequest, RunState};
use autovalidate::confined::Limits;
use autovalidate::failure::{Failure, RetryDirective};
use autovalidate::run::{ModelCheck, ModelCheckError};
use autovalidate_finetune::model::archive;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

use crate::support::hub::publish_zip;
use crate::support::run::{RunHarness, repository, stages};
use crate::support::{DEADLINE, copy_folder, onnxruntime, tiny, within, write_program};

/// Returns a copy of the tiny model with code in it.
fn with_code(to: PathBuf) -> PathBuf {
    copy_folder(&tiny(), &to);
    for code in ["evilmod.py", "1_Pooling/evil.py", "setup.sh"] {
        std::fs::write(to.join(code), "import os").unwrap();
    }
    to
}

fn from_folder(folder: &Path) -> JobRequest {
    JobRequest { base_model: Some(folder.display().to_string()), ..RunHarness::forced() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_a_folder_only_where_a_setting_allows_it() {
    let harness = RunHarness::new().await;
    let folder = with_code(harness.data("allowed/model"));
    let mut pipeline = harness.pipeline(&harness.data("one"));
    let link = harness.data("allowed/link");
    let outside = with_code(harness.data("outside"));
    std::os::unix::fs::symlink(&outside, &link).unwrap();

    for (allowed, wanted) in [
        (Vec::new(), folder.clone()),
        (vec![harness.data("allowed")], outside),
        (vec![harness.data("allowed")], link),
        (vec![harness.data("allowed")], folder.join("../../outside")),
        (vec![harness.data("allowed")], harness.data("allowed/absent")),
    ] {
        pipeline.plan.base_model_folders = allowed;
        let record = harness.ended(&pipeline, &from_folder(&wanted)).await;
        assert_eq!((record.state, stages(&record)), (RunState::Failed, vec!["load-base"]), "{wanted:?}");
        let error = record.error.unwrap();
        assert!(error.message.contains("BASE_MODEL_FOLDERS"), "{error:?}");
    }
    assert!(harness.releases().await.is_empty());

    pipeline.plan.base_model_folders = vec![harness.data("allowed")];
    let record = harness.ended(&pipeline, &from_folder(&folder)).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert_no_code_in_the_newest_release(&harness).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn code_in_a_release_is_not_published_again() {
    let harness = RunHarness::new().await;
    let zip = harness.data("hostile.zip");
    archive::pack(&with_code(harness.data("hostile")), "model", &zip).unwrap();
    publish_zip(&repository(&harness.hub), "20260101", zip).await;
    let pipeline = harness.pipeline(&harness.data("one"));
    let record = harness.ended(&pipeline, &RunHarness::forced()).await;
    assert_eq!(record.state, RunState::Done, "{:?}", record.error);
    assert!(record.base_model.unwrap().contains("20260101"), "the run started from the release");
    assert_no_code_in_the_newest_release(&harness).await;
}

async fn assert_no_code_in_the_newest_release(harness: &RunHarness) {
    let newest = harness.releases().await.remove(0);
    let (repository, into) = (repository(&harness.hub), harness.data("downloaded"));
    let zip = within(DEADLINE, repository.download(&newest, &into)).await.unwrap();
    let top = archive::unpack(&zip, &into.join("unpacked")).unwrap();
    let mut names = Vec::new();
    let mut folders = vec![top];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { names.push(path.display().to_string()) }
        }
    }
    assert!(names.iter().any(|name| name.ends_with("modules.json")), "{names:?}");
    let known = ["json", "safetensors", "onnx", "md", "txt"].map(|kind| format!(".{kind}"));
    assert!(names.iter().all(|name| known.iter().any(|kind| name.ends_with(kind))), "{names:?}");
}

/// Returns the program itself as the process that reads models.
fn check() -> ModelCheck {
    ModelCheck::new(env!("CARGO_BIN_EXE_autovalidate"), onnxruntime())
}

#[tokio::test]
async fn a_model_is_read_by_a_process_with_limits() {
    let read = async |check: &ModelCheck, folder: &Path| within(DEADLINE, check.check(folder)).await;
    let by_characters = check().with_characters(vec![" car brand: ".to_owned()]);
    for tiny in [tiny(), tiny().join("../tiny-roberta"), tiny().join("../tiny-mpnet")] {
        read(&by_characters, &tiny).await.unwrap();
    }
    // Without the memory that it needs, the process ends, and not this one.
    let little = check().within(Limits { memory: 1 << 20, per_byte: 0, ..Limits::default() });
    read(&little, &tiny()).await.unwrap_err();

    let home = tempfile::tempdir().unwrap();
    copy_folder(&tiny(), home.path());
    let config = home.path().join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text.replace("\"bert\"", "\"x\\u001b[2J\\nerror: forged\"")).unwrap();
    let refused = read(&check(), home.path()).await.unwrap_err();
    assert!(matches!(refused, ModelCheckError::Refused(_)), "{refused:?}");
    assert!(refused.is_of_model() && refused.directive() == RetryDirective::Never);
    assert!(refused.to_string().contains("model_type") && !refused.to_string().contains(char::is_control));
    let absent = read(&check(), &home.path().join("absent")).await.unwrap_err();
    assert!(matches!(absent, ModelCheckError::Refused(_)), "{absent:?}");
    let no_runtime = ModelCheck::new(env!("CARGO_BIN_EXE_autovalidate"), "/no/libonnxruntime.so");
    let no_runtime = read(&no_runtime, &tiny()).await.unwrap_err();
    assert_eq!((no_runtime.is_of_model(), no_runtime.directive()), (false, RetryDirective::Person));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_cancels_a_run_ends_the_process_that_reads_its_model() {
    let harness = RunHarness::new().await;
    let (program, told) = (harness.data("program"), harness.data("pid"));
    write_program(&program, &format!("echo $$ > {0}.new\nmv {0}.new {0}\nexec sleep 600", told.display()));
    let mut pipeline = harness.pipeline(&harness.data("one"));
    pipeline.plan.model_check = ModelCheck::new(&program, onnxruntime())
        .within(Limits { time: Duration::from_secs(600), ..Limits::default() });
    let id = within(DEADLINE, harness.jobs.enqueue(&RunHarness::forced())).await.unwrap();
    let (job, stop) = (harness.next().await, CancellationToken::new());
    let reader = async {
        while !told.exists() {
            tokio::task::yield_now().await;
        }
        harness.jobs.cancel(&id).await.unwrap();
        Pid::from_raw(std::fs::read_to_string(&told).unwrap().trim().parse().unwrap())
    };
    let (_, reader) = within(DEADLINE, async { tokio::join!(pipeline.run(&job, &stop), reader) }).await;
    assert_eq!(harness.record(&id).await.state, RunState::Cancelled);
    // The runtime reaps the killed process a moment later.
    within(DEADLINE, async {
        while kill(reader, None).is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
