//! Access to a repo: its name, the Hub, the token, deadlines, and retry limits.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::retry::Backoff;

/// A model repo's name on the Hub: `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RepoName {
    owner: String,
    name: String,
}

/// Error for text that is not `owner/name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a repo name: use owner/name, with ASCII letters, digits, `-`, `_`, and `.` only")]
pub struct NotARepoName;

impl RepoName {
    /// Returns the user or organization that owns the repo.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the repo's name without the owner.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for RepoName {
    type Err = NotARepoName;

    fn from_str(text: &str) -> Result<Self, NotARepoName> {
        let (owner, name) = text.split_once('/').ok_or(NotARepoName)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        // The Hub's own rules: other names would be ambiguous in its URLs or in git.
        let valid = |part: &str| {
            (1..=96).contains(&part.len())
                && part.chars().all(allowed)
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
                && !part.ends_with(".git")
        };
        if valid(owner) && valid(name) {
            Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
        } else {
            Err(NotARepoName)
        }
    }
}

impl TryFrom<String> for RepoName {
    type Error = NotARepoName;

    fn try_from(text: String) -> Result<Self, NotARepoName> {
        text.parse()
    }
}

impl From<RepoName> for String {
    fn from(name: RepoName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for RepoName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.owner, self.name)
    }
}

/// A repo, its Hub, and the token for it.
#[derive(Debug, Clone)]
pub struct HubAccess {
    /// URL of the Hub: `HF_ENDPOINT`, or `https://huggingface.co`.
    pub endpoint: Url,
    /// Token of the Hub. `None` allows reading public repos. Downloads then use the token that
    /// `hf-hub` finds itself, as in every Hub client: `HF_TOKEN`, or the token of `hf auth login`,
    /// unless `HF_HUB_DISABLE_IMPLICIT_TOKEN` is set.
    pub token: Option<SecretString>,
    /// Name of the repo.
    pub repo: RepoName,
}

/// Deadlines and retry limits for calls to the Hub.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Deadline for opening a connection.
    pub connect: Duration,
    /// Deadline for the response to a call that transfers no file.
    pub answer: Duration,
    /// Longest time without a transferred byte during an upload or download.
    pub idle: Duration,
    /// Total number of attempts at a step, at least 1.
    pub attempts: u32,
    /// Upper bound of the first backoff. Doubles with every further failure.
    pub pause: Duration,
    /// Longest backoff, even when the Hub asks for a longer wait.
    pub longest_pause: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(60),
            idle: Duration::from_secs(60),
            attempts: 5,
            pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// Returns the backoff after this failure (counted from 1), or `None` to give up. `asked` is
    /// the wait that the Hub asked for, and `random`, in `0.0..1.0`, draws the jitter.
    pub(super) fn pause_after(&self, failure: u32, asked: Option<Duration>, random: f64) -> Option<Duration> {
        let pause = Backoff::new(self.pause, self.longest_pause).pause(failure, random);
        (failure < self.attempts).then(|| pause.max(asked.unwrap_or_default()).min(self.longest_pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_repo_name_is_owner_and_name() {
        let name: RepoName = "acme/cars-v1.2_x".parse().unwrap();
        assert_eq!((name.owner(), name.name()), ("acme", "cars-v1.2_x"));
        for wrong in
            ["", "acme", "/cars", "acme/", "a/b/c", "acme/..", "acme/a b", "acme/-a", "a/b.git", "é/b"]
        {
            assert_eq!(wrong.parse::<RepoName>(), Err(NotARepoName), "{wrong}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_end() {
        let patience =
            RetryPolicy { attempts: 4, longest_pause: Duration::from_secs(3), ..RetryPolicy::default() };
        let pause = |failure, asked| patience.pause_after(failure, asked, 1.0).map(|pause| pause.as_secs());
        assert_eq!([pause(1, None), pause(2, None), pause(3, None)], [Some(1), Some(2), Some(3)]);
        assert_eq!(pause(4, None), None);
        assert_eq!(pause(1, Some(Duration::from_secs(2))), Some(2));
        assert_eq!(pause(1, Some(Duration::from_secs(3600))), Some(3));
    }

    proptest! {
        #[test]
        fn a_repo_name_reads_back(text in "[a-z0-9./_-]{0,20}") {
            if let Ok(name) = text.parse::<RepoName>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }
    }
}
