//! Events of a store's connections, published to all subscribers.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::{Serialize, Serializer};
use tokio::sync::broadcast;

/// How many events wait for a slow subscriber; of more it misses the oldest.
const KEPT: usize = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// The connection is up.
    Ready,
    /// It was lost, or could not be made.
    Down,
    /// Another attempt to make it begins.
    Reconnecting,
    /// Another server is the primary.
    Failover,
    /// It is up, but something that an option asks for, or that sessions need, is missing.
    Degraded,
    /// An end was carried out, and fewer replicas acknowledged it than option `revoke` wants.
    UnderReplicated,
}

impl EventKind {
    /// Every kind there is.
    pub const ALL: [EventKind; 6] = [
        EventKind::Ready,
        EventKind::Down,
        EventKind::Reconnecting,
        EventKind::Failover,
        EventKind::Degraded,
        EventKind::UnderReplicated,
    ];

    /// The name of the event as JavaScript sees it, for example `underReplicated`.
    pub fn as_str(self) -> &'static str {
        match self {
            EventKind::Ready => "ready",
            EventKind::Down => "down",
            EventKind::Reconnecting => "reconnecting",
            EventKind::Failover => "failover",
            EventKind::Degraded => "degraded",
            EventKind::UnderReplicated => "underReplicated",
        }
    }
}

// A new kind stands before `UnderReplicated`, and in `ALL`.
const _: () = assert!(EventKind::ALL.len() == EventKind::UnderReplicated as usize + 1);

impl Serialize for EventKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// The event's number in this process, the same for each subscriber.
    pub number: u64,
    /// The connection that it happened to: a store has one for each server.
    pub connection: u64,
    /// What.
    pub event: EventKind,
    /// Which server, or why: a sentence without secrets.
    pub reason: String,
}

/// Publishes events to all subscribers.
#[derive(Clone)]
pub(crate) struct Events {
    sender: broadcast::Sender<Event>,
    connection: u64,
}

/// Receives the events from its subscription on.
pub struct EventListener(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Events { sender: broadcast::Sender::new(KEPT), connection: next_number() }
    }

    /// For another connection of the same store.
    pub(crate) fn of_another_connection(&self) -> Self {
        Events { sender: self.sender.clone(), connection: next_number() }
    }

    pub(crate) fn publish(&self, event: EventKind, reason: impl Into<String>) {
        // Without a subscriber the event is dropped.
        let (number, connection) = (next_number(), self.connection);
        let _ = self.sender.send(Event { number, connection, event, reason: reason.into() });
    }

    pub(crate) fn subscribe(&self) -> EventListener {
        EventListener(self.sender.subscribe())
    }
}

fn next_number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

impl EventListener {
    /// The next event; `None` when the store is gone.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.0.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }
}
