//! Start of a trainer by a command, for systemd, Docker, Kubernetes and others.

use std::process::Stdio;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::error::LaunchError;
use super::{Launch, Launcher};
use crate::broker::JobId;

/// Time that the command has to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Largest part of the command's messages that is read, in bytes.
const MAX_MESSAGES_BYTES: u64 = 16 << 10;
/// Longest part of the last message that is shown, in characters.
const SHOWN: usize = 300;

/// Variable that holds the id of the job that waits.
pub(super) const JOB_VARIABLE: &str = "AUTOVALIDATE_JOB";

/// Launcher that runs a command with `sh -c`. Exit code 0 says that a trainer is starting.
#[derive(Debug, Clone)]
pub struct CommandLauncher {
    command: String,
    deadline: Duration,
}

impl CommandLauncher {
    /// Creates a launcher that runs this command.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), deadline: DEADLINE }
    }

    /// Sets the time that the command has to end.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    async fn run(&self, job: &JobId) -> Result<Launch, LaunchError> {
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(&self.command)
            .env(JOB_VARIABLE, job.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LaunchError::Command { source })?;
        let stderr = child.stderr.take();
        let ended = async {
            let mut messages = Vec::new();
            if let Some(stderr) = stderr {
                let mut limited = stderr.take(MAX_MESSAGES_BYTES);
                limited.read_to_end(&mut messages).await.map_err(|source| LaunchError::Command { source })?;
                // What follows is read and dropped: a full pipe would block the command.
                tokio::io::copy(&mut limited.into_inner(), &mut tokio::io::sink())
                    .await
                    .map_err(|source| LaunchError::Command { source })?;
            }
            let status = child.wait().await.map_err(|source| LaunchError::Command { source })?;
            Ok((status, messages))
        };
        let (status, messages) = tokio::time::timeout(self.deadline, ended)
            .await
            .map_err(|_| LaunchError::CommandLate { after: self.deadline })??;
        if status.success() {
            return Ok(Launch::Started("by the command of TRAINER_START".to_owned()));
        }
        let messages = String::from_utf8_lossy(&messages);
        let last_line = messages.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
        Err(LaunchError::CommandFailed { status, last_line: last_line.trim().chars().take(SHOWN).collect() })
    }
}

impl Launcher for CommandLauncher {
    fn launch<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Launch, LaunchError>> {
        self.run(job).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, LaunchError>> {
        async { Ok("a command starts the trainer; it is not run here".to_owned()) }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn run(command: &str) -> Result<Launch, LaunchError> {
        CommandLauncher::new(command).with_deadline(Duration::from_secs(20)).run(&JobId::manual(7)).await
    }

    #[tokio::test]
    async fn exit_code_0_is_a_start_and_the_command_knows_the_job() {
        assert!(matches!(run("test \"$AUTOVALIDATE_JOB\" = manual-7").await, Ok(Launch::Started(_))));
    }

    #[tokio::test]
    async fn a_failing_command_is_told_with_its_last_line() {
        let error = run("echo first >&2; echo 'unit not found' >&2; exit 4").await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the command of TRAINER_START ended with exit status: 4: unit not found"
        );
    }

    #[tokio::test]
    async fn endless_messages_and_endless_commands_are_cut() {
        assert!(run("yes | head -c 1000000 >&2").await.is_ok());
        let late = CommandLauncher::new("exec sleep 600").with_deadline(Duration::from_millis(50));
        let error = late.run(&JobId::manual(1)).await.unwrap_err();
        assert!(matches!(error, LaunchError::CommandLate { .. }), "{error:?}");
    }
}
