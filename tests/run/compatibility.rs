//! Files of version 0.1.0 are read, and written again under the same names: other programs read
//! them, too.

use std::path::Path;

use autovalidate::broker::{RunRecord, RunState};
use autovalidate::hub::Index;
use autovalidate::run::{Receipt, ReplaySpec};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn fixture(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-0.1.0");
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Reads a file of version 0.1.0, and checks that writing it again changes no name and no value.
fn unchanged<T: DeserializeOwned + Serialize>(name: &str) -> T {
    let text = fixture(name);
    let read: T = serde_json::from_str(&text).unwrap();
    let original: Value = serde_json::from_str(&text).unwrap();
    let again: Value = serde_json::from_str(&serde_json::to_string(&read).unwrap()).unwrap();
    assert_eq!(again, original, "{name}");
    read
}

#[test]
fn a_run_record_is_read_and_says_how_to_replay_the_run() {
    let record: RunRecord = unchanged("record.json");
    assert_eq!((record.id.as_str(), record.state), ("pairs-301-600", RunState::Done));
    let spec = ReplaySpec::of_run(&record).unwrap();
    assert_eq!(spec.rows, 600);
    assert_eq!(Some(spec.dataset_hash), record.dataset_hash);
}

#[test]
fn a_receipt_is_read_and_says_how_to_replay_the_run() {
    let receipt: Receipt = unchanged("receipt.json");
    assert_eq!(receipt.job, "pairs-301-600");
    let spec = ReplaySpec::of_receipt(fixture("receipt.json").as_bytes()).unwrap();
    assert_eq!(spec.lineage, receipt.lineage);
}

#[test]
fn an_index_is_read() {
    let index: Index = unchanged("index.json");
    assert!(index.last_rollback().is_none());
}
