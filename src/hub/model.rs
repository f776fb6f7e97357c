//! Download of a whole model folder from a repo. Training starts from this model when there is no
//! release yet.

use std::path::Path;

use hf_hub::{HFRepository, RepoTypeModel};

use super::digest::Digest;
use super::error::HubError;
use super::listing::{self, Item};
use super::wire::Wire;

/// Endings of the files in a sentence-transformers folder. Exports for other runtimes and weights
/// in other formats are not downloaded.
const ENDINGS: [&str; 3] = [".json", ".txt", ".safetensors"];
/// Folders that hold the model for other runtimes.
const OTHER_RUNTIMES: [&str; 2] = ["onnx/", "openvino/"];

/// Returns true when a file belongs to the model folder.
fn belongs(path: &str) -> bool {
    let plain =
        path.split('/').all(|part| !part.is_empty() && !part.starts_with('.') && !part.contains('\\'));
    let kind = ENDINGS.iter().any(|ending| path.ends_with(ending)) || path.ends_with(".model");
    plain && kind && !OTHER_RUNTIMES.iter().any(|folder| path.starts_with(folder))
}

/// Downloads the model folder at the repo's head into `folder`, which must not exist. After a
/// failure `folder` does not exist.
pub(super) async fn download(
    wire: &Wire,
    library: &HFRepository<RepoTypeModel>,
    folder: &Path,
) -> Result<(), HubError> {
    let commit = listing::head(wire).await?;
    let items: Vec<Item> =
        listing::files(wire, &commit).await?.into_iter().filter(|item| belongs(&item.path)).collect();
    // A folder of transformers has no list of modules.
    if !items.iter().any(|item| ["modules.json", "config.json"].contains(&item.path.as_str())) {
        return Err(HubError::NoFile { path: "modules.json".to_owned() });
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    tokio::fs::create_dir_all(parent).await.map_err(HubError::file(parent))?;
    let beside =
        tempfile::Builder::new().prefix(".fetching-").tempdir_in(parent).map_err(HubError::file(parent))?;
    for item in &items {
        wire.retried("a model file", || fetch(wire, library, commit.as_str(), item, beside.path())).await?;
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
    let fetched = library
        .download_file()
        .filename(item.path.clone())
        .revision(commit.to_owned())
        .local_dir(into.to_owned())
        .send()
        .await
        .map_err(|error| HubError::library(error, &wire.access, &item.path))?;
    let checksum = || HubError::Checksum { path: item.path.clone() };
    let path = fetched.clone();
    let measured = tokio::task::spawn_blocking(move || Digest::of_file(&path)).await;
    // Hashing can't panic. If its task is lost nevertheless, the file counts as not verified.
    let (sha256, size) = measured.map_err(|_| checksum())?.map_err(HubError::file(&fetched))?;
    if size == item.size && item.sha256.is_none_or(|listed| listed == sha256) {
        Ok(())
    } else {
        Err(checksum())
    }
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
        ] {
            assert!(belongs(path), "{path}");
        }
        for path in [
            "pytorch_model.bin",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/x.json",
            "README.md",
            "../x.json",
            ".git/x.json",
            "a//x.json",
            "rust_model.ot",
        ] {
            assert!(!belongs(path), "{path}");
        }
    }
}
