//! Programs with their settings, as an operator would set them for a system whose runs take seconds.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::control::StandIn;
use super::process::Program;

/// Repository that the trainers publish to.
pub(crate) const REPO: &str = "local/chaos-embeddings";
/// Number of new pairs that start a run.
pub(crate) const THRESHOLD: u64 = 25;
/// Bytes that replaceable files may take in a data directory.
pub(crate) const DATA_BUDGET: u64 = 48 << 20;

/// Programs and files that an episode needs.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) worker: PathBuf,
    pub(crate) nats_server: PathBuf,
    pub(crate) onnxruntime: PathBuf,
    pub(crate) base_model: PathBuf,
    /// Folder of the episode.
    pub(crate) folder: PathBuf,
}

/// Secrets of an episode, which no log may show.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    pub(crate) hub: String,
    pub(crate) webhook: String,
    pub(crate) nats: String,
}

/// Returns the program of a cluster's nats-server.
pub(crate) fn server(paths: &Paths, secrets: &Secrets, port: u16) -> anyhow::Result<Program> {
    let file = paths.folder.join("nats/server.conf");
    let store = paths.folder.join("nats/store");
    let text = format!(
        "listen: \"127.0.0.1:{port}\"\nauthorization: {}\njetstream: {}\n",
        json!({ "token": secrets.nats }),
        json!({ "store_dir": store, "max_file_store": 2_u64 << 30 }),
    );
    std::fs::write(&file, text)?;
    Ok(Program {
        name: "nats-server".to_owned(),
        path: paths.nats_server.clone(),
        arguments: vec!["-c".to_owned(), file.display().to_string()],
        folder: paths.folder.clone(),
        environment: BTreeMap::new(),
        log: paths.folder.join("logs/nats-server"),
        started: "Server is ready",
        stopped: 1,
    })
}

/// Returns the settings that all workers share.
pub(crate) fn settings(
    paths: &Paths,
    secrets: &Secrets,
    supabase: &StandIn,
    hub: &StandIn,
) -> BTreeMap<String, String> {
    let path = |path: &Path| path.display().to_string();
    let settings = [
        ("SUPABASE_URL", supabase.url.clone()),
        ("SUPABASE_SERVICE_KEY", supabase.key.clone()),
        ("HF_ENDPOINT", hub.url.clone()),
        ("HF_TOKEN", secrets.hub.clone()),
        ("HF_REPO", REPO.to_owned()),
        ("BASE_MODEL", path(&paths.base_model)),
        ("ORT_DYLIB_PATH", path(&paths.onnxruntime)),
        ("NATS_SERVER", path(&paths.nats_server)),
        ("NATS_TOKEN", secrets.nats.clone()),
        ("WEBHOOK_SECRET", secrets.webhook.clone()),
        ("SWEEP_EVERY", "1s".to_owned()),
        // The rows come much faster than people type.
        ("BURST_FACTOR", "0".to_owned()),
        ("TRAIN_THRESHOLD", THRESHOLD.to_string()),
        ("TRAIN_MAX_WAIT", "off".to_owned()),
        ("TRAIN_COOLDOWN", "off".to_owned()),
        ("TRAIN_ACK_WAIT", "5s".to_owned()),
        ("STOP_DEADLINE", "15s".to_owned()),
        ("CHECKPOINT_EVERY", "300ms".to_owned()),
        ("TRAIN_THREADS", "1".to_owned()),
        ("TRAIN_EPOCHS", "1".to_owned()),
        ("TRAIN_BATCH_SIZE", "8".to_owned()),
        ("TRAIN_BUDGET", "30".to_owned()),
        ("SYNTHESIS_VARIANTS", "0".to_owned()),
        // Others may use the processor, too.
        ("GATE_SLOWEST", "100".to_owned()),
        ("DATA_BUDGET", DATA_BUDGET.to_string()),
        ("RUST_LOG", "warn,autovalidate=info".to_owned()),
    ];
    settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// Returns a port that nobody listens on, below those that connections get: the port must stay free while
/// its process is down.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let port = || 15_000 + rand::random::<u16>() % 15_000;
    std::iter::repeat_with(port)
        .take(1_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .context("no port is free")
}
