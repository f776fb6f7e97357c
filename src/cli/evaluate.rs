//! `autovalidate evaluate`: one model against another on held-out corrections of a file.

use std::path::{Path, PathBuf};

use crate::run::{Dataset, ModelComparison, RunError, Scorer, read_rows};
use crate::settings::{Needs, Settings};
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use super::{CliError, CommandOutcome, print_json};

/// Judges a model on the held-out part of a file of corrections, as a run does.
///
/// Compares the model with the one that it would replace, with BASE_MODEL (if that is a folder),
/// and with the fuzzy matcher. Exits with 3 if a run would not publish the model.
///
/// Example: autovalidate evaluate --data pairs.csv --model my-model
/// --against .local/models/all-MiniLM-L6-v2
#[derive(clap::Args)]
pub(super) struct Args {
    /// File of corrections, as for `train`.
    #[arg(long)]
    data: PathBuf,
    /// Model folder to score.
    #[arg(long)]
    model: PathBuf,
    /// Model folder that the scored model would replace; BASE_MODEL when not given.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let settings = Settings::from_process(Needs { runtime: true, ..Needs::default() })?;
    let rows = read_rows(&args.data).map_err(RunError::from)?;
    let mut dataset = Dataset::new(rows, &settings.hold_out, &settings.templates);
    if let Some(source) = settings.names() {
        dataset = dataset.with_names(&source.read().await.map_err(RunError::from)?);
    }
    let runtime = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device))
        .map_err(RunError::from)?;
    let open = |path: &Path| ModelFolder::open(path).map_err(RunError::from);
    let base = Path::new(&settings.base_model);
    let baselines = ModelComparison {
        live: open(args.against.as_deref().unwrap_or(base))?,
        original: if base.is_dir() { Some(open(base)?) } else { None },
    };
    let mut new = Scorer::open(&runtime, &open(&args.model)?, &dataset.texts(&settings.templates))?;
    let report = baselines.judge(&runtime, &mut new, &dataset, &settings.templates, &settings.gate)?;
    if args.json {
        print_json(&report)?;
    } else {
        println!("{}\n{report}", dataset.summary);
    }
    Ok(if report.may_be_published(false) { CommandOutcome::Done } else { CommandOutcome::NothingPublished })
}
