//! Parquet files that ask for more than they hold, and processes that don't answer.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use autovalidate::confined::Limits;
use autovalidate::failure::Failure;
use autovalidate::run::read_rows;
use autovalidate::table_file::{ParquetReader, Problem, TableFileError};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::confined;
use crate::support::write_program;

/// Number of rows, as the header of `DELTA_LENGTH_BYTE_ARRAY` writes it: blocks of 128 values, four parts
/// each, 100 values.
const HUNDRED: [u8; 4] = [0x80, 0x01, 0x04, 100];
/// The same header with 2,147,483,647 values.
const MANY: [u8; 8] = [0x80, 0x01, 0x04, 0xff, 0xff, 0xff, 0xff, 0x07];

/// Writes a file whose two columns have the same texts.
fn parquet_file(repetition: &str, texts: &[ByteArray], encoding: Option<Encoding>) -> Vec<u8> {
    let schema =
        format!("message rows {{ {repetition} binary typo (STRING); required binary corrected (STRING); }}");
    let schema = Arc::new(parse_message_type(&schema).unwrap());
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None);
    let properties = match encoding {
        Some(encoding) => properties.set_dictionary_enabled(false).set_encoding(encoding),
        None => properties,
    };
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties.build())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        let levels = vec![1; texts.len()];
        // The first value of a list begins a row.
        let begins = vec![0; texts.len()];
        column.typed::<ByteArrayType>().write_batch(texts, Some(&levels), Some(&begins)).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.into_inner().unwrap()
}

fn problem(bytes: &[u8], reader: &ParquetReader) -> Problem {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, bytes).unwrap();
    let error = read_rows(&[&path], reader).unwrap_err();
    assert!(!error.advice().is_empty() && error.to_string().contains("rows.parquet"), "{error}");
    match error {
        TableFileError::Whole { problem, .. } | TableFileError::Record { problem, .. } => problem,
        TableFileError::File { .. } => panic!("{error:?}"),
    }
}

#[test]
fn a_file_that_asks_for_gigabytes_is_refused() {
    let texts = vec![ByteArray::from("aaaa"); 100];
    let whole = parquet_file("required", &texts, Some(Encoding::DELTA_LENGTH_BYTE_ARRAY));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(read_rows(&[&path], &confined()).unwrap().rows.len(), 100);

    // The header grows by what the texts lose, so that every size stays right.
    let header = whole.windows(HUNDRED.len()).position(|bytes| bytes == HUNDRED).unwrap();
    let text = whole.windows(8).position(|bytes| bytes == *b"aaaaaaaa").unwrap();
    assert!(header < text, "{header} {text}");
    let rest = header + HUNDRED.len();
    let hostile = [&whole[..header], &MANY, &whole[rest..text], &whole[text + 4..]].concat();
    assert_eq!(hostile.len(), whole.len());
    let problem = problem(&hostile, &confined());
    assert!(matches!(problem, Problem::ParquetLimits), "{problem:?}");
}

#[test]
fn a_long_text_of_every_row_is_more_than_a_file_may_hold() {
    let texts = vec![ByteArray::from("a".repeat(300_000).as_str()); 500];
    let bytes = parquet_file("required", &texts, None);
    assert!(bytes.len() < 2_000_000, "{} bytes", bytes.len());
    let problem = problem(&bytes, &ParquetReader::in_this_process());
    assert!(matches!(problem, Problem::TooLarge), "{problem:?}");
}

#[test]
fn a_list_in_each_row_is_no_text() {
    let bytes = parquet_file("repeated", &[ByteArray::from("a")], None);
    let problem = problem(&bytes, &confined());
    assert!(matches!(&problem, Problem::NotAText { name } if name == "typo"), "{problem:?}");
}

#[test]
fn a_process_that_does_not_answer_is_an_answer() {
    let home = tempfile::tempdir().unwrap();
    let by = |script: &str, time: Duration| {
        let program = home.path().join("program");
        write_program(&program, script);
        // More than a pipe holds.
        let bytes = [&b"PAR1"[..], &[b'a'; 200_000]].concat();
        problem(&bytes, &ParquetReader::new(&program).within(Limits { time, ..Limits::default() }))
    };
    let record = r#"echo '{"record":["a","b",null,null,null]}'"#;
    for script in [
        "kill -ABRT $$",
        "exit 3",
        "cat >/dev/null; echo '{}'",
        "yes | head -c 1000000",
        // Whoever dies after some records has not read the file.
        record,
        &format!("{record}; kill -SEGV $$"),
    ] {
        let problem = by(script, Duration::from_secs(60));
        assert!(matches!(problem, Problem::ParquetLimits), "{script}: {problem:?}");
    }
    for script in ["exec sleep 600", "cat >/dev/null; exec sleep 600", "yes"] {
        let problem = by(script, Duration::from_millis(50));
        assert!(matches!(problem, Problem::ParquetLimits), "{script}: {problem:?}");
    }
    let problem = problem(b"PAR1", &ParquetReader::new(Path::new("/no/such/program")));
    assert!(matches!(problem, Problem::NoReader(_)), "{problem:?}");
}
