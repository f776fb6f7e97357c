//! Messages between sockets: broadcasts and presences.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::sync::broadcast;

use super::frame::UserBroadcast;
use super::presence::Presences;

/// Number of messages that a slow socket may be behind before it loses some.
const BACKLOG: usize = 1024;

/// A message for the channels of one topic.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) topic: String,
    /// Socket that does not get the message.
    pub(super) except: Option<u64>,
    pub(super) message: Message,
}

/// Kind of a message.
#[derive(Debug)]
pub(super) enum Message {
    Broadcast(Value),
    /// A broadcast that a client has sent as a binary frame.
    User(UserBroadcast),
    /// A change of who is present.
    Presence(Value),
}

/// Connection between all sockets.
#[derive(Debug)]
pub(in crate::supabase) struct Hub {
    messages: broadcast::Sender<Arc<Told>>,
    presences: Mutex<Presences>,
    sessions: AtomicU64,
}

impl Default for Hub {
    fn default() -> Self {
        Self {
            messages: broadcast::Sender::new(BACKLOG),
            presences: Mutex::default(),
            sessions: AtomicU64::new(0),
        }
    }
}

impl Hub {
    /// Returns the number of a new socket.
    pub(super) fn enter(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn listen(&self) -> broadcast::Receiver<Arc<Told>> {
        self.messages.subscribe()
    }

    /// Tells a message to all sockets.
    pub(super) fn tell(&self, topic: &str, except: Option<u64>, message: Message) {
        // Sending fails when no socket listens, and then there is nobody to tell.
        let _ = self.messages.send(Arc::new(Told { topic: topic.to_owned(), except, message }));
    }

    /// Changes or reads who is present. No code panics while it holds the lock.
    pub(super) fn presences<T>(&self, work: impl FnOnce(&mut Presences) -> T) -> T {
        work(&mut self.presences.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
