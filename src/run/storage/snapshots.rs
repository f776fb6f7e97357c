//! The rows that runs were trained on, stored by their hash.
//!
//! A run's rows can be read again from the stream of pairs, up to the sequence in
//! its record. After a crash, a snapshot makes this second read unnecessary. It also outlives the
//! run, so that the run can be replayed.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::broker::JobId;
use crate::catalog_row::CatalogRow;
use crate::correction::Row;
use crate::evaluate::HoldOut;
use crate::row_list::RowList;
use crate::templates::Templates;

use crate::run::dataset::Dataset;
use crate::run::error::RunError;

use super::files::{blocking, entries, keep_newest, place, replace_json_lines};

/// Name of the folder of snapshots below the data directory.
const SNAPSHOTS: &str = "snapshots";
/// Beginning of the names of snapshots whose hash isn't known yet; it is in no hash.
const UNNAMED: &str = "unnamed-";
/// Number of snapshots that are kept.
const MAX_SNAPSHOTS: usize = 10;
/// Suffix of a snapshot's file name.
const SUFFIX: &str = ".jsonl";

/// Returns the folder of snapshots.
pub(super) fn snapshots(data_dir: &Path) -> PathBuf {
    data_dir.join(SNAPSHOTS)
}

/// Folder of snapshots, each in a file `<hash>.jsonl` with one row per line.
#[derive(Debug, Clone)]
pub(in crate::run) struct Snapshots {
    folder: PathBuf,
}

/// The rows of a run as read from the stream, with the names from `CATALOG`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct RunRows {
    pub(in crate::run) rows: RowList,
    /// Ids of the rows that a person released from quarantine.
    pub(in crate::run) released: BTreeSet<i64>,
    /// Rows of `CATALOG` at the time of the read.
    pub(in crate::run) names: Vec<CatalogRow>,
}

impl RunRows {
    /// Builds the dataset from the rows and names.
    pub(in crate::run) fn dataset(self, hold_out: &HoldOut, templates: &Templates) -> Dataset {
        Dataset::with_released(self.rows, &self.released, hold_out, templates)
            .with_names(&self.names, templates)
    }
}

/// Line of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The names, in the first line if there are any.
    Names {
        names: Vec<CatalogRow>,
    },
    Row(RowLine),
}

#[derive(Serialize, Deserialize)]
struct RowLine {
    #[serde(flatten)]
    row: Row,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    released: bool,
}

/// Source of a run's rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowSource {
    /// The stream of pairs.
    Stream,
    /// The snapshot that an earlier attempt stored.
    Snapshot,
}

impl Snapshots {
    /// Returns the snapshots below a data directory.
    pub(in crate::run) fn new(data_dir: &Path) -> Self {
        Self { folder: snapshots(data_dir) }
    }

    /// Returns the path of the snapshot with this hash, or `None` when the text is not a hash. The
    /// text comes from a record, which other programs can write.
    pub(in crate::run) fn path(&self, hash: &str) -> Option<PathBuf> {
        let is_hash = !hash.is_empty() && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| self.folder.join(format!("{hash}{SUFFIX}")))
    }

    /// Loads the rows with this hash, if they are on this disk. The caller compares the hash,
    /// because building the dataset computes it anyway.
    pub(in crate::run) fn load(&self, hash: &str) -> Option<RunRows> {
        let file = BufReader::new(File::open(self.path(hash)?).ok()?);
        let mut run_rows = RunRows { rows: RowList::default(), released: BTreeSet::new(), names: Vec::new() };
        for line in file.lines() {
            match serde_json::from_str(&line.ok()?).ok()? {
                Line::Names { names } => run_rows.names = names,
                Line::Row(RowLine { row, released }) => {
                    if released {
                        run_rows.released.insert(row.id);
                    }
                    run_rows.rows.push(&row);
                }
            }
        }
        Some(run_rows)
    }

    /// Writes the rows of a run beside the snapshots, before the hash that they are stored under is known,
    /// and returns the path.
    pub(in crate::run) fn write(&self, run_rows: &RunRows, job: &JobId) -> Result<PathBuf, RunError> {
        let path = self.folder.join(format!("{UNNAMED}{job}{SUFFIX}"));
        let names = (!run_rows.names.is_empty()).then(|| Line::Names { names: run_rows.names.clone() });
        let rows = run_rows.rows.iter().map(|row| {
            let released = run_rows.released.contains(&row.id);
            Line::Row(RowLine { row, released })
        });
        replace_json_lines(&path, names.into_iter().chain(rows))?;
        Ok(path)
    }

    /// Stores written rows under their hash, and removes the oldest snapshots. Rows that can't be stored
    /// are removed.
    pub(in crate::run) fn store(&self, hash: &str, written: &Path) -> Result<(), RunError> {
        place(written, &self.folder.join(format!("{hash}{SUFFIX}"))).inspect_err(|_| {
            // It may be gone already, which is the usual reason for the error.
            let _ = std::fs::remove_file(written);
        })?;
        keep_newest(&self.folder, SUFFIX, MAX_SNAPSHOTS)
    }
}

/// Removes the stored rows of every run that read one of these rows, given by number. Such a run can
/// then not be repeated any more. Returns the number of runs.
///
/// # Errors
/// [`RunError::File`] when a file can't be read or removed.
pub async fn erase_snapshots(data_dir: &Path, erased: BTreeSet<i64>) -> Result<usize, RunError> {
    let snapshots = Snapshots::new(data_dir);
    if erased.is_empty() {
        return Ok(0);
    }
    blocking(move || snapshots.erase(&erased)).await
}

impl Snapshots {
    fn erase(&self, erased: &BTreeSet<i64>) -> Result<usize, RunError> {
        /// Id of a row; absent in the line of names.
        #[derive(Deserialize)]
        struct LineId {
            id: Option<i64>,
        }
        let mut removed = 0;
        for path in entries(&self.folder)? {
            let text = match std::fs::read(&path) {
                Ok(text) => text,
                // Another worker on the same disk has removed it.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => return Err(RunError::file("read", &path)(error)),
            };
            let mut ids = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            // A line that can't be read may hold anything.
            let holds = ids.any(|line| match serde_json::from_slice::<LineId>(line) {
                Ok(LineId { id }) => id.is_some_and(|id| erased.contains(&id)),
                Err(_) => true,
            });
            if holds {
                match std::fs::remove_file(&path) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(RunError::file("remove", &path)(error));
                    }
                    removed_file => removed += usize::from(removed_file.is_ok()),
                }
            }
        }
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::storage::entries;

    fn row(id: i64) -> Row {
        Row {
            id,
            typo: "a\nb\u{2028}".into(),
            corrected: "c".into(),
            domain: "brand".into(),
            ..Row::default()
        }
    }

    fn store(snapshots: &Snapshots, hash: &str, rows: &RunRows) {
        let written = snapshots.write(rows, &JobId::manual(1)).unwrap();
        snapshots.store(hash, &written).unwrap();
    }

    #[test]
    fn the_rows_of_every_run_that_read_an_erased_row_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path());
        let rows = |ids: &[i64]| RunRows {
            rows: ids.iter().map(|id| row(*id)).collect(),
            released: BTreeSet::new(),
            names: vec![CatalogRow::alone("brand", "Kia")],
        };
        for (hash, ids) in [("aa", [1, 2].as_slice()), ("bb", &[2, 3]), ("cc", &[4])] {
            store(&snapshots, hash, &rows(ids));
        }
        std::fs::write(snapshots.folder.join("dd.jsonl.part"), b"{\"id\":7,\"ty").unwrap();
        assert_eq!(snapshots.erase(&BTreeSet::from([2, 9])).unwrap(), 3, "half a file is removed, too");
        assert!(snapshots.load("aa").is_none() && snapshots.load("bb").is_none());
        assert_eq!(snapshots.load("cc").unwrap().rows.len(), 1);
    }

    #[test]
    fn rows_come_back_as_they_were_and_only_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path());
        let names = vec![CatalogRow::alone("brand", "Kia")];
        let rows = RunRows { rows: vec![row(1), row(2)].into(), released: BTreeSet::from([2]), names };
        for number in 0..MAX_SNAPSHOTS + 3 {
            store(&snapshots, &format!("{number:02}"), &rows);
        }
        let last = format!("{:02}", MAX_SNAPSHOTS + 2);
        assert_eq!(snapshots.load(&last).unwrap(), rows);
        assert_eq!(entries(&folder.path().join("snapshots")).unwrap().len(), MAX_SNAPSHOTS);
        assert!(snapshots.load("00").is_none());
        assert!(snapshots.load("../00").is_none());
        std::fs::write(snapshots.path(&last).unwrap(), b"{\"id\":").unwrap();
        assert!(snapshots.load(&last).is_none(), "half a file is no snapshot");
    }
}
