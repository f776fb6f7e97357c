//! How often and how far the ingest looks.

use std::time::Duration;

use super::realtime_event::Limits;

/// How often and how far the ingest looks.
#[derive(Debug, Clone)]
pub struct IngestTiming {
    /// Time between sweeps when nothing else asks for one.
    pub sweep_every: Duration,
    /// Time between comparisons of the table's count with the inbox's. The first follows the first sweep.
    pub audit_every: Duration,
    /// Time between sweeps at least, however often one is asked for.
    pub min_sweep_interval: Duration,
    /// Rows per request; at most the server's cap (1000 on Supabase).
    pub page: usize,
    /// How far below the cursor late commits are looked for, in ids.
    pub overlap: i64,
    /// Rows received and not yet delivered; beyond that they are left to a sweep.
    pub buffer: usize,
    /// A connection that lived this long starts the backoff anew.
    pub steady: Duration,
    /// Deadlines of the Realtime connection.
    pub limits: Limits,
}

impl Default for IngestTiming {
    fn default() -> Self {
        Self {
            sweep_every: Duration::from_secs(60),
            audit_every: Duration::from_secs(600),
            min_sweep_interval: Duration::from_millis(250),
            page: 1000,
            overlap: 1000,
            buffer: 1024,
            steady: Duration::from_secs(30),
            limits: Limits::default(),
        }
    }
}
