//! A recipe deployed to the stand-ins: machines that are processes of this program, the proxy in
//! front of them, and the services that they talk to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use autovalidate_fakes::fly::{self, Fly, MachineSpec, MachineState, Program, Proxy, ProxyOptions};
use autovalidate_fakes::hub::{self, Hub};
use autovalidate_fakes::supabase::{self, Supabase};
use tokio::net::TcpStream;
use url::Url;

use super::IDLE;
use super::environment::{self, Environment, Services, WEBHOOK_SECRET};
use super::recipe::{APP, Group, Recipe};
use super::store;
use crate::cli::CliError;
use crate::ingest::webhook::SECRET_HEADER;
use crate::settings::{Needs, Settings};

/// Time that a machine has to stop after SIGTERM, before it is killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(20);
/// Time beyond [`KILL_TIMEOUT`] for the stand-in to notice the end.
const STOP_MARGIN: Duration = Duration::from_secs(2);
/// Ports for the services of the machines. Outside of the ranges from which systems take the ports
/// of outgoing connections, so that a port stays free while its machine sleeps.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Number of ports that are tried.
const PORT_TRIES: usize = 100;

/// A machine of a deployed recipe.
pub(super) struct Machine {
    pub(super) group: &'static Group,
    pub(super) id: String,
}

/// A recipe deployed to the stand-ins. Dropping it kills the machines; [`Deployment::shutdown`]
/// stops them in order.
pub(super) struct Deployment {
    pub(super) recipe: Recipe,
    pub(super) fly: Fly,
    pub(super) supabase: Supabase,
    pub(super) machines: Vec<Machine>,
    /// Settings that open the broker's store while its machine is stopped.
    pub(super) store: Settings,
    /// Addresses that only a running process listens on.
    listens: Vec<SocketAddr>,
    /// Time beyond the idle time in which a machine must have ended.
    pub(super) stop_margin: Duration,
    proxy: Proxy,
    hub: Hub,
}

impl Deployment {
    /// Starts the stand-ins and creates the machines, all stopped.
    pub(super) async fn start(
        recipe: Recipe,
        threshold: u64,
        program: &Path,
        folder: &Path,
        stop_margin: Duration,
    ) -> Result<Self, CliError> {
        let fly = Fly::start(fly::Options::new(folder.join("logs")))
            .await
            .map_err(cannot("start Fly's stand-in"))?;
        let proxy = fly.proxy(ProxyOptions::new(APP, recipe.listener().name)).await;
        let proxy = proxy.map_err(cannot("open the proxy"))?;
        let webhook = supabase::Webhook {
            url: hook(&proxy, "supabase")?,
            header: SECRET_HEADER.to_owned(),
            secret: WEBHOOK_SECRET.to_owned(),
        };
        let supabase = Supabase::start(supabase::Options { webhook: Some(webhook), ..Default::default() })
            .await
            .map_err(cannot("start the local Supabase"))?;
        let hub =
            Hub::start(hub::Options::new(folder.join("hub"))).await.map_err(cannot("start the local Hub"))?;
        let services = Services { supabase: &supabase, hub: &hub, fly: &fly };
        let environment = environment::shared(recipe, threshold, &services);
        let addresses = Addresses::free().map_err(cannot("find a free port"))?;
        let mut machines = Vec::new();
        for group in recipe.groups() {
            let spec = machine(recipe, group, program, &environment, &addresses, &folder.join(group.name));
            machines.push(Machine { group, id: fly.create(spec.map_err(cannot("prepare a machine"))?) });
        }
        let mut opening = environment;
        opening.insert("NATS_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        opening.insert("DATA_DIR".to_owned(), folder.join(recipe.listener().name).display().to_string());
        let store = Settings::read(&|name| opening.get(name).cloned(), None, Needs::default())?;
        let listens = vec![addresses.http, addresses.nats];
        Ok(Self { recipe, fly, supabase, machines, store, listens, stop_margin, proxy, hub })
    }

    /// Returns the URL of a hook, behind the proxy.
    pub(super) fn hook(&self, name: &str) -> Result<Url, CliError> {
        hook(&self.proxy, name)
    }

    /// Returns true when every machine rests.
    pub(super) fn is_asleep(&self) -> bool {
        self.machines.iter().all(|machine| rests(&self.fly, machine))
    }

    /// Returns an address on which a process still listens, although every machine rests.
    pub(super) async fn left_behind(&self) -> Option<SocketAddr> {
        for address in &self.listens {
            if TcpStream::connect(address).await.is_ok() {
                return Some(*address);
            }
        }
        None
    }

    /// Stops the machines as Fly does, then the stand-ins. A machine that does not stop in time is
    /// killed, and so is the nats-server that it leaves behind.
    pub(super) async fn shutdown(self) {
        let awake = || self.machines.iter().rev().filter(|machine| !rests(&self.fly, machine));
        let interrupted = awake().next().is_some();
        // The trainer hands its job back over the listener's broker, so the listener stops last.
        for machine in awake() {
            let limit = KILL_TIMEOUT + STOP_MARGIN;
            let asked = self.fly.stop_machine(&machine.id);
            if asked.is_err() || self.fly.reached(&machine.id, MachineState::Stopped, limit).await.is_err() {
                tracing::warn!(machine = machine.group.name, "a machine is killed: it did not stop in time");
            }
        }
        self.fly.shutdown().await;
        self.supabase.shutdown().await;
        self.hub.shutdown().await;
        if interrupted && let Err(error) = Box::pin(store::end_leftover(&self.store)).await {
            tracing::warn!(%error, "a nats-server may have been left behind");
        }
    }
}

/// Returns true when a machine rests: it neither runs nor is on its way.
fn rests(fly: &Fly, machine: &Machine) -> bool {
    fly.state(&machine.id).is_ok_and(|state| {
        matches!(state, MachineState::Stopped | MachineState::Failed | MachineState::Destroyed)
    })
}

/// Addresses of the machines' services. On Fly, each machine has an address of its own.
struct Addresses {
    http: SocketAddr,
    nats: SocketAddr,
}

impl Addresses {
    fn free() -> io::Result<Self> {
        Ok(Self { http: free_address()?, nats: free_address()? })
    }
}

fn free_address() -> io::Result<SocketAddr> {
    let mut last = io::ErrorKind::AddrInUse.into();
    for _ in 0..PORT_TRIES {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rand::random_range(PORTS)));
        match std::net::TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Describes the machine of a group.
fn machine(
    recipe: Recipe,
    group: &Group,
    program: &Path,
    environment: &Environment,
    addresses: &Addresses,
    folder: &Path,
) -> io::Result<MachineSpec> {
    std::fs::create_dir_all(folder)?;
    let listens = group.name == recipe.listener().name;
    let idle = format!("{}s", IDLE.as_secs());
    let mut program = Program::new(program)
        .arg("worker")
        .args(["--role", group.role, "--exit-when-idle", &idle])
        .env("DATA_DIR", folder);
    for (name, value) in environment {
        program = program.env(name, value);
    }
    let (http, nats) = (addresses.http.to_string(), addresses.nats.to_string());
    program = match listens {
        true => program.env("HTTP_ADDR", http).env("NATS_LISTEN", nats),
        false => program.args(["--nats-url", &format!("nats://{nats}")]).env("HTTP_ADDR", "127.0.0.1:0"),
    };
    // Settings come from the environment alone, not from a file in this process's directory.
    program.directory = Some(folder.to_path_buf());
    Ok(MachineSpec {
        region: "fra".to_owned(),
        kill_timeout: KILL_TIMEOUT,
        price_per_second: group.size.price_per_second(),
        service: listens.then_some(addresses.http),
        ..MachineSpec::running(APP, group.name, program)
    })
}

fn hook(proxy: &Proxy, name: &str) -> Result<Url, CliError> {
    let url = proxy.url().join(&format!("hooks/{name}"));
    url.map_err(|_| CliError::plain("the proxy's URL is malformed", "Report this defect."))
}

fn cannot<E: std::error::Error + Send + Sync + 'static>(action: &'static str) -> impl Fn(E) -> CliError {
    move |source| CliError::Plain {
        what: format!("cannot {action}"),
        advice: "Choose another folder with --data, on a disk with room.".to_owned(),
        source: Some(Box::new(source)),
    }
}

/// Returns the path of this program. A later build may put another program there, which the machines
/// then run; Linux names a replaced program differently.
pub(super) fn own_program() -> Result<PathBuf, CliError> {
    std::env::current_exe().map_err(cannot("find this program"))
}

/// Returns the folder in absolute form: machines have a working directory of their own.
pub(super) fn absolute(folder: &Path) -> Result<PathBuf, CliError> {
    std::path::absolute(folder).map_err(cannot("find the folder of the demo"))
}
