//! `autovalidate artifacts`: the training artifacts of a model, as files.

use std::path::PathBuf;

use autovalidate_finetune::model::ModelFolder;
use autovalidate_finetune::onnx::{ArtifactSet, ArtifactSettings};

use super::{CliError, CommandOutcome};

/// Writes training_model.onnx, eval_model.onnx, optimizer_model.onnx and manifest.json of a model
/// folder.
///
/// Example: autovalidate artifacts --model .local/models/all-MiniLM-L6-v2 --out onnx
#[derive(clap::Args)]
pub(super) struct Args {
    /// Sentence-transformers folder.
    #[arg(long)]
    model: PathBuf,
    /// Folder for the files.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<CommandOutcome, CliError> {
    let folder = ModelFolder::open(&args.model).map_err(crate::run::RunError::from)?;
    let set = ArtifactSet::new(&folder.config, folder.head, ArtifactSettings::default());
    set.write(&args.out).map_err(crate::run::RunError::from)?;
    for (name, bytes) in set.files().map_err(crate::run::RunError::from)? {
        println!("{} ({} kB)", args.out.join(name).display(), bytes.len() / 1000);
    }
    Ok(CommandOutcome::Done)
}
