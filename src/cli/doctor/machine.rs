//! Checks of this machine: the environment, the data directory, the port, and the base model.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use autovalidate_finetune::model::ModelFolder;
use nix::sys::statvfs::statvfs;
use rapidfuzz::distance::damerau_levenshtein;
use tokio::time::timeout;

use super::CHECK_TIMEOUT;
use super::finding::Finding;
use crate::hub::Repository;
use crate::settings::Settings;

/// Free space below which a run can't finish: a model of the default's size, its checkpoint and its zip.
const LEAST_SPACE: u64 = 512 << 20;
/// Time that another program on the port has to say what it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);
/// Length of the beginning that a misspelled name shares with a setting.
const PREFIX: usize = 3;

/// Returns a finding for each variable of the environment whose name is nearly that of a setting.
pub(super) fn misspelled(settings: &Settings, names: impl Iterator<Item = String>) -> Vec<Finding> {
    let known = &settings.names;
    let nearest = |name: &String| {
        let near = known.iter().filter(|setting| {
            setting.get(..PREFIX).is_some_and(|prefix| name.starts_with(prefix))
                && damerau_levenshtein::distance(name.chars(), setting.chars()) <= 2
        });
        near.min_by_key(|setting| damerau_levenshtein::distance(name.chars(), setting.chars()))
    };
    let unknown = names.filter(|name| !known.contains(name));
    let found = unknown.filter_map(|name| {
        let setting = nearest(&name)?;
        let advice = format!("If {setting} is meant, correct the name.");
        Some(Finding::note(
            "settings",
            format!("{name} is set in the environment, and is no setting"),
            advice,
        ))
    });
    found.collect()
}

/// Writes a file into the data directory, or into the folder that it will be in, and removes it again.
pub(super) fn data_dir(data_dir: &Path) -> Finding {
    const CHECK: &str = "data directory";
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let Some(folder) = absolute.ancestors().find(|folder| folder.is_dir()) else {
        return Finding::failed(
            CHECK,
            format!("{} can't be made", data_dir.display()),
            "Set DATA_DIR to another folder.",
        );
    };
    if let Err(error) = tempfile_in(folder) {
        let found = format!("nothing can be written to {}: {error}", folder.display());
        return Finding::failed(
            CHECK,
            found,
            "Give this user write access, or set DATA_DIR to another folder.",
        );
    }
    let free = match statvfs(folder) {
        Ok(disk) => disk.blocks_available() * disk.fragment_size(),
        Err(error) => {
            return Finding::failed(CHECK, error.to_string(), "Set DATA_DIR to a folder on a disk.");
        }
    };
    let found = format!("{} can be written to, {} MiB free", data_dir.display(), free >> 20);
    match free < LEAST_SPACE {
        true => {
            let advice = format!(
                "Free at least {} MiB: a run keeps a model, a checkpoint and a zip there.",
                LEAST_SPACE >> 20
            );
            Finding::failed(CHECK, found, advice)
        }
        false => Finding::ok(CHECK, found),
    }
}

fn tempfile_in(folder: &Path) -> std::io::Result<()> {
    // Removed when it is dropped.
    tempfile::NamedTempFile::new_in(folder).map(drop)
}

/// Binds the address of the HTTP server, unless a worker has it.
pub(super) async fn port(settings: &Settings) -> Finding {
    const CHECK: &str = "port";
    let address = settings.http_address;
    let error = match TcpListener::bind(address) {
        Ok(_) => return Finding::ok(CHECK, format!("{address} is free")),
        Err(error) => error,
    };
    let host = if address.ip().is_unspecified() { "127.0.0.1".to_owned() } else { address.ip().to_string() };
    let health = reqwest::get(format!("http://{host}:{}/healthz", address.port()));
    match timeout(HEALTH_TIMEOUT, health).await {
        Ok(Ok(answer)) if answer.status().is_success() => {
            Finding::ok(CHECK, format!("a worker answers at {address}"))
        }
        _ => Finding::failed(
            CHECK,
            format!("{address} can't be bound: {error}"),
            "Stop the program that uses the port, or set HTTP_ADDR to another address.",
        ),
    }
}

/// Opens the base model: a folder as training does, a model of the Hub by listing its files.
pub(super) async fn base_model(settings: &Settings) -> Finding {
    const CHECK: &str = "base model";
    let name = settings.base_model.clone();
    if Path::new(&name).is_dir() {
        let path = name.clone();
        let opened = tokio::task::spawn_blocking(move || {
            let folder = ModelFolder::open(Path::new(&path))?;
            folder.tokenizer().map(drop)
        });
        return match timeout(CHECK_TIMEOUT, opened).await {
            Ok(Ok(Ok(()))) => Finding::ok(CHECK, format!("{name} can be read")),
            Ok(Ok(Err(error))) => Finding::of(CHECK, &error),
            Ok(Err(_)) => {
                Finding::failed(CHECK, format!("{name} can't be read"), "Set BASE_MODEL to another model.")
            }
            Err(_) => Finding::late(CHECK),
        };
    }
    let advice = "Set BASE_MODEL to a folder, or to the name of a model on the Hub, such as owner/name.";
    let (Some(access), Ok(repo)) = (settings.hub.clone(), name.parse()) else {
        return Finding::failed(CHECK, format!("{name} is neither a folder nor a name on the Hub"), advice);
    };
    let listed = async { Repository::open(access)?.sibling(repo)?.model_files().await };
    match timeout(CHECK_TIMEOUT, listed).await {
        Ok(Ok(_)) => Finding::ok(CHECK, format!("the Hub has {name}")),
        Ok(Err(error)) => Finding::of(CHECK, &error),
        Err(_) => Finding::late(CHECK),
    }
}
