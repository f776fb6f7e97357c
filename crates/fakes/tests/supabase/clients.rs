//! The official clients of Supabase, unchanged, in versions that are a year apart: the stand-in answers
//! them as the service does, and they read its answers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use autovalidate_fakes::supabase::{IdType, Supabase};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::process::Command;

use crate::support::{Bench, SOON};

/// A client as `scripts/setup --tests` has installed it.
struct Client {
    folder: &'static str,
    /// Ending of the scripts that drive it.
    ending: &'static str,
}

const JAVASCRIPT: Client = Client { folder: "javascript-2.119", ending: "cjs" };
const OLDER_JAVASCRIPT: Client = Client { folder: "javascript-2.58", ending: "cjs" };
const PYTHON: Client = Client { folder: "python-2.34", ending: "py" };
const OLDER_PYTHON: Client = Client { folder: "python-2.24", ending: "py" };

impl Client {
    /// Returns the command that runs a script with the client.
    fn command(&self, script: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let installed: PathBuf = root.join("../../.local/clients").join(self.folder);
        assert!(installed.exists(), "{} is missing: run scripts/setup --tests first", installed.display());
        let mut command = match self.ending {
            "py" => Command::new(installed.join("bin/python")),
            _ => Command::new("node"),
        };
        let script = root.join("tests/supabase/clients").join(format!("{script}.{}", self.ending));
        command
            .env("NODE_PATH", installed.join("node_modules"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .arg(script);
        command
    }
}

/// Runs a script to its end, and returns the lines that it printed.
async fn lines(client: &Client, script: &str, supabase: &Supabase, chosen: &str) -> Vec<Value> {
    let at = |second: i64| Timestamp::from_second(second).expect("in range");
    let keys = json!({
        "url": supabase.url().as_str().trim_end_matches('/'),
        "anon": supabase.anon_key(),
        "service": supabase.service_key(),
        "publishable": supabase.publishable_key(),
        "secret": supabase.secret_key(),
        "user": supabase.token("authenticated", at(4_102_444_800)),
        "expired": supabase.token("authenticated", at(1_000)),
        "chosen": chosen,
    });
    let mut command = client.command(script);
    let run = command.arg(keys.to_string()).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(2 * SOON, run).await.expect("in time").expect("the client runs");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    printed.lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

/// Returns true when a value has all of the expected one: a client of Python tells of all columns, and of
/// no rows where one of JavaScript tells nothing.
fn holds(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            expected.iter().all(|(name, value)| found.get(name).is_some_and(|found| holds(found, value)))
        }
        (Value::Array(found), Value::Array(expected)) => {
            found.len() == expected.len()
                && found.iter().zip(expected).all(|(found, value)| holds(found, value))
        }
        (Value::Array(found), Value::Null) => found.is_empty(),
        _ => found == expected,
    }
}

/// Compares a client's answers with the right ones. `missing` are the requests that the client can't make.
async fn reads_and_writes(client: Client, missing: &[&str]) {
    let expected: Map<String, Value> =
        serde_json::from_str(include_str!("clients/rest.json")).expect("answers");
    let bench = Bench::start(IdType::BigInt).await;
    let answers = lines(&client, "rest", &bench.supabase, "").await;
    let mut asked = BTreeSet::new();
    for answer in answers {
        let name = answer["name"].as_str().expect("a name");
        let expected = &expected[name];
        for part in ["status", "data", "count", "error"] {
            let found = &answer[part];
            let told = answer.get(part).is_some();
            assert!(
                !told || holds(found, &expected[part]),
                "{name}: {part} is {found}, expected {}",
                expected[part]
            );
        }
        assert_eq!(answer["error"].is_null(), expected["error"].is_null(), "{name}: {answer}");
        asked.insert(name.to_owned());
    }
    let all: BTreeSet<_> =
        expected.keys().filter(|name| !missing.contains(&name.as_str())).cloned().collect();
    assert_eq!(asked, all);
}

/// Compares the outcomes on a client's websocket with the right ones.
async fn listens_and_talks(client: Client, missing: &[&str]) {
    let expected: Map<String, Value> =
        serde_json::from_str(include_str!("clients/listen.json")).expect("outcomes");
    let bench = Bench::start(IdType::BigInt).await;
    let outcomes = lines(&client, "listen", &bench.supabase, "").await;
    let outcome = |line: Value| (line["name"].as_str().expect("a name").to_owned(), line["outcome"].clone());
    let outcomes: Map<String, Value> = outcomes.into_iter().map(outcome).collect();
    let known = expected.into_iter().filter(|(name, _)| !missing.contains(&name.as_str()));
    assert_eq!(outcomes, known.collect::<Map<_, _>>());
}

/// Requests that only the client of JavaScript makes.
const ONLY_JAVASCRIPT: [&str; 5] =
    ["insert nothing", "nulls last", "single of many updated", "key: invalid", "key: unregistered"];
/// Outcomes that only the client of JavaScript tells.
const ONLY_TOLD_TO_JAVASCRIPT: [&str; 3] = ["acknowledged", "tracked", "untracked"];

#[tokio::test]
async fn javascript_reads_and_writes() {
    reads_and_writes(JAVASCRIPT, &[]).await;
}

#[tokio::test]
async fn javascript_of_a_year_ago_reads_and_writes() {
    reads_and_writes(OLDER_JAVASCRIPT, &[]).await;
}

#[tokio::test]
async fn python_reads_and_writes() {
    reads_and_writes(PYTHON, &ONLY_JAVASCRIPT).await;
}

#[tokio::test]
async fn python_of_a_year_ago_reads_and_writes() {
    reads_and_writes(OLDER_PYTHON, &ONLY_JAVASCRIPT).await;
}

#[tokio::test]
async fn javascript_listens_and_talks() {
    listens_and_talks(JAVASCRIPT, &[]).await;
}

#[tokio::test]
async fn javascript_of_a_year_ago_listens_and_talks() {
    listens_and_talks(OLDER_JAVASCRIPT, &[]).await;
}

#[tokio::test]
async fn python_listens_and_talks() {
    listens_and_talks(PYTHON, &ONLY_TOLD_TO_JAVASCRIPT).await;
}

#[tokio::test]
async fn python_of_a_year_ago_listens_and_talks() {
    listens_and_talks(OLDER_PYTHON, &ONLY_TOLD_TO_JAVASCRIPT).await;
}

#[tokio::test]
async fn javascript_reads_and_writes_rows_by_uuid_and_by_text() {
    let uuid = "0b4ee0c0-5b7e-4b0c-8d0e-2a6f4c1d9e11";
    for (id_type, chosen) in [(IdType::Uuid, uuid), (IdType::Text, "an id, chosen")] {
        let bench = Bench::start(id_type).await;
        let supabase = &bench.supabase;
        let events = lines(&JAVASCRIPT, "ids", supabase, chosen).await;

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
    }
}
