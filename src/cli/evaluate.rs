//! `autovalidate evaluate`: one model against another on held-out corrections of a file.

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::evaluate::Report;
use crate::run::{ModelComparison, RowCounts, RunError, Scorer};
use crate::settings::Needs;
use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::Runtime;

use super::config::settings;
use super::dataset::dataset;
use super::{CliError, CommandOutcome, print_json, print_text};

/// Judges a model on the held-out part of a file of corrections, as a run does.
///
/// Compares the model with the one that it would replace, with BASE_MODEL (if that is a folder),
/// and with the fuzzy matcher. Exits with 3 if a run would not publish the model.
///
/// Example: autovalidate evaluate --data pairs.csv --model my-model
/// --against .local/models/all-MiniLM-L6-v2
#[derive(clap::Args)]
pub(super) struct Args {
    /// Files of corrections, as for `train`.
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<PathBuf>,
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

/// The report, and what became of the rows.
#[derive(Serialize)]
struct Evaluation<'a> {
    #[serde(flatten)]
    report: &'a Report,
    rows: RowCounts,
}

pub(super) async fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let settings = settings(Needs { runtime: true, ..Needs::default() })?;
    let dataset = dataset(&args.data, &settings.hold_out, &settings.templates, settings.names()).await?;
    let rows = RowCounts::from(&dataset.summary);
    let runtime = Runtime::load(&settings.runtime_library, settings.threads)
        .and_then(|runtime| runtime.on(settings.device))
        .map_err(RunError::from)?;
    let open = |path: &Path| ModelFolder::open(path).map_err(RunError::from);
    let base = Path::new(&settings.base_model);
    let baselines = ModelComparison {
        live: open(args.against.as_deref().unwrap_or(base))?,
        original: if base.is_dir() { Some(open(base)?) } else { None },
    };
    let mut new =
        Scorer::open(&runtime, &open(&args.model)?, &dataset.texts(&settings.templates).collect::<Vec<_>>())?;
    let report = baselines.judge(&runtime, &mut new, &dataset, &settings.templates, &settings.gate)?;
    if args.json {
        print_json(&Evaluation { report: &report, rows })?;
    } else {
        println!("{}", dataset.summary);
        print_text(&format!("{report}\n"))?;
        println!("{rows}");
    }
    Ok(if report.may_be_published(false) { CommandOutcome::Done } else { CommandOutcome::NothingPublished })
}
