//! The stand-in answers the official clients (Python, JavaScript) as the real service does.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use autovalidate_fakes::supabase::{IdType, Options, SocketFault, Supabase};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{node_modules, python, within};

/// Returns the command that drives the stand-in by a script of this folder.
fn client(program: impl AsRef<OsStr>, script: &str, supabase: &Supabase) -> Command {
    let mut client = Command::new(program);
    client
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ingest").join(script))
        .arg(supabase.url().as_str().trim_end_matches('/'))
        .arg(supabase.anon_key())
        .arg("typo_training_dataset")
        .arg(supabase.service_key())
        .env("NODE_PATH", node_modules())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    client
}

/// Runs a client to its end, and returns the events that it printed.
async fn events(mut client: Command) -> Vec<Value> {
    let output = within(Duration::from_secs(60), client.output()).await.expect("the client runs");
    let events: Vec<Value> = String::from_utf8_lossy(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON line"))
        .collect();
    assert!(output.status.success(), "{events:#?}");
    events
}

#[tokio::test]
async fn the_official_client_subscribes_and_gets_a_row() {
    let supabase = Supabase::start(Options::default()).await.expect("the stand-in starts");
    let events = events(client(python(), "official_client.py", &supabase)).await;

    let find = |event: &str| events.iter().find(|line| line["event"] == event).expect("this event");
    assert_eq!(find("state")["state"], "SUBSCRIBED");
    assert_eq!(find("system")["message"], "Subscribed to PostgreSQL");
    let row = find("row");
    assert_eq!(row["type"], "INSERT");
    assert_eq!(row["record"]["id"], find("inserted")["id"]);
    assert_eq!(row["record"]["corrected"], "Toyota");
    let changes: Vec<_> = events.iter().filter(|line| line["event"] == "change").collect();
    assert_eq!(changes.iter().map(|line| &line["type"]).collect::<Vec<_>>(), ["UPDATE", "DELETE"]);
    assert_eq!(changes[0]["record"]["typo"], "tojota");
    let key = json!({"id": row["record"]["id"]});
    assert_eq!((&changes[0]["old_record"], &changes[1]["old_record"]), (&key, &key));
    assert_eq!(changes[1]["record"], Value::Null);
    supabase.shutdown().await;
}

#[tokio::test]
async fn the_official_javascript_client_inserts_subscribes_and_is_told_what_is_wrong() {
    let supabase = Supabase::start(Options::default()).await.expect("the stand-in starts");
    let mut client = client("node", "official_client.cjs", &supabase).spawn().expect("node runs");
    let mut lines = BufReader::new(client.stdout.take().expect("piped")).lines();
    let mut events: Vec<Value> = Vec::new();
    within(Duration::from_secs(60), async {
        while let Some(line) = lines.next_line().await.expect("text") {
            events.push(serde_json::from_str(&line).expect("a JSON line"));
            if events.last().is_some_and(|event| event["event"] == "ready") {
                supabase.faults().strike(SocketFault::TokenExpired);
            }
        }
    })
    .await;
    let status = within(Duration::from_secs(10), client.wait()).await.expect("it ends");
    assert!(status.success(), "{events:#?}");

    let all = |event: &str| events.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let states: Vec<_> = all("state").iter().map(|line| line["state"].as_str().expect("a state")).collect();
    assert_eq!(states, ["SUBSCRIBED", "CLOSED"]);
    assert_eq!(all("system")[0]["message"], "Subscribed to PostgreSQL");
    assert!(all("system")[1]["message"].as_str().is_some_and(|text| text.starts_with("Token has expired")));
    let rows = all("row");
    assert!(rows.iter().all(|row| row["type"] == "INSERT" && row["errors"].is_null()), "{rows:#?}");
    assert_eq!(rows.iter().map(|row| &row["row"]["id"]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(rows[2]["row"]["typo"], "tojota");
    let inserted = all("inserted");
    assert_eq!((&inserted[0]["status"], &inserted[0]["data"]), (&json!(201), &Value::Null));
    assert_eq!((&inserted[1]["status"], &inserted[1]["data"]), (&json!(201), &json!([{"id": 2}, {"id": 3}])));

    let answers = all("answer");
    let answer = |name: &str| *answers.iter().find(|line| line["name"] == name).expect("this answer");
    for (name, status, code) in [
        ("missing table", 404, "PGRST205"),
        ("missing column", 400, "42703"),
        ("unknown column written", 400, "PGRST204"),
        ("taken id", 409, "23505"),
        ("single of many", 406, "PGRST116"),
        ("update of all rows", 400, "21000"),
        ("unknown column updated", 400, "PGRST204"),
    ] {
        assert_eq!(
            (&answer(name)["status"], &answer(name)["code"]),
            (&json!(status), &json!(code)),
            "{name}"
        );
    }
    // A refused insert leaves none of its rows behind.
    assert_eq!(answer("count")["count"], 3);
    let (second, third) = (json!({"id": 2, "typo": "toyta"}), json!({"id": 3, "typo": "tojota"}));
    assert_eq!(answer("single")["data"], second);
    assert_eq!(answer("keyset")["data"], json!([second]));
    assert_eq!(answer("range")["data"], json!([second]));
    assert_eq!(answer("in")["data"], json!([third]));

    assert_eq!(answer("update")["data"], json!([{"id": 2, "typo": "toiota"}]));
    assert_eq!(
        (&answer("update by anon")["data"], &answer("update by anon")["status"]),
        (&json!([]), &json!(200))
    );
    assert_eq!((&answer("delete")["status"], &answer("delete")["count"]), (&json!(204), &json!(1)));
    let changes = all("change");
    let types: Vec<_> = changes.iter().map(|line| &line["type"]).collect();
    assert_eq!(types, ["UPDATE", "DELETE"], "a subscription to * hears of both");
    assert_eq!((&changes[0]["new"]["typo"], &changes[0]["old"]), (&json!("toiota"), &json!({"id": 2})));
    assert_eq!((&changes[1]["new"], &changes[1]["old"]), (&json!({}), &json!({"id": 3})));
    supabase.shutdown().await;
}

#[tokio::test]
async fn the_official_javascript_client_reads_and_writes_rows_by_uuid_and_by_text() {
    let uuid = "0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11";
    for (id_type, chosen) in [(IdType::Uuid, uuid), (IdType::Text, "an id, chosen")] {
        let options = Options { id_type, ..Options::default() };
        let supabase = Supabase::start(options).await.expect("the stand-in starts");
        let mut client = client("node", "official_client_ids.cjs", &supabase);
        client.arg(chosen);
        let events = events(client).await;

        let ids: Vec<_> = (1..=15).map(|number| supabase.id_text(number)).collect();
        let find = |event: &str| events.iter().find(|line| line["event"] == event).expect("this event");
        assert_eq!((&find("inserted")["ids"], &find("chosen")["id"]), (&json!(ids), &json!(chosen)));
        let shown: Vec<_> =
            events.iter().filter(|line| line["event"] == "row").map(|line| line["id"].clone()).collect();
        assert_eq!(shown, ids.iter().map(String::as_str).chain([chosen]).collect::<Vec<_>>());
        assert_eq!(find("deleted")["old"], json!({"id": ids[2]}));

        let answers = || events.iter().filter(|line| line["event"] == "answer");
        let answer = |name: &str| answers().find(|line| line["name"] == name).expect("this answer");
        let mut sorted = ids.clone();
        sorted.sort();
        let place = sorted.iter().position(|id| *id == ids[0]).expect("the first row");
        let mut down = sorted[..=place].to_vec();
        down.reverse();
        assert_eq!(answer("eq")["ids"], json!(ids));
        for (name, expected) in [
            ("in", ids.as_slice()),
            ("order", &sorted),
            ("gt", &sorted[place + 1..]),
            ("lte", &down),
            ("keyset", &sorted),
            ("update", &ids[1..2]),
            ("delete", &ids[2..3]),
        ] {
            let mut found = answer(name)["ids"].clone();
            if name == "in" {
                // Without an order, any order is right.
                let mut unordered: Vec<String> = serde_json::from_value(found).expect("texts");
                unordered.sort_by_key(|id| ids.iter().position(|known| known == id));
                found = json!(unordered);
            }
            assert_eq!(found, json!(expected), "{name}");
        }
        assert_eq!(answer("taken id")["code"], "23505");
        let number = answer("number");
        match id_type {
            IdType::Uuid => {
                assert_eq!((&number["status"], &number["code"]), (&json!(400), &json!("22P02")));
                assert_eq!(number["message"], "invalid input syntax for type uuid: \"0\"");
            }
            _ => assert_eq!(number["status"], 200, "a number is a text, too"),
        }
        supabase.shutdown().await;
    }
}
