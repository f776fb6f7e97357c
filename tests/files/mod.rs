//! Files of rows and lists of names, as programs export them.
//!
//! `scripts/fixtures/exports.py` wrote the files, with the programs that their names tell.

mod commands;
mod hostile_parquet;

use std::path::{Path, PathBuf};

use autovalidate::catalog_row::CatalogRow;
use autovalidate::failure::Failure;
use autovalidate::ingest::read_names;
use autovalidate::run::read_rows;
use autovalidate::table_file::{ParquetReader, Place, Problem, TableFileError};

/// The rows of every export.
const ROWS: [[&str; 3]; 6] = [
    ["toyta", "Toyota", "brand"],
    ["lnad, rover", "Land Rover", "brand"],
    ["5\" rim", "Größe; XL", "model"],
    ["众大", "大众", ""],
    ["3O08", "3008", "model"],
    ["", "Audi", "brand"],
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/exports")
}

/// Reader of Parquet files that starts the program, as commands do.
fn confined() -> ParquetReader {
    ParquetReader::new(env!("CARGO_BIN_EXE_autovalidate"))
}

fn exports() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[test]
fn every_export_of_a_table_gives_its_rows() {
    let files = exports();
    assert!(files.len() >= 28, "{files:?}");
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let rows = read_rows(std::slice::from_ref(&path), &confined())
            .unwrap_or_else(|error| panic!("{name}: {error}"))
            .rows;
        let texts: Vec<[String; 3]> = rows.iter().map(|row| [row.typo, row.corrected, row.domain]).collect();
        assert_eq!(texts, ROWS, "{name}");
        if name.contains("uuid") {
            assert!(
                rows.iter().all(|row| row.text_id.as_ref().is_some_and(|id| id.len() == 36)),
                "{name}: {rows:?}"
            );
            let places: Vec<i64> = rows.iter().map(|row| row.insert_order()).collect();
            assert!(
                places.windows(2).all(|two| two[1] - two[0] == 60_000_000),
                "{name}: a minute apart: {places:?}"
            );
        } else {
            assert_eq!(rows.iter().map(|row| row.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6], "{name}");
        }
    }
}

#[test]
fn the_same_ids_are_the_same_rows_in_every_format() {
    let ids = |name: &str| {
        let rows = read_rows(&[folder().join(name)], &confined()).unwrap().rows;
        rows.iter().map(|row| (row.id, row.text_id)).collect::<Vec<_>>()
    };
    assert_eq!(ids("duckdb-uuid.parquet"), ids("postgresql-uuid.csv"), "16 bytes there, a text here");
}

#[test]
fn every_export_is_a_list_of_names_too() {
    for path in exports() {
        let names = read_names(&path, &[], true, &confined())
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected = ROWS.map(|[_, corrected, domain]| CatalogRow::alone(domain, corrected));
        assert_eq!(names, expected, "{}", path.display());
    }
}

#[test]
fn an_export_that_cannot_be_read_is_named_with_its_remedy() {
    let refused = |name: &str| {
        let path = folder().join("refused").join(name);
        let error = read_rows(std::slice::from_ref(&path), &confined()).unwrap_err();
        assert!(error.to_string().contains(&*path.to_string_lossy()), "{error}");
        assert!(
            !ROWS.iter().flatten().any(|text| text.len() > 3 && error.to_string().contains(text)),
            "{error}"
        );
        let advice = error.advice();
        match error {
            TableFileError::Record { place, problem, .. } => (Some(place), problem, advice),
            TableFileError::Whole { problem, .. } => (None, problem, advice),
            TableFileError::File { .. } => panic!("{error:?}"),
        }
    };
    let (_, problem, advice) = refused("pandas-columns.json");
    assert!(
        matches!(&problem, Problem::NotAText { name } if name == "typo") && advice.contains("records"),
        "{advice}"
    );
    let (_, problem, advice) = refused("pandas-gzip.parquet");
    assert!(
        matches!(&problem, Problem::Codec(codec) if codec == "gzip") && advice.contains("snappy"),
        "{advice}"
    );
    assert!(matches!(refused("duckdb-lz4.parquet").1, Problem::Codec(codec) if codec == "LZ4"));
    let (_, problem, advice) = refused("workbook.xlsx");
    assert!(matches!(problem, Problem::OtherFormat { .. }) && advice.contains("CSV"), "{advice}");
    for name in ["psql-table.txt", "psql-unaligned.txt"] {
        let (place, problem, _) = refused(name);
        assert!(matches!(
            (place, problem),
            (Some(Place::Line(1)), Problem::Missing { name, columns: 1 }) if name == "typo"
        ));
    }
    // COPY's text format doubles the backslash of an escaped quote.
    let (place, problem, _) = refused("postgresql-copy-json.jsonl");
    assert!(matches!((place, problem), (Some(Place::Line(3)), Problem::NotJson { .. })));
}

/// Every change of one byte of a Parquet file is read or refused.
#[test]
fn a_damaged_parquet_file_makes_nothing_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged.parquet");
    for name in ["duckdb.parquet", "duckdb-uuid.parquet"] {
        let whole = std::fs::read(self::folder().join(name)).unwrap();
        let (mut read, mut refused) = (0, 0);
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x5b;
            for bytes in [&changed[..], &whole[..place]] {
                std::fs::write(&path, bytes).unwrap();
                match read_rows(&[&path], &ParquetReader::in_this_process()) {
                    Ok(_) => read += 1,
                    Err(error) => {
                        assert!(!error.advice().is_empty());
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > whole.len() && read > 0, "{read} read, {refused} refused");
    }
}
