//! Percentiles, bars, the printed table, and the JSON.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::memory::Idle;

/// Samples of one time, in ascending order.
pub(crate) struct Percentiles {
    milliseconds: Vec<f64>,
}

impl Percentiles {
    pub(crate) fn of(times: Vec<Duration>) -> Self {
        let mut milliseconds: Vec<f64> = times.iter().map(|time| rounded(time.as_secs_f64() * 1e3)).collect();
        milliseconds.sort_by(f64::total_cmp);
        Self { milliseconds }
    }

    /// Returns the smallest sample that is at least as long as this share of all samples.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let rank = (self.milliseconds.len() as f64 * share).ceil() as usize;
        self.milliseconds[rank.saturating_sub(1)]
    }

    fn row(&self) -> String {
        let at = |share| format!("{:.0} ms", self.at(share));
        format!("{} | {} | {} | {}", at(0.5), at(0.9), at(0.99), at(1.0))
    }

    fn to_json(&self) -> Value {
        json!({"p50": self.at(0.5), "p90": self.at(0.9), "p99": self.at(0.99), "max": self.at(1.0),
               "samples": self.milliseconds})
    }
}

/// Starts on stores of one size.
pub(crate) struct Series {
    pub(crate) pairs: u64,
    /// True when programs and store are in the page cache before each start.
    pub(crate) cached: bool,
    /// Process start until the port accepts a connection.
    pub(crate) ready: Percentiles,
    /// Request, sent at the process start, until its response.
    pub(crate) response: Percentiles,
    /// Request until its pair is stored.
    pub(crate) stored: Percentiles,
    /// Process start of nats-server alone until its `INFO` line.
    pub(crate) nats_server_alone: Percentiles,
}

impl Series {
    pub(crate) fn name(&self) -> String {
        format!("{} pairs{}", self.pairs, if self.cached { "" } else { ", from disk" })
    }

    pub(crate) fn print(&self) {
        let name = self.name();
        println!("| {name}: start to ready | {} |", self.ready.row());
        println!("| {name}: request to 202 | {} |", self.response.row());
        println!("| {name}: request to pair stored | {} |", self.stored.row());
        println!("| {name}: nats-server alone | {} |", self.nats_server_alone.row());
    }

    fn to_json(&self) -> Value {
        let ratio = self.response.at(0.5) / self.nats_server_alone.at(0.5);
        json!({"pairs": self.pairs, "from_disk": !self.cached, "ready_ms": self.ready.to_json(),
               "response_ms": self.response.to_json(), "stored_ms": self.stored.to_json(),
               "nats_server_alone_ms": self.nats_server_alone.to_json(),
               "response_to_nats_server_alone": rounded(ratio)})
    }
}

/// Limit that a figure must not exceed.
pub(crate) struct Bar {
    what: String,
    limit: f64,
    measured: f64,
    unit: &'static str,
}

impl Bar {
    pub(crate) fn new(what: String, limit: f64, measured: f64, unit: &'static str) -> Self {
        Self { what, limit, measured, unit }
    }

    pub(crate) fn is_met(&self) -> bool {
        self.measured <= self.limit
    }

    pub(crate) fn print(&self) {
        let Self { what, limit, measured, unit } = self;
        let met = if self.is_met() { "yes" } else { "no" };
        println!("| {what} | {limit} {unit} | {measured} {unit} | {met} |");
    }

    fn to_json(&self) -> Value {
        json!({"what": self.what, "limit": self.limit, "measured": self.measured, "unit": self.unit,
               "met": self.is_met()})
    }
}

/// All figures of a benchmark.
pub(crate) struct Figures {
    commit: String,
    date: Timestamp,
    pub(crate) series: Vec<Series>,
    pub(crate) memory: Vec<Idle>,
    pub(crate) bars: Vec<Bar>,
}

impl Figures {
    pub(crate) fn new(commit: String) -> Self {
        Self { commit, date: Timestamp::now(), series: vec![], memory: vec![], bars: vec![] }
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "machine": machine(),
            "commit": self.commit,
            "date": self.date.to_string(),
            "series": self.series.iter().map(Series::to_json).collect::<Vec<_>>(),
            "memory": self.memory.iter().map(Idle::to_json).collect::<Vec<_>>(),
            "bars": self.bars.iter().map(Bar::to_json).collect::<Vec<_>>(),
        })
    }
}

fn machine() -> Value {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    json!({"cores": cores, "cpu": model.map(|(_, model)| model.trim()),
           "load_afterwards": load.split(' ').next().and_then(|load| load.parse::<f64>().ok())})
}

/// Rounds to two digits after the point.
pub(crate) fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
