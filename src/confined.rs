//! Confinement of a process of this program that reads hostile bytes.
//!
//! Some parsers that other people wrote can be made to panic, to hang, or to take all memory. The program
//! therefore starts itself once more for what such a parser reads: with limits on time and memory, without
//! settings and so without secrets, and where possible without a network. What the process writes is data,
//! and a process that dies is an answer, too.
//! [Decision 0077](../docs/decisions/0077-a-model-is-read-by-another-process-first.md) has the reasons.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use serde::{Deserialize, Serialize};

/// Variables that the system's loader needs. The process gets no other, and so no secret.
const VARIABLES: [&str; 3] = ["LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PATH"];
/// Settings of libraries: one thread each, whose stacks and heaps would count as memory.
const LIBRARIES: [(&str, &str); 4] = [
    ("ORT_DISABLE_TELEMETRY", "1"),
    ("RAYON_NUM_THREADS", "1"),
    ("TOKENIZERS_PARALLELISM", "false"),
    ("MALLOC_ARENA_MAX", "1"),
];

/// Limits of a confined process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Longest duration, of the processor; callers also hold the clock to it.
    pub time: Duration,
    /// Memory in bytes beyond that of the program itself, and beyond [`Self::per_byte`].
    pub memory: u64,
    /// Memory in bytes for each byte that is read.
    pub per_byte: u64,
}

impl Default for Limits {
    /// Returns two minutes, and 512 MiB besides four times the size of what is read. Reading
    /// all-MiniLM-L6-v2 takes one or two seconds and less than 64 MiB.
    fn default() -> Self {
        Self { time: Duration::from_secs(120), memory: 512 << 20, per_byte: 4 }
    }
}

/// Returns the path of the program of this process.
pub(crate) fn this_program() -> PathBuf {
    // An upgrade may replace the file while the process runs. Linux still has the one of the process.
    match cfg!(target_os = "linux") {
        true => PathBuf::from("/proc/self/exe"),
        false => std::env::current_exe().unwrap_or_else(|_| PathBuf::from("autovalidate")),
    }
}

/// Returns the command that starts `program`, which is this program, with `argument` as its only one.
/// Standard input and output are pipes.
pub(crate) fn command(program: &Path, argument: &str) -> Command {
    let mut command = Command::new(program);
    command.arg(argument).env_clear().envs(LIBRARIES);
    command.envs(VARIABLES.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

/// Cuts this process off from the network where the system lets it, and ties it to its parent. Must be
/// called while the process has one thread.
pub(crate) fn isolate() {
    #[cfg(target_os = "linux")]
    {
        use nix::sched::{CloneFlags, unshare};
        // A parent that is killed leaves no reader behind. The limit on the processor's time ends one that it
        // could not tie.
        let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
        // Containers may forbid both. Root in a namespace of users of its own could read less than root.
        let root = nix::unistd::Uid::effective().is_root();
        if unshare(CloneFlags::CLONE_NEWNET).is_err() && !root {
            let _ = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
        }
    }
}

/// Limits time, memory and written files of this process from here on. `size` is that of what it reads, in
/// bytes.
///
/// # Errors
/// When the system refuses a limit.
pub(crate) fn confine(size: u64, limits: &Limits) -> io::Result<()> {
    let seconds = limits.time.as_secs().max(1);
    setrlimit(Resource::RLIMIT_CPU, seconds, seconds)?;
    // The answer goes into a pipe, which is no file.
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if let Some(present) = address_space() {
        let of_size = size.saturating_mul(limits.per_byte);
        let most = present.saturating_add(limits.memory).saturating_add(of_size);
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
