//! A local Fly.io: the Machines API, machines that are processes of this computer, and the proxy
//! that starts them.
//!
//! Owns machines and their accounts, the routes that clients of the Machines API call, and switches
//! that inject faults. Its processes end with it. Never creates a machine on request: tests and
//! demos describe the machines, as a deployment does.
//!
//! ```text
//! options       address, tokens, logs, and rate limits
//! spec          descriptions of machines
//! state         states by their names
//! machine       a machine, and the changes that its state allows
//! record        the part of a machine that changes
//! order         orders to the task that runs a machine
//! life          the task that runs a machine, and the restart policy
//! command       command of a machine's program
//! process       the main process and its group
//! event         events in the API's form
//! account       runs, time, and money
//! lease         leases
//! ids           identifiers in the real forms
//! faults        switches that inject faults
//! refusal       error responses
//! limits        rate limits
//! shared        the routes' shared state: machines and permissions
//! request       parts of a request that several routes read
//! routes        list, get, start, stop, suspend, restart
//! wait          the route that waits for a state
//! lease_routes  the routes of leases
//! view          a machine as JSON
//! duration      times in Go's notation
//! server        listener of the API, and the faults of any request
//! proxy_options options of a proxy
//! proxy         the proxy that starts machines and forwards requests
//! forward       one request on its way through the proxy
//! ```

mod account;
mod command;
mod duration;
mod event;
mod faults;
mod forward;
mod ids;
mod lease;
mod lease_routes;
mod life;
mod limits;
mod machine;
mod options;
mod order;
mod process;
mod proxy;
mod proxy_options;
mod record;
mod refusal;
mod request;
mod routes;
mod server;
mod shared;
mod spec;
mod state;
mod view;
mod wait;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, RwLock};
use std::time::Duration;

use secrecy::SecretString;
use tokio::sync::broadcast;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

pub use account::{Account, Run, StartReason};
pub use faults::{Faults, RequestFault, StartFault};
pub use machine::Change;
pub use options::{AppToken, Options};
pub use proxy::Proxy;
pub use proxy_options::{AutoStop, ProxyOptions};
pub use spec::{MachineSpec, Program, Restart, StopSignal, UnknownSignal};
pub use state::{MachineState, UnknownState};

use crate::connection::Connections;
use lease::Lease;
use machine::{Machine, World};
use order::Then;
use shared::Shared;

/// A running stand-in. Dropping it stops the server and kills the machines' processes.
#[derive(Debug)]
pub struct Fly {
    url: Url,
    shared: Arc<Shared>,
    tasks: JoinSet<io::Result<()>>,
}

/// Reason why a call about a machine failed.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// No machine has this id.
    #[error("no machine has the id {0}")]
    Unknown(String),
    /// The machine's state or a fault refuses the call.
    #[error("the machine refuses in state {0}")]
    Refused(MachineState),
    /// The machine did not reach the state in time.
    #[error("the machine did not reach {wanted} in {within:?}: it is {current}")]
    NotReached {
        /// State that was waited for.
        wanted: MachineState,
        /// State at the end.
        current: MachineState,
        /// Time of the wait.
        within: Duration,
    },
}

impl Fly {
    /// Creates the directory of the logs, and serves the Machines API.
    ///
    /// # Errors
    /// When the directory can't be created, or the address can't be bound.
    pub async fn start(options: Options) -> io::Result<Self> {
        tokio::fs::create_dir_all(&options.logs).await?;
        let stop = CancellationToken::new();
        let connections = Connections::bind(options.address, stop.clone()).await?;
        let url = connections.url()?;
        let world = Arc::new(World {
            faults: Faults::default(),
            changes: broadcast::Sender::new(4_096),
            tasks: TaskTracker::new(),
            stop: stop.clone(),
            logs: options.logs.clone(),
        });
        let shared = Arc::new(Shared {
            options,
            world,
            limits: limits::Limits::default(),
            machines: RwLock::default(),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(server::serve(connections, Arc::clone(&shared), stop));
        tracing::info!(%url, "local Fly listens");
        Ok(Self { url, shared, tasks })
    }

    /// Returns the base URL of the Machines API, such as `http://127.0.0.1:4280/`.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns the token that is valid for every app.
    pub fn token(&self) -> &SecretString {
        &self.shared.options.token
    }

    /// Returns the switches that inject faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.world.faults
    }

    /// Creates a machine and returns its id. The app exists from then on.
    pub fn create(&self, spec: MachineSpec) -> String {
        let machine = Machine::new(spec, Arc::clone(&self.shared.world));
        let id = machine.id.clone();
        self.shared.add(machine);
        id
    }

    /// Opens a proxy to the machines of one process group.
    ///
    /// # Errors
    /// When the address can't be bound, or the HTTP client can't be built.
    pub async fn proxy(&self, options: ProxyOptions) -> io::Result<Proxy> {
        Proxy::start(options, Arc::clone(&self.shared)).await
    }

    /// Returns a machine's state.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn state(&self, id: &str) -> Result<MachineState, MachineError> {
        Ok(self.machine(id)?.state())
    }

    /// Sets a machine's state by hand. A process that runs is killed, and an account follows.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn set_state(&self, id: &str, state: MachineState) -> Result<(), MachineError> {
        self.machine(id)?.set_state(state);
        Ok(())
    }

    /// Starts a machine as the API does, without a request. The state is then `starting`.
    ///
    /// # Errors
    /// [`MachineError`] without such a machine, or when the start is refused.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn start_machine(&self, id: &str) -> Result<(), MachineError> {
        let machine = self.machine(id)?;
        let started = life::start(&machine, StartReason::Api);
        started.map(drop).map_err(|_| MachineError::Refused(machine.state()))
    }

    /// Stops a machine as the API does, without a request.
    ///
    /// # Errors
    /// [`MachineError`] without such a machine, or when the stop is refused.
    pub fn stop_machine(&self, id: &str) -> Result<(), MachineError> {
        let machine = self.machine(id)?;
        let stopped = machine.stop(None, None, Then::Rest, "user");
        stopped.map_err(|_| MachineError::Refused(machine.state()))
    }

    /// Waits until a machine is in a state, or passes through it from the call on.
    ///
    /// # Errors
    /// [`MachineError`] without such a machine, or when the time is over.
    pub async fn reached(
        &self,
        id: &str,
        wanted: MachineState,
        within: Duration,
    ) -> Result<(), MachineError> {
        let machine = self.machine(id)?;
        let reached = tokio::time::timeout(within, machine.reached(&[wanted])).await;
        reached.map_err(|_| MachineError::NotReached { wanted, current: machine.state(), within })
    }

    /// Returns a receiver of all changes of state from now on. It lags after 4,096 unread ones.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.shared.world.changes.subscribe()
    }

    /// Returns a machine's account up to now.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn account(&self, id: &str) -> Result<Account, MachineError> {
        Ok(self.machine(id)?.account())
    }

    /// Returns the file of a machine's output. It exists after the first start.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn log(&self, id: &str) -> Result<PathBuf, MachineError> {
        Ok(self.machine(id)?.log())
    }

    /// Leases a machine to somebody else for this time.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn lease_to_other(&self, id: &str, ttl: Duration) -> Result<(), MachineError> {
        let lease = Lease::new("somebody-else@tokens.fly.io", "deployment", ttl);
        self.machine(id)?.record().lease = Some(lease);
        Ok(())
    }

    /// Ends the lease on a machine, whoever holds it.
    ///
    /// # Errors
    /// [`MachineError::Unknown`] without such a machine.
    pub fn end_lease(&self, id: &str) -> Result<(), MachineError> {
        self.machine(id)?.record().lease = None;
        Ok(())
    }

    /// Stops serving, kills the machines' processes, and waits until they are gone.
    pub async fn shutdown(mut self) {
        self.shared.world.stop.cancel();
        self.shared.world.tasks.close();
        self.shared.world.tasks.wait().await;
        while self.tasks.join_next().await.is_some() {}
    }

    fn machine(&self, id: &str) -> Result<Arc<Machine>, MachineError> {
        self.shared.machine(id).ok_or_else(|| MachineError::Unknown(id.to_owned()))
    }
}

impl Drop for Fly {
    /// Cancels the tasks of the machines, which then kill their processes.
    fn drop(&mut self) {
        self.shared.world.stop.cancel();
    }
}
