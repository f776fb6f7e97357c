//! A running worker: opens the resources of its role, starts its tasks, and stops them in order.
//!
//! Owns the wiring and the lifetime of the tasks. Never decides anything itself: the ingest, the
//! trigger and the pipeline do.
//!
//! ```text
//! broker_handles  the broker and everything stored on it
//! role            listener, trainer, or both
//! status          status of the whole installation
//! error           reasons why a worker does not start, or ends
//! options         options of a worker that are not settings
//! inbox           storage of the ingest's rows on the broker
//! idle            exit of a worker that has nothing to do
//! tick            one look from anywhere
//! tasks           the tasks of a worker, each under its name
//! stopping        how long a stopping worker waits for them
//! ```

mod broker_handles;
mod error;
mod idle;
mod inbox;
mod options;
mod role;
mod status;
mod stopping;
mod tasks;
mod tick;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use autovalidate_finetune::onnx::Runtime;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::alert::{Alerts, tell_when_held_up};
use crate::broker::{BrokerError, CheckpointStore, StatusService};
use crate::confined::this_program;
use crate::failure::chain;
use crate::http::{self, Console, ConsoleParts, HookGate, Hooks, RefusalLog, Server, Tryout, Views};
use crate::hub::Repository;
use crate::ingest::{IngestEvent, IngestStatus};
use crate::launcher::{CommandLauncher, FlyLauncher, Launcher, TrainerStarter};
use crate::run::{JobConsumer, ModelCheck, ModelFinder, Pipeline, RunMetrics, RunSettings, sweep_models};
use crate::settings::{CheckpointPlace, Settings, TrainerStart};

pub(crate) use broker_handles::store_dir;
pub use broker_handles::{BrokerHandles, stream_settings};
pub use error::WorkerError;
pub use idle::SHORTEST_IDLE;
pub use options::WorkerOptions;
pub use role::Role;
pub use status::{Status, StatusSettings};
pub use tick::{Tick, TrainerLook};

use idle::{IdleWatch, IngestActivity};
use stopping::{OutOfPatience, out_of_patience};
use tasks::{EndedTask, Tasks};

/// Time that sweeps of the table may fail before that is worth an alert.
const HELD_UP_PATIENCE: Duration = Duration::from_mins(5);

/// A started worker.
pub struct Worker {
    handles: BrokerHandles,
    tasks: Tasks,
    stop: CancellationToken,
    stop_deadline: Duration,
    http: SocketAddr,
    ingest: Option<broadcast::Receiver<IngestEvent>>,
    status: StatusService,
}

impl Worker {
    /// Opens the resources of the role and starts its tasks. They end when `stop` is cancelled.
    ///
    /// # Errors
    /// [`WorkerError`]; no task is then left running.
    pub async fn start(
        settings: &Settings,
        options: impl Into<WorkerOptions>,
        stop: CancellationToken,
    ) -> Result<Self, WorkerError> {
        // Boxed: a start is rare and its future is large.
        Box::pin(Self::start_tasks(settings, options.into(), stop)).await
    }

    async fn start_tasks(
        settings: &Settings,
        options: WorkerOptions,
        stop: CancellationToken,
    ) -> Result<Self, WorkerError> {
        let WorkerOptions { role, exit_when_idle, takes_over, program } = options;
        std::fs::create_dir_all(&settings.data_dir)
            .map_err(|source| WorkerError::DataDir { path: settings.data_dir.clone(), source })?;
        // The trainer's resources come first, so that a wrong library or repository is reported
        // before anything runs.
        let trainer = match role.trains() {
            true => Some(Trainer::open(settings)?),
            false => None,
        };
        let program = program.unwrap_or_else(this_program);
        let handles = BrokerHandles::open_as(settings, &program, takes_over).await?;
        handles.corrections.complete_erasures().await?;
        handles.runs.complete_index().await?;
        let mut tasks = Tasks::default();

        let gate = HookGate::default();
        let mut metrics = http::registry(role.name());
        let (mut ingest_status, mut hooks) = (None, None);
        let (mut ingest_events, mut ingest_activity) = (None, None);
        // A worker that trains is a trainer itself.
        let starter = match role.trains() {
            true => None,
            false => trainer_starter(&handles, &settings.trainer_start)?,
        };
        if role.listens() {
            let access = settings.supabase.clone().ok_or(WorkerError::Missing("SUPABASE_URL"))?;
            let ingest = inbox::ingest(settings, &handles, access.clone())?;
            ingest_status = Some(ingest.status());
            ingest_events = Some(ingest.events());
            ingest.metrics().register(&mut metrics);
            let sweep_trigger = ingest.sweep_trigger();
            ingest_activity =
                Some(IngestActivity { status: ingest.status(), sweep_trigger: sweep_trigger.clone() });
            let (trigger, looking) = (handles.trigger.clone(), starter.clone());
            hooks = settings.webhook_secret.clone().map(|secret| Hooks {
                access,
                secret,
                sweep_trigger,
                look: Box::new(move || {
                    trigger.wake();
                    if let Some(starter) = &looking {
                        starter.wake();
                    }
                }),
                gate: gate.clone(),
                refusals: RefusalLog::default(),
            });
            if settings.alerts.is_some() {
                let (status, events, cancel) = (ingest.status(), handles.events.clone(), stop.clone());
                tasks.spawn("ingest alerts", move || {
                    tell_when_held_up(status, events, HELD_UP_PATIENCE, cancel)
                });
            }
            let cancel = stop.clone();
            tasks.spawn("ingest", move || ingest.run(cancel));
        }
        if let Some(receiver) = settings.alerts.clone() {
            let alerts = Alerts::new(&handles.streams, receiver).map_err(WorkerError::Alerts)?;
            let cancel = stop.clone();
            tasks.spawn("alerts", move || async move { alerts.run(&cancel).await });
        }
        // Every role looks for jobs that are due by time: while one machine sleeps, another may be
        // up. Any number of triggers start one job for the same pairs.
        let (trigger, cancel) = (handles.trigger.clone(), stop.clone());
        tasks.spawn("trigger", move || async move { trigger.run(&cancel).await });
        if let Some(starter) = starter {
            starter.metrics().register(&mut metrics);
            let cancel = stop.clone();
            tasks.spawn("trainer start", move || async move { starter.run(&cancel).await });
        }
        let (jobs, cancel) = (handles.jobs.clone(), stop.clone());
        tasks.spawn("queue watch", move || async move {
            tokio::join!(jobs.keep_registered(&cancel), jobs.keep_cancelling(&cancel));
        });
        let runtime = trainer.as_ref().map(|trainer| trainer.runtime.clone());
        if let Some(trainer) = trainer {
            let library = &settings.runtime_library;
            let model_check = ModelCheck::new(program, library);
            let pipeline = trainer.pipeline(&handles, settings, model_check);
            pipeline.metrics.register(&mut metrics);
            let (jobs, trigger) = (handles.jobs.clone(), handles.trigger.clone());
            let consumer = JobConsumer { jobs, pipeline, trigger };
            let cancel = stop.clone();
            tasks.spawn("trainer", move || async move { consumer.run(&cancel).await });
        }
        let console = Arc::new(console(&handles, settings, ingest_status.clone(), runtime, &stop)?);
        let queue_health =
            on_each_call(&handles, |handles| async move { handles.queue_health().await }.boxed());
        let views = Views {
            queue_health,
            ingest: ingest_status,
            hooks,
            console: Arc::clone(&console),
            corrections: handles.corrections.clone(),
            runs: handles.runs.clone(),
            metrics,
        };
        tasks.spawn("console", move || async move { console.follow().await });
        let failed = |source| WorkerError::Listen { address: settings.http_address, source };
        let server = Server::bind(settings.http_address, views).await.map_err(failed)?;
        let http = server.address();
        let idle = exit_when_idle.map(|after| IdleWatch {
            after,
            handles: handles.clone(),
            ingest: ingest_activity,
            gate,
        });
        let cancel = stop.clone();
        tasks.spawn("http", move || async move {
            if let Err(error) = Box::pin(idle::serve(server, idle, cancel)).await {
                tracing::error!(%error, "the HTTP server ended");
            }
        });
        let answering =
            on_each_call(&handles, |handles| async move { Status::collect(&handles).await }.boxed());
        let status = StatusService::start(&handles.streams, role.trains(), answering).await?;
        tracing::info!(%role, %http, "worker started");
        let stop_deadline = settings.stop_deadline;
        Ok(Self { handles, tasks, stop, stop_deadline, http, ingest: ingest_events, status })
    }

    /// Returns the handles to the broker.
    pub fn handles(&self) -> &BrokerHandles {
        &self.handles
    }

    /// Returns the address that serves the console, health, metrics and the webhook.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Takes the receiver of the ingest's events, which begins with the start. Returns `None` on a
    /// second call, and for a role without an ingest.
    pub fn take_ingest_events(&mut self) -> Option<broadcast::Receiver<IngestEvent>> {
        self.ingest.take()
    }

    /// Waits until `stop` is cancelled and every task has ended, then closes the broker.
    ///
    /// A task that hasn't ended by the stop deadline is abandoned, and so is every task when the broker
    /// is silent for some seconds; the job in progress is delivered again.
    ///
    /// A task that ends by itself stops the others: a worker without its ingest would look healthy
    /// but receive no pairs.
    ///
    /// # Errors
    /// [`WorkerError::TaskEnded`] when a task ended by itself, [`WorkerError::TaskPanicked`] when
    /// one panicked.
    pub async fn join(mut self) -> Result<(), WorkerError> {
        let (mut early, mut abandoned) = (None, None);
        let broker = self.handles.streams.connection().clone();
        let late = out_of_patience(self.stop.clone(), self.stop_deadline, broker);
        tokio::pin!(late);
        loop {
            let ended = tokio::select! {
                ended = self.tasks.next_ended() => ended,
                reason = &mut late => {
                    tracing::warn!(
                        %reason,
                        deadline = ?self.stop_deadline,
                        "stopping with work in progress; a job in hand is delivered again"
                    );
                    abandoned = Some(reason);
                    break;
                }
            };
            let Some(EndedTask { name: task, panic }) = ended else { break };
            let error = match panic {
                Some(message) => WorkerError::TaskPanicked { task, message },
                None if self.stop.is_cancelled() => continue,
                None => WorkerError::TaskEnded { task },
            };
            tracing::error!(task, %error, "the worker stops");
            early.get_or_insert(error);
            self.stop.cancel();
        }
        if abandoned != Some(OutOfPatience::BrokerSilent) {
            self.status.stop().await;
        }
        self.handles.streams.connection().close().await;
        early.map_or(Ok(()), Err)
    }
}

/// Returns the console of a worker with these settings.
fn console(
    handles: &BrokerHandles,
    settings: &Settings,
    ingest: Option<watch::Receiver<IngestStatus>>,
    runtime: Option<Runtime>,
    stop: &CancellationToken,
) -> Result<Console, WorkerError> {
    let BrokerHandles { streams, corrections, jobs, runs, trigger, .. } = handles.clone();
    let repository = || settings.hub.clone().map(Repository::open).transpose();
    let tryout = match runtime {
        Some(runtime) => Some(Tryout {
            runtime,
            finder: ModelFinder {
                repository: repository()?,
                data_dir: settings.data_dir.clone(),
                base_model: settings.base_model.clone(),
            },
            templates: settings.templates.clone(),
            fuzzy: settings.gate.fuzzy,
            names: settings.names(),
            asking: Mutex::default(),
        }),
        None => None,
    };
    let parts = ConsoleParts {
        streams,
        corrections,
        jobs,
        runs,
        trigger,
        ingest,
        repository: repository()?,
        tryout,
        data_dir: settings.data_dir.clone(),
        token: settings.console_token.clone(),
        address: settings.http_address,
    };
    Ok(Console::new(parts, stop.clone()))
}

/// Returns the starter of trainers, when a way to start them is set.
fn trainer_starter(
    handles: &BrokerHandles,
    setting: &TrainerStart,
) -> Result<Option<TrainerStarter>, WorkerError> {
    let Some(launcher) = launcher(setting)? else { return Ok(None) };
    let clock = Arc::new(handles.streams.clock().clone());
    Ok(Some(TrainerStarter::new(&handles.streams, &handles.jobs, launcher, clock)))
}

/// Returns the launcher that is set.
///
/// # Errors
/// [`WorkerError::Launcher`].
pub fn launcher(setting: &TrainerStart) -> Result<Option<Arc<dyn Launcher>>, WorkerError> {
    Ok(match setting {
        TrainerStart::None => None,
        TrainerStart::Fly(app) => Some(Arc::new(FlyLauncher::new(app.clone())?)),
        TrainerStart::Command(command) => Some(Arc::new(CommandLauncher::new(command.clone()))),
    })
}

/// Returns a query of the handles that runs again at each call.
fn on_each_call<T>(
    handles: &BrokerHandles,
    ask: impl Fn(Arc<BrokerHandles>) -> BoxFuture<'static, Result<T, BrokerError>> + Send + Sync + 'static,
) -> Box<dyn Fn() -> BoxFuture<'static, Result<T, BrokerError>> + Send + Sync> {
    let handles = Arc::new(handles.clone());
    Box::new(move || ask(Arc::clone(&handles)))
}

/// Resources that only a trainer needs.
struct Trainer {
    runtime: Runtime,
    repository: Repository,
}

impl Trainer {
    fn open(settings: &Settings) -> Result<Self, WorkerError> {
        let runtime = Runtime::load(&settings.runtime_library, settings.threads)?.on(settings.device)?;
        let access = settings.hub.clone().ok_or(WorkerError::Missing("HF_REPO"))?;
        match sweep_models(&settings.data_dir, SystemTime::now()) {
            Ok(0) => {}
            Ok(folders) => tracing::info!(folders, "removed what interrupted downloads of models have left"),
            Err(error) => {
                tracing::warn!(error = chain(&error), "leftovers of interrupted downloads can't be removed");
            }
        }
        Ok(Self { runtime, repository: Repository::open(access)? })
    }

    fn pipeline(self, handles: &BrokerHandles, settings: &Settings, model_check: ModelCheck) -> Pipeline {
        Pipeline {
            runtime: self.runtime,
            repository: self.repository,
            corrections: handles.corrections.clone(),
            runs: handles.runs.clone(),
            events: handles.events.clone(),
            checkpoints: match settings.checkpoints.place {
                CheckpointPlace::Disk => None,
                CheckpointPlace::JetStream => Some(CheckpointStore::new(&handles.streams)),
            },
            clock: Arc::new(handles.streams.clock().clone()),
            plan: RunSettings {
                tokenizer: settings.tokenizer,
                recipe: settings.recipe.clone(),
                synthesis: settings.synthesis.clone(),
                hold_out: settings.hold_out,
                templates: settings.templates.clone(),
                names: settings.names(),
                gate: settings.gate,
                base_model: settings.base_model.clone(),
                base_model_folders: settings.base_model_folders.clone(),
                model_check,
                data_dir: settings.data_dir.clone(),
                data_budget: settings.data_budget,
                checkpoint_every: settings.checkpoints.every,
                private_repository: true,
            },
            metrics: RunMetrics::default(),
        }
    }
}
