//! The rows a run was made from, kept by their hash.
//!
//! The stream of pairs only grows, so the rows of a run can always be read again up to the sequence in its record; the
//! file saves that reading after a crash, and outlives the run so that its model can be made again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::correction::{Row, Templates};
use crate::evaluate::HoldOut;

use crate::run::dataset::Dataset;
use crate::run::error::RunError;
use crate::run::storage::{keep_newest, replace};

/// The folder of snapshots below the data directory.
pub(in crate::run) const SNAPSHOTS: &str = "snapshots";
/// How many snapshots are kept.
const KEPT: usize = 10;
/// What their names end in.
const SUFFIX: &str = ".jsonl";

/// A folder of snapshots, `<hash>.jsonl` each, one row a line.
#[derive(Debug, Clone)]
pub(in crate::run) struct Snapshots {
    folder: PathBuf,
}

/// The rows of a run, as the stream gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct TakenRows {
    pub(in crate::run) rows: Vec<Row>,
    /// Ids of those that a person released from quarantine.
    pub(in crate::run) released: BTreeSet<i64>,
    /// Names that `CATALOG` said then, with their domains.
    pub(in crate::run) names: Vec<(String, String)>,
}

impl TakenRows {
    /// The dataset they make.
    pub(in crate::run) fn dataset(self, hold_out: &HoldOut, templates: &Templates) -> Dataset {
        Dataset::with_released(self.rows, &self.released, hold_out, templates).with_names(&self.names)
    }
}

/// A line of a snapshot.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    /// The names, in the first line if there are any.
    Names {
        names: Vec<(String, String)>,
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

/// Where a run's rows came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RowSource {
    /// The stream of pairs.
    Stream,
    /// The snapshot of an attempt before.
    Snapshot,
}

impl Snapshots {
    /// The snapshots below a folder.
    pub(in crate::run) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where the rows under a hash are kept; nowhere, if it is no hash: it comes from a record, which anybody may have
    /// written.
    pub(in crate::run) fn path(&self, hash: &str) -> Option<PathBuf> {
        let is_hash = hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| self.folder.join(format!("{hash}{SUFFIX}")))
    }

    /// The rows under a hash, if they are here. Whoever asks checks the hash: it is computed anyway.
    pub(in crate::run) fn load(&self, hash: &str) -> Option<TakenRows> {
        let text = std::fs::read_to_string(self.path(hash)?).ok()?;
        let mut taken = TakenRows { rows: Vec::new(), released: BTreeSet::new(), names: Vec::new() };
        for line in text.lines() {
            match serde_json::from_str(line).ok()? {
                Line::Names { names } => taken.names = names,
                Line::Row(RowLine { row, released }) => {
                    if released {
                        taken.released.insert(row.id);
                    }
                    taken.rows.push(row);
                }
            }
        }
        Some(taken)
    }

    /// Keeps rows under their hash, and forgets the oldest snapshots.
    pub(in crate::run) fn keep(&self, hash: &str, taken: &TakenRows) -> Result<(), RunError> {
        let mut bytes = Vec::new();
        let names = (!taken.names.is_empty()).then(|| Line::Names { names: taken.names.clone() });
        let rows = taken
            .rows
            .iter()
            .map(|row| Line::Row(RowLine { row: row.clone(), released: taken.released.contains(&row.id) }));
        for line in names.into_iter().chain(rows) {
            serde_json::to_writer(&mut bytes, &line).map_err(crate::broker::QueueError::from)?;
            bytes.push(b'\n');
        }
        let path = self.folder.join(format!("{hash}{SUFFIX}"));
        replace(&path, &bytes)?;
        keep_newest(&self.folder, SUFFIX, KEPT)
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
            created_at: None,
        }
    }

    #[test]
    fn rows_come_back_as_they_were_and_only_the_newest_stay() {
        let folder = tempfile::tempdir().unwrap();
        let snapshots = Snapshots::new(folder.path().join("snapshots"));
        let names = vec![("brand".to_owned(), "Kia".to_owned())];
        let rows = TakenRows { rows: vec![row(1), row(2)], released: BTreeSet::from([2]), names };
        for number in 0..KEPT + 3 {
            snapshots.keep(&format!("{number:02}"), &rows).unwrap();
        }
        let last = format!("{:02}", KEPT + 2);
        assert_eq!(snapshots.load(&last).unwrap(), rows);
        assert_eq!(entries(&folder.path().join("snapshots")).unwrap().len(), KEPT);
        assert!(snapshots.load("00").is_none());
        assert!(snapshots.load("../00").is_none());
        std::fs::write(snapshots.path(&last).unwrap(), b"{\"id\":").unwrap();
        assert!(snapshots.load(&last).is_none(), "half a file is no snapshot");
    }
}
