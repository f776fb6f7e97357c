//! What can go wrong with the Hub, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::HFError;
use reqwest::StatusCode;
use url::Url;

use super::access::{HubAccess, RepoName};
use super::release::ReleaseName;
use crate::failure::{Failure, RetryDirective};

/// Why a step with the Hub failed. Never holds a token, a signed link or a file's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The token is missing or unknown to the Hub (401).
    #[error("the Hub doesn't accept the token for {repo}")]
    Unauthorized {
        /// The repo asked for.
        repo: RepoName,
    },
    /// The token is known and may not do this (403).
    #[error("the Hub forbids this on {repo}")]
    Forbidden {
        /// The repo asked for.
        repo: RepoName,
    },
    /// There is no such repo, or the token may not see it (404).
    #[error("the Hub has no repo {repo}")]
    NoRepository {
        /// The repo asked for.
        repo: RepoName,
    },
    /// The repo has no such file (any more).
    #[error("the repo has no file {path}")]
    NoFile {
        /// The path asked for.
        path: String,
    },
    /// Too many requests (429).
    #[error("the Hub limits how often it is asked")]
    Limited {
        /// How long the Hub asked to wait.
        retry_after: Option<Duration>,
    },
    /// The Hub is in trouble (408 or 5xx).
    #[error("the Hub answered {status}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
    },
    /// The Hub refused the request for another reason (any other 4xx).
    #[error("the Hub answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the Hub said, shortened.
        message: String,
    },
    /// The object store refused content, or a link to it ended.
    #[error("the object store answered {status}")]
    Store {
        /// The HTTP status.
        status: u16,
    },
    /// No connection, or one that was cut.
    #[error("the connection to the Hub failed")]
    Connection(#[source] reqwest::Error),
    /// Nothing happened for too long.
    #[error("nothing came from the Hub for {} s", limit.as_secs_f32())]
    TimedOut {
        /// How long that was.
        limit: Duration,
    },
    /// An answer that isn't what the protocol promises.
    #[error("the Hub's answer can't be read: {what}")]
    Malformed {
        /// Which part of which answer.
        what: &'static str,
    },
    /// A download's bytes are not those the Hub lists.
    #[error("the bytes of {path} aren't those the Hub lists")]
    Checksum {
        /// The file's path in the repo.
        path: String,
    },
    /// Somebody committed in between, again and again.
    #[error("somebody else committed in between")]
    Conflict,
    /// Another release than the one that ours was to take over from was live before ours was committed.
    #[error("{newest} was live before {ours} could be published")]
    Superseded {
        /// The release that was to be published.
        ours: ReleaseName,
        /// The one that is there.
        newest: ReleaseName,
    },
    /// Our release's name is taken by other bytes.
    #[error("{name} is there already, with other content")]
    Taken {
        /// The name.
        name: ReleaseName,
    },
    /// The repo's index is damaged, or of a newer version of this program.
    #[error("models/index.json can't be read")]
    Index,
    /// A file of ours can't be read or written.
    #[error("can't use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The Hub's library failed in a way of its own, such as inside Xet.
    #[error("the Hub's client library failed")]
    Library(#[source] Box<HFError>),
}

impl HubError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    /// What a transport failure is. The URL is left out: it may be a signed link.
    pub(super) fn connection(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }

    /// What a status other than success means; `message` is what the Hub said.
    pub(super) fn status(status: StatusCode, repo: &RepoName, message: &str) -> Self {
        let repo = repo.clone();
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized { repo },
            StatusCode::FORBIDDEN => Self::Forbidden { repo },
            StatusCode::NOT_FOUND => Self::NoRepository { repo },
            StatusCode::PRECONDITION_FAILED => Self::Conflict,
            StatusCode::TOO_MANY_REQUESTS => Self::Limited { retry_after: None },
            StatusCode::REQUEST_TIMEOUT => Self::Unavailable { status: status.as_u16() },
            _ if status.is_server_error() => Self::Unavailable { status: status.as_u16() },
            _ => Self::Refused { status: status.as_u16(), message: message.chars().take(200).collect() },
        }
    }

    /// What an error of `hf-hub` is; `path` is the file it was about.
    pub(super) fn library(error: HFError, access: &HubAccess, path: &str) -> Self {
        if let Some(status) = refused_elsewhere(&error, access) {
            return Self::Store { status };
        }
        let repo = &access.repo;
        match error {
            HFError::AuthRequired { .. } => Self::Unauthorized { repo: repo.clone() },
            HFError::Forbidden { .. } => Self::Forbidden { repo: repo.clone() },
            HFError::RepoNotFound { .. } => Self::NoRepository { repo: repo.clone() },
            HFError::EntryNotFound { .. } | HFError::RevisionNotFound { .. } => {
                Self::NoFile { path: path.to_owned() }
            }
            HFError::RateLimited { retry_after, .. } => Self::Limited { retry_after },
            HFError::Conflict { .. } => Self::Conflict,
            HFError::Http { context } => {
                Self::status(context.status, repo, context.server_message.as_deref().unwrap_or_default())
            }
            HFError::Request { source, .. } => Self::connection(source),
            HFError::MalformedResponse { .. } | HFError::Json(_) => {
                Self::Malformed { what: "a file's headers" }
            }
            other => Self::Library(Box::new(other)),
        }
    }

    /// Whether the same request may succeed in a moment.
    pub(super) fn passing(&self) -> bool {
        matches!(
            self,
            Self::Limited { .. }
                | Self::Unavailable { .. }
                | Self::Connection(_)
                | Self::TimedOut { .. }
                | Self::Library(_)
        )
    }

    /// How long the Hub asked to wait.
    pub(super) fn asked_pause(&self) -> Option<Duration> {
        match self {
            Self::Limited { retry_after } => *retry_after,
            _ => None,
        }
    }
}

/// The status, if it was not the Hub that refused but the object store it sent us to: that is about the link,
/// not about our rights.
fn refused_elsewhere(error: &HFError, access: &HubAccess) -> Option<u16> {
    let context = match error {
        HFError::AuthRequired { context } | HFError::Forbidden { context } => context,
        HFError::EntryNotFound { context: Some(context), .. } => context,
        _ => return None,
    };
    let url = Url::parse(&context.url).ok()?;
    (url.origin() != access.endpoint.origin()).then(|| context.status.as_u16())
}

impl Failure for HubError {
    fn directive(&self) -> RetryDirective {
        match self {
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::NoRepository { .. }
            | Self::Refused { .. }
            | Self::Index
            | Self::File { .. } => RetryDirective::Person,
            // A release that vanished is no longer the newest, so a new run finds another; and a run that lost
            // the race for the newest name starts again with a later one.
            Self::NoFile { .. } | Self::Superseded { .. } | Self::Taken { .. } | Self::Conflict => {
                RetryDirective::Retry
            }
            Self::Limited { .. }
            | Self::Unavailable { .. }
            | Self::Store { .. }
            | Self::Connection(_)
            | Self::TimedOut { .. }
            | Self::Malformed { .. }
            | Self::Checksum { .. }
            | Self::Library(_) => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unauthorized { repo } => {
                format!("set HF_TOKEN to a token that is valid and has write access to {repo}")
            }
            Self::Forbidden { repo } => format!("HF_TOKEN needs write access to {repo}"),
            Self::NoRepository { repo } => {
                format!("create the model repo {repo}, or set HF_REPO to one that HF_TOKEN may see")
            }
            Self::NoFile { path } => {
                format!("{path} was deleted meanwhile; the next try takes what is there")
            }
            Self::Limited { .. } => "nothing: the next try comes later".to_owned(),
            Self::Unavailable { .. } => {
                "nothing at first; if it lasts, look at the Hub's status page".to_owned()
            }
            Self::Refused { .. } => "check HF_ENDPOINT and HF_REPO against what the Hub says".to_owned(),
            Self::Store { .. } => "nothing at first; if it lasts, look at the Hub's status page".to_owned(),
            Self::Connection(_) | Self::TimedOut { .. } => {
                "check that this machine reaches the Hub (HF_ENDPOINT, proxy, firewall)".to_owned()
            }
            Self::Malformed { .. } => "check that HF_ENDPOINT is a Hub and not another web site".to_owned(),
            Self::Checksum { .. } => "nothing: the file is fetched again".to_owned(),
            Self::Conflict => "find out who else commits to the repo all the time".to_owned(),
            Self::Superseded { newest, .. } => {
                format!("nothing: the next try is compared with {newest} and published under a later name")
            }
            Self::Index => {
                "repair or delete models/index.json in the repo, or update this program if a newer one wrote it".to_owned()
            }
            Self::Taken { .. } => "nothing: the next try publishes under a later name".to_owned(),
            Self::File { path, .. } => {
                format!("check that {} can be read and written, and that its disk isn't full", path.display())
            }
            Self::Library(_) => "nothing at first; if it lasts, report it with the log".to_owned(),
        }
    }
}
