//! Memory of a worker and its nats-server, as Linux counts it.

use serde_json::{Value, json};

use super::figures::rounded;

/// Memory of a process, in MB.
#[derive(Clone, Copy)]
pub(crate) struct Memory {
    /// All resident pages, including those of the program's file and of libraries.
    resident: f64,
    /// The resident pages, each divided by the number of processes that share it.
    proportional: f64,
    /// Pages that belong to no file: what the process itself allocated.
    own: f64,
}

impl Memory {
    pub(crate) fn of(process: u32) -> Self {
        let text = std::fs::read_to_string(format!("/proc/{process}/smaps_rollup")).unwrap();
        let megabytes = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<f64>().ok());
            rounded(kilobytes.unwrap() / 1024.0)
        };
        Self { resident: megabytes("Rss"), proportional: megabytes("Pss"), own: megabytes("Anonymous") }
    }

    fn to_json(self) -> Value {
        json!({"resident_mb": self.resident, "proportional_mb": self.proportional, "own_mb": self.own})
    }
}

/// Memory at one moment without work.
pub(crate) struct Idle {
    /// Number of pairs in the store at first.
    pub(crate) pairs: u64,
    /// Event before the idle time.
    pub(crate) after: &'static str,
    pub(crate) worker: Memory,
    pub(crate) nats_server: Memory,
}

impl Idle {
    pub(crate) fn name(&self) -> String {
        format!("{} pairs: memory after {}", self.pairs, self.after)
    }

    /// Returns the resident memory of both.
    pub(crate) fn together(&self) -> f64 {
        rounded(self.worker.resident + self.nats_server.resident)
    }

    pub(crate) fn print(&self) {
        let cell = |memory: Memory| format!("{:.1} MB, {:.1} MB its own", memory.resident, memory.own);
        println!(
            "| {} | {} | {} | {:.1} MB |",
            self.name(),
            cell(self.worker),
            cell(self.nats_server),
            self.together()
        );
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({"pairs": self.pairs, "after": self.after, "worker": self.worker.to_json(),
               "nats_server": self.nats_server.to_json(), "together_resident_mb": self.together()})
    }
}
