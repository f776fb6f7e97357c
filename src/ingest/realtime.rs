//! One generation of the Realtime connection: connect, join, stream rows, end at the first sign of death.
//!
//! A generation is disposable. It is never repaired: when anything is wrong it ends with a reason, and the
//! ingest starts the next one and sweeps the table.
//!
//! It stands on `supabase-realtime-rs`: its socket factory, its connection's writer, its messages and events.
//! It does not use that crate's `RealtimeClient`, which (in 0.1.2) reconnects a dead socket without joining
//! again and so looks alive while it is deaf, ignores the join's reply, waits for slow listeners inside its
//! reader, and keeps every client and its socket in a reference cycle for ever. Reading the frames here, all
//! duties are observed: the join's reply and its echo, `Subscribed to PostgreSQL` (again), heartbeat replies,
//! `phx_close` and `phx_error`, and a deadline on each of them.
//!
//! `tungstenite` logs the address with its key, and every frame, at `trace`: telemetry must never let that
//! target below `debug`.

use std::time::Duration;

use futures::StreamExt;
use secrecy::ExposeSecret;
use supabase_realtime_rs::ConnectionManager;
use supabase_realtime_rs::websocket::WebSocketFactory;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::Message;

use super::access::TableAccess;
use super::disconnect_reason::{DisconnectReason, Step};
use super::realtime_event::{Limits, RealtimeEvent};
use super::realtime_session::{RealtimeSession, Stage};

/// Lives one generation, and says how it ended. `report` must not block: it is called by the socket's reader.
pub(super) async fn live(
    access: &TableAccess,
    limits: &Limits,
    stop: &CancellationToken,
    report: impl FnMut(RealtimeEvent) + Send,
) -> DisconnectReason {
    let born = Instant::now();
    let opened = async {
        let url = access.realtime_url()?;
        let connect = WebSocketFactory::create(url.expose_secret().to_owned());
        let deadline = DisconnectReason::Deadline { step: Step::Connection, limit: limits.connect };
        timeout(limits.connect, connect).await.map_err(|_| deadline)?.map_err(DisconnectReason::of_connect)
    };
    let socket = tokio::select! {
        () = stop.cancelled() => return DisconnectReason::Stopped,
        opened = opened => match opened {
            Ok(socket) => socket,
            Err(end) => return end,
        },
    };
    let (writer, mut frames) = socket.split();
    let connection = ConnectionManager::new();
    connection.set_writer(writer).await;
    let mut generation = RealtimeSession::new(access, limits, connection, report);
    if let Err(end) = generation.join().await {
        return end;
    }
    let mut heartbeats = tokio::time::interval_at(Instant::now() + limits.heartbeat, limits.heartbeat);
    loop {
        let step = tokio::select! {
            () = stop.cancelled() => Err(DisconnectReason::Stopped),
            () = sleep_until(born + limits.age) => Err(DisconnectReason::Aged),
            () = sleep_until(generation.due), if generation.stage != Stage::Live => Err(generation.overdue()),
            () = sleep_until(generation.settled.unwrap_or(born)), if generation.settled.is_some() => {
                generation.settled = None;
                (generation.report)(RealtimeEvent::Gap);
                Ok(())
            }
            _ = heartbeats.tick() => generation.beat().await,
            frame = frames.next() => match frame {
                Some(Ok(Message::Text(text))) => generation.hear(&text),
                Some(Ok(Message::Close(frame))) => {
                    Err(DisconnectReason::SocketClosed { code: frame.map(|frame| frame.code.into()) })
                }
                Some(Ok(_)) => Ok(()),
                Some(Err(error)) => Err(DisconnectReason::Socket(error)),
                None => Err(DisconnectReason::SocketClosed { code: None }),
            },
        };
        if let Err(end) = step {
            // Best effort: dropping the socket is all that must happen, and the drop is certain.
            let _ = timeout(Duration::from_secs(1), generation.connection.close()).await;
            return end;
        }
    }
}
