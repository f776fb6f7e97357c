//! `autovalidate evaluate`: one model against another on held-out corrections of a file.

use std::path::PathBuf;

use crate::evaluate::{Policy, Report, model_ranks};
use crate::job::{Dataset, JobError, read_rows};
use crate::model::ModelFolder;
use crate::onnx::Runtime;
use crate::settings::{Needs, Settings};
use crate::train::{Encoder, TrainError};

use super::{CliError, Ending, print_json};

/// Scores a model beside another one and beside the fuzzy matcher, on the held-out part of a file of corrections.
///
/// Example: autovalidate evaluate --data pairs.csv --model my-model --against .local/models/all-MiniLM-L6-v2
#[derive(clap::Args)]
pub(super) struct Args {
    /// File of corrections, as for `train`.
    #[arg(long)]
    data: PathBuf,
    /// The model folder to score.
    #[arg(long)]
    model: PathBuf,
    /// The model folder to compare with; BASE_MODEL when not given.
    #[arg(long)]
    against: Option<PathBuf>,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<Ending, CliError> {
    let settings = Settings::from_process(Needs { runtime: true, ..Needs::default() })?;
    let rows = read_rows(&args.data).map_err(JobError::from)?;
    let dataset = Dataset::new(rows, &settings.hold_out, &settings.templates);
    let runtime = Runtime::load(&settings.runtime_library, settings.threads).map_err(JobError::from)?;
    let ranks = |path: PathBuf| {
        let folder = ModelFolder::open(&path).map_err(JobError::from)?;
        model_ranks(&dataset.queries, &dataset.catalogue, &settings.templates, |texts| {
            Encoder::embed_with(&runtime, &folder, texts).map_err(|error: TrainError| error)
        })
        .map_err(JobError::from)
    };
    let before = ranks(args.against.clone().unwrap_or_else(|| PathBuf::from(&settings.base_model)))?;
    let after = ranks(args.model.clone())?;
    let report = Report::new(&dataset.queries, &dataset.catalogue, &before, &after, &Policy::default());
    if args.json {
        print_json(&report)?;
    } else {
        println!("{}\n{report}", dataset.summary);
    }
    Ok(Ending::Done)
}
