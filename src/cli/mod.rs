//! Command line: one file per command.
//!
//! Owns arguments, output and exit codes. Decides nothing: every command calls into the library.
//!
//! Exit codes: 0 done; 1 failed; 2 wrong settings or arguments; 3 the run ended but nothing was
//! published, or the weights of a replay differ; 130 a second signal ended the program at once.
//!
//! ```text
//! worker.rs      listener, trainer, or both
//! dev.rs         everything on this machine, no account needed
//! demo.rs        display of `dev`, and the demo of `dev --demo`
//! serverless_demo  the demo of `dev --demo --serverless`
//! arguments.rs   parsers of arguments that several commands have
//! config.rs      settings of a command, and the file that `--config` names
//! error.rs       errors of a command, and their exit codes
//! output.rs      the way out of every text that a command prints
//! terminal.rs    progress bars on a terminal, lines elsewhere
//! train.rs       one run in the foreground, from a file
//! evaluate.rs    one model against another
//! suggest.rs     nearest names to a typo
//! dataset.rs     rows of files, for `train` and `evaluate`
//! enqueue.rs     request to start a run
//! status.rs      status of the worker
//! adopt.rs       streams of a project that has moved
//! tick.rs        one look from anywhere, for a scheduler
//! runs.rs        run records, cancel and retry
//! replay.rs      repeat of a run, to compare the weights
//! models.rs      releases on the Hub, and rollback
//! lineage.rs     versions that learned from a pair
//! report.rs      a run's report as text and as a page
//! quarantine.rs  rows that are kept out of training
//! forget.rs      rows that must be forgotten
//! flags.rs       test of the flags that texts name
//! init           files of a new installation
//! completions.rs completions for shells
//! man.rs         manual pages
//! doctor.rs      checks of everything that a worker needs
//! healthz.rs     health of the worker on this machine
//! own_processes.rs  processes that this program starts of itself
//! artifacts.rs   training artifacts of a model, as files
//! telemetry/     logs and traces
//! signals.rs     signals that end the program
//! ```

#![allow(clippy::print_stdout, reason = "printing is what a command line does")]

#[macro_use]
mod output;

mod adopt;
mod arguments;
mod artifacts;
mod completions;
mod config;
mod dataset;
#[cfg(feature = "dev")]
mod demo;
#[cfg(feature = "dev")]
mod dev;
mod doctor;
mod enqueue;
mod error;
mod evaluate;
#[cfg(test)]
mod flags;
mod forget;
mod healthz;
mod init;
mod lineage;
mod man;
mod models;
mod own_processes;
mod quarantine;
mod replay;
mod report;
mod runs;
#[cfg(feature = "dev")]
mod serverless_demo;
mod signals;
mod status;
mod suggest;
mod telemetry;
#[cfg(feature = "dev")]
mod terminal;
mod tick;
mod train;
mod worker;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::broker::embedded::{reachable, stored_token};
use crate::broker::{BrokerError, JobId, Remote, RunRecord};
use crate::failure::{Failure, chain};
use crate::hub::Repository;
use crate::settings::{Nats, Needs, Settings};
use crate::worker::{BrokerHandles, WorkerError, store_dir};
use autovalidate_finetune::onnx::disable_telemetry;
use error::CliError;
use output::{print_json, print_text};

/// Version of the program: of the package, and of the sources that it was built from if the build could
/// tell.
const VERSION: &str = env!("AUTOVALIDATE_VERSION");

/// Turns accepted corrections of mistyped car names into a better embedding model.
#[derive(Parser)]
#[command(
    name = "autovalidate",
    version = VERSION,
    max_term_width = 100,
    after_help = "Settings come from the environment and from autovalidate.toml; see `autovalidate init`."
)]
struct Cli {
    /// Settings file, in place of autovalidate.toml in the working directory.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Worker(worker::Args),
    #[cfg(feature = "dev")]
    Dev(dev::Args),
    Train(train::Args),
    Evaluate(evaluate::Args),
    Suggest(suggest::Args),
    Enqueue(enqueue::Args),
    Status(status::Args),
    Adopt(adopt::Args),
    Tick(tick::Args),
    Runs(runs::Args),
    Models(models::Args),
    Lineage(lineage::Args),
    Report(report::Args),
    Quarantine(quarantine::Args),
    Forget(forget::Args),
    Doctor(doctor::Args),
    Healthz(healthz::Args),
    Init(init::Args),
    Artifacts(artifacts::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// Outcome of a command.
enum CommandOutcome {
    Done,
    NothingPublished,
    Differs,
}

/// Runs the program.
pub fn main() -> ExitCode {
    // Before anything starts a thread.
    if let Some(work) = own_processes::asked() {
        return own_processes::run(work);
    }
    if let Err(error) = disable_telemetry() {
        eprintln!("error: the program can't restart itself with ONNX Runtime's telemetry disabled: {error}");
        eprintln!("  what to do: set ORT_DISABLE_TELEMETRY to 1 before starting the program");
        return ExitCode::FAILURE;
    }
    let cli = Cli::parse();
    if let Some(file) = cli.config {
        config::use_file(file);
    }
    let telemetry = telemetry::start(match &cli.command {
        Command::Worker(_) => telemetry::DefaultLevel::Info,
        #[cfg(feature = "dev")]
        Command::Dev(_) => telemetry::DefaultLevel::Warn,
        _ => telemetry::DefaultLevel::Error,
    });
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the async runtime can't start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let at_once = CancellationToken::new();
    let command = async {
        match cli.command {
            Command::Worker(args) => Box::pin(worker::run(args, at_once.clone())).await,
            #[cfg(feature = "dev")]
            Command::Dev(args) => Box::pin(dev::run(args, at_once.clone())).await,
            Command::Train(args) => Box::pin(train::run(&args)).await,
            Command::Evaluate(args) => Box::pin(evaluate::run(&args)).await,
            Command::Suggest(args) => Box::pin(suggest::run(args)).await,
            Command::Enqueue(args) => Box::pin(enqueue::run(args)).await,
            Command::Status(args) => Box::pin(status::run(args)).await,
            Command::Adopt(args) => Box::pin(adopt::run(args, at_once.clone())).await,
            Command::Tick(args) => Box::pin(tick::run(args, at_once.clone())).await,
            Command::Runs(args) => Box::pin(runs::run(args)).await,
            Command::Models(args) => Box::pin(models::run(args)).await,
            Command::Lineage(args) => Box::pin(lineage::run(args)).await,
            Command::Report(args) => Box::pin(report::run(args)).await,
            Command::Quarantine(args) => Box::pin(quarantine::run(args)).await,
            Command::Forget(args) => Box::pin(forget::run(args)).await,
            Command::Healthz(args) => Box::pin(healthz::run(&args)).await,
            Command::Doctor(args) => Box::pin(doctor::run(args, at_once.clone())).await,
            Command::Init(args) => Box::pin(init::run(args)).await,
            Command::Artifacts(args) => artifacts::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        }
    };
    let result = runtime.block_on(async {
        tokio::select! {
            result = command => Some(result),
            () = at_once.cancelled() => None,
        }
    });
    // A library's task that doesn't end must not keep the program running. Tasks are dropped here,
    // and with them a nats-server that was not stopped.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    drop(telemetry);
    let Some(result) = result else { return ExitCode::from(130) };
    match result {
        Ok(CommandOutcome::Done) => ExitCode::SUCCESS,
        Ok(CommandOutcome::NothingPublished | CommandOutcome::Differs) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            eprintln!("  what to do: {}", error.advice());
            ExitCode::from(error.exit_code())
        }
    }
}

/// Connects to the broker of a running worker. A command must not start a second embedded
/// server next to the worker's, nor change the worker's streams.
async fn handles() -> Result<BrokerHandles, CliError> {
    let mut settings = config::settings(Needs::default())?;
    let own = match &settings.nats {
        Nats::Embedded { address, .. } => Some(*address),
        Nats::Remote(_) => None,
    };
    settings.nats = on_running_broker(settings.nats, &settings.data_dir)?;
    match (BrokerHandles::connect(&settings).await, own) {
        (Err(WorkerError::Queue(error @ BrokerError::Connect { .. })), Some(address)) => {
            Err(CliError::Plain {
                what: format!("no worker runs here: its nats-server does not answer at {address}"),
                advice: "Start `autovalidate worker`, or wake one that sleeps with a request to its /healthz; for a broker elsewhere set NATS_URL.".to_owned(),
                source: Some(error.into()),
            })
        }
        (handles, _) => Ok(handles?),
    }
}

/// Returns settings that connect to the embedded server of a running worker if there is one, and
/// that start one otherwise.
async fn on_broker_that_runs(nats: Nats, data_dir: &Path) -> Result<Nats, CliError> {
    match &nats {
        Nats::Embedded { address, .. }
            if tokio::net::TcpStream::connect((reachable(address.ip()), address.port())).await.is_ok() =>
        {
            on_running_broker(nats, data_dir)
        }
        Nats::Embedded { .. } | Nats::Remote { .. } => Ok(nats),
    }
}

/// Returns settings that connect to the embedded server of a running worker, in place of those that
/// start one. The worker's token is in its store, unless the settings have one.
fn on_running_broker(nats: Nats, data_dir: &Path) -> Result<Nats, CliError> {
    match nats {
        Nats::Embedded { address, token, .. } => {
            let token = match token {
                Some(token) => Some(token),
                None => stored_token(&store_dir(data_dir)).map_err(WorkerError::from)?,
            };
            let address = SocketAddr::new(reachable(address.ip()), address.port());
            let urls = vec![format!("nats://{address}")];
            Ok(Nats::Remote(Remote { urls, token, ..Remote::default() }))
        }
        Nats::Remote(_) => Ok(nats),
    }
}

/// Returns the record of the run with this id.
async fn record(handles: &BrokerHandles, id: &str) -> Result<RunRecord, CliError> {
    let found = match id.parse::<JobId>() {
        Ok(id) => handles.runs.load(&id).await?,
        Err(_) => None,
    };
    let (record, _) = found.ok_or_else(|| {
        CliError::plain(format!("there is no run {id:?}"), "`autovalidate runs list` shows all runs.")
    })?;
    Ok(record)
}

/// Returns the settings and the model repository that they name. A public one is read without a
/// token.
fn repository(writes: bool) -> Result<(Settings, Repository), CliError> {
    let settings = config::settings(Needs { hub: writes, ..Needs::default() })?;
    let Some(access) = settings.hub.clone() else {
        return Err(CliError::plain("HF_REPO is not set", "Set it to the model repository, owner/name."));
    };
    Ok((settings, Repository::open(access)?))
}

/// Writes a file that is complete or absent.
fn write_file(path: &std::path::Path, bytes: &[u8]) -> Result<(), CliError> {
    use std::io::Write;
    autovalidate_finetune::durable::replace(path, |file| file.write_all(bytes)).map_err(|source| {
        CliError::Plain {
            what: format!("cannot write {}", path.display()),
            advice: "Choose a file in a folder that can be written, on a disk with room.".to_owned(),
            source: Some(source.into()),
        }
    })
}
