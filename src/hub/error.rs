//! Errors of the Hub, and advice for each.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::HFError;
use reqwest::StatusCode;
use url::Url;

use super::access::{HubAccess, RepoName};
use super::release::ReleaseName;
use crate::failure::{Failure, RetryDirective};
use crate::text::plain_line;

/// Largest number of characters of the Hub's message that an error holds.
const MAX_MESSAGE: usize = 300;

/// Failure of a step with the Hub. Never holds a token, a signed link, or a file's content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// The token is missing or unknown to the Hub (401).
    #[error("the Hub doesn't accept the token for {repo}{}", quoted(message))]
    Unauthorized {
        /// The requested repo.
        repo: RepoName,
        /// The Hub's message, truncated; may be empty.
        message: String,
    },
    /// The token is valid but lacks a permission (403).
    #[error("the token lacks permission on {repo}{}", quoted(message))]
    Forbidden {
        /// The requested repo.
        repo: RepoName,
        /// The Hub's message, truncated; may be empty.
        message: String,
    },
    /// The repo's owner lets only those read it who accepted the conditions (401 or 403).
    #[error("the Hub gives {repo} only to those who accepted its conditions{}", quoted(message))]
    Gated {
        /// The requested repo.
        repo: RepoName,
        /// The Hub's message, truncated; may be empty.
        message: String,
    },
    /// The repo does not exist, or the token may not see it (404, or 401 without a token).
    #[error("the Hub has no repo {repo}, or the token may not see it{}", quoted(message))]
    NoRepository {
        /// The requested repo.
        repo: RepoName,
        /// The Hub's message, truncated; may be empty.
        message: String,
    },
    /// The repo has no such file, or no longer has it.
    #[error("the repo has no file {path}")]
    NoFile {
        /// The requested path.
        path: String,
    },
    /// Too many requests (429).
    #[error("the Hub's rate limit is reached")]
    Limited {
        /// Wait that the Hub asked for.
        retry_after: Option<Duration>,
    },
    /// The Hub is unavailable (408 or 5xx).
    #[error("the Hub answered {status}")]
    Unavailable {
        /// The HTTP status.
        status: u16,
    },
    /// The Hub rejected the request for another reason (any other 4xx).
    #[error("the Hub answered {status}: {message}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The Hub's message, truncated.
        message: String,
    },
    /// The object store rejected content, or a link to the store expired.
    #[error("the object store answered {status}")]
    Store {
        /// The HTTP status.
        status: u16,
    },
    /// The connection could not be opened, or was cut.
    #[error("the connection to the Hub failed")]
    Connection(#[source] reqwest::Error),
    /// The Hub did not respond, or a transfer made no progress, within the limit.
    #[error("the Hub did not respond for {} s", limit.as_secs_f32())]
    TimedOut {
        /// The exceeded limit.
        limit: Duration,
    },
    /// A response that does not follow the protocol.
    #[error("can't parse the Hub's response: {what}")]
    Malformed {
        /// The malformed part of the response.
        what: &'static str,
    },
    /// The content of a download differs from the size or checksum that the Hub lists.
    #[error("the content of {path} does not match the size or checksum that the Hub lists")]
    Checksum {
        /// The file's path in the repo.
        path: String,
    },
    /// A model has more files or bytes than any model that this program trains.
    #[error("{path} is larger than {limit} bytes, or has more files than a model")]
    TooLarge {
        /// The repo, or the file's path in it.
        path: String,
        /// Largest size in bytes.
        limit: u64,
    },
    /// Someone else committed between our check and our commit, on every attempt.
    #[error("someone else committed to the repo at the same time")]
    Conflict,
    /// The answer to a commit was lost, and the Hub can't be asked now whether the commit was made.
    #[error("the Hub did not answer the commit of {release}, and can't be asked whether it was made")]
    Unanswered {
        /// The release that was to be published.
        release: ReleaseName,
        /// Reason that the Hub can't be asked.
        source: Box<HubError>,
    },
    /// Someone else published a release between our check and our commit.
    #[error("{newest} was published before {ours} could be")]
    Superseded {
        /// The release that we tried to publish.
        ours: ReleaseName,
        /// The newest release in the repo.
        newest: ReleaseName,
    },
    /// The name of our release exists already, with other content.
    #[error("{name} exists already, with other content")]
    Taken {
        /// Name of the release.
        name: ReleaseName,
    },
    /// The repo's index is damaged, or a newer version of this program wrote it.
    #[error("can't parse models/index.json of the repo")]
    Index,
    /// A local file can't be read or written.
    #[error("can't read or write {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The Hub's client library failed in another way, such as inside Xet.
    #[error("the Hub's client library failed")]
    Library(#[source] Box<HFError>),
}

impl HubError {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    /// Converts a transport failure. Removes the URL, which may be a signed link.
    pub(super) fn connection(error: reqwest::Error) -> Self {
        Self::Connection(error.without_url())
    }

    /// Converts a status other than success; `code` is the header `x-error-code`, and `message` the
    /// Hub's message.
    pub(super) fn status(status: StatusCode, repo: &RepoName, code: Option<&str>, message: &str) -> Self {
        let (repo, message) = (repo.clone(), plain_line(message, MAX_MESSAGE));
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if code == Some("GatedRepo") => {
                Self::Gated { repo, message }
            }
            StatusCode::UNAUTHORIZED if code == Some("RepoNotFound") => Self::NoRepository { repo, message },
            StatusCode::UNAUTHORIZED => Self::Unauthorized { repo, message },
            StatusCode::FORBIDDEN => Self::Forbidden { repo, message },
            StatusCode::NOT_FOUND => Self::NoRepository { repo, message },
            StatusCode::PRECONDITION_FAILED => Self::Conflict,
            StatusCode::TOO_MANY_REQUESTS => Self::Limited { retry_after: None },
            StatusCode::REQUEST_TIMEOUT => Self::Unavailable { status: status.as_u16() },
            _ if status.is_server_error() => Self::Unavailable { status: status.as_u16() },
            _ => Self::Refused { status: status.as_u16(), message },
        }
    }

    /// Converts an error of `hf-hub`; `path` is the file of the failed call.
    pub(super) fn library(error: HFError, access: &HubAccess, path: &str) -> Self {
        if let Some(status) = refused_elsewhere(&error, access) {
            return Self::Store { status };
        }
        let repo = &access.repo;
        match error {
            HFError::AuthRequired { context }
            | HFError::Forbidden { context }
            | HFError::Http { context }
            | HFError::RepoNotFound { context: Some(context), .. } => {
                let message = context.server_message.as_deref().unwrap_or_default();
                Self::status(context.status, repo, context.error_code.as_deref(), message)
            }
            HFError::RepoNotFound { context: None, .. } => {
                Self::NoRepository { repo: repo.clone(), message: String::new() }
            }
            HFError::EntryNotFound { .. } | HFError::RevisionNotFound { .. } => {
                Self::NoFile { path: path.to_owned() }
            }
            HFError::RateLimited { retry_after, .. } => Self::Limited { retry_after },
            HFError::Conflict { .. } => Self::Conflict,
            HFError::Request { source, .. } => Self::connection(source),
            HFError::MalformedResponse { .. } | HFError::Json(_) => {
                Self::Malformed { what: "a file's headers" }
            }
            other => Self::Library(Box::new(other)),
        }
    }

    /// Returns true when the same request may succeed in a moment.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Limited { .. }
            | Self::Unavailable { .. }
            | Self::Connection(_)
            | Self::TimedOut { .. }
            | Self::Library(_) => true,
            Self::Unauthorized { .. }
            | Self::Forbidden { .. }
            | Self::Gated { .. }
            | Self::NoRepository { .. }
            | Self::NoFile { .. }
            | Self::Refused { .. }
            | Self::Store { .. }
            | Self::Malformed { .. }
            | Self::Checksum { .. }
            | Self::TooLarge { .. }
            | Self::Conflict
            | Self::Unanswered { .. }
            | Self::Superseded { .. }
            | Self::Taken { .. }
            | Self::Index
            | Self::File { .. } => false,
        }
    }

    /// Returns the wait that the Hub asked for.
    pub(super) fn asked_pause(&self) -> Option<Duration> {
        if let Self::Limited { retry_after } = self { *retry_after } else { None }
    }
}

/// Returns the Hub's message as the end of a sentence.
fn quoted(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!("; it says: {message}") }
}

/// Returns the status when the object store rejected the request, not the Hub. Such a rejection is
/// about the signed link, not about our permissions.
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
            | Self::Gated { .. }
            | Self::NoRepository { .. }
            | Self::Refused { .. }
            | Self::Index
            | Self::TooLarge { .. }
            | Self::File { .. } => RetryDirective::Person,
            // A release that vanished is no longer the newest, so a retry finds another one. A run
            // that lost the race for the newest name retries with a later name.
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
            | Self::Unanswered { .. }
            | Self::Library(_) => RetryDirective::Retry,
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Unauthorized { repo, .. } => {
                format!("Set HF_TOKEN to a valid token with write access to {repo} (HF_REPO).")
            }
            Self::Forbidden { repo, .. } => format!("Give HF_TOKEN write access to {repo} (HF_REPO)."),
            Self::Gated { repo, .. } => format!(
                "Accept the conditions of {repo} (HF_REPO) on its page, with the account of HF_TOKEN."
            ),
            Self::NoRepository { repo, .. } => {
                format!("Create the model repo {repo}, or set HF_REPO to a repo that HF_TOKEN may read.")
            }
            Self::NoFile { path } => {
                format!("No action is needed: {path} was deleted, and the next attempt lists the repo again.")
            }
            Self::Limited { .. } => "No action is needed: the next attempt comes later.".to_owned(),
            Self::Unavailable { .. } => "If this persists, look at the Hub's status page.".to_owned(),
            Self::Refused { .. } => "Check HF_ENDPOINT and HF_REPO against the Hub's message.".to_owned(),
            Self::Store { .. } => "If this persists, look at the Hub's status page.".to_owned(),
            Self::Connection(_) | Self::TimedOut { .. } => {
                "Check that this machine reaches the Hub (HF_ENDPOINT, proxy, firewall).".to_owned()
            }
            Self::Malformed { .. } => "Check that HF_ENDPOINT is a Hub and not another website.".to_owned(),
            Self::Checksum { .. } => "No action is needed: the file is downloaded again.".to_owned(),
            Self::TooLarge { path, .. } => format!("Remove {path}, or choose another model."),
            Self::Conflict => "Find out who else keeps committing to the repo.".to_owned(),
            Self::Unanswered { source, .. } => {
                format!("The next attempt looks first, and publishes nothing twice. {}", source.advice())
            }
            Self::Superseded { newest, .. } => {
                format!("No action is needed: the next attempt compares with {newest} and takes a later name.")
            }
            Self::Index => {
                "Repair or delete models/index.json in the repo, or update this program if a newer one wrote it.".to_owned()
            }
            Self::Taken { .. } => "No action is needed: the next attempt takes a later name.".to_owned(),
            Self::File { path, .. } => {
                format!("Check that {} is readable and writable, and that its disk isn't full.", path.display())
            }
            Self::Library(_) => "If this persists, report it with the log.".to_owned(),
        }
    }
}
