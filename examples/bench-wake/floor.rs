//! Start of nats-server alone, with the store and the configuration that the worker gives it.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use super::cold_start::{RETRY, Sleeper};

/// Starts nats-server on the worker's store and returns the time until it sends its `INFO` line.
/// The client retries like the one of a cold start.
pub(crate) async fn start(program: &Path, sleeper: &Sleeper) -> Duration {
    let configuration = sleeper.folder().join("data/nats/nats-server.conf");
    let begun = Instant::now();
    let mut server = Command::new(program)
        .arg("-c")
        .arg(configuration)
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stream = loop {
        match TcpStream::connect(("127.0.0.1", sleeper.nats_port())).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(RETRY).await,
        }
    };
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await.unwrap();
    let took = begun.elapsed();
    assert!(line.starts_with("INFO "));
    let id = Pid::from_raw(i32::try_from(server.id().unwrap()).unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    server.wait().await.unwrap();
    took
}
