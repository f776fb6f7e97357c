//! The stand-in answers to the official Python client as the real service does.

use std::process::Stdio;
use std::time::Duration;

use autovalidate::local::supabase::{Options, Supabase};
use serde_json::Value;

use crate::support::{python, within};

#[tokio::test]
async fn the_official_client_subscribes_and_gets_a_row() {
    let supabase = Supabase::start(Options::default()).await.expect("the stand-in starts");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/supabase/official_client.py");
    let client = tokio::process::Command::new(python())
        .arg(script)
        .arg(supabase.url().as_str().trim_end_matches('/'))
        .arg(supabase.anon_key())
        .arg("typo_training_dataset")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .output();
    let output = within(Duration::from_secs(60), client).await.expect("python runs");
    let events: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    assert!(output.status.success(), "{events:?}");

    let find = |event: &str| events.iter().find(|line| line["event"] == event).expect("this event");
    assert_eq!(find("state")["state"], "SUBSCRIBED");
    assert_eq!(find("system")["message"], "Subscribed to PostgreSQL");
    let row = find("row");
    assert_eq!(row["type"], "INSERT");
    assert_eq!(row["record"]["id"], find("inserted")["id"]);
    assert_eq!(row["record"]["corrected"], "Toyota");
    supabase.shutdown().await;
}
