//! Common parts of all commands: settings that are shown, the settings file, ranges of arguments, the
//! version, completions and manual pages.

use std::collections::BTreeSet;
use std::path::Path;

use autovalidate_fakes::hub;
use secrecy::ExposeSecret;

use super::settings::autovalidate;
use crate::support::{DEADLINE, within};

#[test]
fn every_setting_of_the_reference_is_shown_and_no_other() {
    let page = include_str!("../../docs/reference/settings.md");
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let documented: BTreeSet<&str> = first_cells
        .flat_map(|(cell, _)| cell.split('`'))
        .filter(|name| {
            name.len() > 2
                && (name.starts_with('[') || name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        })
        // Another way to write SUPABASE_COLUMNS.
        .filter(|name| *name != "[columns]")
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let environment = [
        ("SUPABASE_URL", "http://127.0.0.1:9"),
        ("SUPABASE_ANON_KEY", "key"),
        ("HF_TOKEN", "hf_x"),
        ("HF_REPO", "a/b"),
    ];
    let print = |more: &[&str]| {
        let output =
            autovalidate(&[&["worker", "--print-config"], more].concat(), &environment, folder.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = print(&[]);
    let names: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let shown: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(shown, documented);
    assert_eq!(shown.len(), names.len(), "each once:\n{text}");
    for line in [
        "HF_TOKEN = ***  (environment)",
        "CATALOG is not set",
        "NATS_URL = embedded  (default)",
        "TRAIN_TOKENIZER = characters  (default)",
        "DATA_BUDGET = 4GiB  (default)",
        "[templates] = { brand = \"car brand: {text}\", default = \"car model: {text}\" }  (default)",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is missing in:\n{text}");
    }
    let json: Vec<serde_json::Value> = serde_json::from_str(&print(&["--json"])).unwrap();
    assert_eq!(json.len(), names.len());
    let of = |name: &str| json.iter().find(|each| each["setting"] == name).unwrap();
    assert_eq!(*of("CATALOG"), serde_json::json!({"setting": "CATALOG", "value": null, "origin": "default"}));
    assert_eq!(
        *of("HF_REPO"),
        serde_json::json!({"setting": "HF_REPO", "value": "a/b", "origin": "environment"})
    );
}

#[test]
fn another_settings_file_is_read_by_every_command_and_its_mistakes_have_a_place() {
    let folder = tempfile::tempdir().unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("other.toml"), text).unwrap();
    write("train_threshold = 7\n");
    let print = ["--config", "other.toml", "worker", "--role", "trainer", "--print-config"];
    let environment = [("HF_TOKEN", "hf_x"), ("HF_REPO", "a/b")];
    let output = autovalidate(&print, &environment, folder.path());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("TRAIN_THRESHOLD = 7  (autovalidate.toml)"), "{text}");
    write("train_threshold = 7\ntrain_epochs = = 5\nhf_token = \"hf_secret\"\n");
    for command in [&["status"][..], &["doctor"], &["healthz"], &["models", "list"], &["worker"]] {
        for arguments in
            [[&["--config", "other.toml"], command].concat(), [command, &["--config", "other.toml"]].concat()]
        {
            let output = autovalidate(&arguments, &environment, folder.path());
            let told = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
            assert!(told.contains("other.toml is not TOML at line 2, column 16: "), "{told}");
            assert!(!told.contains("hf_secret"), "{told}");
        }
    }
    let output = autovalidate(&["status", "--config", "missing.toml"], &[], folder.path());
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(told.contains("missing.toml can't be read"), "{told}");
}

#[test]
fn arguments_out_of_range_are_wrong_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let train = ["train", "--data", "pairs.csv", "--out", "model"];
    for option in [
        ["--epochs", "0"],
        ["--epochs", "1001"],
        ["--batch-size", "1"],
        ["--learning-rate", "1"],
        ["--learning-rate", "NaN"],
        ["--label-smoothing", "1"],
        ["--hard-negatives", "11"],
        ["--variants", "1001"],
        ["--patience", "1001"],
        ["--assess-every", "0"],
        ["--seed", "-1"],
    ] {
        let output = autovalidate(&[&train[..], &option].concat(), &[], folder.path());
        assert_eq!(output.status.code(), Some(2), "{option:?}");
    }
    for arguments in [
        &["enqueue", "--epochs", "0"][..],
        &["enqueue", "--batch-size", "1"],
        &["enqueue", "--learning-rate", "2"],
        &["suggest", "toyta", "--top", "0"],
        &["runs", "list", "--limit", "-1"],
        &["worker", "--exit-when-idle", "1s"],
        &["worker", "--role", "boss"],
        &["worker", "--json"],
        &["healthz", "--address", "here"],
        &["doctor", "--webhook", "nowhere"],
        &["init", "--stamp", "2026"],
        &["init", "--apply", "nowhere"],
        &["completions", "tcsh"],
        &["dev", "--demo", "--pairs", "49"],
        &["dev", "--demo", "--runs", "21"],
    ] {
        let output = autovalidate(arguments, &[], folder.path());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
    }
}

#[test]
fn the_version_names_the_sources_and_shells_and_man_know_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = autovalidate(arguments, &[], folder.path());
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let version = run(&["--version"]);
    let source = version.trim_end().strip_prefix(concat!("autovalidate ", env!("CARGO_PKG_VERSION")));
    let source = source.unwrap_or_else(|| panic!("{version}"));
    if Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists() {
        let (revision, date) = source.trim_matches([' ', '(', ')']).split_once(' ').unwrap();
        let hash = revision.strip_suffix("-dirty").unwrap_or(revision);
        assert!(hash.len() == 12 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{version}");
        assert!(date.parse::<jiff::civil::Date>().is_ok(), "{version}");
    }
    for (shell, mark) in
        [("bash", "complete -F"), ("zsh", "#compdef autovalidate"), ("fish", "complete -c autovalidate")]
    {
        let script = run(&["completions", shell]);
        assert!(
            script.contains(mark) && script.contains("quarantine") && script.contains("print-config"),
            "{shell}"
        );
    }
    run(&["man", "--out", "pages"]);
    let page = |name: &str| std::fs::read_to_string(folder.path().join("pages").join(name)).unwrap();
    assert!(page("autovalidate.1").contains("autovalidate\\-quarantine(1)"));
    assert!(page("autovalidate-runs-replay.1").contains("receipt"));
    assert!(page("autovalidate-worker.1").contains("config"), "options of all commands are in each page");
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_first_release_there_is_a_list_without_releases() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub::Hub::start(hub::Options::new(folder.path().join("hub"))).await.unwrap();
    let (url, token) = (hub.url().to_string(), hub.token().expose_secret().to_owned());
    let list = async |more: &[&str], token: &str| {
        let list = tokio::process::Command::new(env!("CARGO_BIN_EXE_autovalidate"))
            .args(["models", "list"])
            .args(more)
            .env_clear()
            .envs([("HF_ENDPOINT", url.as_str()), ("HF_TOKEN", token), ("HF_REPO", "local/no-repo-yet")])
            .current_dir(folder.path())
            .output();
        let output = within(DEADLINE, list).await.unwrap();
        let told = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), told)
    };
    let (code, told) = list(&[], &token).await;
    assert!(
        code == Some(0) && told.starts_with("no releases yet: the Hub has no local/no-repo-yet"),
        "{told}"
    );
    assert_eq!(list(&["--json"], &token).await, (Some(0), "[]\n".to_owned()));
    let (code, told) = list(&[], "hf_unknown").await;
    assert_eq!(code, Some(1), "a wrong token is told: {told}");
}
