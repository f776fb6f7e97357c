//! The whole system as processes: stand-ins, broker, and workers with their settings.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;

use super::control::StandIn;
use super::disk::Disk;
use super::faults::{Blow, Target};
use super::process::{Process, Program, Signal, processes_of, send};
use super::programs::{Paths, Secrets, free_port, server, settings};
use super::schedule::Topology;
use super::stand_in::Order;

/// Time in which a start must have an answer.
const START: Duration = Duration::from_secs(30);

/// A worker, with its data directory.
pub(crate) struct Worker {
    pub(crate) listens: bool,
    pub(crate) trains: bool,
    pub(crate) process: Process,
    pub(crate) http: u16,
    pub(crate) data: Disk,
    /// Folder for its temporary files.
    pub(crate) temporary: PathBuf,
}

/// The running system.
pub(crate) struct System {
    pub(crate) paths: Paths,
    pub(crate) secrets: Secrets,
    pub(crate) supabase: StandIn,
    pub(crate) hub: StandIn,
    /// The server of a cluster; a machine has its own one.
    pub(crate) nats: Option<Process>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) client: async_nats::Client,
}

impl System {
    /// Starts everything, and waits until the broker answers.
    pub(crate) async fn start(topology: Topology, seed: u64, paths: Paths) -> anyhow::Result<Self> {
        for folder in ["logs", "nats", "hub", "data", "tmp"] {
            std::fs::create_dir_all(paths.folder.join(folder))?;
        }
        let secrets = Secrets {
            hub: format!("hf_{seed:08}chaosHubToken"),
            webhook: format!("{seed:08}-chaos-webhook-secret"),
            nats: format!("{seed:08}-chaos-nats-token"),
        };
        let nats_port = free_port()?;
        let roles: &[(&str, bool, bool)] = match topology {
            Topology::Cluster => &[
                ("listener-1", true, false),
                ("listener-2", true, false),
                ("trainer-1", false, true),
                ("trainer-2", false, true),
            ],
            Topology::Machine => &[("machine", true, true)],
        };
        let ports: Vec<u16> = roles.iter().map(|_| free_port()).collect::<anyhow::Result<_>>()?;
        let webhook = format!("http://127.0.0.1:{}/hooks/supabase", ports[0]);
        let logs = paths.folder.join("logs");
        let supabase_arguments = ["supabase", "--webhook", &webhook, "--secret", &secrets.webhook];
        let supabase = StandIn::start(&supabase_arguments, &logs.join("supabase")).await?;
        let hub_folder = paths.folder.join("hub").display().to_string();
        let hub_arguments = ["hub", "--folder", &hub_folder, "--token", &secrets.hub];
        let hub = StandIn::start(&hub_arguments, &logs.join("hub")).await?;
        let nats = match topology {
            Topology::Cluster => Some(Process::start(server(&paths, &secrets, nats_port)?)?),
            Topology::Machine => None,
        };
        let mut system_workers = Vec::new();
        for ((name, listens, trains), http) in roles.iter().zip(ports) {
            let data = Disk::new(&paths.folder.join("data").join(name))?;
            let mut environment = settings(&paths, &secrets, &supabase, &hub);
            let temporary = paths.folder.join("tmp").join(name);
            std::fs::create_dir_all(&temporary)?;
            let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
            set("DATA_DIR", data.folder.display().to_string());
            set("HF_HOME", data.folder.join("hf").display().to_string());
            set("TMPDIR", temporary.display().to_string());
            set("HTTP_ADDR", format!("127.0.0.1:{http}"));
            set("CHECKPOINT_STORE", if seed.is_multiple_of(2) { "disk" } else { "jetstream" }.to_owned());
            match topology {
                Topology::Cluster => set("NATS_URL", format!("nats://127.0.0.1:{nats_port}")),
                Topology::Machine => set("NATS_LISTEN", format!("127.0.0.1:{nats_port}")),
            };
            let role = match (listens, trains) {
                (true, true) => "all",
                (true, false) => "listener",
                _ => "trainer",
            };
            let program = Program {
                name: (*name).to_owned(),
                path: paths.worker.clone(),
                arguments: ["worker", "--role", role].map(str::to_owned).to_vec(),
                folder: paths.folder.clone(),
                environment,
                log: logs.join(name),
                started: "worker started",
                stopped: 0,
            };
            let process = Process::start(program)?;
            system_workers.push(Worker {
                listens: *listens,
                trains: *trains,
                process,
                http,
                data,
                temporary,
            });
        }
        let options = async_nats::ConnectOptions::new()
            .token(secrets.nats.clone())
            .retry_on_initial_connect()
            .request_timeout(Some(Duration::from_secs(3)));
        let client = options.connect(format!("nats://127.0.0.1:{nats_port}")).await?;
        let system = Self { paths, secrets, supabase, hub, nats, workers: system_workers, client };
        tokio::time::timeout(START, system.answers()).await.context("the system did not start")?;
        Ok(system)
    }

    /// Waits until the workers have set up their streams.
    async fn answers(&self) {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let mut glance = tokio::time::interval(Duration::from_millis(100));
        loop {
            glance.tick().await;
            if jetstream.get_stream("TRAINING").await.is_ok()
                && jetstream.get_key_value("training_runs").await.is_ok()
            {
                return;
            }
        }
    }

    /// Looks at every process.
    pub(crate) fn look(&mut self) -> anyhow::Result<()> {
        let workers = self.workers.iter_mut().map(|worker| &mut worker.process);
        workers.chain(self.nats.as_mut()).try_for_each(Process::look)
    }

    /// Strikes a process, and returns its place among the workers, if it is one of them; `None` when there
    /// is nothing to strike.
    pub(crate) fn strike(&mut self, target: Target, blow: Blow, choice: usize) -> Option<Struck> {
        let place = match target {
            Target::Listener => nth(&self.workers, choice, |worker| worker.listens),
            Target::Trainer => self.trainer(choice),
            Target::Supabase => {
                self.supabase.freeze(true);
                return Some(Struck::Supabase);
            }
            Target::Hub => {
                self.hub.freeze(true);
                return Some(Struck::Hub);
            }
            Target::NatsServer => return self.strike_server(blow),
        }?;
        self.workers[place].process.strike(blow).then_some(Struck::Worker(place))
    }

    /// Returns the place of one of the trainers.
    pub(crate) fn trainer(&self, choice: usize) -> Option<usize> {
        nth(&self.workers, choice, |worker| worker.trains)
    }

    fn strike_server(&mut self, blow: Blow) -> Option<Struck> {
        if let Some(nats) = &mut self.nats {
            return nats.strike(blow).then_some(Struck::Server(None));
        }
        let found = processes_of(&self.paths.folder.join("data"));
        let pid = found.into_iter().find(|(_, line)| line.contains("nats-server"))?.0;
        send(Some(pid), blow.signal());
        Some(Struck::Server(Some(pid)))
    }

    /// Lets a frozen process go on.
    pub(crate) fn thaw(&mut self, struck: Struck) {
        match struck {
            Struck::Worker(place) => self.workers[place].process.thaw(),
            Struck::Supabase => self.supabase.freeze(false),
            Struck::Hub => self.hub.freeze(false),
            Struck::Server(Some(pid)) => send(Some(pid), Signal::SIGCONT),
            Struck::Server(None) => self.nats.iter_mut().for_each(Process::thaw),
        }
    }

    /// Returns the place of the trainer that works on this job: the one that has changed its folder last.
    pub(crate) fn trainer_of(&self, job: &str) -> Option<usize> {
        let changed = |worker: &Worker| {
            let folder = worker.data.folder.join("jobs").join(job);
            let inside = std::fs::read_dir(&folder).into_iter().flatten().filter_map(Result::ok);
            inside.filter_map(|entry| entry.metadata().ok()?.modified().ok()).max()
        };
        let trainers = self.workers.iter().enumerate().filter(|(_, worker)| worker.trains);
        trainers.filter_map(|(place, worker)| Some((changed(worker)?, place))).max().map(|(_, place)| place)
    }

    /// Ends every fault, and waits until every process runs.
    pub(crate) async fn heal(&mut self) -> anyhow::Result<()> {
        self.supabase.freeze(false);
        self.hub.freeze(false);
        self.supabase.order(&Order::Calm).await?;
        self.hub.order(&Order::Calm).await?;
        for worker in &mut self.workers {
            worker.process.thaw();
            worker.data.empty()?;
        }
        if let Some(nats) = &mut self.nats {
            nats.thaw();
        }
        for (pid, _) in processes_of(&self.paths.folder.join("data")) {
            send(Some(pid), Signal::SIGCONT);
        }
        Ok(())
    }

    /// Sends an order about the table; `None` while the local Supabase is frozen.
    pub(crate) async fn table(&mut self, order: Order) -> anyhow::Result<Option<Value>> {
        self.supabase.order(&order).await
    }
}

/// Target of a blow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Struck {
    Worker(usize),
    Supabase,
    Hub,
    /// The process id of a machine's own server.
    Server(Option<u32>),
}

fn nth(workers: &[Worker], choice: usize, is_wanted: impl Fn(&Worker) -> bool) -> Option<usize> {
    let places: Vec<usize> = (0..workers.len()).filter(|place| is_wanted(&workers[*place])).collect();
    (!places.is_empty()).then(|| places[choice % places.len()])
}
