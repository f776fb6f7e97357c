//! `autovalidate runs replay`: repeat of a run's training, to compare the weights.

use std::path::{Path, PathBuf};

use indicatif::ProgressBar;

use crate::broker::BrokerError;
use crate::hub::Repository;
use crate::run::{ReplaySpec, Replayed, Sources, replay};
use crate::settings::Needs;
use autovalidate_finetune::train::Progress;

use super::config::settings;
use super::{CliError, CommandOutcome, handles, print_json, record};

/// Trains the same model again, from the same base, rows, seed and settings, and compares the
/// weights. Never publishes. Exits with 3 if the weights differ.
///
/// Needs NATS only if the snapshot of the rows is not on this disk, and HF_REPO only if the base
/// model is not. Without NATS, it looks for the receipt of a published run on the Hub.
///
/// Example: autovalidate runs replay pairs-1-200
#[derive(clap::Args)]
pub(super) struct Args {
    /// Id of the run.
    #[arg(required_unless_present = "receipt", conflicts_with = "receipt")]
    id: Option<String>,
    /// Receipt to replay from, in place of a run's id: the training_report.json of a release.
    #[arg(long)]
    receipt: Option<PathBuf>,
    /// Folder in which the model is kept; must not exist.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: Args) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs { runtime: true, ..Needs::default() })?;
    if let Some(out) = args.out.as_ref().filter(|out| out.exists()) {
        let what = format!("{} already exists", out.display());
        return Err(CliError::plain(what, "Choose another folder with --out."));
    }
    let repository = settings.hub.clone().map(Repository::open).transpose()?;
    let mut broker = None;
    let spec = match (&args.receipt, &args.id) {
        (Some(path), _) => ReplaySpec::of_receipt(&read(path)?)?,
        (None, id) => {
            let id = id.as_deref().unwrap_or_default();
            match handles().await {
                Ok(handles) => ReplaySpec::of_run(&record(broker.insert(handles), id).await?)?,
                Err(error) => of_hub(id, repository.as_ref()).await?.ok_or(error)?,
            }
        }
    };
    if broker.is_none() && !spec.has_snapshot(&settings.data_dir) {
        broker = Some(handles().await?);
    }
    let names = settings.names();
    let sources = Sources {
        repository: repository.as_ref(),
        corrections: broker.as_ref().map(|handles| &handles.corrections),
        names: names.as_ref(),
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
    let done = Box::pin(replay(spec, sources, args.out.as_deref(), observer)).await?;
    bar.finish_and_clear();
    if let Some(handles) = &broker {
        handles.streams.connection().close().await;
    }
    tell(&done, args.json)?;
    Ok(if done.identical() == Some(false) { CommandOutcome::Differs } else { CommandOutcome::Done })
}

/// Finds the receipt of a published run on the Hub, and returns its spec;
/// `None` when there is none.
async fn of_hub(id: &str, repository: Option<&Repository>) -> Result<Option<ReplaySpec>, CliError> {
    let Some(repository) = repository else { return Ok(None) };
    // A rollback repeats the receipt of the run that it goes back to, which
    // describes the same model.
    let receipts = repository.receipts().await?;
    let of_run = receipts.values().find(|receipt| {
        let receipt: serde_json::Value = serde_json::from_slice(receipt).unwrap_or_default();
        receipt["job"] == id
    });
    Ok(of_run.map(|receipt| ReplaySpec::of_receipt(receipt)).transpose()?)
}

fn tell(done: &Replayed, json: bool) -> Result<(), CliError> {
    let identical = done.identical();
    if json {
        let mut told = serde_json::to_value(done).map_err(BrokerError::from)?;
        told["identical"] = serde_json::json!(identical);
        return print_json(&told);
    }
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
            None => "nothing to compare with: the run wrote no zip",
        }
    );
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    std::fs::read(path).map_err(|source| CliError::Plain {
        what: format!("cannot read {}", path.display()),
        advice: "Give the training_report.json of a release with --receipt.".to_owned(),
        source: Some(source.into()),
    })
}
