//! `autovalidate init`: the files of a new installation, and the SQL on a real PostgreSQL.

mod apply;
mod env_readers;
mod files;
mod terminal;

use std::path::Path;
use std::process::{Command, Output};

/// Runs the command without a terminal and with only these variables in its environment.
fn init(folder: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .arg("init")
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .current_dir(folder)
        .output()
        .unwrap()
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Arguments of an installation whose accounts are known.
const ACCOUNTS: [&str; 4] = ["--supabase-url", "https://project.supabase.co", "--hf-repo", "owner/model"];
/// Keys of it.
const KEYS: [(&str, &str); 2] =
    [("SUPABASE_SERVICE_KEY", "sb_secret_0123456789"), ("HF_TOKEN", "hf_0123456789Abc")];
