//! Intervals and ranges of the ingest.

use std::time::Duration;

use super::realtime_event::RealtimeDeadlines;

/// Intervals and ranges of the ingest.
#[derive(Debug, Clone)]
pub struct IngestTiming {
    /// Time between sweeps when nothing else asks for one.
    pub sweep_every: Duration,
    /// Time between comparisons of the table's row count with the inbox's. The first follows the
    /// first sweep.
    pub audit_every: Duration,
    /// Shortest time between sweeps, however often one is asked for.
    pub min_sweep_interval: Duration,
    /// Number of rows per request; at most the server's limit (1000 on Supabase).
    pub page: usize,
    /// Number of kept rows that each sweep compares with the table, to find changes and deletions that
    /// nothing told of.
    pub compare: usize,
    /// Range below the cursor that is searched for late commits, in ids.
    pub overlap: i64,
    /// Number of rows received but not yet delivered; further rows are left to a sweep.
    pub buffer: usize,
    /// Lifetime of a Realtime session that resets the backoff.
    pub steady: Duration,
    /// Deadlines of the Realtime connection.
    pub limits: RealtimeDeadlines,
}

impl Default for IngestTiming {
    fn default() -> Self {
        Self {
            sweep_every: Duration::from_secs(60),
            audit_every: Duration::from_secs(600),
            min_sweep_interval: Duration::from_millis(250),
            page: 1000,
            compare: 100,
            overlap: 1000,
            buffer: 1024,
            steady: Duration::from_secs(30),
            limits: RealtimeDeadlines::default(),
        }
    }
}
