//! Commands for versions: list them, trace a pair, roll back, and replay a run.

use std::path::Path;
use std::process::{Output, Stdio};

use autovalidate::broker::RunState;
use autovalidate_fakes::{hub, supabase};
use secrecy::ExposeSecret;
use serde_json::Value;
use tokio::process::Command;

use crate::support::DEADLINE;
use crate::support::run::repository;
use crate::support::worker::{REPO, TestWorker, insert};
use crate::support::{onnxruntime, tiny, within};

/// Returns a command that runs the program on the disk of a worker, without broker and Hub.
fn alone(system: &TestWorker, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
    command
        .args(arguments)
        .env_clear()
        .env("ORT_DYLIB_PATH", onnxruntime())
        .env("BASE_MODEL", tiny())
        .env("NATS_URL", "nats://127.0.0.1:1")
        .env("DATA_DIR", &system.data)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

fn with_hub<'a>(command: &'a mut Command, system: &TestWorker) -> &'a mut Command {
    command
        .env("HF_ENDPOINT", system.hub.url().as_str())
        .env("HF_TOKEN", system.hub.token().expose_secret())
        .env("HF_REPO", REPO)
}

/// Runs the program next to a worker, as a person would on the same machine. It finds the token of the
/// embedded server in the worker's data directory.
async fn autovalidate(system: &TestWorker, arguments: &[&str]) -> Output {
    let mut command = alone(system, arguments);
    let address = system.worker.handles().streams.connection().server().unwrap().url();
    let command = with_hub(&mut command, system)
        .env("NATS_URL", "embedded")
        .env("NATS_LISTEN", address.trim_start_matches("nats://"))
        .env("DATA_DIR", &system.data);
    within(DEADLINE, command.output()).await.unwrap()
}

async fn told(system: &TestWorker, arguments: &[&str]) -> String {
    let output = autovalidate(system, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn json(system: &TestWorker, arguments: &[&str]) -> Value {
    serde_json::from_str(&told(system, arguments).await).unwrap()
}

async fn refused(system: &TestWorker, arguments: &[&str]) -> String {
    let output = autovalidate(system, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_traced_made_live_and_made_again() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    let nothing = told(&system, &["models", "list"]).await;
    assert!(
        nothing.contains("no releases yet: the Hub has no local/model"),
        "the first run creates it: {nothing}"
    );
    insert(&system.supabase, 120).await;
    let first = system.ended().await;
    assert_eq!(first.state, RunState::Done, "{:?}", first.error);
    told(&system, &["enqueue", "--force"]).await;
    let second = system.ended().await;
    assert_eq!(second.state, RunState::Done, "{:?}", second.error);

    let listed = json(&system, &["models", "list", "--json"]).await;
    let version = |place: usize| listed[place]["version"].as_str().unwrap().to_owned();
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!((&listed[0]["live"], &listed[1]["live"]), (&true.into(), &false.into()));
    assert_eq!(listed[1]["live_until"], listed[0]["live_from"]);
    assert_eq!(listed[0]["verdict"].as_str(), second.verdict.as_deref());
    assert!(listed[1]["metrics"]["after"]["accuracy_at_1"].is_number());

    let back = json(&system, &["models", "rollback", &version(1), "--json"]).await;
    assert_eq!((&back["rollback_of"], &back["instead_of"]), (&listed[1]["version"], &listed[0]["version"]));
    let again = refused(&system, &["models", "rollback", &version(1)]).await;
    assert!(again.contains("is live already, as"), "{again}");
    let unknown = refused(&system, &["models", "rollback", "20200101"]).await;
    assert!(unknown.contains("has no version \"20200101\""), "{unknown}");
    let text = told(&system, &["models", "list"]).await;
    assert_eq!(text.matches("<- the backend loads this one").count(), 1, "{text}");
    assert!(text.lines().nth(1).unwrap().contains(&format!("(rollback of {})", version(1))), "{text}");

    let traced = json(&system, &["lineage", "1", "--json"]).await;
    assert_eq!(traced.as_array().unwrap().len(), 3);
    assert!(traced.as_array().unwrap().iter().all(|one| one["on_hub"] == true && one["used"] != "absent"));
    let absent = told(&system, &["lineage", "99999"]).await;
    assert!(absent.contains("no version has to be trained again"), "{absent}");

    // The second run started from a release, and the first from a folder.
    for run in [&first, &second] {
        let replayed = json(&system, &["runs", "replay", run.id.as_str(), "--json"]).await;
        assert_eq!(replayed["identical"], true, "{replayed}");
        assert_eq!(replayed["weights_sha256"], run.lineage["weights_sha256"]);
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("receipt.json"), folder.path().join("model"));
    let mut receipt = receipt(&system, &version(0)).await;
    // A replay of files on this disk needs neither broker nor Hub. A run can also be found by the
    // id in its receipt.
    std::fs::write(&path, receipt.to_string()).unwrap();
    let from_receipt = ["runs", "replay", "--json", "--receipt", text_of(&path)];
    let from_id = ["runs", "replay", "--json", second.id.as_str()];
    let mut offline = alone(&system, &from_receipt);
    let mut with_hub_only = alone(&system, &from_id);
    for command in [&mut offline, with_hub(&mut with_hub_only, &system)] {
        let output = within(DEADLINE, command.output()).await.unwrap();
        let told = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let replayed: Value = serde_json::from_str(&told).unwrap();
        assert_eq!((&replayed["identical"], &replayed["rows"]), (&true.into(), &"snapshot".into()));
    }
    let unknown = within(DEADLINE, alone(&system, &from_id).output()).await.unwrap();
    assert_eq!(unknown.status.code(), Some(1), "nothing describes the run");
    receipt["recipe"]["seed"] = 7.into();
    std::fs::write(&path, receipt.to_string()).unwrap();
    let arguments = ["runs", "replay", "--receipt", text_of(&path), "--out", text_of(&out)];
    let differs = autovalidate(&system, &arguments).await;
    assert_eq!(differs.status.code(), Some(3), "{}", String::from_utf8_lossy(&differs.stderr));
    assert!(out.join("modules.json").exists());
    assert_eq!(system.hub.commits(REPO).await.len(), 4, "repo creation, two releases, and the rollback");
    system.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_row_is_told_with_the_versions_that_learned_from_it() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    insert(&system.supabase, 120).await;
    let run = system.ended().await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.error);
    let snapshots = || std::fs::read_dir(system.data.join("snapshots")).unwrap().count();
    assert_eq!(snapshots(), 1);
    let listed = json(&system, &["models", "list", "--json"]).await;

    let preview = json(&system, &["forget", "1", "2", "--dry-run", "--json"]).await;
    assert_eq!((preview, snapshots()), (serde_json::json!([1, 2]), 1), "nothing is erased");
    let forgotten = json(&system, &["forget", "1", "2", "99999", "--json"]).await;
    assert_eq!(forgotten["numbers"], serde_json::json!([1, 2]));
    assert_eq!(forgotten["unknown"], serde_json::json!([99999]));
    assert_eq!((&forgotten["messages"], &forgotten["runs_without_rows"]), (&2.into(), &1.into()));
    assert_eq!(forgotten["versions"], serde_json::json!([listed[0]["version"]]));
    assert_eq!(forgotten["untouched"], Value::Null);
    assert_eq!(snapshots(), 0);
    let again = told(&system, &["forget", "1"]).await;
    assert!(again.contains("row 1: was not stored, and will not be"), "{again}");
    let told = told(&system, &["forget", "3"]).await;
    assert!(told.contains("enqueue --base-model the model that BASE_MODEL names"), "{told}");

    // The next run learns from none of them.
    self::told(&system, &["enqueue", "--force"]).await;
    let next = system.ended().await;
    assert_eq!((next.state, next.row_count), (RunState::Done, Some(117)), "{:?}", next.error);
    system.stop().await;
}

/// A public repository is read without a token, and the settings file may name it.
#[tokio::test(flavor = "multi_thread")]
async fn versions_are_told_with_a_repository_from_the_settings_file_and_no_token() {
    let mut system = TestWorker::start(&tiny(), &[("TRAIN_THRESHOLD", "120")]).await;
    within(DEADLINE, repository(&system.hub).create_if_missing(false)).await.unwrap();
    insert(&system.supabase, 120).await;
    let run = system.ended().await;
    assert_eq!(run.state, RunState::Done, "{:?}", run.error);
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("hf_repo = {REPO:?}\nhf_endpoint = {:?}\n", system.hub.url().as_str());
    std::fs::write(folder.path().join("autovalidate.toml"), settings).unwrap();
    let json = async |arguments: &[&str]| -> Value {
        let mut command = alone(&system, arguments);
        command.env("NATS_URL", system.nats_url()).current_dir(&folder);
        let output = within(DEADLINE, command.output()).await.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let version = json(&["models", "list", "--json"]).await[0]["version"].clone();
    assert_eq!(json(&["lineage", "1", "--json"]).await[0]["version"], version);
    assert_eq!(json(&["forget", "1", "--json"]).await["versions"], serde_json::json!([version]));

    let mut command = alone(&system, &["models", "rollback", version.as_str().unwrap()]);
    let refused = within(DEADLINE, command.current_dir(&folder).output()).await.unwrap();
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(2) && told.contains("HF_TOKEN"), "{told}");
    system.stop().await;
}

fn text_of(path: &Path) -> &str {
    path.to_str().unwrap()
}

async fn receipt(system: &TestWorker, version: &str) -> Value {
    let receipts = within(DEADLINE, repository(&system.hub).receipts()).await.unwrap();
    serde_json::from_slice(&receipts[version]).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_uuids_is_learned_from_traced_replayed_and_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let options = supabase::Options { id_type: supabase::IdType::Uuid, ..supabase::Options::default() };
    let supabase = supabase::Supabase::start(options).await.unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    let settings = [("TRAIN_THRESHOLD", "120")];
    let mut system = TestWorker::start_with(folder, supabase, hub, &tiny(), &settings).await;
    insert(&system.supabase, 120).await;
    let first = system.ended().await;
    assert_eq!(first.state, RunState::Done, "{:?}", first.error);
    for number in 0..10 {
        system.supabase.insert(&format!("hyundai i{number}0 n"), &format!("Hyundai i{number}0N"), "model");
    }
    system.stored(130).await;
    told(&system, &["enqueue", "--force"]).await;
    let second = system.ended().await;
    assert_eq!((second.state, second.row_count), (RunState::Done, Some(130)), "{:?}", second.error);

    let listed = json(&system, &["models", "list", "--json"]).await;
    let version = |place: usize| listed[place]["version"].as_str().unwrap().to_owned();
    let receipts = [receipt(&system, &version(1)).await, receipt(&system, &version(0)).await];
    // The newest rows are those of the second insert, and the others judged the first version.
    let dataset = |place: usize| &receipts[place]["dataset"];
    let last = |place: usize| dataset(place)["last_insert"].as_i64().unwrap();
    assert!(last(0) < dataset(1)["newest_from"].as_i64().unwrap() && last(0) < last(1));
    assert!((1..=6).contains(&dataset(1)["newest"].as_u64().unwrap()), "one row in twenty");
    assert!(receipts[1]["report"]["legacy"]["all"]["after"]["overall"]["queries"].as_u64() > Some(0));

    let replayed = json(&system, &["runs", "replay", second.id.as_str(), "--json"]).await;
    assert_eq!(replayed["identical"], true, "{replayed}");
    let last_row = system.supabase.id_text(130);
    let traced = json(&system, &["lineage", &last_row, "--json"]).await;
    assert_eq!((&traced[0]["used"] == "absent", &traced[1]["used"]), (false, &"absent".into()), "{traced}");
    // Some of the first rows are held out.
    let mut learned = None;
    for row in (1..=10).map(|row| system.supabase.id_text(row)) {
        let traced = json(&system, &["lineage", &row, "--json"]).await;
        if traced.as_array().unwrap().iter().all(|one| one["used"] == "learned") {
            learned = Some(row);
            break;
        }
    }
    let learned = learned.expect("a row that both versions learned from");
    let forgotten = json(&system, &["forget", &learned, "--json"]).await;
    assert_eq!((&forgotten["ids"], &forgotten["messages"]), (&serde_json::json!([learned]), &1.into()));
    assert_eq!(forgotten["versions"].as_array().map(Vec::len), Some(2), "{forgotten}");
    system.stop().await;
}
