//! Rows from files, for a run without a queue.
//!
//! A row of a file is known by its file and its number there, since the ids in a file may be those of
//! several tables. Where the ids tell all rows apart, they stay, and with them the order of inserts.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::correction::Row;
use crate::postgres_time::PostgresTime;
use crate::row_identity::RowId;
use crate::row_list::RowList;
use crate::table_file::{Column, Columns, ParquetReader, Place, Record, TableFileError, read_each};

/// Columns of a file of rows.
const COLUMNS: Columns<'static> = Columns {
    wanted: &[
        Column::required(&["typo"]),
        Column::required(&["corrected"]),
        Column::optional(&["domain"]),
        Column::optional(&["id"]),
        Column::optional(&["created_at"]),
    ],
    lone: None,
};

/// Distance between the numbers of two files' first rows. A file has fewer rows.
const FILE_STEP: i64 = 1_000_000_000;

/// Rows of one or several files. Their numbers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRows {
    /// The rows, in the order of the files.
    pub rows: RowList,
    /// Ids that several rows have; `None` when there are none.
    pub repeated_ids: Option<RepeatedIds>,
}

/// Rows with the id of an earlier row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepeatedIds {
    /// Number of these rows.
    pub rows: usize,
    /// File of the first one.
    pub path: PathBuf,
    /// Place of the first one.
    pub place: Place,
}

impl fmt::Display for RepeatedIds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, path, place } = self;
        write!(
            formatter,
            "rows with the id of an earlier row: {rows}, the first at {place} of {}. Every row counts, and the order \
             in the files stands for the order of inserts",
            path.display()
        )
    }
}

/// Reads the rows of all files, as [`read_each`] does.
///
/// The columns are `typo`, `corrected` and, if the file has them, `domain`, `id` and `created_at`.
///
/// # Errors
/// [`TableFileError`], naming the first record that can't be read.
pub fn read_rows(paths: &[impl AsRef<Path>], parquet: &ParquetReader) -> Result<FileRows, TableFileError> {
    let mut reading = Reading::default();
    for (file, path) in paths.iter().map(AsRef::as_ref).enumerate() {
        read_each(path, &COLUMNS, parquet, &mut |record| reading.take(file, path, record))?;
    }
    Ok(reading.finish())
}

/// Rows of the files so far.
#[derive(Default)]
struct Reading {
    /// Rows with the ids of their files. A row without one has any.
    rows: RowList,
    /// Number that stands for each row where the ids don't.
    numbers: Vec<i64>,
    ids: BTreeSet<i64>,
    repeated_ids: Option<RepeatedIds>,
    /// Number of rows whose id is a whole number, and of those whose id is a text and that have a time. Where
    /// every row is one of the former, or every row one of the latter, ids give the order of inserts: a text
    /// has no place among whole numbers.
    whole: usize,
    timed: usize,
}

impl Reading {
    fn take(&mut self, file: usize, path: &Path, record: Record) {
        let mut values = record.values.into_iter();
        let mut next = || values.next().flatten();
        let (typo, corrected, domain) = (next(), next(), next());
        let id = next().and_then(|text| text.trim().parse::<RowId>().ok());
        let row = Row {
            typo: typo.unwrap_or_default(),
            corrected: corrected.unwrap_or_default(),
            domain: domain.unwrap_or_default(),
            created_at: next(),
            ..Row::default()
        };
        self.numbers.push(number_of(file, record.number));
        let Some(id) = id else { return self.rows.push(&row) };
        match id.text() {
            None => self.whole += 1,
            Some(_) => self.timed += usize::from(has_time(&row)),
        }
        if !self.ids.insert(id.number()) {
            let first = || RepeatedIds { rows: 0, path: path.to_owned(), place: record.place };
            self.repeated_ids.get_or_insert_with(first).rows += 1;
        }
        self.rows.push(&row.with_id(&id));
    }

    fn finish(self) -> FileRows {
        let Self { rows, numbers, repeated_ids, whole, timed, .. } = self;
        let keeps_ids = repeated_ids.is_none() && (whole == rows.len() || timed == rows.len());
        if keeps_ids {
            return FileRows { rows, repeated_ids };
        }
        let numbered = rows.iter().zip(numbers);
        let numbered = numbered.map(|(row, id)| Row { id, text_id: None, created_at: None, ..row });
        FileRows { rows: numbered.collect(), repeated_ids }
    }
}

fn has_time(row: &Row) -> bool {
    row.created_at.as_deref().and_then(PostgresTime::read).is_some()
}

/// Returns the number that stands for a row: that within its file, and the file's in front.
fn number_of(file: usize, number: u64) -> i64 {
    let file = i64::try_from(file).unwrap_or(i64::MAX).saturating_mul(FILE_STEP);
    file.saturating_add(i64::try_from(number).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(files: &[(&str, &str)]) -> Result<FileRows, TableFileError> {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> = files.iter().map(|(name, _)| folder.path().join(name)).collect();
        for (path, (_, text)) in paths.iter().zip(files) {
            std::fs::write(path, text).unwrap();
        }
        read_rows(&paths, &ParquetReader::in_this_process())
    }

    fn ids(files: &[(&str, &str)]) -> Vec<i64> {
        parse(files).unwrap().rows.iter().map(|row| row.id).collect()
    }

    #[test]
    fn ids_that_tell_all_rows_apart_stay() {
        assert_eq!(ids(&[("a.csv", "id,typo,corrected\n9,a,A\n7,b,B\n")]), [9, 7]);
        let other = ("b.jsonl", "{\"typo\":\"c\",\"corrected\":\"C\",\"id\":8}");
        assert_eq!(ids(&[("a.csv", "id,typo,corrected\n9,a,A\n7,b,B\n"), other]), [9, 7, 8]);
    }

    #[test]
    fn rows_whose_ids_repeat_or_lack_are_known_by_file_and_number() {
        let one = ("a.csv", "id,typo,corrected\n1,a,A\n1,b,B\n");
        assert_eq!(ids(&[one, ("b.csv", "id,typo,corrected\n1,c,C\n")]), [1, 2, 1_000_000_001]);
        let repeated = parse(&[one]).unwrap().repeated_ids.unwrap();
        assert_eq!((repeated.rows, repeated.place), (1, Place::Line(3)));
        assert!(repeated.to_string().contains("a.csv"));
        for text in [
            "id,typo,corrected\n2,a,A\n,b,B\n",
            "typo,corrected\na,A\nb,B\n",
            "id,typo,corrected\n7,a,A\nx-7,b,B\n",
        ] {
            assert_eq!(ids(&[("a.csv", text)]), [1, 2], "{text}");
            assert_eq!(parse(&[("a.csv", text)]).unwrap().repeated_ids, None);
        }
    }

    #[test]
    fn uuids_stay_where_times_give_the_order_of_inserts() {
        let (a, b) = ("3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c66", "3f1c0c1e-5b1f-4b0a-8a0e-9d5e1f2a7c67");
        let with = format!(
            "ID,typo,corrected,Created_At\n{a},a,A,2026-01-02 03:04:05.123456+00\n{b},b,B,2026-01-02T03:04:05Z\n"
        );
        let rows: Vec<Row> = parse(&[("a.csv", &with)]).unwrap().rows.iter().collect();
        assert!(rows[0].insert_order() > rows[1].insert_order());
        assert_eq!(rows.iter().map(|row| row.row_id().to_string()).collect::<Vec<_>>(), [a, b]);
        let without = format!("id,typo,corrected\n{a},a,A\n{b},b,B\n");
        let rows = parse(&[("a.csv", &without)]).unwrap().rows;
        assert_eq!(rows.iter().map(|row| (row.id, row.insert_order())).collect::<Vec<_>>(), [(1, 1), (2, 2)]);
    }

    #[test]
    fn null_is_an_empty_text() {
        let rows = parse(&[("a.jsonl", "{\"typo\":\"a\",\"corrected\":null,\"domain\":null}")]).unwrap().rows;
        assert_eq!((rows.row(0).corrected.as_str(), rows.row(0).domain.as_str()), ("", ""));
    }

    proptest! {
        #[test]
        fn no_row_is_dropped(ids in prop::collection::vec(prop::option::of(0_u8..6), 1..20), cut in 0_usize..20) {
            let lines: Vec<String> = ids
                .iter()
                .map(|id| format!("{},a,A\n", id.map(|id| id.to_string()).unwrap_or_default()))
                .collect();
            let (one, two) = lines.split_at(cut.min(lines.len()));
            let file = |lines: &[String]| format!("id,typo,corrected\n{}", lines.concat());
            let rows = parse(&[("a.csv", &file(one)), ("b.csv", &file(two))]).unwrap().rows;
            let numbers: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
            prop_assert_eq!((numbers.len(), rows.len()), (ids.len(), ids.len()));
        }
    }
}
