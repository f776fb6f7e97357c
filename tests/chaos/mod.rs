//! Faults against the whole system: the short form of `scripts/chaos`, with fixed seeds.

// The judge of rows, whose tests are beside it.
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../examples/chaos/stored.rs"]
mod stored;
#[allow(dead_code, reason = "the program uses the rest")]
#[path = "../../examples/chaos/truth.rs"]
mod truth;

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::support::{nats_server, onnxruntime, within};

/// Time that a round may take on a busy machine: its faults, and the time to recover.
const ROUND: Duration = Duration::from_secs(160);

/// Performs one round, and fails with what it printed when anything is wrong. It checks the processes of
/// this seed, so that a change of the schedules can't replace one by the other.
async fn survives(seed: u64, topology: &str) {
    let worker = Path::new(env!("CARGO_BIN_EXE_autovalidate"));
    // Cargo builds it with the tests, unless only some targets are asked for.
    let chaos = worker.with_file_name("examples").join("chaos");
    assert!(chaos.exists(), "{} is missing: run cargo build --example chaos", chaos.display());
    let mut command = Command::new(chaos);
    command.args(["--rounds", "1", "--seed", &seed.to_string()]).arg("--program").arg(worker);
    command.arg("--nats").arg(nats_server()).arg("--onnxruntime").arg(onnxruntime()).kill_on_drop(true);
    let output = within(ROUND, command.output()).await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{errors}");
    assert!(told.contains(&format!("episode {seed} ({topology}): all right")), "{told}");
}

#[tokio::test]
async fn two_listeners_and_two_trainers_lose_and_double_nothing_whatever_fails() {
    survives(1, "cluster").await;
}

#[tokio::test]
async fn one_machine_with_its_own_broker_loses_and_doubles_nothing_whatever_fails() {
    survives(2, "machine").await;
}
