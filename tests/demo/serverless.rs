//! The demo of a week on Fly.io's stand-in, with real processes and the tiny model.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{DEADLINE, nats_server, onnxruntime, tiny, within};

/// Deadline of one recipe's week. A wake takes at least the ten seconds of the idle time, and the week
/// has five of them and two runs; only a failing test reaches the deadline.
const WEEK: Duration = Duration::from_secs(300);

/// Returns the command of the demo, with its state in this folder.
fn demo(folder: &Path, recipe: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
    command
        .args(["dev", "--demo", "--serverless", "--recipe", recipe, "--pairs", "50"])
        // The other tests keep the cores busy, so a machine may end late.
        .args(["--stop-margin", "60", "--data"])
        .arg(folder);
    command.current_dir(folder).kill_on_drop(true);
    command.env("BASE_MODEL", tiny()).env("NATS_SERVER", nats_server()).env("ORT_DYLIB_PATH", onnxruntime());
    command.envs([("TRAIN_EPOCHS", "2"), ("TRAIN_BATCH_SIZE", "16"), ("TRAIN_THREADS", "1")]);
    command.env("SYNTHESIS_VARIANTS", "2");
    command
}

/// Lives the week, and returns the lines of the output.
async fn lived(recipe: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let output: Output = within(WEEK, demo(folder.path(), recipe).output()).await.unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    out.lines().map(str::to_owned).collect()
}

fn count(lines: &[String], text: &str) -> usize {
    lines.iter().filter(|line| line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_with_one_machine_wakes_it_for_a_reason_and_trains_on_every_row() {
    let lines = lived("one-machine").await;
    assert_eq!(count(&lines, "app starts, woken by the webhook"), 2, "{lines:#?}");
    assert_eq!(count(&lines, "app starts, woken by the tick"), 3, "{lines:#?}");
    assert_eq!(count(&lines, "run pairs-1-50 (reason: threshold) on 50 rows"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "run pairs-51-51 (reason: quiet) on 51 rows"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "All 51 rows are in runs"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "one-machine, asleep when idle"), 1, "{lines:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_with_two_groups_starts_one_trainer_for_each_run() {
    let lines = lived("two-groups").await;
    assert_eq!(count(&lines, "listener starts, woken by"), 5, "{lines:#?}");
    assert_eq!(count(&lines, "trainer starts, woken by the listener"), 2, "{lines:#?}");
    assert_eq!(count(&lines, "took"), 2, "{lines:#?}");
    assert_eq!(count(&lines, "All 51 rows are in runs"), 1, "{lines:#?}");
    assert_eq!(count(&lines, "two-groups, always on"), 1, "{lines:#?}");
}

/// Returns true for a process that runs. One that has ended but was not waited for has no command
/// line.
fn is_alive(process: i32) -> bool {
    let line = std::fs::read(format!("/proc/{process}/cmdline"));
    kill(Pid::from_raw(process), None) != Err(Errno::ESRCH) && line.is_ok_and(|line| !line.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_demo_that_is_interrupted_stops_its_machines_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let mut child =
        demo(folder.path(), "one-machine").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    within(DEADLINE, async { while !lines.next_line().await.unwrap().unwrap().contains("app starts") {} })
        .await;
    let nats = folder.path().join("demo/one-machine/app/nats/nats-server.pid");
    let server: i32 = within(DEADLINE, async {
        loop {
            match std::fs::read_to_string(&nats).unwrap_or_default().trim().parse() {
                Ok(pid) => return pid,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    kill(Pid::from_raw(i32::try_from(child.id().unwrap()).unwrap()), Signal::SIGINT).unwrap();
    let output = within(DEADLINE, child.wait_with_output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("the demo was interrupted"), "{told}");
    within(DEADLINE, async {
        while is_alive(server) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
