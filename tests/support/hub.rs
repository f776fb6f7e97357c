//! Local Hub with one repo, and the worker's client for it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use autovalidate::hub::{
    Extra, HubAccess, HubError, Published, ReleaseName, ReplacePolicy, RepoName, Repository, RetryPolicy,
    Upload, UploadProgress,
};
use autovalidate_fakes::hub::{Hub, Options};
use bytes::Bytes;
use secrecy::SecretString;
use tempfile::TempDir;

use crate::support::DEADLINE;
use crate::support::within;

pub const REPO: &str = "acme/cars";

/// Returns a retry policy with very short pauses, so that tests of retries do not wait.
pub fn patience() -> RetryPolicy {
    RetryPolicy {
        pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        ..RetryPolicy::default()
    }
}

pub struct TestHub {
    pub hub: Hub,
    pub repository: Repository,
    pub folder: TempDir,
}

impl TestHub {
    pub async fn start() -> Self {
        Self::with(|options| options, patience()).await
    }

    /// Starts a Hub with these options and creates the repo.
    pub async fn with(options: impl FnOnce(Options) -> Options, patience: RetryPolicy) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let hub = Hub::start(options(Options::new(folder.path().join("hub")))).await.unwrap();
        let repository = Repository::with_retry_policy(access(&hub, hub.token().clone()), patience).unwrap();
        within(DEADLINE, repository.create_if_missing(true)).await.unwrap();
        Self { hub, repository, folder }
    }

    /// Writes an archive of this many bytes, different for every `seed`.
    pub fn archive(&self, seed: u64, size: usize) -> (PathBuf, Vec<u8>) {
        let step = |state: &mut u64| {
            *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            Some((*state >> 56) as u8)
        };
        let bytes: Vec<u8> = std::iter::repeat_n((), size).scan(seed, |state, ()| step(state)).collect();
        let path = self.folder.path().join(format!("{seed}.zip"));
        std::fs::write(&path, &bytes).unwrap();
        (path, bytes)
    }

    /// Publishes a release of this many bytes together with a README.
    pub async fn publish(&self, version: &str, size: usize) -> Result<Published, HubError> {
        let (archive, _) = self.archive(version.len() as u64, size);
        self.publish_upload(upload(version, archive)).await
    }

    pub async fn publish_upload(&self, upload: Upload) -> Result<Published, HubError> {
        within(DEADLINE, self.repository.publish(upload)).await
    }

    /// Returns the number of commits after the one that created the repo.
    pub async fn commits(&self) -> usize {
        self.hub.commits(REPO).await.len() - 1
    }

    /// Returns the paths at the head.
    pub async fn paths(&self) -> Vec<String> {
        self.hub.commits(REPO).await.pop().unwrap().paths
    }
}

pub fn access(hub: &Hub, token: SecretString) -> HubAccess {
    HubAccess { endpoint: hub.url().clone(), token: Some(token), repo: REPO.parse::<RepoName>().unwrap() }
}

pub fn name(version: &str) -> ReleaseName {
    format!("finetuned-embedding-model-{version}.zip").parse().unwrap()
}

pub fn upload(version: &str, archive: PathBuf) -> Upload {
    Upload {
        release: name(version),
        archive,
        extras: vec![Extra { path: "README.md".into(), content: Bytes::from_static(b"# Cars\n") }],
        listed: None,
        replaces: ReplacePolicy::Any,
        summary: format!("Release {version}"),
        progress: None,
    }
}

/// Publishes a zip as another program does: nothing but the zip.
pub async fn publish_zip(repository: &Repository, version: &str, archive: PathBuf) {
    within(DEADLINE, repository.create_if_missing(true)).await.unwrap();
    let upload = Upload { extras: Vec::new(), ..upload(version, archive) };
    within(DEADLINE, repository.publish(upload)).await.unwrap();
}

/// Collects the progress reports of an upload.
pub fn collected(upload: &mut Upload) -> Arc<Mutex<Vec<UploadProgress>>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let teller = Arc::clone(&told);
    upload.progress = Some(Arc::new(move |sent| teller.lock().unwrap().push(sent)));
    told
}
