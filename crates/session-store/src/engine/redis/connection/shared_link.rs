//! The link that a supervisor keeps: its state, and what the supervisor's task, the callers and the
//! connection's pushes share.
//!
//! Each attempt to connect has a number, and its link has the same one. A change that names a
//! number does nothing once another link has taken its place.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};

use ::redis::{PushInfo, PushKind};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::connector::Connector;
use super::link::Link;
use crate::config::ReconnectSettings;
use crate::engine::redis::replicas::Replicas;
use crate::error::{Code, Error, Result};
use crate::events::{EventKind, Events};
use crate::near_cache::FlushReason;

/// Whether there is a link.
#[derive(Clone)]
pub(super) enum LinkState {
    /// No caller has asked yet, or the first attempt is under way.
    Idle,
    Up(Link),
    Down(Outage),
}

impl LinkState {
    pub(super) fn is_up_with(&self, number: u64) -> bool {
        matches!(self, LinkState::Up(link) if link.number == number)
    }
}

#[derive(Clone)]
pub(super) struct Outage {
    pub(super) since: Instant,
    /// The number of the last attempt that has ended.
    pub(super) ended: u64,
    /// When the next attempt begins. `None`: it is under way, or about to begin.
    pub(super) next: Option<Instant>,
    pub(super) why: Error,
}

pub(super) struct SharedLink {
    pub(super) connector: Arc<Connector>,
    pub(super) reconnect: ReconnectSettings,
    pub(super) state: watch::Sender<LinkState>,
    /// How many attempts have begun.
    pub(super) begun: AtomicU64,
    /// Whether the supervisor's task was started.
    pub(super) is_started: AtomicBool,
    /// Notified by each caller that waits.
    pub(super) wanted: Notify,
    pub(super) events: Events,
    /// The server's replicas, when they are to acknowledge ends.
    pub(super) replicas: Option<Replicas>,
}

impl SharedLink {
    pub(super) fn live_link(&self) -> Option<Link> {
        match &*self.state.borrow() {
            LinkState::Up(link) => Some(link.clone()),
            LinkState::Idle | LinkState::Down(_) => None,
        }
    }

    /// Numbers an attempt that begins.
    pub(super) fn begin_attempt(&self) -> u64 {
        self.begun.fetch_add(1, SeqCst) + 1
    }

    /// Records how an attempt ended.
    pub(super) fn end_attempt(&self, number: u64, began: Instant, outcome: Result<Link>) {
        self.state.send_modify(|state| {
            *state = match outcome {
                Ok(link) => LinkState::Up(link),
                Err(why) => {
                    let since =
                        if let LinkState::Down(outage) = state { outage.since } else { began };
                    LinkState::Down(Outage { since, ended: number, next: None, why })
                }
            }
        });
    }

    /// Records that the attempt of this number ended like the one before.
    pub(super) fn end_attempt_as_before(&self, number: u64) {
        self.state.send_modify(|state| {
            if let LinkState::Down(outage) = state {
                outage.ended = number;
            }
        });
    }

    /// Records when the next attempt begins; `None`: now.
    pub(super) fn set_next_attempt(&self, at: Option<Instant>) {
        self.state.send_if_modified(|state| {
            let LinkState::Down(outage) = state else { return false };
            outage.next = at;
            at.is_some()
        });
    }

    /// Records that the link of this number is lost.
    pub(super) fn mark_lost(&self, number: u64) {
        let what = || format!("the connection to Redis at {} was lost", self.connector.address);
        let is_lost = self.state.send_if_modified(|state| {
            let is_up = state.is_up_with(number);
            if is_up {
                let why = Error::new(Code::Unavailable, what());
                let since = Instant::now();
                *state = LinkState::Down(Outage { since, ended: number, next: None, why });
            }
            is_up
        });
        if is_lost {
            self.events.publish(EventKind::Down, what());
        }
        if let Some(feed) = &self.connector.feed {
            feed.lose(number, FlushReason::Disconnected, "the connection was lost");
        }
    }

    /// Records that tracking is on for the link of this number from now on.
    pub(super) fn mark_tracked(&self, number: u64) {
        let is_up = self.state.send_if_modified(|state| match state {
            LinkState::Up(link) if link.number == number => {
                link.is_tracked = true;
                true
            }
            _ => false,
        });
        if !is_up {
            // It was lost before tracking began, so the near cache does not know of the loss yet.
            self.mark_lost(number);
        }
    }

    /// Puts a link in the place of another. `false`: the other one was lost meanwhile.
    pub(super) fn replace(&self, old: &Link, new: &Link) -> bool {
        self.state.send_if_modified(|state| {
            let is_up = state.is_up_with(old.number);
            if is_up {
                *state = LinkState::Up(new.clone());
            }
            is_up
        })
    }

    /// Handles a push. Called in the order of the connection.
    pub(super) fn on_push(shared: &Weak<Self>, number: u64, push: &PushInfo) {
        let Some(shared) = shared.upgrade() else { return };
        match &shared.connector.feed {
            // With RESP3 the client reports a lost connection at once. So an idle connection is
            // found dead before a caller uses it.
            _ if push.kind == PushKind::Disconnection => shared.mark_lost(number),
            Some(feed) => feed.on_push(push),
            None => {}
        }
    }

    /// Reports a failover if a link leads to another primary than the last one.
    pub(super) fn report_failover(&self, link: &Link) {
        if let Some(primary) = &link.primary
            && self.connector.replace_primary(primary)
        {
            self.events.publish(EventKind::Failover, format!("the primary is {primary} now"));
        }
    }

    pub(super) fn report_degraded(&self, what: &str) {
        let at = &self.connector.address;
        self.events.publish(EventKind::Degraded, format!("Redis at {at}: {what}"));
    }
}
