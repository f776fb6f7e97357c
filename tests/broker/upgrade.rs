//! The store of version 0.1.0, as its worker has left it: four pairs, a quarantined row, a dropped row,
//! and a request that waits. Rows were known by their ids alone then, and streams had no owner.

use std::fs::File;
use std::path::Path;

use autovalidate::broker::{Broker, Connection, Project, StreamSettings, Streams};
use autovalidate::correction::{Refusal, Row};
use autovalidate::corrections::{Appended, Corrections};

use crate::support::DEADLINE;
use crate::support::broker::options;
use crate::support::within;

/// Returns the rows of the table as they were when the store was written.
fn table() -> Vec<Row> {
    let row = |id: i64| Row {
        id,
        text_id: None,
        typo: if id > 4 { " ".to_owned() } else { format!("toyta {id}") },
        corrected: format!("Toyota {id}"),
        domain: if id % 2 == 0 { "brand" } else { "model" }.to_owned(),
        created_at: Some("2026-01-01T00:00:00+00:00".to_owned()),
    };
    (1..=6).map(row).collect()
}

async fn open(store: &Path) -> (Connection, Streams, Corrections) {
    let connection = within(DEADLINE, Connection::open(&Broker::Embedded(options(store)))).await.unwrap();
    let url = "https://project.supabase.co".parse().unwrap();
    let project = Some(Project::new(&url, "public", "typo_training_dataset"));
    let settings = StreamSettings { project, ..StreamSettings::default() };
    let streams = within(DEADLINE, Streams::ensure(&connection, &settings)).await.unwrap();
    let corrections = within(DEADLINE, Corrections::open(&streams, "typo_training_dataset")).await.unwrap();
    (connection, streams, corrections)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_store_of_the_last_version_is_adopted_and_its_rows_are_recognized() {
    let folder = tempfile::tempdir().unwrap();
    let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-0.1.0/nats-store.zip");
    zip::ZipArchive::new(File::open(archive).unwrap()).unwrap().extract(folder.path()).unwrap();
    // Stopped and started again: the second start finds what the first has adopted.
    for start in 1..=2 {
        let (connection, streams, corrections) = open(folder.path()).await;
        assert!(streams.owner().unwrap().contains("project.supabase.co"), "start {start}");
        let known = within(DEADLINE, corrections.append(&table())).await.unwrap();
        assert_eq!(known, Appended { duplicates: 6, ..Appended::default() }, "start {start}");
        let snapshot = within(DEADLINE, corrections.snapshot(u64::MAX)).await.unwrap();
        let pairs: Vec<Row> = snapshot.rows.iter().collect();
        assert_eq!(pairs, table()[..4]);
        let quarantined = within(DEADLINE, corrections.quarantined(None)).await.unwrap();
        let quarantined: Vec<_> = quarantined.iter().map(|kept| (kept.row.id, kept.refusal)).collect();
        assert_eq!(quarantined, [(5, Refusal::Empty)]);
        let training = connection.jetstream().get_stream("TRAINING").await.unwrap();
        assert_eq!(training.cached_info().state.messages, 1, "the request still waits");
        connection.close().await;
    }

    let (connection, _, corrections) = open(folder.path()).await;
    let (mut changed, mut other) = (table()[1].clone(), table()[2].clone());
    changed.typo = "totoya".to_owned();
    other.created_at = Some("2026-06-01T00:00:00+00:00".to_owned());
    other.typo = "hunday".to_owned();
    let appended = within(DEADLINE, corrections.append(&[changed, other])).await.unwrap();
    let expected = Appended { stored: 1, differing: vec![2], series: 1, ..Appended::default() };
    assert_eq!(appended, expected);
    let forgotten = within(DEADLINE, corrections.forget(&[1], &[])).await.unwrap();
    assert_eq!((forgotten.numbers, forgotten.messages), (vec![1], 1));
    connection.close().await;
}
