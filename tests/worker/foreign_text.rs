//! Text from outside in what commands print: it neither steers a terminal nor begins a line.

use std::path::Path;
use std::process::{Output, Stdio};

use autovalidate::hub::INDEX;
use secrecy::ExposeSecret;
use serde_json::json;
use tokio::process::Command;

use crate::support::hub::{REPO, TestHub, upload};
use crate::support::{DEADLINE, onnxruntime, tiny, within};

/// Text of somebody who wants to be taken for the program.
const FORGED: &str = "x\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\r\nerror: forged\n  what to do: forged";

async fn run(hub: &TestHub, folder: &Path, arguments: &[&str]) -> Output {
    logging(hub, folder, arguments, "error").await
}

/// Runs the program with a filter of logs.
async fn logging(hub: &TestHub, folder: &Path, arguments: &[&str], filter: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("HF_ENDPOINT", hub.hub.url().as_str())
        .env("HF_TOKEN", hub.hub.token().expose_secret())
        .env("HF_REPO", REPO)
        .env("ORT_DYLIB_PATH", onnxruntime())
        .env("BASE_MODEL", tiny())
        .env("NATS_URL", "nats://127.0.0.1:1")
        .env("TRAIN_THREADS", "1")
        .env("RUST_LOG", filter)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    within(DEADLINE, command.output()).await.unwrap()
}

/// Checks both outputs of a command.
fn assert_plain(arguments: &[&str], output: &Output) {
    for text in [&output.stdout, &output.stderr] {
        let text = String::from_utf8(text.clone()).unwrap();
        let steers = |letter: char| letter.is_control() && !['\n', '\t'].contains(&letter);
        assert!(!text.contains(steers), "{arguments:?}: {text:?}");
        let begins = text.lines().any(|line| line.starts_with("error: forged"));
        assert!(!begins, "{arguments:?}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_command_lets_foreign_text_forge_a_line() {
    let hub = TestHub::start().await;
    let index = json!({ "schema": 1, "live": null, "models": [{
        "version": FORGED, "path": format!("models/{FORGED}"), "published_at": "2026-01-03T00:00:05Z",
        "verdict": FORGED, "base_model": FORGED, "rollback_of": FORGED,
    }, {
        "version": "error: forged", "path": "models/other", "published_at": "2026-01-02T00:00:05Z",
    }] });
    hub.hub.faults().rival(INDEX, index.to_string());
    let (archive, _) = hub.archive(1, 100);
    let mut release = upload("20261122160509", archive);
    release.extras.push(autovalidate::hub::Extra {
        path: "models/receipts/20261122160509.json".into(),
        content: json!({ "base_model": FORGED, "dataset": { "row_ids": "1-9", "hash": FORGED } })
            .to_string()
            .into(),
    });
    hub.publish_upload(release).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    let quoted = FORGED.replace('\r', "");
    // Rows with control characters are refused, and the others are trained on.
    let good: String = (0..60).map(|row| format!("tipo {row},Name {},brand\n", row % 7)).collect();
    write("pairs.csv", format!("typo,corrected,domain\n{good}x,\"Name {quoted}\",\"{quoted}\"\n"));
    write("names.csv", format!("name,domain\n\"Toyota {quoted}\",\"{quoted}\"\n"));
    write("receipt.json", json!({ "base_model": FORGED, FORGED: 1 }).to_string());
    write("autovalidate.toml", format!("{} = 1\n", toml::Value::String(FORGED.to_owned())));
    let wrong = run(&hub, folder.path(), &["models", "list"]).await;
    assert_eq!(wrong.status.code(), Some(2), "the file's key is no setting");
    assert_plain(&["models", "list"], &wrong);
    std::fs::remove_file(folder.path().join("autovalidate.toml")).unwrap();

    let commands: [&[&str]; 15] = [
        &["models", "list"],
        &["models", "list", "--json"],
        &["models", "rollback", FORGED],
        &["lineage", "--id", "3"],
        &["lineage", "--id", "3", "--json"],
        &["report", "receipt.json"],
        &["report", FORGED],
        &["replay", FORGED],
        &["suggest", "toyta", "--names", "names.csv", "--model", "base"],
        &["suggest", FORGED, "--names", "names.csv", "--model", FORGED],
        &["train", "--data", "pairs.csv", "--out", "model", "--epochs", "1", "--variants", "0"],
        &["evaluate", "--data", "pairs.csv", "--model", "model"],
        &["evaluate", "--data", "pairs.csv", "--model", FORGED],
        &["status"],
        &["doctor"],
    ];
    for arguments in commands {
        let output = run(&hub, folder.path(), arguments).await;
        assert_plain(arguments, &output);
    }
    assert!(folder.path().join("model/modules.json").exists(), "the rows were trained on");
    let listed = run(&hub, folder.path(), commands[0]).await;
    assert!(String::from_utf8(listed.stdout).unwrap().contains("forged"), "the index's text is shown");
    let listed = run(&hub, folder.path(), commands[1]).await;
    let listed: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let versions: Vec<_> = listed.as_array().unwrap().iter().map(|each| each["version"].as_str()).collect();
    assert!(versions.contains(&Some(FORGED)), "JSON has the text as it is: {listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_filter_makes_a_library_log_at_trace() {
    let hub = TestHub::start().await;
    hub.publish("20261122160509", 100).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let filter =
        "trace,hyper=trace,hyper_util::client::legacy::connect::http=trace,tungstenite::handshake=trace";
    let output = logging(&hub, folder.path(), &["models", "list"], filter).await;
    assert!(output.status.success());
    let mut of_libraries = 0;
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        let target = record["target"].as_str().unwrap();
        if !target.starts_with("autovalidate") {
            of_libraries += 1;
            assert_ne!(record["level"], "TRACE", "{record}");
        }
    }
    assert!(of_libraries > 0, "the filter lets libraries log, as far as they may");
}
