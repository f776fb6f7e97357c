//! Doors for the fuzzer to parsers that are private to this folder. Only the feature `fuzzing` compiles
//! them.

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use supabase_realtime_rs::ConnectionManager;

use super::access::{Columns, TableAccess};
use super::disconnect_reason::DisconnectReason;
use super::error_answer::ErrorAnswer;
use super::page::{Page, Record, check_range};
use super::realtime_event::{RealtimeDeadlines, RealtimeEvent};
use super::realtime_session::RealtimeSession;
use super::rest_error::RestError;
use crate::correction::Row;

/// Result of one Realtime session.
#[derive(Debug, Default)]
pub struct Session {
    /// Rows that the session reported.
    pub rows: Vec<Row>,
    /// Reason for its end, if a frame ended the session.
    pub ended: Option<DisconnectReason>,
}

/// Handles each line of a text as one text frame, up to the first that ends the session.
pub fn frames(access: &TableAccess, text: &str) -> Session {
    let limits = RealtimeDeadlines::default();
    let mut rows = Vec::new();
    let report = |event| {
        if let RealtimeEvent::Row(row) = event {
            rows.push(row);
        }
    };
    let mut session = RealtimeSession::new(access, &limits, ConnectionManager::new(), report);
    let ended = text.lines().find_map(|frame| session.handle_frame(frame).err());
    Session { rows, ended }
}

/// Reads the body of an answer to the question for rows above an id.
///
/// # Errors
/// [`RestError`], as the client of the table returns it.
pub fn page(body: &[u8], after: i64) -> Result<Page, RestError> {
    let records: Vec<Record> = serde_json::from_slice(body).map_err(RestError::Body)?;
    let columns = Columns::default();
    check_range(&columns, &records, after, i64::MAX)?;
    Page::decode(&columns, &records)
}

/// Reads the body of an answer instead of rows.
pub fn error_answer(access: &TableAccess, status: u16, body: &[u8]) -> ErrorAnswer {
    let status = StatusCode::from_u16(status).unwrap_or_default();
    ErrorAnswer::new(access, status, &HeaderMap::new(), body)
}
