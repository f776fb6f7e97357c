//! Models by the names that people use on the command line.

use std::path::{Path, PathBuf};

use autovalidate_finetune::model::ModelFolder;

use crate::hub::Repository;
use crate::run::error::RunError;

use super::model_cache::ModelCache;

/// Finds models by the names that people use.
#[derive(Debug)]
pub struct ModelFinder {
    /// Repository of the releases; without it, only `base` and folders are found.
    pub repository: Option<Repository>,
    /// Data directory; downloaded models are stored below it.
    pub data_dir: PathBuf,
    /// Folder or Hub name of the original model.
    pub base_model: String,
}

impl ModelFinder {
    /// Finds a model: the newest release (`live`), the original model (`base`), a release by path
    /// or version, a Hub name, or a folder.
    ///
    /// # Errors
    /// [`RunError::NoSuchModel`] when there is no such model, otherwise the error of the Hub or of
    /// the folder.
    pub async fn find(&self, name: &str) -> Result<ModelFolder, RunError> {
        let wanted = if name == "base" { &self.base_model } else { name };
        if Path::new(wanted).is_dir() {
            return Ok(ModelFolder::open(Path::new(wanted))?);
        }
        let Some(repository) = &self.repository else {
            return Err(RunError::NoSuchModel { name: name.to_owned() });
        };
        let cache = ModelCache::new(repository, &self.data_dir, &self.base_model);
        let base = match name {
            "base" => cache.fallback().await?,
            "live" => cache.live().await?.ok_or_else(|| RunError::NoSuchModel { name: name.to_owned() })?,
            other => cache.base(Some(other)).await?,
        };
        Ok(base.folder)
    }
}
