//! `autovalidate dev`: everything on this machine, no account needed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::ExposeSecret;
use tokio_util::sync::CancellationToken;

use crate::broker::embedded::{reachable, token_path};
use crate::hub::Repository;
use crate::settings::{Needs, Settings};
use crate::worker::{Role, Worker, WorkerOptions, store_dir};
use autovalidate_fakes::demo::cars_csv;
use autovalidate_fakes::{hub, supabase};

use super::demo::{Demo, DemoSettings};
use super::serverless_demo::{Recipe, WeekSettings};
use super::signals::stop_on_signal;
use super::terminal::Terminal;
use super::{CliError, CommandOutcome, config, print_text};

/// Default of `--pairs`.
const PAIRS: u64 = 600;
/// Default of `--pairs` with `--serverless`: a small shop, whose week is lived in minutes.
const SERVERLESS_PAIRS: u64 = 100;

/// Runs a local Supabase, a local Hub, a real nats-server and the worker. Ctrl-C stops them.
///
/// Example: autovalidate dev --demo
///
/// Example: autovalidate dev --no-worker > worker.env
#[derive(clap::Args)]
pub(super) struct Args {
    /// Inserts synthetic corrections, shows the run that they start, and exits.
    #[arg(long)]
    demo: bool,
    /// With --demo: keeps running afterwards.
    #[arg(long, requires = "demo")]
    keep: bool,
    /// Starts the stand-ins only, and prints the settings of a worker that uses them, one
    /// NAME=value a line.
    #[arg(long, conflicts_with = "demo")]
    no_worker: bool,
    /// Folder for state; --demo empties and uses its subfolder `demo`.
    #[arg(long, default_value = ".local/dev")]
    data: PathBuf,
    /// With --demo: number of corrections to insert for each run, which is also the threshold; 600,
    /// and 100 with --serverless.
    #[arg(long, value_parser = clap::value_parser!(u64).range(50..=5_000))]
    pairs: Option<u64>,
    /// With --demo: seed of the corrections.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// With --demo: number of runs to start, one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=20))]
    runs: u64,
    /// With --demo: lives a week on Fly.io's stand-in, with machines that sleep and wake, and prints
    /// what each recipe costs.
    #[arg(long, requires = "demo", conflicts_with_all = ["keep", "runs", "fault", "supabase_port", "hub_port"])]
    serverless: bool,
    /// With --serverless: lives the week with this recipe only.
    #[arg(long, value_enum, requires = "serverless")]
    recipe: Option<Recipe>,
    /// With --serverless: seconds beyond its idle time in which a machine must have ended; more on a
    /// computer that is busy.
    #[arg(long, default_value_t = 5, requires = "serverless", value_name = "SECONDS")]
    stop_margin: u64,
    /// Port of the local Supabase; 0 picks a free port.
    #[arg(long, default_value_t = 0)]
    supabase_port: u16,
    /// Fault of the local Supabase, NAME or NAME=VALUE; may be repeated. `--fault help` lists the
    /// faults.
    #[arg(long, value_name = "NAME[=VALUE]", value_parser = fault)]
    fault: Vec<Fault>,
    /// Port of the local Hub; 0 picks a free port.
    #[arg(long, default_value_t = 0)]
    hub_port: u16,
}

/// Value of `--fault`.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Help,
    Named(supabase::NamedFault),
}

fn fault(name: &str) -> Result<Fault, String> {
    match name {
        "help" => Ok(Fault::Help),
        name => name.parse().map(Fault::Named).map_err(|error: supabase::FaultError| {
            format!("{error}; `--fault help` lists the faults and their values")
        }),
    }
}

pub(super) async fn run(args: Args, at_once: CancellationToken) -> Result<CommandOutcome, CliError> {
    let mut faults = Vec::new();
    for fault in &args.fault {
        match fault {
            Fault::Named(fault) => faults.push(*fault),
            Fault::Help => {
                print_text(&supabase::NamedFault::help())?;
                return Ok(CommandOutcome::Done);
            }
        }
    }
    let data = if args.demo { args.data.join("demo") } else { args.data.clone() };
    if args.demo && data.exists() {
        std::fs::remove_dir_all(&data).map_err(|source| cannot("empty", &data, source))?;
    }
    std::fs::create_dir_all(&data).map_err(|source| cannot("create", &data, source))?;
    if args.serverless {
        let week = WeekSettings {
            only: args.recipe,
            threshold: args.pairs.unwrap_or(SERVERLESS_PAIRS),
            seed: args.seed,
            stop_margin: Duration::from_secs(args.stop_margin),
        };
        return Box::pin(super::serverless_demo::run(week, &data)).await;
    }
    let supabase = supabase::Supabase::start(supabase::Options {
        listen: SocketAddr::from(([127, 0, 0, 1], args.supabase_port)),
        ..supabase::Options::default()
    })
    .await
    .map_err(|source| CliError::Plain {
        what: "the local Supabase can't start".to_owned(),
        advice: "Choose another --supabase-port.".to_owned(),
        source: Some(Box::new(source)),
    })?;
    let hub = hub::Hub::start(hub::Options {
        address: SocketAddr::from(([127, 0, 0, 1], args.hub_port)),
        ..hub::Options::new(data.join("hub"))
    })
    .await
    .map_err(|source| CliError::Plain {
        what: "the local Hub can't start".to_owned(),
        advice: "Choose another --hub-port.".to_owned(),
        source: Some(source.into()),
    })?;

    let (stop, _signals) = stop_on_signal(at_once);
    // Dropping this set at the end of the command stops its tasks.
    let mut fault_tasks = tokio::task::JoinSet::new();
    for fault in faults {
        fault_tasks.spawn(fault.run(supabase.faults().clone(), stop.clone()));
    }
    if args.no_worker {
        offer(&supabase, &hub, &stop).await?;
        supabase.shutdown().await;
        hub.shutdown().await;
        return Ok(CommandOutcome::Done);
    }
    let pairs = args.pairs.unwrap_or(PAIRS);
    let settings = settings(&args, pairs, &data, &supabase, &hub)?;
    // The stand-in's address changes with every start, and the folder's streams stay.
    let options = WorkerOptions { takes_over: true, ..Role::All.into() };
    let mut worker = Box::pin(Worker::start(&settings, options, stop.clone())).await?;
    let terminal = Terminal::new();
    introduce(&terminal, &settings, &worker, &supabase);
    let mut demo = Demo::watch(&mut worker, terminal, settings.trigger.threshold).await?;
    let mut ending = CommandOutcome::Done;
    let runs = if args.demo { args.runs } else { 0 };
    for run in 0..runs {
        let inserting = DemoSettings {
            url: supabase.url().clone(),
            key: supabase.anon_key().to_owned(),
            table: settings.supabase.as_ref().map_or_else(String::new, |access| access.table.clone()),
            pairs,
            seed: args.seed,
            skipped: run * pairs,
        };
        let hub_folder = data.join("hub");
        ending = tokio::select! {
            () = stop.cancelled() => CommandOutcome::NothingPublished,
            shown = demo.run(&inserting, worker.handles(), &hub_folder) => shown?,
        };
        if !matches!(ending, CommandOutcome::Done) {
            break;
        }
    }
    if args.keep {
        println!();
        println!(
            "Still running: insert rows, or start a run with `nats pub training.jobs '{{}}'`. Ctrl-C stops it."
        );
    }
    if args.keep || !args.demo {
        tokio::select! {
            () = stop.cancelled() => {}
            () = demo.follow() => {}
        }
    }
    stop.cancel();
    let joined = Box::pin(worker.join()).await;
    supabase.shutdown().await;
    hub.shutdown().await;
    joined?;
    Ok(ending)
}

/// Prints the settings of a worker that uses the stand-ins, and waits for a signal.
async fn offer(
    supabase: &supabase::Supabase,
    hub: &hub::Hub,
    stop: &CancellationToken,
) -> Result<(), CliError> {
    let accounts = accounts(supabase, hub);
    let given = |name: &str| value_of(&accounts, name);
    // `doctor` wants a repository that exists.
    if let Some(access) = Settings::read(&given, None, Needs { hub: true, ..Needs::default() })?.hub {
        Repository::open(access)?.create_if_missing(true).await?;
    }
    // With this key, `doctor` knows that a table without visible rows is empty.
    let service = ("SUPABASE_SERVICE_KEY", supabase.service_key().to_owned());
    let lines = accounts.iter().chain([&service]).map(|(name, value)| format!("{name}={value}\n"));
    print_text(&lines.collect::<String>())?;
    stop.cancelled().await;
    Ok(())
}

/// Returns the settings by which a worker uses the stand-ins.
fn accounts(supabase: &supabase::Supabase, hub: &hub::Hub) -> [(&'static str, String); 5] {
    [
        ("SUPABASE_URL", supabase.url().to_string()),
        ("SUPABASE_ANON_KEY", supabase.anon_key().to_owned()),
        ("HF_ENDPOINT", hub.url().to_string()),
        ("HF_TOKEN", hub.token().expose_secret().to_owned()),
        ("HF_REPO", "local/autovalidate-embeddings".to_owned()),
    ]
}

fn value_of(settings: &[(&'static str, String)], wanted: &str) -> Option<String> {
    settings.iter().find(|(name, _)| *name == wanted).map(|(_, value)| value.clone())
}

/// Reads this process's settings, with the addresses and keys of the stand-ins in place of the real
/// ones.
fn settings(
    args: &Args,
    pairs: u64,
    data: &Path,
    supabase: &supabase::Supabase,
    hub: &hub::Hub,
) -> Result<Settings, CliError> {
    let pairs = pairs.to_string();
    let catalog = data.join("cars.csv");
    if args.demo {
        std::fs::write(&catalog, cars_csv()).map_err(|source| cannot("write", &catalog, source))?;
    }
    let data = data.join("worker").display().to_string();
    let accounts = accounts(supabase, hub);
    let environment = |name: &str| -> Option<String> {
        if let Some(value) = value_of(&accounts, name) {
            return Some(value);
        }
        let own = || std::env::var(name).ok().filter(|value| !value.is_empty());
        match name {
            "SUPABASE_SERVICE_KEY"
            | "SUPABASE_SCHEMA"
            | "SUPABASE_TABLE"
            | "NATS_URL"
            | "NATS_CREDS"
            | "NATS_CA"
            | "NATS_USER"
            | "NATS_PASSWORD"
            | "NATS_CERT"
            | "NATS_KEY"
            | "NATS_TLS_FIRST"
            | "NATS_DOMAIN"
            | "NATS_REPLICAS"
            | "NATS_TOKEN" => None,
            "DATA_DIR" => Some(data.clone()),
            "HTTP_ADDR" => own().or_else(|| Some("127.0.0.1:0".to_owned())),
            "NATS_LISTEN" => own().or_else(|| Some("127.0.0.1:0".to_owned())),
            "CATALOG" if args.demo => own().or_else(|| Some(catalog.display().to_string())),
            "TRAIN_THRESHOLD" if args.demo => Some(pairs.clone()),
            "TRAIN_COOLDOWN" => own().or_else(|| Some("off".to_owned())),
            _ => own(),
        }
    };
    let needs = Needs { supabase: true, hub: true, runtime: true };
    Ok(Settings::read(&environment, config::file(), needs)?)
}

fn introduce(terminal: &Terminal, settings: &Settings, worker: &Worker, supabase: &supabase::Supabase) {
    let nats = worker
        .handles()
        .streams
        .connection()
        .server()
        .map(crate::broker::embedded::Server::url)
        .unwrap_or_default();
    let token = token_path(&store_dir(&settings.data_dir));
    let endpoint = settings.hub.as_ref().map(|hub| hub.endpoint.to_string()).unwrap_or_default();
    let http = SocketAddr::new(reachable(worker.http().ip()), worker.http().port());
    terminal.line(&format!("Console: http://{http}/\n"));
    terminal.line("AutoValidate trainer, everything on this machine:");
    terminal.line(&format!(
        "  Supabase (stand-in)  {}   anon key {}",
        supabase.url(),
        supabase.publishable_key()
    ));
    terminal.line(&format!("  Hub (stand-in)       {endpoint}   token hf_local"));
    terminal.line(&format!("  nats-server          {nats}   token in {}", token.display()));
    terminal.line(&format!("  worker               http://{http}/healthz  /metrics"));
}

fn cannot(action: &str, path: &Path, source: std::io::Error) -> CliError {
    CliError::Plain {
        what: format!("cannot {action} {}", path.display()),
        advice: "Choose another folder with --data.".to_owned(),
        source: Some(source.into()),
    }
}
