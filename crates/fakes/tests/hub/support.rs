//! Installed clients, and the run of a script by one of them.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use autovalidate_fakes::hub::{Hub, Options};
use secrecy::{ExposeSecret, SecretString};
use tempfile::TempDir;
use tokio::process::Command;

/// Deadline of a script: far beyond what a busy computer needs.
const SOON: Duration = Duration::from_secs(60);

/// Environments of the versions that people use: one of 0.x, the newest of 1.x, and the one of 2.x that
/// all other tests use. `scripts/setup --tests` installs them.
pub(crate) const CLIENTS: [&str; 3] = ["hub-0.35", "hub-1", "python"];

/// A Hub, and a home for each client.
pub(crate) struct Bench {
    pub(crate) hub: Hub,
    pub(crate) folder: TempDir,
}

impl Bench {
    pub(crate) async fn start() -> Self {
        Self::with(|options| options).await
    }

    pub(crate) async fn with(change: impl FnOnce(Options) -> Options) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = Options { owner: "acme".to_owned(), ..Options::new(folder.path().join("hub")) };
        let hub = Hub::start(change(options)).await.unwrap();
        Self { hub, folder }
    }

    /// Runs a script with a client of its own, and fails with what the script says about an assert that
    /// does not hold.
    pub(crate) async fn prove(&self, client: &str, script: &str, settings: &[(&str, &str)]) {
        let home = self.folder.path().join(format!("{client}-{script}"));
        std::fs::create_dir_all(&home).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hub").join(script);
        let output = Command::new(python(client))
            .arg(&script)
            .arg(&home)
            .env_clear()
            .env("HOME", &home)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("HF_ENDPOINT", self.hub.url().as_str().trim_end_matches('/'))
            .env("HF_TOKEN", self.hub.token().expose_secret())
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(SOON, output).await.expect("the script took too long").unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.trim_end().ends_with("proved"),
            "{client}: {said}\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Returns a token that reads only, for [`Options::read_token`].
pub(crate) fn read_token() -> SecretString {
    SecretString::from("hf_reader")
}

#[track_caller]
fn python(client: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.local").join(client).join("bin/python");
    assert!(path.exists(), "{} is missing: run scripts/setup --tests first", path.display());
    path
}
