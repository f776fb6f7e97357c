//! Id of a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest job id, in bytes.
const MAX_JOB_ID: usize = 64;

/// Error for a text that is not a job id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a job id")]
pub struct NotAJobId;

/// Id of a run in its job, its events and its record. It has 1 to 64 ASCII letters, digits, `-` and
/// `_`, so that it is one token of a subject and a valid key of a bucket.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// Returns the id of a request that came without one. It holds the request's sequence on the
    /// stream, which is the same at every delivery.
    pub fn manual(sequence: u64) -> Self {
        Self(format!("manual-{sequence}"))
    }

    /// Returns the id of the job for the pairs with these stream sequences. Every worker that
    /// requests this job derives the same id.
    pub fn for_pairs(first_sequence: u64, last_sequence: u64) -> Self {
        Self(format!("pairs-{first_sequence}-{last_sequence}"))
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl TryFrom<String> for JobId {
    type Error = NotAJobId;

    fn try_from(text: String) -> Result<Self, NotAJobId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if (1..=MAX_JOB_ID).contains(&text.len()) && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(NotAJobId)
        }
    }
}

impl FromStr for JobId {
    type Err = NotAJobId;

    fn from_str(text: &str) -> Result<Self, NotAJobId> {
        text.to_owned().try_into()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}
