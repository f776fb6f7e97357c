//! Download of a whole model folder from a repo. Training starts from this model when there is no
//! release yet.

use std::path::Path;

use autovalidate_finetune::model::is_pickled;
use bytes::Bytes;
use futures::StreamExt;
use hf_hub::{HFRepository, HFResult, RepoTypeModel};
use tokio::fs::File;
use tokio::io::{AsyncWriteExt, BufWriter};

use super::digest::{Digest, Hasher};
use super::download::awaited;
use super::error::HubError;
use super::limits::{MODEL_BYTES, MODEL_FILES};
use super::listing::{self, CommitId, Item};
use super::wire::Wire;

/// Endings of the files in a sentence-transformers folder. Exports for other runtimes are not
/// downloaded.
const ENDINGS: [&str; 4] = [".json", ".txt", ".safetensors", ".model"];
/// Folders that hold the model for other runtimes.
const OTHER_RUNTIMES: [&str; 2] = ["onnx/", "openvino/"];
/// The model card, which says the license. A new card does not make another model.
const CARD: &str = "README.md";
/// Name prefix of the folder that a model is downloaded into before it is complete.
pub const FETCHING: &str = ".fetching-";

/// Files of a model folder as of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    commit: CommitId,
    items: Vec<Item>,
}

impl ModelFiles {
    /// Returns the digest of the names and contents of all files but the model card.
    pub fn content(&self) -> Digest {
        let line =
            |item: &Item| format!("{}\0{}\0{}\n", item.path, item.size, item.content().unwrap_or_default());
        let mut lines: Vec<String> = self.items.iter().filter(|item| item.path != CARD).map(line).collect();
        lines.sort();
        Digest::of(lines.concat().as_bytes())
    }
}

/// Returns true when a file belongs to the model folder.
fn belongs(path: &str) -> bool {
    let plain =
        path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'));
    let kind = ENDINGS.iter().any(|ending| path.ends_with(ending)) || is_pickled(path) || path == CARD;
    // A path becomes a file's name here, and part of messages.
    let printable = path.len() <= 512 && !path.contains(char::is_control);
    plain && kind && printable && !OTHER_RUNTIMES.iter().any(|folder| path.starts_with(folder))
}

/// Returns the paths of these files that a download would create.
#[cfg(feature = "fuzzing")]
pub(super) fn created(items: &[Item]) -> Vec<String> {
    items.iter().filter(|item| belongs(&item.path)).map(|item| item.path.clone()).collect()
}

/// Lists the model folder at the repo's head.
pub(super) async fn list(wire: &Wire) -> Result<ModelFiles, HubError> {
    let commit = listing::head(wire).await?;
    let mut items: Vec<Item> =
        listing::files(wire, &commit).await?.into_iter().filter(|item| belongs(&item.path)).collect();
    let has = |name: &str| items.iter().any(|item| item.path == name);
    if !has("modules.json") && !has("config.json") {
        return Err(HubError::NoFile { path: "modules.json".to_owned() });
    }
    // Weights in both formats are the same weights, and safetensors are the ones that are read.
    if has("model.safetensors") || has("model.safetensors.index.json") {
        items.retain(|item| !is_pickled(&item.path));
    }
    let size = items.iter().fold(0_u64, |size, item| size.saturating_add(item.size));
    if items.len() > MODEL_FILES || size > MODEL_BYTES {
        return Err(HubError::TooLarge { path: wire.access.repo.to_string(), limit: MODEL_BYTES });
    }
    Ok(ModelFiles { commit, items })
}

/// Downloads files into `folder`, which must not exist. After a failure `folder` does not exist.
pub(super) async fn download(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    files: &ModelFiles,
    folder: &Path,
) -> Result<(), HubError> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(parent).await.map_err(HubError::file(parent))?;
    let beside =
        tempfile::Builder::new().prefix(FETCHING).tempdir_in(parent).map_err(HubError::file(parent))?;
    let commit = files.commit.as_str();
    for item in &files.items {
        wire.retried("a model file", || fetch(wire, library, commit, item, beside.path())).await?;
    }
    tokio::fs::rename(beside.path(), folder).await.map_err(HubError::file(folder))
}

async fn fetch(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    commit: &str,
    item: &Item,
    into: &Path,
) -> Result<(), HubError> {
    let checksum = || HubError::Checksum { path: item.path.clone() };
    let path = into.join(&item.path);
    let failed = || HubError::file(&path);
    if let Some(folder) = path.parent() {
        tokio::fs::create_dir_all(folder).await.map_err(failed())?;
    }
    let stream = library.download_file_stream().filename(item.path.clone()).revision(commit.to_owned());
    let opened = awaited(wire.patience.answer, stream.send()).await?;
    let (length, mut pieces) = opened.map_err(|error| HubError::library(error, &wire.access, &item.path))?;
    if length.is_some_and(|length| length != item.size) {
        return Err(checksum());
    }
    let file = File::create(&path).await.map_err(failed())?;
    let (mut file, mut hasher) = (BufWriter::new(file), Hasher::default());
    while let Some(piece) = awaited(wire.patience.idle, pieces.next()).await? {
        let piece: HFResult<Bytes> = piece;
        let piece = piece.map_err(|error| HubError::library(error, &wire.access, &item.path))?;
        // Whatever was listed is the most that is written.
        if hasher.bytes() + piece.len() as u64 > item.size {
            return Err(checksum());
        }
        hasher.update(&piece);
        file.write_all(&piece).await.map_err(failed())?;
    }
    file.flush().await.map_err(failed())?;
    let as_listed = item.sha256.is_none_or(|listed| listed == hasher.digest());
    if hasher.bytes() == item.size && as_listed { Ok(()) } else { Err(checksum()) }
}

#[cfg(test)]
mod tests {
    use super::belongs;

    #[test]
    fn a_model_folder_is_its_descriptions_tokenizer_and_safetensors() {
        for path in [
            "config.json",
            "modules.json",
            "1_Pooling/config.json",
            "vocab.txt",
            "model.safetensors",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "sentencepiece.bpe.model",
            "pytorch_model.bin",
            "pytorch_model-00001-of-00002.bin",
            "README.md",
        ] {
            assert!(belongs(path), "{path}");
        }
        for path in [
            "training_args.bin",
            "2_Dense/pytorch_model.bin",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/x.json",
            "docs/README.md",
            "../x.json",
            ".git/x.json",
            "a//x.json",
            "rust_model.ot",
            "x\u{1b}[2J.json",
            "x\nerror: y.json",
        ] {
            assert!(!belongs(path), "{path}");
        }
    }
}
