//! Files that are written once and never replaced.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use autovalidate_finetune::durable;
use serde::Serialize;
use similar::TextDiff;

use crate::cli::CliError;

/// Largest file that is compared, in bytes.
const MOST: u64 = 1 << 20;

/// Result of writing a file.
#[derive(Debug, Serialize)]
pub(super) struct Placed {
    /// Path below the installation's folder.
    pub(super) path: PathBuf,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub(super) enum Outcome {
    Written,
    /// The file is there with this text.
    Unchanged,
    /// The file is there with another text, and stays.
    Kept {
        /// Difference of the two texts.
        diff: String,
    },
}

/// Writes a file, or compares one that is there. `show` returns a line as it may be shown.
pub(super) fn place(
    folder: &Path,
    path: &Path,
    text: &str,
    private: bool,
    show: fn(&str) -> String,
) -> Result<Placed, CliError> {
    let full = folder.join(path);
    let outcome = match read_file(&full)? {
        Some(old) if old == text => Outcome::Unchanged,
        Some(old) => Outcome::Kept { diff: diff(&old, text, show) },
        None => {
            durable::create(&full, text.as_bytes(), private)
                .map_err(|error| failed("write", &full, error))?;
            Outcome::Written
        }
    };
    Ok(Placed { path: path.to_owned(), outcome })
}

/// Returns the text of a file, or `None` when there is none.
pub(super) fn read_file(path: &Path) -> Result<Option<String>, CliError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed("read", path, error)),
    };
    let mut text = String::new();
    let read = file.take(MOST + 1).read_to_string(&mut text).map_err(|error| failed("read", path, error))?;
    match u64::try_from(read) {
        Ok(read) if read <= MOST => Ok(Some(text)),
        _ => Err(failed("read", path, ErrorKind::FileTooLarge.into())),
    }
}

fn failed(action: &str, path: &Path, error: std::io::Error) -> CliError {
    CliError::Plain {
        what: format!("cannot {action} {}", path.display()),
        advice: "Choose another folder with --dir, or move that file away.".to_owned(),
        source: Some(error.into()),
    }
}

/// Returns the difference of two texts in the form of `diff -u`, without its head.
fn diff(old: &str, new: &str, show: fn(&str) -> String) -> String {
    let diff = TextDiff::from_lines(old, new);
    let hunks = diff.unified_diff().context_radius(1).missing_newline_hint(false).to_string();
    let lines = hunks.lines().map(|line| match line.chars().next() {
        Some(mark @ ('-' | '+' | ' ')) => format!("{mark}{}\n", show(&line[1..])),
        _ => format!("{line}\n"),
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_differs_is_shown_and_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = Path::new("below/file");
        let place = |text: &str| place(folder.path(), path, text, false, |line| line.replace("key", "***"));
        let outcome = |placed: Result<Placed, CliError>| placed.unwrap().outcome;
        assert_eq!(outcome(place("a\nkey 1\nb\n")), Outcome::Written);
        assert_eq!(outcome(place("a\nkey 1\nb\n")), Outcome::Unchanged);
        let diff = "@@ -1,3 +1,3 @@\n a\n-*** 1\n+*** 2\n b\n".to_owned();
        assert_eq!(outcome(place("a\nkey 2\nb\n")), Outcome::Kept { diff });
        assert_eq!(std::fs::read_to_string(folder.path().join(path)).unwrap(), "a\nkey 1\nb\n");
    }

    #[test]
    fn a_file_without_end_is_refused() {
        let error = read_file(Path::new("/dev/zero")).unwrap_err();
        assert!(crate::failure::chain(&error).contains("/dev/zero"), "{error}");
    }
}
