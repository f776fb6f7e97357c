//! The main process of a machine. It leads a process group of its own, which ends with it.

use std::future;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

/// End of a main process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exit {
    /// Exit code, or 128 plus the signal.
    pub(super) code: i32,
    pub(super) signal: Option<i32>,
}

impl Exit {
    pub(super) fn with_code(code: i32) -> Self {
        Self { code, signal: None }
    }
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        let signal = status.signal();
        let code = status.code().or(signal.map(|signal| 128 + signal)).unwrap_or(-1);
        Self { code, signal }
    }
}

/// A main process, or the state of a machine that has none.
#[derive(Debug)]
pub(super) enum Process {
    Running {
        child: Child,
        group: Pid,
    },
    /// A machine without a program, until a signal ends it.
    Pretended {
        exit: Option<Exit>,
    },
}

impl Process {
    /// Starts a machine's command, or pretends to when it has none.
    pub(super) fn spawn(command: Option<Command>) -> io::Result<Self> {
        let Some(mut command) = command else { return Ok(Self::Pretended { exit: None }) };
        let child = command.spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id.map(Pid::from_raw).ok_or_else(|| io::Error::other("the process has no id"))?;
        Ok(Self::Running { child, group })
    }

    /// Returns a process that has exited already.
    pub(super) fn exited_with(code: i32) -> Self {
        Self::Pretended { exit: Some(Exit::with_code(code)) }
    }

    /// Sends a signal to the main process, as the init process of a machine does.
    pub(super) fn signal(&mut self, signal: Signal) {
        match self {
            // A process that exited a moment ago has no more use for the signal.
            Self::Running { group, .. } => _ = kill(*group, signal),
            Self::Pretended { exit } => {
                let number = signal as i32;
                *exit = exit.or(Some(Exit { code: 128 + number, signal: Some(number) }));
            }
        }
    }

    /// Stops or continues all processes of the machine.
    pub(super) fn freeze(&mut self, frozen: bool) {
        if let Self::Running { group, .. } = self {
            let signal = if frozen { Signal::SIGSTOP } else { Signal::SIGCONT };
            let _ = killpg(*group, signal);
        }
    }

    /// Waits until the main process exits, then ends the rest of its group.
    pub(super) async fn exited(&mut self) -> Exit {
        match self {
            Self::Running { child, group } => {
                let exit = child.wait().await.map_or(Exit::with_code(-1), Exit::from);
                let _ = killpg(*group, Signal::SIGKILL);
                exit
            }
            Self::Pretended { exit: Some(exit) } => *exit,
            Self::Pretended { exit: None } => future::pending().await,
        }
    }

    /// Ends all processes of the machine.
    pub(super) fn kill(&mut self) {
        match self {
            Self::Running { group, .. } => _ = killpg(*group, Signal::SIGKILL),
            Self::Pretended { .. } => self.signal(Signal::SIGKILL),
        }
    }
}

impl Drop for Process {
    /// Ends the group of a process that was not waited for. The child itself is reaped by the
    /// runtime.
    fn drop(&mut self) {
        if let Self::Running { child, group } = self
            && child.id().is_some()
        {
            let _ = killpg(*group, Signal::SIGKILL);
        }
    }
}
