//! Descriptions of machines: the part of a machine that its states never change.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::state::MachineState;

/// A command that a machine runs as its main process. Its debug form leaves the values of the
/// environment out, since they may be secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Program {
    /// Path or name of the program.
    pub path: OsString,
    /// Arguments of the program.
    pub args: Vec<OsString>,
    /// Environment of the process. `PATH` and the variables that Fly sets join it; nothing is
    /// inherited.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory of the process.
    pub directory: Option<PathBuf>,
}

impl Program {
    /// Returns a command without arguments and environment.
    pub fn new(path: impl Into<OsString>) -> Self {
        Self { path: path.into(), args: Vec::new(), env: Vec::new(), directory: None }
    }

    /// Returns a command that runs a script of `/bin/sh`.
    pub fn shell(script: impl Into<OsString>) -> Self {
        Self::new("/bin/sh").arg("-c").arg(script)
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds a variable of the environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.env.iter().map(|(name, _)| name).collect();
        let mut shown = formatter.debug_struct("Program");
        shown.field("path", &self.path).field("args", &self.args).field("env", &names);
        shown.field("directory", &self.directory).finish()
    }
}

/// Policy for a main process that exits without a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// The machine stops.
    No,
    /// The machine starts again after a failure, at most this many times after each start that
    /// was asked for.
    OnFailure {
        /// Number of restarts.
        retries: u32,
    },
    /// The machine starts again after every exit.
    Always,
}

impl Restart {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
        }
    }
}

/// A signal that the API can send to a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// `SIGHUP`.
    Hangup,
    /// `SIGINT`.
    Interrupt,
    /// `SIGQUIT`.
    Quit,
    /// `SIGKILL`.
    Kill,
    /// `SIGUSR1`.
    User1,
    /// `SIGUSR2`.
    User2,
    /// `SIGTERM`.
    Terminate,
}

impl StopSignal {
    pub(super) fn signal(self) -> Signal {
        match self {
            Self::Hangup => Signal::SIGHUP,
            Self::Interrupt => Signal::SIGINT,
            Self::Quit => Signal::SIGQUIT,
            Self::Kill => Signal::SIGKILL,
            Self::User1 => Signal::SIGUSR1,
            Self::User2 => Signal::SIGUSR2,
            Self::Terminate => Signal::SIGTERM,
        }
    }
}

/// Text that names no signal of the API.
#[derive(Debug, thiserror::Error)]
#[error("invalid signal")]
pub struct UnknownSignal;

impl FromStr for StopSignal {
    type Err = UnknownSignal;

    fn from_str(text: &str) -> Result<Self, UnknownSignal> {
        let all = [
            Self::Hangup,
            Self::Interrupt,
            Self::Quit,
            Self::Kill,
            Self::User1,
            Self::User2,
            Self::Terminate,
        ];
        all.into_iter().find(|known| known.signal().as_str() == text).ok_or(UnknownSignal)
    }
}

/// A description of a machine.
#[derive(Debug, Clone, PartialEq)]
pub struct MachineSpec {
    /// App that owns the machine.
    pub app: String,
    /// Name of the machine.
    pub name: String,
    /// Region, such as `iad`.
    pub region: String,
    /// Process group: the value of `fly_process_group` in the metadata.
    pub group: String,
    /// Metadata besides `fly_process_group`.
    pub metadata: BTreeMap<String, String>,
    /// Main process. Without one, starts and stops only change the state.
    pub program: Option<Program>,
    /// Restart policy of the main process.
    pub restart: Restart,
    /// Pause before a restart by the policy.
    pub restart_pause: Duration,
    /// Signal of a stop.
    pub kill_signal: StopSignal,
    /// Time between the signal of a stop and `SIGKILL`.
    pub kill_timeout: Duration,
    /// Price of one second in a running state.
    pub price_per_second: f64,
    /// Address of the machine's service, to which the proxy forwards.
    pub service: Option<SocketAddr>,
    /// Mark of a machine that stays in `starting` until
    /// [`set_state`](super::Fly::set_state) moves it on. Only without a program.
    pub holds_starting: bool,
    /// First state of the machine.
    pub state: MachineState,
}

impl MachineSpec {
    /// Returns a stopped machine without a program, named like its group, in region `iad`.
    pub fn new(app: impl Into<String>, group: impl Into<String>) -> Self {
        let group = group.into();
        Self {
            app: app.into(),
            name: group.clone(),
            region: "iad".to_owned(),
            group,
            metadata: BTreeMap::new(),
            program: None,
            restart: Restart::OnFailure { retries: 10 },
            restart_pause: Duration::from_millis(100),
            kill_signal: StopSignal::Terminate,
            kill_timeout: Duration::from_secs(5),
            price_per_second: 0.0,
            service: None,
            holds_starting: false,
            state: MachineState::Stopped,
        }
    }

    /// Returns a stopped machine with this main process.
    pub fn running(app: impl Into<String>, group: impl Into<String>, program: Program) -> Self {
        Self { program: Some(program), ..Self::new(app, group) }
    }
}
