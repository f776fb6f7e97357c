//! The stand-ins without a worker, as a process of their own.

use std::collections::HashMap;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::support::{DEADLINE, onnxruntime, tiny, within};

fn autovalidate(arguments: &[&str], folder: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_autovalidate"));
    command.args(arguments).current_dir(folder).env_clear().stdout(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn stand_ins_print_the_settings_of_a_worker_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let mut stand_ins = autovalidate(&["dev", "--no-worker"], folder.path()).spawn().unwrap();
    let mut lines = BufReader::new(stand_ins.stdout.take().unwrap()).lines();
    let mut settings = HashMap::new();
    while !settings.contains_key("SUPABASE_SERVICE_KEY") {
        let line = within(DEADLINE, lines.next_line()).await.unwrap().expect("the stand-ins ended");
        let (name, value) = line.split_once('=').expect("NAME=value");
        settings.insert(name.to_owned(), value.to_owned());
    }

    let mut doctor = autovalidate(&["doctor"], folder.path());
    doctor.envs(&settings).env("ORT_DYLIB_PATH", onnxruntime());
    doctor.env("BASE_MODEL", tiny()).env("HTTP_ADDR", "127.0.0.1:0");
    let checked = within(DEADLINE, doctor.output()).await.unwrap();
    let told = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success(), "{told}");
    let is_fine = |line: &str| ["ok  ", "note", "    "].iter().any(|begin| line.starts_with(begin));
    assert!(told.lines().all(is_fine), "{told}");

    kill(Pid::from_raw(stand_ins.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    assert!(within(DEADLINE, stand_ins.wait()).await.unwrap().success());
    assert_eq!(within(DEADLINE, lines.next_line()).await.unwrap(), None, "only settings are printed");
}
