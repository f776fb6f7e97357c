//! `autovalidate runs`: what was done.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use indicatif::ProgressBar;

use crate::hub::Repository;
use crate::job::{Blueprint, Sources, replay};
use crate::queue::{JobId, QueueError, RunRecord, RunState};
use crate::settings::{Needs, Settings};
use crate::train::Progress;
use crate::worker::Desk;

use super::{CliError, Ending, desk, print_json};

/// Lists runs, shows, cancels, retries or replays one.
///
/// Example: autovalidate runs show pairs-1-200
#[derive(clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Lists runs, newest first.
    List {
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
    /// Shows one run's record.
    Show {
        /// The run's id.
        id: String,
    },
    /// Cancels a run that waits or is worked on.
    Cancel {
        /// The run's id.
        id: String,
    },
    /// Puts a failed or cancelled run back onto the queue; it goes on from what it has recorded.
    Retry {
        /// The run's id.
        id: String,
    },
    /// Trains the same model again, from the same base, rows, seed and settings, and compares the weights. Never
    /// publishes. Exits with 3 when the weights differ.
    ///
    /// Example: autovalidate runs replay pairs-1-200
    Replay {
        /// The run's id.
        #[arg(required_unless_present = "receipt", conflicts_with = "receipt")]
        id: Option<String>,
        /// A receipt instead: the training_report.json of a release.
        #[arg(long)]
        receipt: Option<PathBuf>,
        /// Keeps the model in this folder, which must not exist.
        #[arg(long)]
        out: Option<PathBuf>,
        /// Prints JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(super) async fn run(args: Args) -> Result<Ending, CliError> {
    let desk = desk().await?;
    let mut ending = Ending::Done;
    match args.command {
        Command::List { json } => {
            let runs = desk.runs.list().await?;
            if json {
                print_json(&runs)?;
            } else if runs.is_empty() {
                println!("no runs yet");
            } else {
                runs.iter().for_each(|run| println!("{}", line(run)));
            }
        }
        Command::Show { id } => {
            print_json(&record(&desk, &id).await?)?;
        }
        Command::Cancel { id } => match desk.jobs.cancel(&job_id(&id)?).await? {
            RunState::Running => println!("{id} is worked on and ends as soon as it can"),
            _ => println!("{id} is cancelled"),
        },
        Command::Retry { id } => {
            desk.jobs.retry(&job_id(&id)?).await?;
            println!("{id} is queued again; follow it with: autovalidate runs show {id}");
        }
        Command::Replay { id, receipt, out, json } => {
            let blueprint = match (id, receipt) {
                (_, Some(path)) => Blueprint::of_receipt(&read(&path)?)?,
                (Some(id), None) => Blueprint::of_run(&record(&desk, &id).await?)?,
                (None, None) => return Err(CliError::plain("there is no run \"\"", "Give a run's id.")),
            };
            ending = Box::pin(replayed(&desk, blueprint, out.as_deref(), json)).await?;
        }
    }
    desk.streams.connection().close().await;
    Ok(ending)
}

/// Replays and tells what came out.
async fn replayed(
    desk: &Desk,
    blueprint: Blueprint,
    out: Option<&Path>,
    json: bool,
) -> Result<Ending, CliError> {
    let settings = Settings::from_process(Needs { hub: true, runtime: true, ..Needs::default() })?;
    let Some(access) = settings.hub else {
        return Err(CliError::plain("HF_REPO is not set", "Set it to the model repository, owner/name."));
    };
    if let Some(out) = out.filter(|out| out.exists()) {
        let what = format!("{} is there already", out.display());
        return Err(CliError::plain(what, "Choose another folder with --out."));
    }
    let repository = Repository::open(access)?;
    let sources = Sources {
        repository: &repository,
        corrections: &desk.corrections,
        data_dir: &settings.data_dir,
        base_model: &settings.base_model,
        runtime: &settings.runtime_library,
    };
    let bar = ProgressBar::new(0);
    let shown = bar.clone();
    let observer = move |progress: &Progress| {
        shown.set_length(progress.steps as u64);
        shown.set_position(progress.step as u64);
        true
    };
    let done = replay(blueprint, sources, out, observer).await?;
    bar.finish_and_clear();
    let identical = done.identical();
    if json {
        let mut told = serde_json::to_value(&done).map_err(QueueError::from)?;
        told["identical"] = serde_json::json!(identical);
        print_json(&told)?;
    } else {
        println!("trained {} steps in {:.1} s", done.steps, done.seconds);
        println!("weights of the replay  {}", done.weights_sha256);
        if let Some(recorded) = done.recorded {
            println!("weights of the run     {recorded}");
        }
        println!(
            "{}",
            match identical {
                Some(true) => "identical, bit for bit",
                Some(false) if done.other_trainer => "different: another version of the trainer made the run",
                Some(false) => "different: another machine, or another ONNX Runtime, made the run",
                None => "nothing to compare with: the run made no zip",
            }
        );
    }
    Ok(if identical == Some(false) { Ending::Differs } else { Ending::Done })
}

async fn record(desk: &Desk, id: &str) -> Result<RunRecord, CliError> {
    let found = match id.parse::<JobId>() {
        Ok(id) => desk.runs.load(&id).await?,
        Err(_) => None,
    };
    let (record, _) = found.ok_or_else(|| {
        CliError::plain(format!("there is no run {id:?}"), "`autovalidate runs list` shows all.")
    })?;
    Ok(record)
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::Plain {
        what: format!("cannot read {}", path.display()),
        advice: "Give the training_report.json of a release with --receipt.".to_owned(),
        source: Some(source.into()),
    })
}

/// A run on one line.
pub(super) fn line(run: &RunRecord) -> String {
    let state = serde_json::to_value(run.state).ok().and_then(|state| state.as_str().map(str::to_owned));
    let mut line = format!(
        "{}  {}  {}",
        run.created_at.strftime("%Y-%m-%d %H:%M:%S"),
        run.id,
        state.unwrap_or_default()
    );
    if let Some(verdict) = &run.verdict {
        line.push_str(&format!("  {verdict}"));
    }
    if let Some(artifact) = &run.artifact {
        line.push_str(&format!("  {}", artifact.path));
    }
    if let Some(error) = &run.error {
        line.push_str(&format!("  {} ({})", error.message, error.advice));
    }
    line
}

/// A run's id as a person typed it.
fn job_id(text: &str) -> Result<JobId, QueueError> {
    Ok(text.parse::<JobId>()?)
}
