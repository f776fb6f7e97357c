//! Realtime.
//!
//! ```text
//! upgrade   the websocket's upgrade, and its error answers
//! session   session of one websocket
//! talk      broadcasts and presences of the client, and of the others
//! channel   a joined channel and the tokens that it may have
//! binding   subscriptions to changes of rows
//! event     payloads of changes
//! hub       what sockets tell each other: broadcasts and presences
//! presence  who is present on a topic
//! frame     Phoenix framing, versions 1 and 2
//! ```

mod binding;
mod channel;
mod event;
mod frame;
mod hub;
mod presence;
mod session;
mod talk;
mod upgrade;

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use super::Shared;
pub(super) use hub::Hub;

/// Returns the routes of the service: behind the gateway, and without one.
pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/realtime/v1/websocket", get(upgrade::upgrade))
        .route("/socket/websocket", get(upgrade::upgrade))
}
