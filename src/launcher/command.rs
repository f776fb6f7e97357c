//! Start of a trainer by a command, for systemd, Docker, Kubernetes and others.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::Command;
use tokio::task::JoinSet;

use super::error::LaunchError;
use super::{Launch, Launcher};
use crate::broker::JobId;
use crate::text::plain_line;

/// Time that the command has to end.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time after the command's end in which its last message may still arrive.
const LAST_MESSAGE: Duration = Duration::from_millis(200);
/// Longest line that is kept, in bytes; the rest of a longer one is dropped.
const MAX_LINE_BYTES: usize = 4 << 10;
/// Longest part of the last message that is shown, in bytes.
const SHOWN: usize = 300;

/// Variable that holds the id of the job that waits.
pub(super) const JOB_VARIABLE: &str = "AUTOVALIDATE_JOB";

/// Launcher that runs a command with `sh -c`. Exit code 0 says that a trainer is starting.
///
/// The command may leave a trainer behind that writes to the same standard error. So the end of the
/// command counts, not the end of its output, which is read for as long as this launcher lives.
#[derive(Debug, Clone)]
pub struct CommandLauncher {
    command: String,
    deadline: Duration,
    readers: Arc<Mutex<JoinSet<()>>>,
}

impl CommandLauncher {
    /// Creates a launcher that runs this command.
    pub fn new(command: impl Into<String>) -> Self {
        Self { command: command.into(), deadline: DEADLINE, readers: Arc::default() }
    }

    /// Sets the time that the command has to end.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    async fn run(&self, job: &JobId) -> Result<Launch, LaunchError> {
        // Both outputs are one stream: a command may complain on either.
        let mut child = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 2>&1\n{}", self.command))
            .env(JOB_VARIABLE, job.as_str())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| LaunchError::Command { source })?;
        let last_line = Arc::new(Mutex::new(String::new()));
        let mut read = child.stdout.take().map(|output| self.read(output, Arc::clone(&last_line)));
        let status = tokio::time::timeout(self.deadline, child.wait())
            .await
            .map_err(|_| LaunchError::CommandLate { after: self.deadline })?
            .map_err(|source| LaunchError::Command { source })?;
        if status.success() {
            return Ok(Launch::Started("by the command of TRAINER_START".to_owned()));
        }
        if let Some(read) = &mut read {
            // An error means that the reader has ended.
            let _ = tokio::time::timeout(LAST_MESSAGE, read).await;
        }
        Err(failed(status, &last_line.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// Reads an output to its end in a task of its own, and remembers the last line. The receiver
    /// learns of the end.
    fn read(
        &self,
        output: impl AsyncRead + Send + Unpin + 'static,
        last_line: Arc<Mutex<String>>,
    ) -> tokio::sync::oneshot::Receiver<()> {
        let (ended, is_ended) = tokio::sync::oneshot::channel();
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        while readers.try_join_next().is_some() {}
        readers.spawn(async move {
            let mut lines = Lines { output: BufReader::new(output) };
            while let Some(line) = lines.next().await {
                tracing::debug!(target: "autovalidate::trainer_start", "{line}");
                if !line.trim().is_empty() {
                    *last_line.lock().unwrap_or_else(PoisonError::into_inner) = line;
                }
            }
            // Nobody waits any more when the command succeeded.
            let _ = ended.send(());
        });
        is_ended
    }
}

/// Lines of an output, each cut to [`MAX_LINE_BYTES`].
struct Lines<R> {
    output: BufReader<R>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    async fn next(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            let piece = self.output.fill_buf().await.ok()?;
            if piece.is_empty() {
                return (!line.is_empty()).then(|| String::from_utf8_lossy(&line).into_owned());
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let taken = end.unwrap_or(piece.len());
            let room = MAX_LINE_BYTES.saturating_sub(line.len());
            line.extend_from_slice(&piece[..taken.min(room)]);
            self.output.consume(end.map_or(taken, |end| end + 1));
            if end.is_some() {
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
        }
    }
}

fn failed(status: ExitStatus, last_line: &str) -> LaunchError {
    let last_line = match plain_line(last_line, SHOWN) {
        nothing if nothing.is_empty() => "it printed nothing".to_owned(),
        line => line,
    };
    LaunchError::CommandFailed { status, last_line }
}

impl Launcher for CommandLauncher {
    fn launch<'a>(&'a self, job: &'a JobId) -> BoxFuture<'a, Result<Launch, LaunchError>> {
        self.run(job).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<String, LaunchError>> {
        async {
            let parsed = Command::new("sh").arg("-n").arg("-c").arg(&self.command).output().await;
            let parsed = parsed.map_err(|source| LaunchError::Command { source })?;
            if parsed.status.success() {
                Ok("a command starts the trainer; it is not run here".to_owned())
            } else {
                let told = String::from_utf8_lossy(&parsed.stderr);
                Err(failed(parsed.status, told.lines().last().unwrap_or_default()))
            }
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn launcher(command: &str) -> CommandLauncher {
        CommandLauncher::new(command).with_deadline(Duration::from_secs(20))
    }

    async fn run(command: &str) -> Result<Launch, LaunchError> {
        launcher(command).run(&JobId::manual(7)).await
    }

    #[tokio::test]
    async fn exit_code_0_is_a_start_and_the_command_knows_the_job() {
        assert!(matches!(run("test \"$AUTOVALIDATE_JOB\" = manual-7").await, Ok(Launch::Started(_))));
    }

    #[tokio::test]
    async fn a_failing_command_is_told_with_its_last_line_from_either_output() {
        let told = async |command: &str| run(command).await.unwrap_err().to_string();
        let ended = "the command of TRAINER_START ended with exit status: 4: ";
        for command in ["echo first >&2; echo 'unit not found' >&2; exit 4", "echo 'unit not found'; exit 4"]
        {
            assert_eq!(told(command).await, format!("{ended}unit not found"));
        }
        assert_eq!(told("exit 4").await, format!("{ended}it printed nothing"));
        let colored = r"printf '\033[31mno \t unit\033[0m\r\n' >&2; exit 4";
        assert_eq!(told(colored).await, format!("{ended}[31mno unit [0m"), "nothing steers the terminal");
    }

    #[tokio::test]
    async fn a_trainer_that_keeps_the_output_open_is_not_waited_for_and_can_go_on_writing() {
        let folder = tempfile::tempdir().unwrap();
        let (go, done) = (folder.path().join("go"), folder.path().join("done"));
        let trainer = format!(
            "(until [ -e {go} ]; do :; done; echo working && touch {done}) &",
            go = go.display(),
            done = done.display()
        );
        let launcher = launcher(&trainer);
        assert!(launcher.run(&JobId::manual(1)).await.is_ok(), "the command itself has ended");
        std::fs::write(&go, "").unwrap();
        let written = async {
            while !done.exists() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), written).await.expect("the trainer could not write");
    }

    #[tokio::test]
    async fn endless_messages_and_endless_commands_are_cut() {
        assert!(run("yes | head -c 1000000 >&2; head -c 1000000 /dev/zero").await.is_ok());
        let late = CommandLauncher::new("exec sleep 600").with_deadline(Duration::from_millis(50));
        let error = late.run(&JobId::manual(1)).await.unwrap_err();
        assert!(matches!(error, LaunchError::CommandLate { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_command_that_is_no_shell_text_is_found_without_running_it() {
        assert!(launcher("exit 1").check().await.is_ok());
        let error = launcher("echo 'no end").check().await.unwrap_err();
        assert!(matches!(error, LaunchError::CommandFailed { .. }), "{error:?}");
    }
}
