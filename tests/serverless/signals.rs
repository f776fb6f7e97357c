//! Signals to a worker process that is starting.

use std::process::Stdio;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use crate::support::sleeper::Sleeper;
use crate::support::{DEADLINE, within};

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_while_it_starts_ends_its_broker() {
    let sleeper = Sleeper::new(&[]).await;
    let mut worker = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .args(["worker", "--role", "listener"])
        .current_dir(sleeper.folder.path())
        .env_clear()
        .envs(sleeper.environment())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let file = sleeper.folder.path().join("nats/nats-server.pid");
    let broker: i32 = within(DEADLINE, async {
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match text.trim().parse() {
                Ok(id) => return id,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await;
    // The broker has only just started: the worker has no streams yet.
    kill(Pid::from_raw(worker.id().unwrap().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let status = within(DEADLINE, worker.wait()).await.unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(kill(Pid::from_raw(broker), None), Err(Errno::ESRCH), "nats-server still runs");
}
