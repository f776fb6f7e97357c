//! The embedded server: a nats-server child that this process supervises.
//!
//! Owns the child's whole life: finding the program, its store folder, starting, restarting after an
//! unexpected end, stopping, and ending a server that a killed worker left behind. Never speaks NATS.
//!
//! ```text
//! mod.rs      options, and the supervisor that restarts
//! program.rs  where the program is, whether it is new enough
//! store.rs    lock, configuration file, left-over server
//! process.rs  one life of the child
//! ```

mod process;
mod program;
mod store;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use self::process::{Process, reachable};
use self::store::Store;
use super::error::QueueError;

/// How the embedded server is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The nats-server program; `nats-server` on `PATH` when not set.
    pub program: Option<PathBuf>,
    /// The folder of its store. Only one worker at a time can use it.
    pub store: PathBuf,
    /// The address it listens on.
    pub host: IpAddr,
    /// The port it listens on; 0 picks a free one, which is kept over restarts of the child.
    pub port: u16,
    /// How often the store is flushed to disk; `None`, the default, flushes every message before it is
    /// acknowledged (about half a millisecond each on a fast disk). With a period, a power failure loses up
    /// to that much; a killed server loses nothing either way.
    pub sync_every: Option<Duration>,
    /// How long a start may take, recovery of the store included.
    pub ready_within: Duration,
    /// How long the server gets to end by itself before it is killed.
    pub stop_within: Duration,
    /// The first pause before a restart; it doubles up to [`Options::longest_pause`].
    pub first_pause: Duration,
    /// The longest pause before a restart.
    pub longest_pause: Duration,
}

impl Options {
    /// The usual options for a store folder: local connections only, a free port.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            program: None,
            store: store.into(),
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            sync_every: None,
            ready_within: Duration::from_secs(60),
            stop_within: Duration::from_secs(10),
            first_pause: Duration::from_millis(100),
            longest_pause: Duration::from_secs(10),
        }
    }
}

/// A server that lived this long was healthy: the next restart starts with the first pause again.
const HEALTHY_AFTER: Duration = Duration::from_secs(60);

/// A supervised nats-server. Dropping it kills the child; [`Server::stop`] ends it cleanly.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    version: String,
    pid: watch::Receiver<Option<u32>>,
    stop: CancellationToken,
    _supervisor: AbortOnDropHandle<()>,
}

impl Server {
    /// Finds and checks the program, takes over the store, starts the server and waits until it answers.
    ///
    /// # Errors
    /// [`QueueError::ProgramMissing`], [`QueueError::Program`], [`QueueError::ServerTooOld`],
    /// [`QueueError::StoreInUse`], [`QueueError::Store`], [`QueueError::ServerEnded`],
    /// [`QueueError::ServerNotReady`].
    pub async fn start(options: Options) -> Result<Self, QueueError> {
        let program = program::find(options.program.as_deref())?;
        let version = program::check_version(&program).await?;
        let folder = options.store.clone();
        let store = blocking(move || Store::open(&folder)).await?;
        let mut launcher = Launcher { program, store: Arc::new(store), options };

        let process = launcher.launch().await?;
        // Clients know this port by now, so a restarted server must come back on it.
        launcher.options.port = process.port();
        let address = SocketAddr::new(reachable(launcher.options.host), process.port());
        tracing::info!(%address, version, pid = process.pid(), "nats-server is ready");

        let (pid_sender, pid) = watch::channel(process.pid());
        let stop = CancellationToken::new();
        let supervisor =
            AbortOnDropHandle::new(tokio::spawn(supervise(pid_sender, launcher, process, stop.clone())));
        Ok(Self { address, version, pid, stop, _supervisor: supervisor })
    }

    /// Where clients connect, such as `nats://127.0.0.1:4222`.
    pub fn url(&self) -> String {
        format!("nats://{}", self.address)
    }

    /// The version the program says it is, such as `2.10.27`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The child's process id; `None` while it is down. Changes can be awaited.
    pub fn pid(&self) -> watch::Receiver<Option<u32>> {
        self.pid.clone()
    }

    /// Ends the server: asked first, killed after [`Options::stop_within`].
    pub async fn stop(&self) {
        self.stop.cancel();
        // The supervisor holds the only sender, so the channel closes when it has returned.
        let mut pid = self.pid.clone();
        while pid.changed().await.is_ok() {}
    }
}

/// What it takes to start the child, again and again. Holds the store's lock.
struct Launcher {
    program: PathBuf,
    store: Arc<Store>,
    options: Options,
}

impl Launcher {
    async fn launch(&self) -> Result<Process, QueueError> {
        let store = Arc::clone(&self.store);
        let Options { host, port, sync_every, ready_within, .. } = self.options;
        blocking(move || store.configure(host, port, sync_every)).await?;
        Process::start(&self.program, &self.store.configuration(), host, ready_within).await
    }
}

/// Restarts the child with growing pauses whenever it ends, until it is told to stop. `pid` comes first so that
/// it is dropped last: whoever waits for it to close finds the store's lock free.
async fn supervise(
    pid: watch::Sender<Option<u32>>,
    launcher: Launcher,
    first: Process,
    stop: CancellationToken,
) {
    let options = &launcher.options;
    let mut running = Some((first, Instant::now()));
    let mut pause = options.first_pause;
    loop {
        if let Some((mut process, since)) = running.take() {
            tokio::select! {
                () = stop.cancelled() => {
                    process.stop(options.stop_within).await;
                    pid.send_replace(None);
                    return;
                }
                status = process.ended() => {
                    pid.send_replace(None);
                    if since.elapsed() >= HEALTHY_AFTER {
                        pause = options.first_pause;
                    }
                    tracing::warn!(?status, restart_after = ?pause, "nats-server ended unexpectedly");
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(options.longest_pause);
        let launched = tokio::select! {
            () = stop.cancelled() => return,
            launched = launcher.launch() => launched,
        };
        match launched {
            Ok(process) => {
                tracing::info!(pid = process.pid(), "nats-server is ready again");
                pid.send_replace(process.pid());
                running = Some((process, Instant::now()));
            }
            Err(error) => tracing::error!(
                error = crate::failure::chain(&error),
                next_try_after = ?pause,
                "nats-server could not be restarted"
            ),
        }
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, QueueError> + Send + 'static,
) -> Result<T, QueueError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            Err(QueueError::Request { what: "file work of the embedded server", source: error.into() })
        }
    }
}
