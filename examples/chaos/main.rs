//! Faults against the whole system: stand-ins, broker and workers as processes, under load, with a judge
//! that reads table, streams, records and files by itself. Run it with `scripts/chaos`;
//! docs/results/reliability.md has its results.
//!
//! ```text
//! faults    kinds of faults
//! schedule  which fault strikes when, by seed
//! stand_in  a stand-in as a process that takes orders
//! control   the stand-ins as seen from outside
//! disk      disks that can be filled
//! process   a process under supervision
//! programs  programs with their settings
//! system    everything that runs
//! load      people, operators and strangers
//! storm     load and faults of a round
//! truth     everything that the table ever held, and the judgment of rows
//! stored    the streams, read without the product's code
//! runs      judgment of the records
//! releases  judgment of the repository
//! leaks     judgment of what stays behind
//! episode   one system from its start to its end
//! report    faults and outcomes
//! ```

#![allow(clippy::print_stdout, reason = "its results go to the terminal")]
#![allow(missing_docs, reason = "an example has no users of its items")]

mod control;
mod disk;
mod episode;
mod faults;
mod leaks;
mod load;
mod process;
mod programs;
mod releases;
mod report;
mod runs;
mod schedule;
mod stand_in;
mod stored;
mod storm;
mod system;
mod truth;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, Subcommand};

use disk::OWN_MOUNTS;
use programs::Paths;
use report::Report;
use schedule::Schedule;
use stand_in::StandInArgs;

/// Faults against the whole system.
#[derive(Parser)]
#[command(subcommand_negates_reqs = true)]
struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Seed of the first episode. Each further episode has the next seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Starts episodes for this many minutes; without it, one episode.
    #[arg(long)]
    minutes: Option<u64>,
    /// Number of rounds of an episode.
    #[arg(long, default_value_t = schedule::ROUNDS, value_parser = clap::value_parser!(u8).range(1..=3))]
    rounds: u8,
    /// Path of the worker's program.
    #[arg(long, required = true)]
    program: Option<PathBuf>,
    /// Path of the nats-server program.
    #[arg(long, required = true)]
    nats: Option<PathBuf>,
    /// Path of ONNX Runtime's library.
    #[arg(long, required = true)]
    onnxruntime: Option<PathBuf>,
    /// Keeps the files of episodes that end well, too.
    #[arg(long)]
    keep: bool,
}

#[derive(Subcommand)]
enum Part {
    /// Serves a stand-in.
    #[command(subcommand)]
    StandIn(StandInArgs),
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    if args.part.is_none() {
        with_own_mounts();
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(async {
        match args.part {
            Some(Part::StandIn(args)) => stand_in::serve(args).await.map(|()| ExitCode::SUCCESS),
            None => Box::pin(chaos(args)).await,
        }
    })
}

/// Replaces this program by itself with mounts of its own, where the machine allows that. Small disks are
/// then mounted by nobody else's leave, and end with the program.
fn with_own_mounts() {
    const ARGUMENTS: [&str; 3] = ["--user", "--map-root-user", "--mount"];
    let is_allowed = || Command::new("unshare").args(ARGUMENTS).arg("true").output();
    if std::env::var_os(OWN_MOUNTS).is_some() || !is_allowed().is_ok_and(|tried| tried.status.success()) {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut unshare = Command::new("unshare");
    unshare.args(ARGUMENTS).arg("--").arg(program).args(std::env::args_os().skip(1)).env(OWN_MOUNTS, "yes");
    // It returns only when it fails; the program then goes on without mounts.
    let error = unshare.exec();
    eprintln!("no mounts: {error}");
}

async fn chaos(args: Args) -> anyhow::Result<ExitCode> {
    let begun = Instant::now();
    let minutes = Duration::from_secs(60 * args.minutes.unwrap_or_default());
    let mut report = Report::default();
    let mut failed = Vec::new();
    for seed in args.seed.. {
        let mut schedule = Schedule::new(seed);
        schedule.rounds.truncate(args.rounds.into());
        let folder = std::env::temp_dir().join(format!("autovalidate-chaos-{seed}-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        let paths = Paths {
            worker: args.program.clone().unwrap_or_default().canonicalize()?,
            nats_server: args.nats.clone().unwrap_or_default().canonicalize()?,
            onnxruntime: args.onnxruntime.clone().unwrap_or_default().canonicalize()?,
            base_model: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crates/finetune/tests/fixtures/tiny"),
            folder: folder.canonicalize()?,
        };
        let started = Instant::now();
        let _sweep = Sweep(paths.folder.clone());
        let episode = tokio::select! {
            episode = Box::pin(episode::run(&schedule, paths.clone())) => episode?,
            () = interrupted() => anyhow::bail!("interrupted; seed {seed} was under way"),
        };
        report.add(&episode);
        let took = started.elapsed().as_secs();
        let ending = if episode.problems.is_empty() { "all right" } else { "WRONG" };
        println!("episode {seed} ({}): {ending} after {took} s", schedule.topology);
        for problem in &episode.problems {
            println!("    {problem}");
        }
        if episode.problems.is_empty() && !args.keep {
            std::fs::remove_dir_all(&folder).ok();
        } else {
            println!("    logs and files: {}", folder.display());
            println!("    repeat: scripts/chaos --seed {seed}");
        }
        if !episode.problems.is_empty() {
            failed.push(seed);
        }
        if begun.elapsed() >= minutes {
            break;
        }
    }
    println!("\n{}", report.text());
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    println!("FAILED: seeds {failed:?}");
    Ok(ExitCode::FAILURE)
}

/// Waits for a signal that asks this program to end.
async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut stop), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = stop.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// Kills every process that an episode has left when it is dropped.
struct Sweep(PathBuf);

impl Drop for Sweep {
    fn drop(&mut self) {
        for pid in process::processes_of(&self.0).into_keys() {
            process::send(Some(pid), process::Signal::SIGKILL);
        }
    }
}
