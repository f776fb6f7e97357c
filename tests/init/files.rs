//! The files, a second run, and files that are there already.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::{ACCOUNTS, KEYS, init, succeeded};

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn a_second_run_finds_everything_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [&ACCOUNTS[..], &["--fly-app", "my-trainer", "--stamp", "20260102030405"]].concat();
    let told = succeeded(&init(folder.path(), &arguments, &KEYS));
    let migration = "supabase/migrations/20260102030405_autovalidate.sql";
    let names = [".env", migration, "fly.toml"];
    for name in names {
        assert!(told.contains(&format!("written    {name}\n")), "{told}");
    }
    assert!(told.contains("SUPABASE_SERVICE_KEY, HF_TOKEN as in the environment"), "{told}");
    assert!(!told.contains("sb_secret_") && !told.contains("hf_0123"), "{told}");
    let mode = folder.path().join(".env").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = names.map(|name| read(folder.path(), name));
    assert!(before[0].contains("\nSUPABASE_SERVICE_KEY=sb_secret_0123456789\n"), "{}", before[0]);
    // The app on Fly.io sleeps, so its webhook is part of the SQL.
    assert!(before[1].contains("https://my-trainer.fly.dev/hooks/supabase"), "{}", before[1]);
    assert!(before[0].contains("\nCONSOLE_URL=https://my-trainer.fly.dev\n"), "{}", before[0]);

    // Later, and without the keys in the environment: the file has them.
    let later = [&ACCOUNTS[..], &["--fly-app", "my-trainer"]].concat();
    let told = succeeded(&init(folder.path(), &later, &[]));
    for name in names {
        assert!(told.contains(&format!("unchanged  {name}\n")), "{told}");
    }
    assert_eq!(names.map(|name| read(folder.path(), name)), before);
    assert_eq!(std::fs::read_dir(folder.path().join("supabase/migrations")).unwrap().count(), 1);
}

#[test]
fn a_file_that_differs_stays_and_is_shown_without_keys() {
    let folder = tempfile::tempdir().unwrap();
    let env = "HF_TOKEN=hf_ofTheOperator1\nNATS_PASSWORD=guess-me-if-you-can\n";
    std::fs::write(folder.path().join(".env"), env).unwrap();
    std::fs::write(folder.path().join("fly.toml"), "app = \"other\"\n").unwrap();
    let told = succeeded(&init(
        folder.path(),
        &[&ACCOUNTS[..], &["--fly-app", "mine", "--fly-region", "ams", "--stamp", "20260102030405"]].concat(),
        &KEYS,
    ));
    assert!(
        told.contains("kept       .env, which differs") && told.contains("  +HF_REPO=owner/model\n"),
        "{told}"
    );
    assert!(told.contains("  -app = \"other\"\n") && told.contains("  +app = \"mine\"\n"), "{told}");
    assert!(told.contains("  -NATS_PASSWORD=***\n") && told.contains("  +WEBHOOK_SECRET=***\n"), "{told}");
    for secret in ["hf_of", "hf_0123", "guess-me", "sb_secret_0"] {
        assert!(!told.contains(secret), "{told}");
    }
    assert_eq!(
        (read(folder.path(), ".env"), read(folder.path(), "fly.toml")),
        (env.to_owned(), "app = \"other\"\n".to_owned())
    );
    let json = succeeded(&init(
        folder.path(),
        &[&ACCOUNTS[..], &["--json", "--stamp", "20260102030406"]].concat(),
        &KEYS,
    ));
    let json: Value = serde_json::from_str(&json).unwrap();
    let outcomes: Vec<&str> =
        json["files"].as_array().unwrap().iter().map(|file| file["outcome"].as_str().unwrap()).collect();
    // Without --fly-app there is no webhook, so the SQL is another one, and gets a file of its own.
    assert_eq!(outcomes, ["kept", "written", "kept"]);
    assert!(json["files"][0]["diff"].as_str().unwrap().contains("+HF_REPO=owner/model"), "{json}");
}

#[test]
fn without_answers_the_worker_names_what_is_missing_and_takes_nothing_for_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let told = succeeded(&init(folder.path(), &["--no-fly"], &[]));
    let missing = ["SUPABASE_URL", "SUPABASE_SERVICE_KEY", "HF_TOKEN", "HF_REPO"];
    assert!(told.contains(&format!("Still empty in .env: {}\n", missing.join(", "))), "{told}");
    assert!(!folder.path().join("fly.toml").exists());
    let script = "set -a; . ./.env; exec \"$0\" worker";
    let arguments = ["-c", script, env!("CARGO_BIN_EXE_autovalidate")];
    let output = Command::new("sh").args(arguments).env_clear().current_dir(folder.path()).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        ["SUPABASE_URL", "HF_TOKEN", "HF_REPO"]
            .iter()
            .all(|name| told.contains(&format!("{name} is not set"))),
        "{told}"
    );
}

#[test]
fn fly_toml_is_a_recipe_that_the_checks_of_recipes_accept() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [("pulled", &["--image", "ghcr.io/owner/trainer:1.2.3-fly"][..]), ("built", &[][..])]
    {
        let dir = folder.path().join(name);
        let arguments = [&["--dir", dir.to_str().unwrap(), "--fly-app", "my-trainer"][..], more].concat();
        succeeded(&init(folder.path(), &arguments, &KEYS));
        assert_eq!(
            read(&dir, "fly.toml").contains("image = \"ghcr.io/owner/trainer:1.2.3-fly\""),
            name == "pulled"
        );
        let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/fly-recipes");
        succeeded(&Command::new(check).arg(dir.join("fly.toml")).output().unwrap());
    }
}

#[test]
fn what_readers_of_env_files_read_differently_is_refused_without_being_told() {
    let folder = tempfile::tempdir().unwrap();
    for (name, value) in [("HF_TOKEN", "hf_a b$HOME"), ("SUPABASE_SERVICE_KEY", "sb_secret_'quoted'")] {
        let output = init(folder.path(), &["--no-fly"], &[(name, value)]);
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(name) && !told.contains(value), "{told}");
    }
    for arguments in [
        ["--fly-app", "My App"],
        ["--fly-region", "Frankfurt"],
        ["--stamp", "yesterday"],
        ["--hf-repo", "model"],
        ["--supabase-url", "x"],
    ] {
        assert_eq!(init(folder.path(), &arguments, &[]).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}
