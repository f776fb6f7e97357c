//! The file `.env`, as a shell, Docker and the worker read it.

use std::collections::BTreeMap;
use std::process::Command;

use serde_json::Value;

use super::{ACCOUNTS, KEYS, init, succeeded};

/// Reads the file as `docker run --env-file` does: whole lines, with no quotes and no substitution.
fn as_docker(file: &str) -> BTreeMap<String, String> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Reads the file as `set -a; . ./.env` does.
fn as_shell(folder: &std::path::Path) -> BTreeMap<String, String> {
    let output =
        Command::new("sh").args(["-c", "set -a; . ./.env; env -0"]).env_clear().current_dir(folder).output();
    let text = succeeded(&output.unwrap());
    let read = text.split_terminator('\0').filter_map(|entry| entry.split_once('='));
    // A shell sets some variables by itself.
    let read = read.filter(|(name, _)| !["PWD", "OLDPWD", "SHLVL", "_", "PATH"].contains(name));
    read.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Returns each setting of `worker --print-config` with its value.
fn settings(folder: &std::path::Path, environment: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .args(["worker", "--print-config", "--json"])
        .env_clear()
        .envs(environment)
        .current_dir(folder)
        .output()
        .unwrap();
    let settings: Vec<Value> = serde_json::from_str(&succeeded(&output)).unwrap();
    settings
        .into_iter()
        .map(|each| (each["setting"].as_str().unwrap().to_owned(), each["value"].clone()))
        .collect()
}

#[test]
fn the_worker_accepts_the_file_and_every_reader_reads_the_same() {
    let folder = tempfile::tempdir().unwrap();
    succeeded(&init(
        folder.path(),
        &[&ACCOUNTS[..], &["--fly-app", "mine", "--table", "typos"]].concat(),
        &KEYS,
    ));
    let file = std::fs::read_to_string(folder.path().join(".env")).unwrap();
    let read = as_docker(&file);
    assert_eq!(read, as_shell(folder.path()));
    assert_eq!((read["HF_TOKEN"].as_str(), read["SUPABASE_TABLE"].as_str()), ("hf_0123456789Abc", "typos"));
    assert_eq!((read["WEBHOOK_SECRET"].len(), read["CONSOLE_TOKEN"].len()), (64, 64));
    assert_ne!(read["WEBHOOK_SECRET"], read["CONSOLE_TOKEN"]);
    let in_force = settings(folder.path(), &read);
    assert_eq!(
        (&in_force["SUPABASE_TABLE"], &in_force["HF_TOKEN"]),
        (&Value::from("typos"), &Value::from("***"))
    );

    // What is behind `#` is the program's default, so setting it changes nothing.
    let shown = file.lines().filter_map(|line| line.strip_prefix('#')).filter(|line| !line.starts_with(' '));
    let defaults: BTreeMap<String, String> = as_docker(&shown.collect::<Vec<_>>().join("\n"));
    assert!(defaults.len() > 10, "{defaults:?}");
    let with_defaults = settings(folder.path(), &read.into_iter().chain(defaults).collect());
    let same = |value: &Value| value.as_str().map(|text| text.replace("604800s", "168h"));
    for (name, value) in &in_force {
        assert_eq!(same(&with_defaults[name]), same(value), "{name}");
    }
}
