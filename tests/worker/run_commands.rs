//! `runs cancel` and `runs retry`, as a script uses them.

use autovalidate::broker::{JobRequest, JobSettings};
use serde_json::{Value, json};

use crate::support::broker::TestBroker;
use crate::support::{DEADLINE, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_script_cancels_a_run_and_retries_it() {
    let bench = TestBroker::quick().await;
    let jobs = bench.jobs(JobSettings::default()).await;
    let run = within(DEADLINE, jobs.enqueue(&JobRequest::default())).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let asked = async |arguments: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"));
        command
            .arg("runs")
            .args(arguments)
            .current_dir(folder.path())
            .env_clear()
            .env("NATS_URL", bench.url());
        within(DEADLINE, command.kill_on_drop(true).output()).await.unwrap()
    };
    for (command, state) in [("cancel", "cancelled"), ("retry", "queued"), ("cancel", "cancelled")] {
        let output = asked(&[command, run.as_str(), "--json"]).await;
        assert!(output.status.success(), "{command}: {output:?}");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told, json!({ "job": run.as_str(), "state": state }), "{command}");
        let shown: Value = serde_json::from_slice(&asked(&["show", run.as_str()]).await.stdout).unwrap();
        assert_eq!(shown["state"], state, "{command}");
    }
    for wrong in ["no run", "manual-999"] {
        let output = asked(&["retry", wrong, "--json"]).await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{wrong}: {output:?}");
        assert!(errors.starts_with("error: ") && errors.contains("what to do: "), "{wrong}: {errors}");
    }
}
