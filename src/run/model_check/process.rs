//! The trainer's side: starts the process that reads a folder, and takes its verdict.

use std::path::{Path, PathBuf};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use super::{CHECK_MODEL, ModelCheckError, Request, Verdict};
use crate::confined::{self, Limits};

/// Largest verdict that is read, in bytes.
const MOST_BYTES: u64 = 64 << 10;
/// Reader of model folders in a process of its own.
#[derive(Debug, Clone)]
pub struct ModelCheck {
    /// This program.
    program: PathBuf,
    /// ONNX Runtime library.
    runtime: PathBuf,
    characters: Option<Vec<String>>,
    limits: Limits,
}

impl ModelCheck {
    /// Returns a reader that starts `program`, which is this program, with an ONNX Runtime library.
    pub fn new(program: impl Into<PathBuf>, runtime: impl Into<PathBuf>) -> Self {
        let (program, runtime) = (program.into(), runtime.into());
        Self { program, runtime, characters: None, limits: Limits::default() }
    }

    /// Returns a reader that also tries the folder with each character as a token.
    #[must_use]
    pub fn with_characters(self, phrases: Vec<String>) -> Self {
        Self { characters: Some(phrases), ..self }
    }

    /// Returns a reader with other limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Reads a folder. Dropping the future ends the process.
    ///
    /// # Errors
    /// [`ModelCheckError`].
    pub async fn check(&self, folder: &Path) -> Result<(), ModelCheckError> {
        let request = Request {
            folder: folder.to_owned(),
            runtime: self.runtime.clone(),
            characters: self.characters.clone(),
            limits: self.limits,
        };
        let request = serde_json::to_vec(&request).map_err(|error| ModelCheckError::Start(error.into()))?;
        let limit = self.limits.time;
        let late = || ModelCheckError::Late { folder: folder.to_owned(), limit };
        tokio::time::timeout(limit, self.read(folder, &request)).await.map_err(|_| late())?
    }

    async fn read(&self, folder: &Path, request: &[u8]) -> Result<(), ModelCheckError> {
        let mut command = Command::from(confined::command(&self.program, CHECK_MODEL));
        command.kill_on_drop(true);
        let mut process = command.spawn().map_err(ModelCheckError::Start)?;
        if let Some(mut input) = process.stdin.take() {
            // A process that has died already is told by its end.
            let _ = input.write_all(request).await;
        }
        let mut verdict = Vec::new();
        if let Some(output) = process.stdout.take() {
            output.take(MOST_BYTES).read_to_end(&mut verdict).await.map_err(ModelCheckError::Start)?;
        }
        let status = process.wait().await.map_err(ModelCheckError::Start)?;
        match serde_json::from_slice(&verdict) {
            Ok(Verdict::Readable) if status.success() => Ok(()),
            Ok(Verdict::Refused(refusal)) if status.success() => {
                Err(ModelCheckError::Refused(refusal.in_lines()))
            }
            _ => Err(ModelCheckError::Died { folder: folder.to_owned(), status }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::failure::{Failure, RetryDirective};

    /// Returns the error of a check by a program that is this shell script.
    async fn by_script(script: &str, time: Duration) -> ModelCheckError {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("program");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let check = ModelCheck::new(&program, "none").within(Limits { time, ..Limits::default() });
        check.check(Path::new("/model")).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_process_that_hangs_or_dies_is_a_verdict() {
        let late = by_script("exec sleep 600", Duration::from_millis(50)).await;
        assert!(matches!(late, ModelCheckError::Late { .. }), "{late:?}");
        assert!(late.is_of_model() && late.directive() == RetryDirective::Never);

        let long = Duration::from_secs(60);
        for script in ["kill -ABRT $$", "exit 3", "echo '{}'", "yes | head -c 1000000", "kill -SEGV $$"] {
            let died = by_script(script, long).await;
            assert!(matches!(died, ModelCheckError::Died { .. }), "{script}: {died:?}");
            assert!(died.is_of_model() && died.directive() == RetryDirective::Never, "{script}");
        }
        let killed = by_script("kill -KILL $$", long).await;
        assert_eq!((killed.is_of_model(), killed.directive()), (false, RetryDirective::Retry));
        let absent =
            ModelCheck::new("/no/such/program", "none").check(Path::new("/model")).await.unwrap_err();
        assert_eq!((absent.is_of_model(), absent.directive()), (false, RetryDirective::Retry));
    }

    #[tokio::test]
    async fn the_process_gets_no_secret_and_its_words_fit_a_line() {
        let script = r#"cat >/dev/null; test -z "$HOME$CARGO_MANIFEST_DIR$HF_TOKEN" || exit 4
            printf '{"verdict":"refused","message":"\\u001b[2Jno\\nerror: x","advice":"a\\nb","directive":"never","of_model":true}'"#;
        let refused = by_script(script, Duration::from_secs(60)).await;
        assert_eq!(refused.to_string(), "[2Jno error: x");
        assert_eq!(refused.advice(), "a b");
    }
}
