//! How long a caller waits while there is no link.
//!
//! A short interruption fails no caller: each waits until `failFastMs` after the loss. Later
//! callers wait for one attempt that begins after their call, and for `failFastMs` at most; where
//! none begins in that time, for `reconnectMinMs`. A permanent error (a wrong password) ends the
//! wait as soon as an attempt has shown it.

use std::sync::atomic::Ordering::SeqCst;

use tokio::time::{Instant, timeout_at};

use super::link::Link;
use super::shared_link::{LinkState, Outage, SharedLink};
use crate::config::ReconnectSettings;
use crate::engine::redis::failure;
use crate::error::{Code, Error, Result};

/// A caller that waits.
struct WaitingCaller {
    since: Instant,
    /// How many attempts had begun by then.
    begun: u64,
}

impl WaitingCaller {
    /// When the wait ends with the outage's error.
    fn deadline(&self, outage: &Outage, now: Instant, settings: &ReconnectSettings) -> Instant {
        let latest = self.since + settings.fail_fast;
        let after_loss = latest.min(outage.since + settings.fail_fast);
        if outage.ended > self.begun {
            return if failure::is_permanent(&outage.why) { now } else { after_loss };
        }
        match outage.next {
            Some(next) if next > latest => latest.min(after_loss.max(self.since + settings.min)),
            _ => latest,
        }
    }
}

/// The live link, or the next one. `start`: starts the task that connects, if it was not started.
pub(super) async fn wait_for_link(shared: &SharedLink, start: impl FnOnce()) -> Result<Link> {
    let since = Instant::now();
    let mut state = shared.state.subscribe();
    let caller = WaitingCaller { since, begun: shared.begun.load(SeqCst) };
    start();
    shared.wanted.notify_one();
    loop {
        let deadline = match &*state.borrow_and_update() {
            LinkState::Up(link) => return Ok(link.clone()),
            LinkState::Idle => None,
            LinkState::Down(outage) => {
                let now = Instant::now();
                let deadline = caller.deadline(outage, now, &shared.reconnect);
                if now >= deadline {
                    return Err(outage.why.clone());
                }
                Some(deadline)
            }
        };
        let changed = match deadline {
            None => state.changed().await,
            Some(at) => timeout_at(at, state.changed()).await.unwrap_or(Ok(())),
        };
        if changed.is_err() {
            return Err(Error::new(Code::Closed, "the store was closed"));
        }
    }
}
