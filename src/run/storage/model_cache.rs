//! The base model of a run: the newest release of the repository, or the configured base model when
//! nothing has been released yet or the newest release can't be read.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, RetryDirective, chain};
use crate::hub::{Digest, LiveRelease, Release, RepoName, Repository};
use crate::text::plain_line;
use autovalidate_finetune::model::{ModelFolder, TokenizerChoice, archive, find_model};

use crate::run::error::{BaseSetting, RunError};
use crate::run::fine_tune::ModelComparison;
use crate::run::model_check::ModelCheck;

use super::files::{blocking, entries, remove_folder};
use super::model_folders::{hub_folder, models, release_folder, stored_hub_model};

/// A model on this machine, with its name and origin.
#[derive(Debug, Clone)]
pub(in crate::run) struct BaseModel {
    /// Folder of the model.
    pub folder: ModelFolder,
    /// Release path, Hub name or folder name.
    pub label: String,
    /// Origin of the model.
    pub origin: ModelOrigin,
    /// The release, with the content that was read; `None` for other origins.
    pub release: Option<LiveRelease>,
    /// The live release, when the run should have started from it but can't read it.
    pub unreadable: Option<UnreadableRelease>,
    /// Reason that the run doesn't start from a live release that it can read, in words.
    pub not_continued: Option<String>,
}

/// A live release that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct UnreadableRelease {
    /// Path of the release.
    pub path: String,
    /// Reason, in words.
    pub reason: String,
}

impl UnreadableRelease {
    fn new(release: &Release, error: &RunError) -> Self {
        Self { path: plain_line(&release.path(), 200), reason: plain_line(&chain(error), 300) }
    }

    /// Returns the sentence that tells people what happened, without its full stop.
    pub(in crate::run) fn sentence(&self, instead: &str) -> String {
        let Self { path, reason } = self;
        format!("the live release {path} can't be read ({reason}), so {instead} takes its place")
    }
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

/// Models that a trained model is measured against.
#[derive(Debug, Clone)]
pub(in crate::run) struct Baselines {
    pub(in crate::run) comparison: ModelComparison,
    /// The live release, whether it could be read or not; `None` before the first release.
    pub(in crate::run) live: Option<LiveRelease>,
    /// Sentence that says why another model takes the place of the live one; `None` when none does.
    pub(in crate::run) instead_of_live: Option<String>,
}

/// Finds base models and stores them below one folder by their content, so that each model is
/// downloaded once, and again when it has changed.
#[derive(Debug)]
pub(in crate::run) struct ModelCache<'a> {
    repository: &'a Repository,
    /// Folder of downloaded models.
    folder: PathBuf,
    fallback: &'a str,
    /// Reader that tries a model in a process of its own before this process opens it.
    check: Option<ModelCheck>,
    /// Folders that the reader has tried.
    checked: Mutex<BTreeSet<PathBuf>>,
    /// Tokens that models are trained on.
    tokenizer: TokenizerChoice,
    /// Folders below which a request may name a model.
    allowed: &'a [PathBuf],
}

impl<'a> ModelCache<'a> {
    /// Returns the cache below a data directory. `fallback` is the folder or Hub name of the model
    /// to start from when nothing has been released.
    pub(in crate::run) fn new(repository: &'a Repository, data_dir: &Path, fallback: &'a str) -> Self {
        Self {
            repository,
            folder: models(data_dir),
            fallback,
            check: None,
            checked: Mutex::default(),
            tokenizer: TokenizerChoice::Keep,
            allowed: &[],
        }
    }

    /// Returns the cache with folders below which a request may name a model. Without them, a request
    /// names a release or a model of the Hub.
    pub(in crate::run) fn with_allowed(self, allowed: &'a [PathBuf]) -> Self {
        Self { allowed, ..self }
    }

    /// Returns the cache with a reader that tries each model in a process of its own. A release that
    /// opens but can't embed is then unreadable, too.
    pub(in crate::run) fn with_check(self, check: ModelCheck) -> Self {
        Self { check: Some(check), ..self }
    }

    /// Returns the cache with a choice of tokens. A newest release with other tokens is then not the
    /// model to start from.
    pub(in crate::run) fn with_tokenizer(self, tokenizer: TokenizerChoice) -> Self {
        Self { tokenizer, ..self }
    }

    /// Returns the model to start from. `wanted` (a release path, a version, a Hub name, or a
    /// folder) takes precedence; without it, the newest release, or else the fallback. The fallback
    /// also takes the place of a newest release that can't be read, or that has other tokens than the
    /// chosen ones.
    pub(in crate::run) async fn base(&self, wanted: Option<&str>) -> Result<BaseModel, RunError> {
        let releases = self.repository.releases().await?;
        let Some(wanted) = wanted else {
            return match releases.first() {
                None => self.fallback().await,
                Some(newest) => self.continued(self.release_or_fallback(newest).await?).await,
            };
        };
        let named =
            releases.iter().find(|release| release.path() == wanted || release.name.version() == wanted);
        match named {
            Some(release) => self.release(release).await,
            None if wanted == self.fallback => self.fallback().await,
            None => self.named(wanted, BaseSetting::Request).await,
        }
    }

    /// Returns the model that the backend loads; `None` before the first release.
    pub(in crate::run) async fn live(&self) -> Result<Option<BaseModel>, RunError> {
        match self.repository.newest().await? {
            Some(newest) => Ok(Some(self.release(&newest).await?)),
            None => Ok(None),
        }
    }

    /// Returns the configured base model.
    pub(in crate::run) async fn fallback(&self) -> Result<BaseModel, RunError> {
        self.named(self.fallback, BaseSetting::BaseModel).await
    }

    /// Returns the live model if it has the chosen tokens, and else the fallback. A fallback that nobody
    /// can load stops no run: training then starts from the live model all the same.
    async fn continued(&self, live: BaseModel) -> Result<BaseModel, RunError> {
        if live.origin != ModelOrigin::Release || self.tokenizer.is_met_by(&live.folder)? {
            return Ok(live);
        }
        match self.fallback().await {
            Ok(base) => {
                let reason = format!(
                    "the live release {} has other tokens than characters, which TRAIN_TOKENIZER asks for (keep \
                     continues it), so {} takes its place",
                    live.label, base.label
                );
                tracing::warn!("{reason}");
                Ok(BaseModel { not_continued: Some(reason), ..base })
            }
            Err(error) if error.directive() == RetryDirective::Retry => Err(error),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(
                    error,
                    "the original model can't be loaded; the live one is trained on characters instead"
                );
                Ok(live)
            }
        }
    }

    async fn release_or_fallback(&self, release: &Release) -> Result<BaseModel, RunError> {
        match self.release(release).await {
            Err(error) if error.is_of_model() => {
                let unreadable = UnreadableRelease::new(release, &error);
                let base = self.fallback().await?;
                let (path, error) = (&unreadable.path, chain(&error));
                tracing::warn!(path, error, instead = base.label, "the live release can't be read");
                Ok(BaseModel { unreadable: Some(unreadable), ..base })
            }
            read => read,
        }
    }

    /// Returns a release from the cache, or downloads it from the Hub.
    async fn release(&self, release: &Release) -> Result<BaseModel, RunError> {
        let listed =
            release.content().map(|content| self.folder.join(release_folder(&release.name, &content)));
        let stored = listed.as_ref().and_then(|folder| find_model(folder).ok());
        let folder = match stored {
            Some(folder) => folder,
            None => self.unpacked(release, listed).await?,
        };
        let folder = self.open(&folder).await?;
        Ok(BaseModel {
            folder,
            label: release.path(),
            origin: ModelOrigin::Release,
            release: Some(release.into()),
            unreadable: None,
            not_continued: None,
        })
    }

    /// Opens a folder, after a process of its own has survived it.
    async fn open(&self, folder: &Path) -> Result<ModelFolder, RunError> {
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = checked().contains(folder);
        if let Some(check) = self.check.as_ref().filter(|_| !known) {
            check.check(folder).await?;
            checked().insert(folder.to_owned());
        }
        Ok(ModelFolder::open(folder)?)
    }

    /// Downloads and unpacks a release, and returns the model folder in it.
    async fn unpacked(&self, release: &Release, listed: Option<PathBuf>) -> Result<PathBuf, RunError> {
        let zip = self.repository.download(release, &self.folder).await?;
        let (models, name) = (self.folder.clone(), release.name.clone());
        blocking(move || {
            let folder = match listed {
                Some(folder) => folder,
                None => {
                    let (sha256, _) = Digest::of_file(&zip).map_err(RunError::file("read", &zip))?;
                    models.join(release_folder(&name, &sha256.to_string()))
                }
            };
            // A folder without a model in it was damaged after it was unpacked.
            if find_model(&folder).is_err() {
                remove_folder(&folder)?;
            }
            let unpacked = match archive::unpack(&zip, &folder) {
                // Another process on this disk was faster.
                Err(_) if find_model(&folder).is_ok() => Ok(()),
                unpacked => unpacked.map(drop),
            };
            // A zip that can't be read is not kept either: it may be replaced under its name.
            std::fs::remove_file(&zip).map_err(RunError::file("remove", &zip))?;
            unpacked?;
            let model = find_model(&folder);
            if model.is_err() {
                remove_folder(&folder)?;
            }
            Ok(model?)
        })
        .await
    }

    /// Returns the baselines of a model that was trained from `base`: the newest release, and the
    /// configured base model. The configured model is only a baseline, so the comparison does without
    /// it when it can't be loaded. It also takes the place of a newest release that can't be read.
    pub(in crate::run) async fn baselines(&self, base: &BaseModel) -> Result<Baselines, RunError> {
        let newest = self.repository.newest().await?;
        let original = match self.fallback().await {
            Ok(original) => Some(original),
            Err(error) => {
                tracing::warn!(error = chain(&error), "the original model can't be loaded as a baseline");
                None
            }
        };
        let is_base = |newest: &Release| base.release.as_ref().is_some_and(|release| release.is(newest));
        let mut instead_of_live = None;
        let live = match &newest {
            None => base.folder.clone(),
            Some(newest) if is_base(newest) => base.folder.clone(),
            Some(newest) => match self.release(newest).await {
                Err(error) if error.is_of_model() => {
                    let reference = original.as_ref().unwrap_or(base);
                    let unreadable = UnreadableRelease::new(newest, &error);
                    instead_of_live = Some(unreadable.sentence(&reference.label));
                    reference.folder.clone()
                }
                read => read?.folder,
            },
        };
        let original = original.map(|original| original.folder);
        Ok(Baselines {
            comparison: ModelComparison { live, original },
            instead_of_live,
            live: newest.as_ref().map(LiveRelease::from),
        })
    }

    /// Returns a model by folder or Hub name; `setting` holds the name.
    async fn named(&self, name: &str, setting: BaseSetting) -> Result<BaseModel, RunError> {
        let found = async |folder: &Path, label: &str, origin| {
            Ok(BaseModel {
                folder: self.open(folder).await?,
                label: label.to_owned(),
                origin,
                release: None,
                unreadable: None,
                not_continued: None,
            })
        };
        let path = Path::new(name);
        let is_path = name.starts_with(['/', '.']);
        // Whoever may send a request may not choose among the files of this machine. A name like
        // `owner/name` is one of the Hub, also where the working directory has such a folder.
        if is_path && setting == BaseSetting::Request && !is_below(path, self.allowed) {
            return Err(RunError::FolderNotAllowed { name: plain_line(name, 200) });
        }
        if is_path || (setting == BaseSetting::BaseModel && path.is_dir()) {
            let label =
                path.file_name().map_or_else(|| name.to_owned(), |last| last.to_string_lossy().into_owned());
            return found(path, &label, ModelOrigin::Folder).await;
        }
        let repo: RepoName = name.parse().map_err(|_| RunError::NoSuchModel { name: name.to_owned() })?;
        let folder = self.hub_model(&repo, setting).await?;
        found(&folder, name, ModelOrigin::Hub).await
    }

    /// Returns the folder of a Hub model as the Hub has it now; when the Hub doesn't give it, as the
    /// Hub had it at the last download.
    async fn hub_model(&self, repo: &RepoName, setting: BaseSetting) -> Result<PathBuf, RunError> {
        let fetched = async {
            let mut source = self.repository.sibling(repo.clone())?;
            if let Some(now) = source.renamed().await? {
                let setting = setting.name();
                tracing::warn!(setting, %repo, %now, "the base model was renamed on the Hub; set its new name");
                source = self.repository.sibling(now)?;
            }
            let files = source.model_files().await?;
            let folder = self.folder.join(hub_folder(repo, &files.content().to_string()));
            if !folder.exists() {
                source.download_model(&files, &folder).await?;
            }
            Ok(folder)
        };
        match fetched.await {
            Ok(folder) => Ok(folder),
            Err(source) => match stored_hub_model(&self.folder, repo)? {
                Some(stored) => {
                    let (setting, error) = (setting.name(), chain(&source));
                    tracing::warn!(setting, %repo, error, "the Hub doesn't give the base model; using the stored one");
                    Ok(stored)
                }
                None => Err(RunError::BaseModel { setting, name: repo.to_string(), source }),
            },
        }
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

/// Returns true for an existing folder below one of these. Links count as the folders that they lead to.
fn is_below(path: &Path, allowed: &[PathBuf]) -> bool {
    let Ok(path) = path.canonicalize() else { return false };
    allowed.iter().any(|allowed| allowed.canonicalize().is_ok_and(|allowed| path.starts_with(allowed)))
}
