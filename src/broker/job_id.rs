//! Id of a run.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
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
    /// Returns the id that version 0.1 gave a request that came without one. It holds the request's
    /// sequence on the stream, and is repeated when the stream is made anew.
    pub fn manual(sequence: u64) -> Self {
        Self(format!("manual-{sequence}"))
    }

    /// Returns the id of a request that came without one. It holds the time at which the stream of
    /// requests was created and the request's sequence on it: a stream made anew repeats the
    /// sequences.
    pub fn requested(stream_created_at: Timestamp, sequence: u64) -> Self {
        Self(format!("manual-{}-{sequence}", base36(stream_created_at)))
    }

    /// Returns the id of the job for the pairs with these stream sequences, after a number of runs in a row
    /// that failed.
    pub fn for_pairs(first_sequence: u64, last_sequence: u64, failed_runs: u32) -> Self {
        match failed_runs {
            0 => Self(format!("pairs-{first_sequence}-{last_sequence}")),
            failed => Self(format!("pairs-{first_sequence}-{last_sequence}-again-{failed}")),
        }
    }

    /// Returns the id of the job for the pairs with these sequences on a stream that was made anew at
    /// this time, when a run on an earlier stream has the id without the time.
    pub fn for_pairs_anew(stream_created_at: Timestamp, first_sequence: u64, last_sequence: u64) -> Self {
        Self(format!("pairs-{}-{first_sequence}-{last_sequence}", base36(stream_created_at)))
    }

    /// Returns what stands in the place of a run's id in events that are about no run.
    pub fn worker() -> Self {
        Self("worker".to_owned())
    }

    /// Returns the id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Writes the milliseconds since 1970 with digits and letters, which takes eight of them.
fn base36(time: Timestamp) -> String {
    let mut left = u64::try_from(time.as_millisecond()).unwrap_or_default();
    let mut digits = Vec::new();
    loop {
        digits.push(char::from(b"0123456789abcdefghijklmnopqrstuvwxyz"[(left % 36) as usize]));
        left /= 36;
        if left == 0 {
            return digits.into_iter().rev().collect();
        }
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
