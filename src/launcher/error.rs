//! Reasons why a trainer was not started, with advice for each.

use std::time::Duration;

use crate::failure::{Failure, RetryDirective};

/// Reason why a trainer was not started. The job stays queued in every case.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The service refuses the token.
    #[error("the Machines API refuses the token: {answer}")]
    Unauthorized {
        /// Answer of the service.
        answer: String,
    },
    /// The token is valid, but may not do this.
    #[error("the token may not start machines of this app: {answer}")]
    Forbidden {
        /// Answer of the service.
        answer: String,
    },
    /// The app or the machine does not exist.
    #[error("the app or its machine was not found: {answer}")]
    NotFound {
        /// Answer of the service.
        answer: String,
    },
    /// The app has no machine that could be started.
    #[error("no machine of {group} can be started ({states})")]
    NoMachine {
        /// The app, with its process group.
        group: String,
        /// States of the machines that exist.
        states: String,
    },
    /// The machine is changing: it is being deployed, stopped, or used by somebody else.
    #[error("the machine can't be started at this moment: {answer}")]
    Changing {
        /// Answer of the service, or the state of the machine.
        answer: String,
    },
    /// The host or the region has no room for the machine.
    #[error("there is no capacity for the machine: {answer}")]
    NoCapacity {
        /// Answer of the service.
        answer: String,
    },
    /// Too many requests.
    #[error("the Machines API asks to slow down: {answer}")]
    RateLimited {
        /// Answer of the service.
        answer: String,
        /// Pause that the service asks for.
        retry_after: Option<Duration>,
    },
    /// The service failed.
    #[error("the Machines API failed with {status}: {answer}")]
    Server {
        /// HTTP status.
        status: u16,
        /// Answer of the service.
        answer: String,
    },
    /// The service refuses the request for another reason.
    #[error("the Machines API refuses the request with {status}: {answer}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// Answer of the service.
        answer: String,
    },
    /// The service can't be reached, or the connection broke.
    #[error("the Machines API can't be reached")]
    Unreachable {
        /// Error of the HTTP client.
        source: reqwest::Error,
    },
    /// The answer is not what the Machines API sends.
    #[error("the answer of the Machines API can't be read: {problem}")]
    Malformed {
        /// Problem with the answer.
        problem: String,
    },
    /// The machine was asked to start, and was not up in time.
    #[error("machine {machine} was not up in time: {answer}")]
    Late {
        /// Id of the machine.
        machine: String,
        /// Answer of the service.
        answer: String,
    },
    /// The command can't be run.
    #[error("the command of TRAINER_START can't be run")]
    Command {
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The command failed.
    #[error("the command of TRAINER_START ended with {status}: {last_line}")]
    CommandFailed {
        /// Exit status.
        status: std::process::ExitStatus,
        /// Last line that the command printed.
        last_line: String,
    },
    /// The command did not end.
    #[error("the command of TRAINER_START did not end within {after:?}")]
    CommandLate {
        /// Time that the command had.
        after: Duration,
    },
}

impl LaunchError {
    /// Returns the pause that the service asks for.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } => *retry_after,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoMachine { .. }
            | Self::Changing { .. }
            | Self::NoCapacity { .. }
            | Self::Server { .. }
            | Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Late { .. }
            | Self::Command { .. }
            | Self::CommandFailed { .. }
            | Self::CommandLate { .. } => None,
        }
    }
}

impl Failure for LaunchError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::NoMachine { .. }
            | Self::Refused { .. }
            | Self::Command { .. } => RetryDirective::Person,
            Self::Changing { .. }
            | Self::NoCapacity { .. }
            | Self::RateLimited { .. }
            | Self::Server { .. }
            | Self::Unreachable { .. }
            | Self::Malformed { .. }
            | Self::Late { .. }
            | Self::CommandFailed { .. }
            | Self::CommandLate { .. } => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unauthorized { .. } => {
                "Set FLY_API_TOKEN to a token of the trainer's app: `fly tokens create deploy --app <app>`."
            }
            Self::Forbidden { .. } => {
                "Create a token that may start machines of the app that TRAINER_START names, with `fly tokens create deploy --app <app>`, and set FLY_API_TOKEN to it."
            }
            Self::NotFound { .. } => "Check the app's name in TRAINER_START; `fly apps list` shows all.",
            Self::NoMachine { .. } => {
                "Create a machine for the group with `fly scale count <group>=1`, or correct the group in TRAINER_START; `fly machine list` shows all machines."
            }
            Self::Changing { .. } => {
                "Wait for the deploy to end, or look at `fly machine list`; the worker tries again."
            }
            Self::NoCapacity { .. } => {
                "The worker tries again; if this lasts, move the machine to another region with `fly machine clone --region <region>`, or choose a smaller size with `fly scale vm`."
            }
            Self::RateLimited { .. } | Self::Server { .. } | Self::Unreachable { .. } => {
                "The worker tries again; check FLY_API_HOSTNAME and Fly's status page if this lasts."
            }
            Self::Refused { .. } => "Read the answer, and correct TRAINER_START or the machine's configuration.",
            Self::Malformed { .. } => "Check that FLY_API_HOSTNAME is the address of the Machines API.",
            Self::Late { .. } => {
                "Read the machine's log with `fly logs`: it may end right after its start. The worker tries again."
            }
            Self::Command { .. } => "Check the command after exec: in TRAINER_START.",
            Self::CommandFailed { .. } => {
                "Run the command of TRAINER_START by hand, and mend what it says. The worker tries again."
            }
            Self::CommandLate { .. } => {
                "Let the command of TRAINER_START return as soon as a trainer is starting, for example with `systemctl start --no-block`."
            }
        }
        .to_owned()
    }
}
