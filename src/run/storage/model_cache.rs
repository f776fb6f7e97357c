//! The base model of a run: the newest release of the repository, or the configured base model when
//! nothing has been released yet.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::chain;
use crate::hub::{Release, ReleaseName, RepoName, Repository};
use autovalidate_finetune::model::{ModelFolder, archive};

use crate::run::error::RunError;
use crate::run::fine_tune::ModelComparison;

use super::files::{blocking, entries, remove_folder};

/// Name of the folder of downloaded models below the data directory.
const MODELS: &str = "models";

/// A model on this machine, with its name and origin.
#[derive(Debug, Clone)]
pub(in crate::run) struct BaseModel {
    /// Folder of the model.
    pub folder: ModelFolder,
    /// Release path, Hub name or folder name.
    pub label: String,
    /// Origin of the model.
    pub origin: ModelOrigin,
}

/// Origin of a base model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelOrigin {
    /// A release of the repository.
    Release,
    /// A model repository on the Hub.
    Hub,
    /// A folder on this machine.
    Folder,
}

/// Finds base models and stores them below one folder, so that each model is downloaded once.
#[derive(Debug)]
pub(in crate::run) struct ModelCache<'a> {
    repository: &'a Repository,
    /// Folder of downloaded models.
    folder: PathBuf,
    fallback: &'a str,
}

impl<'a> ModelCache<'a> {
    /// Returns the cache below a data directory. `fallback` is the folder or Hub name of the model
    /// to start from when nothing has been released.
    pub(in crate::run) fn new(repository: &'a Repository, data_dir: &Path, fallback: &'a str) -> Self {
        Self { repository, folder: data_dir.join(MODELS), fallback }
    }

    /// Returns the model to start from. `wanted` (a release path, a version, a Hub name, or a
    /// folder) takes precedence; without it, the newest release, or else the fallback.
    pub(in crate::run) async fn base(&self, wanted: Option<&str>) -> Result<BaseModel, RunError> {
        let releases = self.repository.releases().await?;
        let release = match wanted {
            None => releases.first(),
            Some(wanted) => {
                let named = releases
                    .iter()
                    .find(|release| release.path() == wanted || release.name.version() == wanted);
                match named {
                    Some(release) => Some(release),
                    None => return self.named(wanted).await,
                }
            }
        };
        match release {
            Some(release) => self.release(release).await,
            None => self.named(self.fallback).await,
        }
    }

    /// Returns a release from the cache, or downloads it from the Hub.
    async fn release(&self, release: &Release) -> Result<BaseModel, RunError> {
        let cache = self.folder.join(release.name.version());
        let folder = match unpacked(&cache) {
            Some(folder) => folder,
            None => {
                let zip = self.repository.download(release, &self.folder).await?;
                blocking(move || {
                    let folder = archive::unpack(&zip, &cache)?;
                    std::fs::remove_file(&zip).map_err(RunError::file("remove", &zip))?;
                    Ok(folder)
                })
                .await?
            }
        };
        Ok(BaseModel {
            folder: ModelFolder::open(&folder)?,
            label: release.path(),
            origin: ModelOrigin::Release,
        })
    }

    /// Returns the baselines of a model that was trained from `base`: the newest release, with its
    /// name, and the configured base model. The configured model is only a baseline, so the
    /// comparison does without it when it can't be loaded.
    pub(in crate::run) async fn comparison(
        &self,
        base: &BaseModel,
    ) -> Result<(ModelComparison, Option<ReleaseName>), RunError> {
        let newest = self.repository.newest().await?;
        let live = match &newest {
            None => base.folder.clone(),
            Some(newest) if newest.path() == base.label => base.folder.clone(),
            Some(newest) => self.release(newest).await?.folder,
        };
        let original = match self.named(self.fallback).await {
            Ok(original) => Some(original.folder),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the original model can't be loaded as a baseline");
                None
            }
        };
        Ok((ModelComparison { live, original }, newest.map(|release| release.name)))
    }

    /// Returns a model by folder or Hub name.
    async fn named(&self, name: &str) -> Result<BaseModel, RunError> {
        let path = Path::new(name);
        if path.is_dir() || name.starts_with(['/', '.']) {
            let label =
                path.file_name().map_or_else(|| name.to_owned(), |last| last.to_string_lossy().into_owned());
            return Ok(BaseModel { folder: ModelFolder::open(path)?, label, origin: ModelOrigin::Folder });
        }
        let repo: RepoName = name.parse().map_err(|_| RunError::NoSuchModel { name: name.to_owned() })?;
        let folder = self.folder.join(folder_name(&repo));
        if !folder.exists() {
            self.repository.sibling(repo)?.download_model(&folder).await?;
        }
        Ok(BaseModel {
            folder: ModelFolder::open(&folder)?,
            label: name.to_owned(),
            origin: ModelOrigin::Hub,
        })
    }

    /// Removes the stored models except the `current` ones; newer models have replaced them.
    /// Returns the number of folders removed.
    pub(in crate::run) fn keep_only(&self, current: &[&Path]) -> Result<usize, RunError> {
        let mut removed = 0;
        for path in entries(&self.folder)? {
            if path.is_dir() && !current.iter().any(|current| current.starts_with(&path)) {
                remove_folder(&path)?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

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
        if name == "live" && repository.releases().await?.is_empty() {
            return Err(RunError::NoSuchModel { name: name.to_owned() });
        }
        let base = match name {
            "base" => cache.named(wanted).await?,
            "live" => cache.base(None).await?,
            other => cache.base(Some(other)).await?,
        };
        Ok(base.folder)
    }
}

/// Finds a model on this disk: a folder, or a model that was downloaded from the Hub before.
pub(in crate::run) fn on_disk(name: &str, data_dir: &Path) -> Result<Option<ModelFolder>, RunError> {
    let (path, models) = (Path::new(name), data_dir.join(MODELS));
    let downloaded = || match (ReleaseName::from_path(name), name.parse::<RepoName>()) {
        (Some(release), _) => unpacked(&models.join(release.version())),
        (None, Ok(repo)) => Some(models.join(folder_name(&repo))).filter(|folder| folder.is_dir()),
        (None, Err(_)) => None,
    };
    let found = if path.is_dir() { Some(path.to_owned()) } else { downloaded() };
    Ok(found.map(|folder| ModelFolder::open(&folder)).transpose()?)
}

/// Returns the folder name of a Hub model in the cache.
fn folder_name(repo: &RepoName) -> String {
    format!("{}--{}", repo.owner(), repo.name())
}

/// Returns the folder that a release's archive was unpacked to. Unpacking is atomic, so a folder
/// that exists is complete.
fn unpacked(cache: &Path) -> Option<PathBuf> {
    std::fs::read_dir(cache)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| ["modules.json", "config.json"].iter().any(|name| path.join(name).exists()))
}
