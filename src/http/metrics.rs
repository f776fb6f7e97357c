//! Metrics for Prometheus, with all names and help texts in one place. No metric has labels, so the
//! number of time series is fixed.

use std::fmt::Write;

use crate::broker::QueueHealth;
use crate::ingest::IngestStatus;

enum Kind {
    Gauge,
    Counter,
}

/// Returns the metrics in Prometheus' text format. Omits metrics with an unknown value.
pub(super) fn render(queue_health: Option<QueueHealth>, ingest: Option<&IngestStatus>) -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: Kind, help: &str, value: f64| {
        let kind = match kind {
            Kind::Gauge => "gauge",
            Kind::Counter => "counter",
        };
        // Writing to a string can't fail.
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
    };
    let up = f64::from(u8::from(queue_health.is_some()));
    add("autovalidate_broker_up", Kind::Gauge, "1 if the broker answers, else 0.", up);
    if let Some(queue_health) = queue_health {
        let pending = queue_health.pending as f64;
        add("autovalidate_pairs_pending", Kind::Gauge, "Pairs that wait for the next run.", pending);
        let threshold = queue_health.threshold as f64;
        add("autovalidate_pairs_threshold", Kind::Gauge, "Number of pairs that starts a run.", threshold);
        let in_hand = queue_health.in_hand as f64;
        let help = "Runs in progress or waiting for their next attempt.";
        add("autovalidate_run_in_flight", Kind::Gauge, help, in_hand);
        let waiting = queue_health.waiting as f64;
        add("autovalidate_runs_waiting", Kind::Gauge, "Runs that wait for a worker.", waiting);
    }
    if let Some(ingest) = ingest {
        let connected = f64::from(u8::from(ingest.connected));
        add("autovalidate_realtime_connected", Kind::Gauge, "1 if row changes arrive, else 0.", connected);
        let generation = ingest.generation as f64;
        add(
            "autovalidate_realtime_generations_total",
            Kind::Counter,
            "Realtime connections started.",
            generation,
        );
        let rows = ingest.rows_by_realtime as f64;
        add("autovalidate_rows_by_realtime_total", Kind::Counter, "New pairs that Realtime found.", rows);
        let rows = ingest.rows_by_sweep as f64;
        add("autovalidate_rows_by_sweep_total", Kind::Counter, "New pairs that the sweep found.", rows);
        let duplicates = ingest.duplicates as f64;
        add("autovalidate_rows_repeated_total", Kind::Counter, "Rows seen again.", duplicates);
        let refused = ingest.refused as f64;
        add("autovalidate_rows_quarantined_total", Kind::Counter, "Rows kept out of training.", refused);
        let malformed = ingest.malformed as f64;
        add("autovalidate_rows_malformed_total", Kind::Counter, "Rows skipped as malformed.", malformed);
        let rows = ingest.rows_by_audit as f64;
        add("autovalidate_rows_by_audit_total", Kind::Counter, "New pairs only the audit found.", rows);
        let changed = ingest.changed as f64;
        add("autovalidate_rows_changed_total", Kind::Counter, "Kept rows whose text was replaced.", changed);
        let removed = ingest.removed as f64;
        add("autovalidate_rows_removed_total", Kind::Counter, "Kept rows erased after a deletion.", removed);
        let vanished = ingest.vanished as f64;
        let help = "Kept rows that the table shows no more and that were not erased.";
        add("autovalidate_rows_vanished", Kind::Gauge, help, vanished);
        let series = f64::from(ingest.series.unwrap_or_default());
        add("autovalidate_table_id_series", Kind::Gauge, "Times the table's ids started anew.", series);
        let gaps = ingest.gaps as f64;
        add("autovalidate_ingest_gaps_total", Kind::Counter, "Times a row may have been missed.", gaps);
        let held_up = f64::from(u8::from(ingest.sweep_trouble.is_some()));
        add("autovalidate_ingest_held_up", Kind::Gauge, "1 if the last sweep failed.", held_up);
        let hidden = f64::from(u8::from(ingest.visibility_trouble.is_some()));
        add("autovalidate_table_shows_no_row", Kind::Gauge, "1 if no row is visible.", hidden);
    }
    text
}
