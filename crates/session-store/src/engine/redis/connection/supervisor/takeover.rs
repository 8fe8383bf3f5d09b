//! A connection takes over from a live one whose server refuses another login on it, before the
//! password expires.

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::{Shared, State, Stayed, hear, stay};
use crate::engine::redis::connection::connector::Connector;
use crate::engine::redis::connection::link::Link;
use crate::engine::redis::connection::relogin::ReloginOutcome;
use crate::error::Result;
use crate::events::EventKind;
use crate::guarded::{defect, unless_panicked};

/// Until a link is lost, or the last of those that took over from it. Answers its number.
pub(super) async fn hold(
    mut link: Link,
    connector: &Connector,
    shared: &Weak<Shared>,
    fail_fast: Duration,
    state: watch::Receiver<State>,
) -> u64 {
    let mut is_refusal_told = false;
    loop {
        // The successor comes first: it changes the state that `stay` looks at.
        link = tokio::select! {
            biased;
            next = successor(shared, &link) => next,
            stayed = stay(link.clone(), connector, fail_fast, state.clone()) => match (stayed, shared.upgrade()) {
                (Stayed::UntilTracked, Some(shared)) => {
                    link.is_tracked = true;
                    shared.mark_tracked(link.number);
                    continue;
                }
                _ => return link.number,
            },
        };
        if let Some(shared) = shared.upgrade()
            && !std::mem::replace(&mut is_refusal_told, true)
        {
            shared.degraded(REFUSED);
        }
    }
}

const REFUSED: &str = "the server refuses another login on a live connection: each time before the login expires, a new \
    connection takes over and the near cache is emptied";

impl Shared {
    fn degraded(&self, what: &str) {
        self.events
            .tell(EventKind::Degraded, format!("Redis at {}: {what}", self.connector.address));
    }
}

/// The link that takes over from this one. Waits for ever while none has to.
async fn successor(shared: &Weak<Shared>, link: &Link) -> Link {
    let mut relogins = link.connection.relogin_outcomes();
    let mut is_told = false;
    loop {
        let why = match relogins.next().await {
            ReloginOutcome::Renewed => {
                is_told = false;
                continue;
            }
            ReloginOutcome::NoCredentials(why) => why,
            ReloginOutcome::Refused => match take_over(shared, link).await {
                Ok(Some(next)) => return next,
                Ok(None) => continue,
                Err(why) => why,
            },
        };
        if let Some(shared) = shared.upgrade()
            && !std::mem::replace(&mut is_told, true)
        {
            shared.degraded(&format!(
                "the login will expire and could not be renewed; the store tries again: {why}"
            ));
        }
    }
}

/// Makes a connection and puts it in the place of a live one. `None`: the live one was lost
/// meanwhile.
///
/// Commands that were sent on the old one end there; it is closed with the last of them.
async fn take_over(shared: &Weak<Shared>, old: &Link) -> Result<Option<Link>> {
    let Some(shared) = shared.upgrade() else { return Ok(None) };
    let number = shared.begun.fetch_add(1, SeqCst) + 1;
    let told = Arc::downgrade(&shared);
    let connected = shared.connector.connect(number, move |push| hear(&told, number, push));
    let link = unless_panicked(connected).await.unwrap_or_else(|| Err(defect()))?;
    let takes_over = shared.state.send_if_modified(|state| {
        let is_live = matches!(state, State::Up(live) if live.number == old.number);
        if is_live {
            *state = State::Up(link.clone());
        }
        is_live
    });
    if !takes_over {
        shared.lose(number);
        return Ok(None);
    }
    let Shared { connector, events, .. } = &*shared;
    if let Some(feed) = &connector.feed {
        feed.flush_replaced();
    }
    if let Some(primary) = &link.primary
        && connector.replace_primary(primary)
    {
        events.tell(EventKind::Failover, format!("the primary is {primary} now"));
    }
    Ok(Some(link))
}
