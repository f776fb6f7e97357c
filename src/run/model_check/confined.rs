//! Limits that the reading process sets itself before it opens the folder.

use std::io;
use std::path::Path;

use nix::sys::resource::{Resource, setrlimit};

use super::Limits;

/// Largest number of files whose sizes are added up.
const MOST_FILES: usize = 20_000;

/// Cuts the process off from the network where the system lets it, and ties it to its parent. Must be
/// called while the process has one thread.
pub(super) fn isolate() {
    #[cfg(target_os = "linux")]
    {
        use nix::sched::{CloneFlags, unshare};
        // A trainer that is killed leaves no reader behind. The limit on the processor's time ends one
        // that it could not tie.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        // Containers may forbid both. Root in a namespace of users of its own could read less than root.
        let root = nix::unistd::Uid::effective().is_root();
        if unshare(CloneFlags::CLONE_NEWNET).is_err() && !root {
            let _ = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
        }
    }
}

/// Limits time, memory and written files from here on.
///
/// # Errors
/// When the system refuses a limit.
pub(super) fn confine(folder: &Path, limits: &Limits) -> io::Result<()> {
    let seconds = limits.time.as_secs().max(1);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds)?;
    // The answer goes into a pipe, which is no file.
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if let Some(present) = address_space() {
        let mut left = MOST_FILES;
        let files = size_of(folder, &mut left).saturating_mul(limits.per_byte);
        let most = present.saturating_add(limits.memory).saturating_add(files);
        setrlimit(Resource::RLIMIT_AS, most, most)?;
    }
    Ok(())
}

/// Returns the size of this process's address space in bytes, where the system tells it.
fn address_space() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"))?;
    let kilobytes: u64 = size.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// Returns the size of the files below a folder, without following links to folders.
fn size_of(folder: &Path, left: &mut usize) -> u64 {
    let mut size = 0_u64;
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Some(still) = left.checked_sub(1) else { break };
        *left = still;
        let more = match entry.file_type() {
            Ok(kind) if kind.is_dir() => size_of(&entry.path(), left),
            // A link to a file counts as the file.
            Ok(_) => std::fs::metadata(entry.path()).map_or(0, |metadata| metadata.len()),
            Err(_) => 0,
        };
        size = size.saturating_add(more);
    }
    size
}
