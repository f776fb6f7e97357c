//! Looks for what must not stay behind: processes, temporary files, large folders, and texts and secrets
//! in logs.

use std::path::Path;

use super::process::processes_of;
use super::programs::DATA_BUDGET;
use super::system::System;
use super::truth::MARK;

/// Memory that a listener may take, in bytes.
pub(crate) const LISTENER_MEMORY: u64 = 64 << 20;
/// Memory that a trainer may take, in bytes.
pub(crate) const TRAINER_MEMORY: u64 = 600 << 20;
/// Largest number of problems of one kind that are told.
const MAX_TOLD: usize = 5;

/// Returns what the workers have left behind. They have ended by now.
pub(crate) fn problems(system: &System) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let own = [system.supabase.pid(), system.hub.pid(), system.nats.as_ref().and_then(|nats| nats.pid())];
    for (pid, line) in processes_of(&system.paths.folder) {
        if !own.contains(&Some(pid)) {
            problems.push(format!("leaked: process {pid} is left: {line}"));
        }
    }
    for worker in &system.workers {
        let name = &worker.process.program.name;
        for path in files(&worker.temporary)?.into_iter().take(MAX_TOLD) {
            problems.push(format!("leaked: {name} left the temporary file {}", path.display()));
        }
        let mut bytes = 0;
        for folder in ["jobs", "models", "snapshots"] {
            for path in files(&worker.data.folder.join(folder))? {
                bytes += path.metadata().map_or(0, |metadata| metadata.len());
            }
        }
        if bytes > DATA_BUDGET {
            problems.push(format!("leaked: the data directory of {name} has {bytes} bytes"));
        }
        let most = worker.process.most_memory;
        let limit = if worker.trains { TRAINER_MEMORY } else { LISTENER_MEMORY };
        if most > limit {
            problems.push(format!("memory: {name} took {} MB", most >> 20));
        }
        problems.extend(log_problems(system, name, &worker.process.program.log)?);
    }
    Ok(problems)
}

fn log_problems(system: &System, name: &str, log: &Path) -> anyhow::Result<Vec<String>> {
    let log = String::from_utf8_lossy(&std::fs::read(log)?).into_owned();
    let secrets = &system.secrets;
    let searched = [
        (MARK, "leaked: a pair's text"),
        (&secrets.hub, "leaked: the Hub's token"),
        (&secrets.webhook, "leaked: the webhook's secret"),
        (&secrets.nats, "leaked: the broker's token"),
        (&system.supabase.key, "leaked: the service key"),
        ("panicked at", "a panic"),
    ];
    let found = searched.into_iter().filter_map(|(text, what)| {
        let line = log.lines().find(|line| line.contains(text))?;
        Some(format!("{what} is in the log of {name}: {}", line.replace(text, "<found>")))
    });
    Ok(found.collect())
}

/// Returns all files below a folder; none where there is no folder.
fn files(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(found) };
    for entry in entries {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}
