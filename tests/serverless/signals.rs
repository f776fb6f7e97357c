//! Signals to processes that run a nats-server: none is left behind, whatever comes and when.

use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::support::sleeper::Sleeper;
use crate::support::{DEADLINE, within};

/// Starts the program on a sleeper's folder.
fn start(sleeper: &Sleeper, arguments: &[&str]) -> Child {
    Command::from(sleeper.program(arguments))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

/// Starts a listener whose log of this level can be read.
fn start_with_log(sleeper: &Sleeper, level: &str) -> Child {
    let mut worker = Command::from(sleeper.program(&["worker", "--role", "listener"]));
    worker.env("RUST_LOG", format!("autovalidate={level}"));
    worker.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
}

/// Waits until the program's nats-server has written its process id.
async fn broker(sleeper: &Sleeper) -> Pid {
    let file = sleeper.folder.path().join("nats/nats-server.pid");
    within(DEADLINE, async {
        loop {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            match text.trim().parse() {
                Ok(id) => return Pid::from_raw(id),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    })
    .await
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().unwrap().try_into().unwrap()), signal).unwrap();
}

/// Waits until a process is gone. A killed one is reaped by the system, a moment later.
async fn gone(process: Pid) {
    let stat = std::path::PathBuf::from(format!("/proc/{process}/stat"));
    within(DEADLINE, async {
        while kill(process, None) != Err(Errno::ESRCH) {
            let stat = std::fs::read_to_string(&stat).unwrap_or_default();
            if stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z')) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_while_it_starts_ends_its_broker() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let sleeper = Sleeper::new(&[]).await;
        let mut worker = start(&sleeper, &["worker", "--role", "listener"]);
        // The broker has only just started: the worker has no streams yet.
        let broker = broker(&sleeper).await;
        send(&worker, signal);
        let status = within(DEADLINE, worker.wait()).await.unwrap();
        assert!(status.success(), "{signal}: {status}");
        assert_eq!(kill(broker, None), Err(Errno::ESRCH), "{signal}: nats-server still runs");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_program_at_once_and_its_broker_with_it() {
    let sleeper = Sleeper::new(&[]).await;
    // The sweep hangs, so the worker is busy whenever the signals come.
    sleeper.supabase.faults().delay_rest(Duration::from_secs(600));
    let mut worker = start(&sleeper, &["worker", "--role", "listener"]);
    let broker = broker(&sleeper).await;
    send(&worker, Signal::SIGTERM);
    send(&worker, Signal::SIGINT);
    let status = within(DEADLINE, worker.wait()).await.unwrap();
    // The first signal may have ended it before the second one came.
    assert!(matches!(status.code(), Some(130 | 0)), "{status}");
    gone(broker).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_leaves_no_broker_behind_not_even_one_that_it_had_restarted() {
    let sleeper = Sleeper::new(&[]).await;
    let mut worker = start_with_log(&sleeper, "info");
    let mut log = BufReader::new(worker.stderr.take().unwrap()).lines();
    let mut ready = async |line: &str| {
        within(DEADLINE, async {
            while !log.next_line().await.unwrap().expect("the worker runs").contains(line) {}
        })
        .await;
        broker(&sleeper).await
    };
    let first = ready("worker started").await;
    kill(first, Signal::SIGKILL).unwrap();
    let second = ready("nats-server is ready again").await;
    assert_ne!(first, second);
    // The worker gets no chance to end it.
    send(&worker, Signal::SIGKILL);
    gone(second).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_that_is_interrupted_ends_the_broker_that_it_started() {
    let sleeper = Sleeper::new(&[]).await;
    sleeper.supabase.faults().delay_rest(Duration::from_secs(600));
    let mut tick = start(&sleeper, &["tick"]);
    let broker = broker(&sleeper).await;
    send(&tick, Signal::SIGTERM);
    let status = within(DEADLINE, tick.wait()).await.unwrap();
    assert_eq!(status.code(), Some(1));
    gone(broker).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_log_has_no_reader_any_more_works_on() {
    let sleeper = Sleeper::new(&[]).await;
    let mut worker = start_with_log(&sleeper, "debug");
    drop(worker.stderr.take());
    broker(&sleeper).await;
    send(&worker, Signal::SIGTERM);
    let status = within(DEADLINE, worker.wait()).await.unwrap();
    assert!(status.success(), "{status}");
}
