#![allow(dead_code, unreachable_pub)]
//! What several tests need: deadlines that name their call site, and where `scripts/setup` put things.

pub mod crash;
pub mod nats;
pub mod storm;

use std::future::Future;
use std::panic::Location;
use std::path::PathBuf;
use std::time::Duration;

use autovalidate_finetune::onnx::Runtime;

/// Awaits `future`, and fails the test naming the caller's line if it takes longer than `limit`.
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

/// A path below `.local/`, which `scripts/setup` fills. Fails with the command to run when it is not there.
#[track_caller]
pub fn local(path: &str) -> PathBuf {
    let full = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".local").join(path);
    assert!(full.exists(), "{} is missing: run scripts/setup first", full.display());
    full
}

/// The nats-server program: `NATS_SERVER`, or the one that `scripts/setup` installed.
#[track_caller]
pub fn nats_server() -> PathBuf {
    std::env::var_os("NATS_SERVER").map_or_else(|| local("bin/nats-server"), PathBuf::from)
}

/// The Python with the official clients (`realtime`, `huggingface_hub`, `nats-py`) that `scripts/setup` installed.
#[track_caller]
pub fn python() -> PathBuf {
    local("python/bin/python")
}

/// The folder of the official JavaScript client that `scripts/setup --tests` installed, for `NODE_PATH`.
#[track_caller]
pub fn node_modules() -> PathBuf {
    local("javascript/node_modules")
}

/// The ONNX Runtime library: `ORT_DYLIB_PATH`, such as one for GPUs, or the one that `scripts/setup` installed.
#[track_caller]
pub fn onnxruntime() -> PathBuf {
    std::env::var_os("ORT_DYLIB_PATH").map_or_else(|| local("lib/libonnxruntime.so"), PathBuf::from)
}

/// The all-MiniLM-L6-v2 folder that `scripts/setup` installed.
#[track_caller]
pub fn minilm() -> PathBuf {
    local("models/all-MiniLM-L6-v2")
}

/// The ONNX Runtime on two threads.
#[track_caller]
pub fn runtime() -> Runtime {
    Runtime::load(&onnxruntime(), 2).unwrap()
}
