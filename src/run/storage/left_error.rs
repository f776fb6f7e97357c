//! The error of an attempt that could not save its run's record, kept for the next attempt.
//!
//! Without it, the next attempt knows only that the last one ended, as after a kill, and a run that
//! fails in the same way each time would end as one that died too often.
//!
//! ```text
//! <data dir>/jobs/<job>/error.json
//! ```

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::{JobId, RecordedError};
use crate::failure::chain;

use super::files::replace;
use super::run_dir::folder_of;

/// Largest file that is read, in bytes. An error has a few thousand.
const MAX_BYTES: u64 = 64 << 10;

/// Content of the file.
#[derive(Serialize, Deserialize)]
struct LeftError {
    /// Number of the attempt.
    attempt: u64,
    error: RecordedError,
}

/// Stores the error of an attempt. A failure is only logged: there is nothing else to do about it.
pub(in crate::run) fn leave_error(data_dir: &Path, job: &JobId, attempt: u64, error: RecordedError) {
    let left = serde_json::to_vec(&LeftError { attempt, error });
    let stored = left.ok().map(|bytes| replace(&path(data_dir, job), &bytes));
    if let Some(Err(error)) = stored {
        tracing::warn!(%job, error = chain(&error), "the error of an attempt was not stored");
    }
}

/// Removes and returns the error that the attempt before this one has left on this disk. A damaged
/// file and the error of an older attempt count as none.
pub(in crate::run) fn take_error(data_dir: &Path, job: &JobId, attempt: u64) -> Option<RecordedError> {
    let path = path(data_dir, job);
    let length = std::fs::metadata(&path).ok()?.len();
    let bytes = (length <= MAX_BYTES).then(|| std::fs::read(&path).ok()).flatten();
    if let Err(error) = std::fs::remove_file(&path) {
        tracing::warn!(%job, error = chain(&error), "the error of an attempt was not removed");
    }
    let left: LeftError = serde_json::from_slice(&bytes?).ok()?;
    (left.attempt + 1 == attempt).then_some(left.error)
}

fn path(data_dir: &Path, job: &JobId) -> PathBuf {
    folder_of(data_dir, job).join("error.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::RetryDirective;

    #[test]
    fn an_error_is_found_once_and_a_damaged_one_never() {
        let data = tempfile::tempdir().unwrap();
        let job = JobId::manual(1);
        assert_eq!(take_error(data.path(), &job, 4), None);
        let error = RecordedError {
            message: "no room".to_owned(),
            advice: "make some".to_owned(),
            remedy: RetryDirective::Person,
        };
        leave_error(data.path(), &job, 3, error.clone());
        assert_eq!(take_error(data.path(), &JobId::manual(2), 4), None);
        assert_eq!(take_error(data.path(), &job, 4), Some(error.clone()));
        assert_eq!(take_error(data.path(), &job, 4), None);
        leave_error(data.path(), &job, 2, error);
        assert_eq!(take_error(data.path(), &job, 4), None, "another attempt ended since");
        std::fs::write(path(data.path(), &job), b"{").unwrap();
        assert_eq!(take_error(data.path(), &job, 4), None);
    }
}
