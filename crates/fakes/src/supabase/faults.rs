//! Switches that inject the failures of the real service while the stand-in runs.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

/// A fault that strikes every open socket once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketFault {
    /// The connection drops without a close frame.
    Kill,
    /// `Token has expired`, then `phx_close`: the channels are closed, the socket stays open.
    TokenExpired,
    /// `phx_error`: the channels crashed, the socket stays open.
    ChannelCrash,
    /// Events committed since the last poll are lost, and `Subscribed to PostgreSQL` comes again.
    Resubscribed,
    /// `Too many database timeouts`: the channels get no rows until the server has subscribed again
    /// by itself.
    Degraded,
    /// The server sends a close frame with this code.
    Close(u16),
}

/// Failure of the next REST request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestFault {
    /// PostgREST's JSON error body with this status (429 and 503 carry `Retry-After: 1`).
    Status(u16),
    /// A gateway's HTML page with this status.
    Html(u16),
    /// The right status and headers, but half of the body.
    Truncated,
    /// Status 500 with code 57014: PostgreSQL cancelled the statement.
    StatementTimeout,
}

/// The fault switches of one stand-in, shared by all clones.
#[derive(Debug, Clone)]
pub struct Faults {
    switches: Arc<Mutex<Switches>>,
    strikes: broadcast::Sender<SocketFault>,
}

#[derive(Debug, Default)]
struct Switches {
    silent_heartbeats: bool,
    silent_joins: bool,
    join_refusal: Option<String>,
    upgrade_refusals: VecDeque<u16>,
    dropped_events: u64,
    dropped_webhooks: u64,
    duplicate_events: bool,
    event_errors: bool,
    rest: VecDeque<RestFault>,
    rest_latency: Duration,
    statement_rows: Option<usize>,
    answer_bytes: Option<usize>,
    stale_pages: bool,
    commit_delay: Duration,
    hidden_rows: bool,
    revoked: bool,
    unpublished: bool,
    legacy_keys_disabled: bool,
    frame_delay: Duration,
    clock_skew: Duration,
}

impl Default for Faults {
    fn default() -> Self {
        Self { switches: Arc::default(), strikes: broadcast::Sender::new(64) }
    }
}

impl Faults {
    /// Strikes every open socket with `fault`, once.
    pub fn strike(&self, fault: SocketFault) {
        // Sending fails when no socket is open, and then there is nothing to strike.
        let _ = self.strikes.send(fault);
    }

    /// Ends every fault that lasts, and discards those that have not happened yet.
    pub fn clear(&self) {
        *self.switches() = Switches::default();
    }

    /// Stops (or resumes) answering heartbeats.
    pub fn silence_heartbeats(&self, on: bool) {
        self.switches().silent_heartbeats = on;
    }

    /// Accepts joins without ever replying (or replies again).
    pub fn silence_joins(&self, on: bool) {
        self.switches().silent_joins = on;
    }

    /// Rejects joins with this reason, such as `InitializingProjectConnection: ...`; `None` accepts
    /// them again.
    pub fn refuse_joins(&self, reason: Option<&str>) {
        self.switches().join_refusal = reason.map(str::to_owned);
    }

    /// Answers the next `times` websocket upgrades with this HTTP status.
    pub fn refuse_upgrades(&self, status: u16, times: usize) {
        self.switches().upgrade_refusals.extend(std::iter::repeat_n(status, times));
    }

    /// Loses the next `count` row events silently.
    pub fn drop_events(&self, count: u64) {
        self.switches().dropped_events = count;
    }

    /// Loses the webhook calls of the next `count` rows, as `pg_net` does when it can't send them.
    pub fn drop_webhooks(&self, count: u64) {
        self.switches().dropped_webhooks = count;
    }

    /// Sends every row event twice (or once again).
    pub fn duplicate_events(&self, on: bool) {
        self.switches().duplicate_events = on;
    }

    /// Sends row events as the server does for a role without permission: an error, no row, no
    /// timestamp.
    pub fn break_events(&self, on: bool) {
        self.switches().event_errors = on;
    }

    /// Makes the next `times` REST requests fail with `fault`.
    pub fn fail_rest(&self, fault: RestFault, times: usize) {
        self.switches().rest.extend(std::iter::repeat_n(fault, times));
    }

    /// Discards the REST failures that have not happened yet.
    pub fn clear_rest(&self) {
        self.switches().rest.clear();
    }

    /// Delays every REST response by `latency`.
    pub fn delay_rest(&self, latency: Duration) {
        self.switches().rest_latency = latency;
    }

    /// Cancels every statement that returns more than this many rows, as a statement timeout on a slow
    /// table does; `None` lets all through again.
    pub fn limit_statement_rows(&self, most: Option<usize>) {
        self.switches().statement_rows = most;
    }

    /// Answers 413 in place of every page larger than this many bytes, as a gateway does; `None` lets
    /// all through again.
    pub fn limit_answer_bytes(&self, most: Option<usize>) {
        self.switches().answer_bytes = most;
    }

    /// Answers every read with the first page served from now on, as a cache that ignores the query
    /// does (or answers from the table again).
    pub fn serve_stale_pages(&self, on: bool) {
        self.switches().stale_pages = on;
    }

    /// Makes rows inserted from now on visible after a random part of this delay. An HTTP write
    /// returns only then; [`insert`](super::Supabase::insert) returns at once.
    pub fn delay_commits(&self, delay: Duration) {
        self.switches().commit_delay = delay;
    }

    /// Hides every row from the `anon` role, as row-level security without a policy does: no error,
    /// no row.
    pub fn hide_rows(&self, on: bool) {
        self.switches().hidden_rows = on;
    }

    /// Revokes (or grants again) the `anon` role's permission to read the table. Reads then fail
    /// with 401 and code 42501, and row events carry no row.
    pub fn revoke(&self, on: bool) {
        self.switches().revoked = on;
    }

    /// Disables (or enables again) the legacy keys, the JWTs of `anon` and `service_role`.
    pub fn disable_legacy_keys(&self, on: bool) {
        self.switches().legacy_keys_disabled = on;
    }

    /// Delays every frame to a client by this much and reads no client frame meanwhile, as a slow
    /// network or a busy server does.
    pub fn delay_frames(&self, delay: Duration) {
        self.switches().frame_delay = delay;
    }

    /// Dates rows and commits this far into the future, as a database with a wrong clock does.
    pub fn skew_clock(&self, ahead: Duration) {
        self.switches().clock_skew = ahead;
    }

    /// Removes the table from the publication (or adds it again).
    pub fn unpublish(&self, on: bool) {
        self.switches().unpublished = on;
    }

    pub(super) fn strikes(&self) -> broadcast::Receiver<SocketFault> {
        self.strikes.subscribe()
    }

    pub(super) fn heartbeats_silent(&self) -> bool {
        self.switches().silent_heartbeats
    }

    pub(super) fn joins_silent(&self) -> bool {
        self.switches().silent_joins
    }

    pub(super) fn join_refusal(&self) -> Option<String> {
        self.switches().join_refusal.clone()
    }

    pub(super) fn take_upgrade_refusal(&self) -> Option<u16> {
        self.switches().upgrade_refusals.pop_front()
    }

    pub(super) fn take_dropped_webhook(&self) -> bool {
        let mut switches = self.switches();
        let drop = switches.dropped_webhooks > 0;
        switches.dropped_webhooks = switches.dropped_webhooks.saturating_sub(1);
        drop
    }

    pub(super) fn take_dropped_event(&self) -> bool {
        let mut switches = self.switches();
        let drop = switches.dropped_events > 0;
        switches.dropped_events = switches.dropped_events.saturating_sub(1);
        drop
    }

    pub(super) fn events_doubled(&self) -> bool {
        self.switches().duplicate_events
    }

    pub(super) fn events_broken(&self) -> bool {
        self.switches().event_errors
    }

    pub(super) fn take_rest(&self) -> Option<RestFault> {
        self.switches().rest.pop_front()
    }

    pub(super) fn rest_latency(&self) -> Duration {
        self.switches().rest_latency
    }

    pub(super) fn statement_rows(&self) -> Option<usize> {
        self.switches().statement_rows
    }

    pub(super) fn answer_bytes(&self) -> Option<usize> {
        self.switches().answer_bytes
    }

    pub(super) fn pages_stale(&self) -> bool {
        self.switches().stale_pages
    }

    pub(super) fn commit_delay(&self) -> Duration {
        self.switches().commit_delay
    }

    pub(super) fn rows_hidden(&self) -> bool {
        self.switches().hidden_rows
    }

    pub(super) fn revoked(&self) -> bool {
        self.switches().revoked
    }

    pub(super) fn legacy_keys_disabled(&self) -> bool {
        self.switches().legacy_keys_disabled
    }

    pub(super) fn frame_delay(&self) -> Duration {
        self.switches().frame_delay
    }

    pub(super) fn clock_skew(&self) -> Duration {
        self.switches().clock_skew
    }

    pub(super) fn unpublished(&self) -> bool {
        self.switches().unpublished
    }

    fn switches(&self) -> MutexGuard<'_, Switches> {
        // A switch is one assignment, so a panic elsewhere cannot leave it half set.
        self.switches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
