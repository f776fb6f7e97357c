//! Settings of the ingest: the table's column names, the catalog, and the burst limit.

use crate::corrections::BurstLimit;
use crate::ingest::{CatalogSource, Columns};
use crate::redaction::quote;

use super::reader::SettingsReader;

/// Reads the column names from `[columns]` in the file and from `SUPABASE_COLUMNS`, written as
/// `id=pk,typo=wrong`. The variable wins. An empty name for `created_at` says that the table has no
/// such column.
pub(super) fn columns(reader: &mut SettingsReader<'_>) -> Columns {
    let mut columns = Columns::default();
    let mut entries = reader.table("columns").unwrap_or_default();
    let given = reader.look_up("SUPABASE_COLUMNS");
    if let Some((text, _)) = &given {
        for entry in text.split(',') {
            match entry.split_once('=') {
                Some((column, name)) => entries.push((column.trim().to_owned(), name.trim().to_owned())),
                None => reader
                    .problem("SUPABASE_COLUMNS", format!("has {}; it must be column=name", quote(entry))),
            }
        }
    }
    for (column, name) in entries {
        // PostgREST's syntax would split such names, and Realtime has no quoting at all.
        let nameless = name.is_empty() && column != "created_at";
        if nameless || name.contains(|c: char| !(c.is_alphanumeric() || c == '_')) {
            reader.problem(
                "SUPABASE_COLUMNS",
                format!("names {}; a column name may only have letters, digits and _", quote(&name)),
            );
            continue;
        }
        match column.as_str() {
            "id" => columns.id = name,
            "typo" => columns.typo = name,
            "corrected" => columns.corrected = name,
            "domain" => columns.domain = name,
            "created_at" => columns.created_at = name,
            "updated_at" => columns.updated_at = name,
            _ => reader.problem(
                "SUPABASE_COLUMNS",
                format!(
                    "has {}; the columns are id, typo, corrected, domain, created_at and updated_at",
                    quote(&column)
                ),
            ),
        }
    }
    let Columns { id, typo, corrected, domain, created_at, updated_at } = &columns;
    let in_force = format!(
        "id={id},typo={typo},corrected={corrected},domain={domain},created_at={created_at},updated_at={updated_at}"
    );
    match given {
        Some((_, origin)) => reader.note("SUPABASE_COLUMNS", in_force, origin),
        None => reader.note_table("SUPABASE_COLUMNS", "columns", in_force),
    }
    columns
}

pub(super) fn catalog(reader: &mut SettingsReader<'_>) -> Option<CatalogSource> {
    let text = reader.text("CATALOG")?;
    match text.parse() {
        Ok(CatalogSource::File(path)) if !path.exists() => {
            reader.problem("CATALOG", format!("is {}, which doesn't exist", quote(&text)));
            None
        }
        Ok(source) => Some(source),
        Err(error) => {
            reader.problem("CATALOG", format!("is {}, {error}", quote(&text)));
            None
        }
    }
}

pub(super) fn burst(reader: &mut SettingsReader<'_>) -> Option<BurstLimit> {
    let default = BurstLimit::default();
    let factor =
        reader.parse_or("BURST_FACTOR", "a whole number; 0 allows any rate", default.factor, |_| true);
    let floor = reader.parse_or("BURST_FLOOR", "rows a minute, from 1", default.floor, |floor| *floor > 0);
    (factor > 0).then_some(BurstLimit { factor, floor, ..default })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `read` with one variable set. Returns its result and the settings that have problems.
    fn with<T>(name: &str, value: &str, read: impl Fn(&mut SettingsReader<'_>) -> T) -> (T, Vec<String>) {
        let environment = |asked: &str| (asked == name).then(|| value.to_owned());
        let mut reader = SettingsReader::new(&environment, None);
        let read = read(&mut reader);
        (read, reader.problems.into_iter().map(|problem| problem.setting).collect())
    }

    #[test]
    fn columns_are_renamed_one_by_one_and_odd_names_are_refused() {
        let (renamed, problems) = with("SUPABASE_COLUMNS", "id=pk, corrected = right", columns);
        assert_eq!((renamed.id.as_str(), renamed.corrected.as_str()), ("pk", "right"));
        assert_eq!((renamed.typo.as_str(), problems.len()), ("typo", 0));
        let (undated, problems) = with("SUPABASE_COLUMNS", "created_at=", columns);
        assert_eq!((undated.created_at.as_str(), problems.len()), ("", 0));
        for wrong in ["id", "id=", "id=a,typo=b c", "name=x", "id=a),select(*"] {
            assert!(!with("SUPABASE_COLUMNS", wrong, columns).1.is_empty(), "{wrong}");
        }
    }

    #[test]
    fn the_file_may_have_a_table_of_columns() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "[columns]\ntypo = \"wrong\"\n").expect("written");
        let mut reader = SettingsReader::new(&|_| None, Some(file.path()));
        assert_eq!(columns(&mut reader).typo, "wrong");
        reader.finish();
        assert!(reader.problems.is_empty(), "{:?}", reader.problems);
    }

    #[test]
    fn a_catalog_must_be_there_and_a_burst_factor_of_none_turns_bursts_off() {
        assert_eq!(with("CATALOG", "nowhere.csv", catalog), (None, vec!["CATALOG".to_owned()]));
        assert_eq!(with("CATALOG", "names", catalog), (None, vec!["CATALOG".to_owned()]));
        assert!(matches!(with("CATALOG", "table:cars.name", catalog).0, Some(CatalogSource::Table { .. })));
        assert_eq!(with("BURST_FACTOR", "0", burst), (None, vec![]));
        assert_eq!(with("BURST_FACTOR", "7", burst).0.map(|burst| burst.factor), Some(7));
    }
}
