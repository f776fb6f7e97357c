#![allow(dead_code, unreachable_pub)]
//! Shared helpers of the tests: deadlines that name their call site, and paths of the files that
//! `scripts/setup` installs.

pub mod broker;
pub mod certificate;
pub mod change_load;
pub mod crash;
pub mod fault_load;
pub mod hub;
pub mod ingest;
pub mod nats;
pub mod postgres;
pub mod run;
pub mod sleeper;
pub mod worker;

use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use autovalidate_finetune::onnx::Runtime;

/// Deadline of anything that a test waits for. It is long, because only a failing test reaches it.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Awaits `future`. Fails the test with the caller's line if this takes longer than `limit`.
#[track_caller]
pub fn within<F: Future>(limit: Duration, future: F) -> impl Future<Output = F::Output> {
    let caller = Location::caller();
    async move {
        match tokio::time::timeout(limit, future).await {
            Ok(output) => output,
            Err(_) => panic!("nothing happened within {limit:?} at {caller}"),
        }
    }
}

/// Returns a path below `.local/`, which `scripts/setup` fills. Fails with the command to run when
/// the path is missing.
#[track_caller]
pub fn local(path: &str) -> PathBuf {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".local").join(path);
    assert!(full.exists(), "{} is missing: run scripts/setup first", full.display());
    full
}

/// Returns the folder of the tiny model among the fixtures.
pub fn tiny() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("crates/finetune/tests/fixtures/tiny")
}

/// Writes a program that is this shell script.
pub fn write_program(path: &Path, script: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &target)
        } else {
            std::fs::copy(&path, target).map(drop).unwrap()
        }
    }
}

/// Returns the nats-server program: `NATS_SERVER`, or the one that `scripts/setup` installed.
#[track_caller]
pub fn nats_server() -> PathBuf {
    std::env::var_os("NATS_SERVER").map_or_else(|| local("bin/nats-server"), PathBuf::from)
}

/// Returns the Python with the official clients (`realtime`, `huggingface_hub`, `nats-py`) that
/// `scripts/setup` installed.
#[track_caller]
pub fn python() -> PathBuf {
    local("python/bin/python")
}

/// Returns the ONNX Runtime library: `ORT_DYLIB_PATH` (such as one for GPUs), or the one that
/// `scripts/setup` installed.
#[track_caller]
pub fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| local("lib/libonnxruntime.so"), PathBuf::from)
}

/// Returns the all-MiniLM-L6-v2 folder that `scripts/setup` installed.
#[track_caller]
pub fn minilm() -> PathBuf {
    local("models/all-MiniLM-L6-v2")
}

/// Loads the ONNX Runtime with two threads.
#[track_caller]
pub fn runtime() -> Runtime {
    Runtime::load(&onnxruntime(), 2).unwrap()
}

/// Runs a command of the program on files of this folder, with the tiny model as its base.
pub fn autovalidate(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_autovalidate"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("ORT_DYLIB_PATH", onnxruntime())
        .env("BASE_MODEL", tiny())
        .env("TRAIN_THREADS", "1")
        .output()
        .unwrap()
}
