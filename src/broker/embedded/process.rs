//! One process of the server, from start to exit.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::parent_death::{self, ParentThread};
use super::reachable;
use crate::broker::error::BrokerError;

/// Ports that a running server listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    /// Port for NATS clients.
    pub(super) client: u16,
    /// Port of the monitoring endpoints, on loopback only.
    pub(super) monitor: u16,
}

/// A running server. Dropping it kills the child.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    ports: Ports,
    _log: AbortOnDropHandle<()>,
    _parent: ParentThread,
}

/// Variables that a server gets: those of the system's loader, of Go's runtime and of certificates.
/// Everything else stays here, and so do the settings' secrets.
const VARIABLES: [&str; 10] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "TZ",
    "GOMAXPROCS",
    "GOMEMLIMIT",
    "GOGC",
    "GODEBUG",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Returns a command that runs the server's program without the settings of this process.
pub(super) fn server_command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear();
    command.envs(VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command
}

impl Process {
    /// Starts the server by `command`, which gets the server's arguments, and waits until it answers on its
    /// port. `program` is the server's program.
    pub(super) async fn start(
        program: &Path,
        mut command: Command,
        configuration: &Path,
        host: IpAddr,
        ready_within: Duration,
    ) -> Result<Self, BrokerError> {
        command
            .arg("-c")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Ctrl-C in a terminal reaches the whole foreground process group, but the worker must
        // end before its broker does.
        command.process_group(0);
        let started = parent_death::spawn(command).await;
        let (mut child, parent) =
            started.map_err(|source| BrokerError::Program { program: program.to_owned(), source })?;
        let (ready, is_ready) = oneshot::channel();
        let log = child.stderr.take().map(|stderr| tokio::spawn(follow_log(stderr, ready)));
        let log = AbortOnDropHandle::new(log.unwrap_or_else(|| tokio::spawn(async {})));

        let answered = async {
            // A dropped sender means that the log ended: the child has exited or soon will.
            let Ok(ports) = is_ready.await else { return std::future::pending().await };
            greet(host, ports.client).await.map(|()| ports)
        };
        let ports = tokio::select! {
            answer = tokio::time::timeout(ready_within, answered) => match answer {
                Ok(ports) => ports.map_err(|source| BrokerError::Request { what: "greeting", source: source.into() })?,
                Err(_) => return Err(BrokerError::ServerNotReady { after: ready_within }),
            },
            status = child.wait() => {
                let status = status.map_err(|source| BrokerError::Program { program: program.to_owned(), source })?;
                return Err(BrokerError::ServerEnded { status });
            }
        };
        Ok(Self { child, ports, _log: log, _parent: parent })
    }

    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Resolves when the server has exited, for any reason. Safe to cancel.
    pub(super) async fn ended(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the server to exit, and kills it if it has not exited within `deadline`.
    pub(super) async fn stop(mut self, deadline: Duration) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // The child has not been waited for yet, so no other process can have its id.
            if kill(Pid::from_raw(pid), Signal::SIGTERM).is_ok()
                && tokio::time::timeout(deadline, self.child.wait()).await.is_ok()
            {
                return;
            }
        }
        tracing::warn!(after = ?deadline, "nats-server did not exit when asked; killing it");
        if let Err(error) = self.child.kill().await {
            tracing::error!(%error, "nats-server could not be killed");
        }
    }
}

/// Forwards the server's log to ours, and sends the server's port once it is ready.
async fn follow_log(stderr: ChildStderr, ready: oneshot::Sender<Ports>) {
    let mut ready = Some(ready);
    let (mut client, mut monitor) = (None, None);
    let mut lines = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        // The last is this program's, if it could not become the server.
        if line.contains("[ERR]") || line.contains("[FTL]") || line.starts_with("error: ") {
            tracing::warn!(target: "autovalidate::nats_server", "{}", line.trim_end());
        } else {
            tracing::debug!(target: "autovalidate::nats_server", "{}", line.trim_end());
        }
        client = client.or_else(|| port_after(CLIENT_LINE, &line));
        monitor = monitor.or_else(|| port_after(MONITOR_LINE, &line));
        if line.contains("Server is ready")
            && let (Some(client), Some(monitor), Some(ready)) = (client, monitor, ready.take())
        {
            // The receiver is gone when the start was given up.
            let _ = ready.send(Ports { client, monitor });
        }
    }
}

/// Start of the log line that ends with the address for clients. Only the log reports ports that
/// the server picked, in the order of events.
const CLIENT_LINE: &str = "Listening for client connections on ";
/// Start of the log line that ends with the address of the monitoring endpoints.
const MONITOR_LINE: &str = "Starting http monitor on ";

/// Extracts the port from a log line such as `... Listening for client connections on
/// 127.0.0.1:4222`.
fn port_after(start: &str, line: &str) -> Option<u16> {
    let (_, address) = line.split_once(start)?;
    address.trim().rsplit_once(':')?.1.parse().ok()
}

/// Connects and reads the start of the `INFO` line that every NATS server sends first.
async fn greet(host: IpAddr, port: u16) -> std::io::Result<()> {
    let stream = TcpStream::connect(SocketAddr::new(reachable(host), port)).await?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).await?;
    if line.starts_with(b"INFO ") {
        Ok(())
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "not a NATS server"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ports_are_read_from_the_log() {
        let line = "[1] 2026/01/01 00:00:00.0 [INF] Listening for client connections on 127.0.0.1:44015\r";
        assert_eq!(port_after(CLIENT_LINE, line), Some(44015));
        assert_eq!(port_after(MONITOR_LINE, line), None);
        assert_eq!(port_after(CLIENT_LINE, "Listening for client connections on [::1]:4222"), Some(4222));
        assert_eq!(port_after(CLIENT_LINE, "Listening for client connections on nowhere"), None);
        assert_eq!(port_after(MONITOR_LINE, "[INF] Starting http monitor on 127.0.0.1:40123"), Some(40123));
        assert_eq!(port_after(MONITOR_LINE, "Server is ready"), None);
    }
}
