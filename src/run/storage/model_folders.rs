//! Folders of downloaded models, named by what they hold.
//!
//! ```text
//! <data dir>/models/<version>.<content>/       a release; the content is its SHA-256
//! <data dir>/models/<owner>--<name>.<content>/ a model of the Hub; the content is that of its files
//! ```
//!
//! A name alone identifies no model: people upload another zip under the name of yesterday's, and the
//! repo of a base model gets new commits.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use autovalidate_finetune::model::archive::UNPACKING;
use autovalidate_finetune::model::{ModelFolder, find_model};

use crate::hub::{FETCHING, ReleaseName, RepoName};
use crate::run::error::RunError;

use super::files::{entries, remove_folder};

/// Name of the folder of downloaded models below the data directory.
const MODELS: &str = "models";
/// Age after which nobody still writes into an unfinished folder.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Returns the folder of downloaded models.
pub(super) fn models(data_dir: &Path) -> PathBuf {
    data_dir.join(MODELS)
}

/// Returns the folder name of a release with this content.
pub(super) fn release_folder(name: &ReleaseName, content: &str) -> String {
    format!("{}.{content}", name.version())
}

/// Returns the folder name of a Hub model with this content.
pub(super) fn hub_folder(repo: &RepoName, content: &str) -> String {
    format!("{}.{content}", hub_stem(repo))
}

fn hub_stem(repo: &RepoName) -> String {
    format!("{}--{}", repo.owner(), repo.name())
}

/// Returns the folders below `models` with this stem, whatever their content, newest first. Folders
/// of earlier versions of this program have no content in their names.
fn of_stem(models: &Path, stem: &str) -> Result<Vec<PathBuf>, RunError> {
    let belongs = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let rest = name.strip_prefix(stem);
        let stored =
            rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix('.').is_some_and(is_content));
        stored && path.is_dir()
    };
    let written = |path: &PathBuf| path.metadata().and_then(|metadata| metadata.modified()).ok();
    let mut found: Vec<PathBuf> = entries(models)?.into_iter().filter(belongs).collect();
    found.sort_by_key(|path| std::cmp::Reverse(written(path)));
    Ok(found)
}

/// Returns true for what [`release_folder`] and [`hub_folder`] put after the dot: a SHA-256, or the id of
/// a blob in git. Names of repos have dots, too, so no shorter text counts.
fn is_content(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the newest stored folder of a Hub model.
pub(super) fn stored_hub_model(models: &Path, repo: &RepoName) -> Result<Option<PathBuf>, RunError> {
    Ok(of_stem(models, &hub_stem(repo))?.into_iter().next())
}

/// Finds models on this disk: a folder, or the contents that a release or a Hub model had when it was
/// downloaded, newest first.
pub(in crate::run) fn on_disk(name: &str, data_dir: &Path) -> Result<Vec<ModelFolder>, RunError> {
    let (path, models) = (Path::new(name), models(data_dir));
    if path.is_dir() {
        return Ok(vec![ModelFolder::open(path)?]);
    }
    let stem = match (ReleaseName::from_path(name), name.parse::<RepoName>()) {
        (Some(release), _) => release.version().to_owned(),
        (None, Ok(repo)) => hub_stem(&repo),
        (None, Err(_)) => return Ok(Vec::new()),
    };
    let open = |folder: PathBuf| ModelFolder::open(&find_model(&folder).ok()?).ok();
    Ok(of_stem(&models, &stem)?.into_iter().filter_map(open).collect())
}

/// Removes what interrupted downloads have left below a data directory. A folder that something was
/// written to within the last hour stays: another process may be at work on it.
///
/// # Errors
/// [`RunError::File`] when the folder can't be read.
pub fn sweep_models(data_dir: &Path, now: SystemTime) -> Result<usize, RunError> {
    let mut removed = 0;
    for path in entries(&models(data_dir))? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let unfinished = name.starts_with(UNPACKING) || name.starts_with(FETCHING);
        if unfinished && path.is_dir() && newest(&path).is_none_or(|newest| newest + ABANDONED <= now) {
            remove_folder(&path)?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Returns the time of the last write to a folder or to anything in it.
fn newest(folder: &Path) -> Option<SystemTime> {
    let own = folder.metadata().and_then(|metadata| metadata.modified()).ok();
    let below = entries(folder).unwrap_or_default().into_iter().filter_map(|path| match path.is_dir() {
        true => newest(&path),
        false => path.metadata().and_then(|metadata| metadata.modified()).ok(),
    });
    below.chain(own).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_made_folders_are_swept_and_finished_ones_stay() {
        let data = tempfile::tempdir().unwrap();
        let models = models(data.path());
        for name in [".fetching-a", ".unpacking-b/all", "acme--cars", "20260101"] {
            std::fs::create_dir_all(models.join(name)).unwrap();
        }
        std::fs::write(models.join(".unpacking-b/all/x"), "x").unwrap();
        let now = SystemTime::now();
        assert_eq!(sweep_models(data.path(), now).unwrap(), 0, "somebody may be at work");
        assert_eq!(sweep_models(data.path(), now + 2 * ABANDONED).unwrap(), 2);
        assert_eq!(entries(&models).unwrap().len(), 2);
    }

    #[test]
    fn a_stem_is_not_the_beginning_of_another_name() {
        let data = tempfile::tempdir().unwrap();
        let repo: RepoName = "acme/cars".parse().unwrap();
        let content = "0c".repeat(32);
        // Each of these could pass for the repo's name and a content, if any hexadecimal digits were one.
        for name in ["acme--cars2", "acme--carsbad", "acme--cars.bad", "acme--cars.v2", "acme--cars."] {
            for folder in [name.to_owned(), format!("{name}.{content}")] {
                std::fs::create_dir_all(data.path().join(folder)).unwrap();
            }
        }
        std::fs::create_dir_all(data.path().join(format!("acme--cars{content}"))).unwrap();
        assert_eq!(stored_hub_model(data.path(), &repo).unwrap(), None);

        for stored in ["acme--cars".to_owned(), hub_folder(&repo, &content)] {
            std::fs::create_dir_all(data.path().join(&stored)).unwrap();
            let found = stored_hub_model(data.path(), &repo).unwrap().unwrap();
            assert_eq!(found, data.path().join(&stored));
            std::fs::remove_dir(found).unwrap();
        }
        // A release of an old name, which is the beginning of a new one.
        std::fs::create_dir_all(data.path().join("20260101120000")).unwrap();
        assert_eq!(of_stem(data.path(), "20260101").unwrap(), Vec::<PathBuf>::new());
    }
}
