//! `autovalidate artifacts`: the training artifacts of a model, as files.

use std::path::PathBuf;

use crate::model::ModelFolder;
use crate::onnx::{eval_model, optimizer_model, training_model};
use crate::train::{AdamW, Recipe};

use super::{CliError, Ending};

/// Writes training_model.onnx, eval_model.onnx and optimizer_model.onnx of a model folder.
///
/// Example: autovalidate artifacts --model .local/models/all-MiniLM-L6-v2 --out onnx
#[derive(clap::Args)]
pub(super) struct Args {
    /// A sentence-transformers folder.
    #[arg(long)]
    model: PathBuf,
    /// Where the files go.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<Ending, CliError> {
    let folder = ModelFolder::open(&args.model).map_err(crate::job::JobError::from)?;
    let recipe = Recipe::default();
    let adamw = AdamW::with_decay(recipe.weight_decay);
    let files = [
        ("training_model.onnx", training_model(&folder.config, recipe.loss, recipe.scale)),
        ("eval_model.onnx", eval_model(&folder.config, folder.head)),
        ("optimizer_model.onnx", optimizer_model(adamw.beta_1, adamw.beta_2, adamw.epsilon)),
    ];
    let failed = |source: std::io::Error| CliError::Plain {
        what: format!("cannot write into {}", args.out.display()),
        advice: "Choose a folder that can be written with --out.".to_owned(),
        source: Some(source.into()),
    };
    std::fs::create_dir_all(&args.out).map_err(failed)?;
    for (name, bytes) in files {
        let path = args.out.join(name);
        std::fs::write(&path, &bytes).map_err(failed)?;
        println!("{} ({} kB)", path.display(), bytes.len() / 1000);
    }
    Ok(Ending::Done)
}
