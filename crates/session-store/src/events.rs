//! What happens to a store's connection, told to whoever wants to know.

use serde::Serialize;
use tokio::sync::broadcast;

/// How many events wait for a listener that is slow; of more it misses the oldest.
const KEPT: usize = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum EventKind {
    /// The connection is up.
    Ready,
    /// It was lost, or could not be made.
    Down,
    /// Another attempt to make it begins.
    Reconnecting,
    /// Another server is the primary.
    Failover,
    /// It is up, but something that was asked for, or that sessions need, is missing.
    Degraded,
    /// An end was carried out, and acknowledged by fewer replicas than were asked for.
    UnderReplicated,
}

/// Something that happened.
#[derive(Clone, Debug, Serialize)]
pub struct Event {
    /// What.
    pub event: EventKind,
    /// Which server, or why: a sentence without secrets.
    pub reason: String,
}

/// Tells events to all who listen.
#[derive(Clone)]
pub(crate) struct Events(broadcast::Sender<Event>);

/// Hears events from now on.
pub struct Listener(broadcast::Receiver<Event>);

impl Events {
    pub(crate) fn new() -> Self {
        Events(broadcast::Sender::new(KEPT))
    }

    pub(crate) fn tell(&self, event: EventKind, reason: impl Into<String>) {
        // It is no loss that nobody listens.
        let _ = self.0.send(Event { event, reason: reason.into() });
    }

    pub(crate) fn listen(&self) -> Listener {
        Listener(self.0.subscribe())
    }
}

impl Listener {
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
