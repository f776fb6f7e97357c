//! Memory, processor time and open files of this process, under the names that every Prometheus client
//! gives them.

use std::fmt;
use std::time::SystemTime;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::time::TimeValLike;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Reader of the process' numbers, which reads them at each request.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    started: SystemTime,
}

impl ProcessCollector {
    /// Creates a reader in a process that has just started.
    pub(super) fn new() -> Self {
        Self { started: SystemTime::now() }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut add = |name: &str, help: &str, metric: Option<Box<dyn EncodeMetric>>| {
            let Some(metric) = metric else { return Ok(()) };
            metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
        };
        let gauge = |value: Option<u64>| value.map(|value| Box::new(ConstGauge::new(value)) as _);
        let started = self.started.duration_since(SystemTime::UNIX_EPOCH).ok();
        let started = started.map(|since| Box::new(ConstGauge::new(since.as_secs_f64())) as _);
        add("process_start_time_seconds", "Start of the worker, in seconds since 1970.", started)?;
        let cpu = cpu_seconds().map(|seconds| Box::new(ConstCounter::new(seconds)) as _);
        add("process_cpu_seconds", "Processor time of the process.", cpu)?;
        add("process_resident_memory_bytes", "Memory of the process.", gauge(resident_bytes()))?;
        add("process_open_fds", "Open file descriptors.", gauge(open_files()))?;
        add("process_max_fds", "Most file descriptors that may be open.", gauge(most_files()))
    }
}

/// Returns the processor time of the process in seconds.
fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    Some((usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6)
}

/// Returns the memory of the process in bytes. Only Linux tells it.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Returns the number of descriptors that may be open; `None` without a limit.
fn most_files() -> Option<u64> {
    let (most, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    Some(most).filter(|most| i64::try_from(*most).is_ok())
}

/// Returns the number of open descriptors. Only Linux tells it.
fn open_files() -> Option<u64> {
    // The listing itself has one, too.
    Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}
