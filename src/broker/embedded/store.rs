//! Store folder on disk: its lock, its configuration file, and a leftover server of an earlier
//! worker.
//!
//! ```text
//! <store>/supervisor.lock    held by the worker that supervises this store
//! <store>/nats-server.conf   written at every start
//! <store>/nats-server.pid    written by the server itself
//! <store>/token              token of the clients, made at the first start (`token.rs`)
//! <store>/jetstream/         JetStream's own files
//! ```
//!
//! All functions here block, so callers run them on the blocking thread pool.

use std::fs::{self, File, Permissions, TryLockError};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use autovalidate_finetune::durable;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::capacity;
use crate::broker::error::BrokerError;

/// Time that a leftover server has to exit after each signal.
const LEFTOVER_DEADLINE: Duration = Duration::from_secs(15);
/// Period at which a leftover server is polled.
const LEFTOVER_POLL: Duration = Duration::from_millis(20);

/// Settings of the server that differ between installations.
#[derive(Debug)]
pub(super) struct ServerConfiguration {
    pub(super) host: IpAddr,
    /// Port for clients; 0 asks for a free one.
    pub(super) port: u16,
    pub(super) token: Option<SecretString>,
    /// Period between flushes to disk; `None` flushes every message.
    pub(super) sync_every: Option<Duration>,
}

/// A store folder that only this process supervises while this value lives.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    /// Lock file, held open: the lock ends when it is closed, also when this process is killed. The
    /// child doesn't inherit it.
    _lock: File,
}

impl Store {
    /// Creates the folder, takes its lock, and stops a server that a killed worker left running on
    /// it.
    pub(super) fn open(folder: &Path) -> Result<Self, BrokerError> {
        fs::create_dir_all(folder).map_err(BrokerError::store(folder))?;
        // The server's command line shows the path it was given. Only an absolute
        // path identifies the store.
        let folder = folder.canonicalize().map_err(BrokerError::store(folder))?;
        let lock_path = folder.join("supervisor.lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock_path)
            .map_err(BrokerError::store(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BrokerError::StoreInUse { store: folder }),
            Err(TryLockError::Error(source)) => return Err(BrokerError::Store { path: lock_path, source }),
        }
        let store = Self { folder, _lock: lock };
        store.end_leftover()?;
        Ok(store)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn configuration(&self) -> PathBuf {
        self.folder.join("nats-server.conf")
    }

    fn pid_file(&self) -> PathBuf {
        self.folder.join("nats-server.pid")
    }

    /// Writes the server's configuration to a temporary file and renames it into place. JSON is a
    /// subset of the server's own format. The file holds the token, so only its owner can read it.
    pub(super) fn configure(&self, configuration: &ServerConfiguration) -> Result<(), BrokerError> {
        let ServerConfiguration { host, port, token, sync_every } = configuration;
        let sync_interval = match sync_every {
            Some(period) => format!("{}ms", period.as_millis().max(1)),
            None => "always".to_owned(),
        };
        let limit = capacity::limit(&self.folder).map_err(BrokerError::store(&self.folder))?;
        let mut settings = json!({
            "server_name": "autovalidate",
            "host": host.to_string(),
            // -1 asks for a free port.
            "port": if *port == 0 { -1 } else { i32::from(*port) },
            "http": "127.0.0.1:-1",
            "pid_file": self.pid_file().to_string_lossy(),
            "jetstream": {
                "store_dir": self.folder.to_string_lossy(),
                "sync_interval": sync_interval,
                "max_file_store": limit,
            },
        });
        if let Some(token) = token {
            settings["authorization"] = json!({ "token": token.expose_secret() });
        }
        let path = self.configuration();
        let bytes = serde_json::to_vec_pretty(&settings)?;
        let written = durable::replace(&path, |file| {
            file.set_permissions(Permissions::from_mode(0o600))?;
            file.write_all(&bytes)
        });
        written.map_err(BrokerError::store(&path))
    }

    /// Stops a leftover server: asks it to exit, then kills it. Two servers on one
    /// store would damage the store.
    fn end_leftover(&self) -> Result<(), BrokerError> {
        let pid_file = self.pid_file();
        let text = match fs::read_to_string(&pid_file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(BrokerError::Store { path: pid_file, source }),
        };
        let Some(pid) = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1) else { return Ok(()) };
        if !self.is_ours(pid) {
            return Ok(());
        }
        tracing::warn!(pid, "stopping a nats-server that an earlier worker left behind");
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            match kill(Pid::from_raw(pid), signal) {
                Ok(()) => {}
                Err(Errno::ESRCH) => return Ok(()),
                Err(errno) => return Err(BrokerError::Store { path: pid_file, source: errno.into() }),
            }
            // The server is not our child, so we can only poll it, not wait for it.
            let asked = Instant::now();
            while asked.elapsed() < LEFTOVER_DEADLINE {
                if !self.is_ours(pid) {
                    return Ok(());
                }
                std::thread::sleep(LEFTOVER_POLL);
            }
        }
        Err(BrokerError::StoreInUse { store: self.folder.clone() })
    }

    /// Returns true when `pid` is a live server on this store. Process ids are reused, so the
    /// command line is checked.
    fn is_ours(&self, pid: i32) -> bool {
        let configuration = self.configuration();
        command_line(pid).is_some_and(|line| line.contains(&*configuration.to_string_lossy()))
    }
}

/// Returns the command line of a live process. A zombie's command line is empty.
#[cfg(target_os = "linux")]
fn command_line(pid: i32) -> Option<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the command line of a live process.
#[cfg(not(target_os = "linux"))]
fn command_line(pid: i32) -> Option<String> {
    let output =
        std::process::Command::new("ps").args(["-o", "command=", "-p", &pid.to_string()]).output().ok()?;
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}
