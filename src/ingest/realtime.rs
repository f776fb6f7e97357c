//! One session of the Realtime connection: connect, join, stream rows, and end at the first
//! failure.
//!
//! A session is disposable and never repaired. When anything is wrong, the session ends with a
//! reason; the ingest then starts the next session and sweeps the table.
//!
//! This module uses the socket factory, the connection's writer, the messages and the events of
//! `supabase-realtime-rs`. It does not use that crate's `RealtimeClient`. That client (in 0.1.2)
//! reconnects a dead socket without joining again, and so looks alive while it receives nothing. It
//! also ignores the join's reply, waits for slow listeners inside its reader, and keeps every
//! client and its socket alive forever in a reference cycle. Because this module reads the frames
//! itself, it can check the whole protocol: the join's reply and its echo, every `Subscribed to
//! PostgreSQL`, heartbeat replies, `phx_close` and `phx_error`, each with a deadline.
//!
//! `tungstenite` logs the address with its key, and every frame, at `trace`. Telemetry must never
//! enable a level below `debug` for that target.

use std::time::Duration;

use futures::StreamExt;
use secrecy::ExposeSecret;
use supabase_realtime_rs::ConnectionManager;
use supabase_realtime_rs::websocket::WebSocketFactory;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::Message;

use super::access::TableAccess;
use super::disconnect_reason::{DisconnectReason, ProtocolStep};
use super::realtime_event::{RealtimeDeadlines, RealtimeEvent};
use super::realtime_session::{JoinState, RealtimeSession};

/// Runs one session and returns the reason for its end. `report` must not block, because the
/// socket's reader calls it.
pub(super) async fn run_session(
    access: &TableAccess,
    limits: &RealtimeDeadlines,
    stop: &CancellationToken,
    report: impl FnMut(RealtimeEvent) + Send,
) -> DisconnectReason {
    let started = Instant::now();
    let opened = async {
        let url = access.realtime_url()?;
        let connect = WebSocketFactory::create(url.expose_secret().to_owned());
        let deadline = DisconnectReason::Deadline { step: ProtocolStep::Connection, limit: limits.connect };
        timeout(limits.connect, connect).await.map_err(|_| deadline)?.map_err(DisconnectReason::of_connect)
    };
    let socket = tokio::select! {
        () = stop.cancelled() => return DisconnectReason::Stopped,
        opened = opened => match opened {
            Ok(socket) => socket,
            Err(reason) => return reason,
        },
    };
    let (writer, mut frames) = socket.split();
    let connection = ConnectionManager::new();
    connection.set_writer(writer).await;
    let mut session = RealtimeSession::new(access, limits, connection, report);
    if let Err(reason) = session.join().await {
        return reason;
    }
    let mut heartbeats = tokio::time::interval_at(Instant::now() + limits.heartbeat, limits.heartbeat);
    loop {
        let step = tokio::select! {
            () = stop.cancelled() => Err(DisconnectReason::Stopped),
            () = sleep_until(started + limits.age) => Err(DisconnectReason::Aged),
            () = sleep_until(session.due), if session.stage != JoinState::Live => Err(session.overdue()),
            () = sleep_until(session.settled.unwrap_or(started)), if session.settled.is_some() => {
                session.settled = None;
                (session.report)(RealtimeEvent::Gap);
                Ok(())
            }
            _ = heartbeats.tick() => session.send_heartbeat().await,
            frame = frames.next() => match frame {
                Some(Ok(Message::Text(text))) => session.handle_frame(&text),
                Some(Ok(Message::Close(frame))) => {
                    Err(DisconnectReason::SocketClosed { code: frame.map(|frame| frame.code.into()) })
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(DisconnectReason::Socket(error)),
                None => Err(DisconnectReason::SocketClosed { code: None }),
            },
        };
        if let Err(reason) = step {
            // Best effort: only dropping the socket matters, and that always happens.
            let _ = timeout(Duration::from_secs(1), session.connection.close()).await;
            return reason;
        }
    }
}
