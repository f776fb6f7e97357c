//! Embedded server: a nats-server child process that this process supervises.
//!
//! Owns the child's whole life: finding the program, its store folder, starting, restarting
//! after an unexpected exit, stopping, and ending a server that a killed worker left
//! behind. Never speaks NATS.
//!
//! ```text
//! mod.rs      options, and the supervisor that restarts the child
//! program.rs  lookup of the program, and the check of its version
//! store.rs    store folder: lock, configuration file, leftover server
//! process.rs  one process of the server, from start to exit
//! parent_death.rs  a server that ends with this process, however that ends
//! capacity.rs limit of the store, from the size of its disk
//! monitor.rs  number of connected clients, from the server's monitoring port
//! token.rs    token of the server, in a file of the store
//! ```

mod capacity;
mod monitor;
mod parent_death;
mod process;
mod program;
mod store;
mod token;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use secrecy::SecretString;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::parent_death::tied_command;
use self::process::{Process, server_command};
use self::store::{ServerConfiguration, Store};
use super::blocking::blocking;
use super::error::BrokerError;
use crate::retry::Backoff;

pub(super) use monitor::Clients;
pub(crate) use parent_death::{RUN_SERVER, become_server};
pub use token::ClientToken;
#[cfg(feature = "dev")]
pub(crate) use token::path as token_path;
pub(crate) use token::stored as stored_token;

/// Options of the embedded server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Path of the nats-server program; `nats-server` on `PATH` when not set.
    pub program: Option<PathBuf>,
    /// This program, which then becomes the server, so that the server ends when this process is killed (on
    /// Linux). `None` starts the server itself: the next worker on the store ends one that was left behind.
    pub tied_by: Option<PathBuf>,
    /// Folder of the server's store. Only one worker at a time can use it.
    pub store: PathBuf,
    /// Address that the server listens on.
    pub host: IpAddr,
    /// Port that the server listens on; 0 picks a free port, which restarts of the child keep.
    pub port: u16,
    /// Token that every client must present.
    pub token: ClientToken,
    /// Period between flushes of the store to disk. `None`, the default, flushes every
    /// message before it is acknowledged (about half a millisecond each on a fast disk). With
    /// a period, a power failure loses at most the messages of one period; a killed server
    /// loses nothing either way.
    pub sync_every: Option<Duration>,
    /// Time that a start may take, including recovery of the store.
    pub ready_within: Duration,
    /// Time that the server has to exit by itself before it is killed.
    pub stop_within: Duration,
    /// First backoff before a restart; it doubles up to [`Options::longest_pause`].
    pub first_pause: Duration,
    /// Longest backoff before a restart.
    pub longest_pause: Duration,
}

impl Options {
    /// Returns the usual options for a store folder: local connections only, on a free port, with the
    /// store's own token.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            program: None,
            tied_by: None,
            store: store.into(),
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            token: ClientToken::Stored,
            sync_every: None,
            ready_within: Duration::from_secs(60),
            stop_within: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// Returns the address at which this machine reaches a server that listens on `bound`.
pub(crate) fn reachable(bound: IpAddr) -> IpAddr {
    match bound {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    }
}

const FILE_WORK: &str = "file work of the embedded server";

/// Uptime after which a server counts as healthy: the next restart uses the first backoff again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// One process of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Running {
    pid: u32,
    monitor_port: u16,
}

impl Running {
    fn of(process: &Process) -> Option<Self> {
        Some(Self { pid: process.pid()?, monitor_port: process.ports().monitor })
    }
}

/// A supervised nats-server. Dropping it kills the child; [`Server::stop`] stops it cleanly.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    version: String,
    token: Option<SecretString>,
    running: watch::Receiver<Option<Running>>,
    stop: CancellationToken,
    _supervisor: AbortOnDropHandle<()>,
}

impl Server {
    /// Finds and checks the program, takes over the store, starts the server, and waits until the
    /// server answers.
    ///
    /// # Errors
    /// [`BrokerError::ProgramMissing`], [`BrokerError::Program`], [`BrokerError::ServerTooOld`],
    /// [`BrokerError::StoreInUse`], [`BrokerError::Store`], [`BrokerError::ServerEnded`],
    /// [`BrokerError::ServerNotReady`].
    pub async fn start(options: Options) -> Result<Self, BrokerError> {
        let program = program::find(options.program.as_deref())?;
        let version = program::check_version(&program).await?;
        let folder = options.store.clone();
        let (wanted, fresh) = (options.token.clone(), rand::random());
        let (store, token) = blocking(FILE_WORK, move || {
            let store = Store::open(&folder)?;
            let token = match wanted {
                ClientToken::Stored => Some(token::stored_or_new(store.folder(), fresh)?),
                ClientToken::Given(token) => Some(token),
                ClientToken::NotNeeded => None,
            };
            Ok::<_, BrokerError>((store, token))
        })
        .await??;
        let mut launcher = Launcher { program, store: Arc::new(store), token: token.clone(), options };

        let process = launcher.launch().await?;
        // Clients know this port from now on, so a restarted server must listen on it again.
        launcher.options.port = process.ports().client;
        let address = SocketAddr::new(reachable(launcher.options.host), process.ports().client);
        tracing::info!(%address, version, pid = process.pid(), "nats-server is ready");

        let (sender, running) = watch::channel(Running::of(&process));
        let stop = CancellationToken::new();
        let supervisor =
            AbortOnDropHandle::new(tokio::spawn(supervise(sender, launcher, process, stop.clone())));
        Ok(Self { address, version, token, running, stop, _supervisor: supervisor })
    }

    /// Returns the URL that clients connect to, such as `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// Returns the version that the program reports, such as `2.10.27`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the token that clients must present.
    pub fn token(&self) -> Option<&SecretString> {
        self.token.as_ref()
    }

    /// Returns the child's process id, or `None` while the child is down.
    pub fn pid(&self) -> Option<u32> {
        self.running.borrow().map(|running| running.pid)
    }

    /// Waits until the child runs under another process id than `before`.
    pub async fn restarted(&self, before: u32) {
        let is_another = |running: &Option<Running>| running.is_some_and(|running| running.pid != before);
        // The channel closes when the server is stopped; it is never restarted then.
        if self.running.clone().wait_for(is_another).await.is_err() {
            std::future::pending().await
        }
    }

    /// Returns the connected clients.
    ///
    /// # Errors
    /// [`BrokerError::Request`], [`BrokerError::TimedOut`]; also while the child is down.
    pub(super) async fn clients(&self) -> Result<Clients, BrokerError> {
        let running = *self.running.borrow();
        match running {
            Some(running) => monitor::clients(running.monitor_port).await,
            None => Err(BrokerError::Request { what: monitor::WHAT, source: "nats-server is down".into() }),
        }
    }

    /// Stops the server: asks it to exit, and kills it after [`Options::stop_within`].
    pub async fn stop(&self) {
        self.stop.cancel();
        // The supervisor holds the only sender, so the channel closes when it has returned.
        let mut running = self.running.clone();
        while running.changed().await.is_ok() {}
    }
}

/// Everything needed to start the child, any number of times. Holds the store's lock.
struct Launcher {
    program: PathBuf,
    store: Arc<Store>,
    token: Option<SecretString>,
    options: Options,
}

impl Launcher {
    async fn launch(&self) -> Result<Process, BrokerError> {
        let store = Arc::clone(&self.store);
        let Options { host, port, sync_every, ready_within, .. } = self.options;
        let token = self.token.clone();
        let configuration = ServerConfiguration { host, port, token, sync_every };
        blocking(FILE_WORK, move || store.configure(&configuration)).await??;
        let command = match &self.options.tied_by {
            Some(program) => tied_command(program, &self.program),
            None => server_command(&self.program),
        };
        Process::start(&self.program, command, &self.store.configuration(), host, ready_within).await
    }
}

/// Restarts the child with growing backoff whenever it exits, until `stop` is cancelled. `state`
/// is the first parameter so that it is dropped last: when a caller sees the channel close,
/// the store's lock is free.
async fn supervise(
    state: watch::Sender<Option<Running>>,
    launcher: Launcher,
    first: Process,
    stop: CancellationToken,
) {
    let options = &launcher.options;
    let mut running = Some((first, Instant::now()));
    let mut failures = Backoff::new(options.first_pause, options.longest_pause).start();
    let mut pause = Duration::ZERO;
    loop {
        if let Some((mut process, since)) = running.take() {
            tokio::select! {
                () = stop.cancelled() => {
                    process.stop(options.stop_within).await;
                    state.send_replace(None);
                    return;
                }
                status = process.ended() => {
                    state.send_replace(None);
                    if since.elapsed() >= HEALTHY_AFTER {
                        failures.reset();
                    }
                    pause = failures.next_pause(rand::random());
                    tracing::warn!(?status, restart_after = ?pause, "nats-server ended unexpectedly");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let launched = tokio::select! {
            () = stop.cancelled() => return,
            launched = launcher.launch() => launched,
        };
        match launched {
            Ok(process) => {
                tracing::info!(pid = process.pid(), "nats-server is ready again");
                state.send_replace(Running::of(&process));
                running = Some((process, Instant::now()));
            }
            Err(error) => {
                pause = failures.next_pause(rand::random());
                tracing::error!(
                    error = crate::failure::chain(&error),
                    next_try_after = ?pause,
                    "nats-server could not be restarted"
                );
            }
        }
    }
}
