//! Numbers of the ingest, for `/metrics`: those that the [status](IngestStatus) has, and those that
//! only `/metrics` shows.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use strum::VariantArray;

use super::inbox::Accepted;
use super::status::IngestStatus;
use crate::correction::Row;
use crate::postgres_time::PostgresTime;

/// Bounds of the durations of sweeps, in seconds: most read one page, the first may read a million
/// rows.
const SWEEP_BOUNDS: [f64; 12] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0];

type NoLabels = [(&'static str, &'static str); 0];
type OneLabel = [(&'static str, &'static str); 1];
type TwoLabels = [(&'static str, &'static str); 2];

/// Outcomes of a sweep: it has read the table to the end, or not.
const SWEEP_OUTCOMES: [&str; 2] = ["complete", "failed"];

/// Origin of a row that was handed to the inbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(super) enum RowOrigin {
    Realtime,
    Sweep,
    Audit,
}

/// Outcome of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
enum RowOutcome {
    Stored,
    Repeated,
    Quarantined,
    Malformed,
}

/// Numbers that only `/metrics` shows. Clones share them.
#[derive(Debug, Clone)]
pub struct IngestMetrics {
    rows: Family<TwoLabels, Counter>,
    sweeps: Family<OneLabel, Histogram, fn() -> Histogram>,
    // A family without labels has no value before the first row.
    lag: Family<NoLabels, Gauge<f64, AtomicU64>>,
    /// Time of the newest row that was stored, by the database's clock; at first, the start of the
    /// ingest. Rows from before the start waited for a worker, which is no lag of the ingest.
    newest: Arc<Mutex<Timestamp>>,
}

impl Default for IngestMetrics {
    fn default() -> Self {
        Self::since(Timestamp::now())
    }
}

impl IngestMetrics {
    fn since(start: Timestamp) -> Self {
        let metrics = Self {
            rows: Family::default(),
            sweeps: Family::new_with_constructor(|| Histogram::new(SWEEP_BOUNDS)),
            lag: Family::default(),
            newest: Arc::new(Mutex::new(start)),
        };
        // From the start, so that the first row is an increase.
        for origin in RowOrigin::VARIANTS {
            metrics.count_rows(*origin, &Accepted::default(), 0);
        }
        for outcome in SWEEP_OUTCOMES {
            drop(metrics.sweeps.get_or_create(&[("outcome", outcome)]));
        }
        metrics
    }

    /// Registers the metrics under their names.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Rows by the source that showed them and their outcome";
        registry.register("autovalidate_rows", help, self.rows.clone());
        let help = "Seconds that sweeps of the table took";
        registry.register("autovalidate_sweep_duration_seconds", help, self.sweeps.clone());
        let help = "Seconds from the insert of the newest row until it was stored";
        registry.register("autovalidate_newest_row_lag_seconds", help, self.lag.clone());
    }

    pub(super) fn count_rows(&self, origin: RowOrigin, accepted: &Accepted, malformed: u64) {
        for (outcome, rows) in [
            (RowOutcome::Stored, accepted.stored),
            (RowOutcome::Repeated, accepted.duplicates),
            (RowOutcome::Quarantined, accepted.refused),
            (RowOutcome::Malformed, malformed),
        ] {
            self.rows.get_or_create(&[("source", origin.into()), ("outcome", outcome.into())]).inc_by(rows);
        }
    }

    pub(super) fn sweep_ended(&self, complete: bool, took: Duration) {
        let [done, failed] = SWEEP_OUTCOMES;
        let outcome = if complete { done } else { failed };
        self.sweeps.get_or_create(&[("outcome", outcome)]).observe(took.as_secs_f64());
    }

    /// Notes the lag of the last row of a batch, which is the newest, when every row of the batch is new
    /// and when it is newer than all rows before. Rows of a batch have the order of their inserts.
    pub(super) fn note_lag(&self, accepted: &Accepted, batch: &[Row]) {
        self.note_lag_at(accepted, batch, Timestamp::now());
    }

    fn note_lag_at(&self, accepted: &Accepted, batch: &[Row], now: Timestamp) {
        if accepted.stored + accepted.refused != batch.len() as u64 {
            return;
        }
        let written = batch.last().and_then(|row| PostgresTime::read(row.created_at.as_deref()?));
        // Without an offset, the time may be of any zone.
        let Some(written) = written.filter(|written| written.zoned) else { return };
        // Whoever inserts a row may give it any time.
        let at = written.at.min(now);
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if at > *newest {
            *newest = at;
            self.lag.get_or_create(&[]).set(now.duration_since(at).as_secs_f64());
        }
    }
}

impl IngestStatus {
    /// Registers the numbers of this moment under their names.
    pub fn register(&self, registry: &mut Registry) {
        let mut gauge = |name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstGauge::new(value));
        };
        gauge("autovalidate_realtime_connected", "1 if row changes arrive, else 0", self.connected.into());
        let help = "Kept rows that the table shows no more and that were not erased";
        gauge("autovalidate_rows_vanished", help, self.vanished);
        let help = "Times the table's ids started anew";
        gauge("autovalidate_table_id_series", help, self.series.unwrap_or_default().into());
        let held_up = self.sweep_trouble.is_some();
        gauge("autovalidate_ingest_held_up", "1 if the last sweep failed, else 0", held_up.into());
        let hidden = self.visibility_trouble.is_some();
        gauge("autovalidate_table_shows_no_row", "1 if no row is visible, else 0", hidden.into());
        let undelivered = "Rows that Realtime delivered and that are not stored yet";
        gauge("autovalidate_rows_undelivered", undelivered, self.undelivered);

        let mut counter = |name: &str, help: &str, value: u64| {
            registry.register(name, help, ConstCounter::new(value));
        };
        let help = "Realtime connections started";
        counter("autovalidate_realtime_generations", help, self.generation);
        counter("autovalidate_rows_changed", "Kept rows whose text was replaced", self.changed);
        counter("autovalidate_rows_removed", "Kept rows erased after a deletion", self.removed);
        counter("autovalidate_ingest_gaps", "Times a row may have been missed", self.gaps);
        counter(
            "autovalidate_audits",
            "Comparisons of the table's row count with the kept rows",
            self.audits,
        );
        // Names of earlier versions, which `autovalidate_rows_total` replaces.
        counter(
            "autovalidate_rows_by_realtime",
            "Deprecated: see autovalidate_rows_total",
            self.rows_by_realtime,
        );
        counter("autovalidate_rows_by_sweep", "Deprecated: see autovalidate_rows_total", self.rows_by_sweep);
        counter("autovalidate_rows_by_audit", "Deprecated: see autovalidate_rows_total", self.rows_by_audit);
        counter("autovalidate_rows_repeated", "Deprecated: see autovalidate_rows_total", self.duplicates);
        counter("autovalidate_rows_quarantined", "Deprecated: see autovalidate_rows_total", self.refused);
        counter("autovalidate_rows_malformed", "Deprecated: see autovalidate_rows_total", self.malformed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(created_at: &str) -> Row {
        Row { created_at: Some(created_at.to_owned()), ..Row::default() }
    }

    #[test]
    fn the_lag_is_that_of_the_newest_row_whatever_its_time_says() {
        let metrics = IngestMetrics::since("2026-01-01T11:30:00Z".parse().unwrap());
        let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        let stored = |rows: u64| Accepted { stored: rows, ..Accepted::default() };
        let lag = |accepted: &Accepted, times: &[&str]| {
            let rows: Vec<Row> = times.iter().map(|time| row(time)).collect();
            metrics.note_lag_at(accepted, &rows, now);
            metrics.lag.get(&[]).map(|lag| lag.get())
        };
        assert_eq!(lag(&stored(1), &["2026-01-01 11:59:00"]), None, "the zone is not known");
        assert_eq!(lag(&stored(1), &["2026-01-01T11:29:00Z"]), None, "it waited for the start");
        assert_eq!(
            lag(&stored(1), &["2026-01-01T11:00:00Z", "2026-01-01T11:59:58Z"]),
            None,
            "one is a repeat"
        );
        assert_eq!(lag(&stored(2), &["2026-01-01T11:00:00Z", "2026-01-01T11:59:58Z"]), Some(2.0));
        assert_eq!(lag(&stored(1), &["2020-01-01T00:00:00Z"]), Some(2.0), "an old row is not late");
        assert_eq!(lag(&stored(1), &["infinity"]), Some(0.0), "no row is from the future");
        assert_eq!(lag(&Accepted { refused: 1, ..Accepted::default() }, &["not a time"]), Some(0.0));
    }
}
