//! Replaces a live link whose server refuses another login on it, before the password expires.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::watch;

use super::connector::Connector;
use super::link::Link;
use super::liveness::{WatchEnd, watch_link};
use super::relogin::ReloginOutcome;
use super::shared_link::{LinkState, SharedLink};
use crate::error::Result;
use crate::panics::{catch_panic, defect};

/// Told once.
const LOGIN_REFUSED: &str = "the server refuses another login on a live connection: each time before the login expires, a new \
    connection takes over and the near cache is emptied";

/// Keeps a link, and those that replace it, until the last of them is lost. Returns its number.
pub(super) async fn keep_link(
    mut link: Link,
    connector: &Connector,
    shared: &Weak<SharedLink>,
    fail_fast: Duration,
    state: watch::Receiver<LinkState>,
) -> u64 {
    let mut is_refusal_reported = false;
    loop {
        // The replacement is polled first, because it changes the state that `watch_link` looks at.
        link = tokio::select! {
            biased;
            next = wait_for_replacement(shared, &link) => next,
            end = watch_link(link.clone(), connector, fail_fast, state.clone()) => {
                match (end, shared.upgrade()) {
                    (WatchEnd::TrackingStarted, Some(shared)) => {
                        link.is_tracked = true;
                        shared.mark_tracked(link.number);
                        continue;
                    }
                    _ => return link.number,
                }
            }
        };
        if let Some(shared) = shared.upgrade()
            && !std::mem::replace(&mut is_refusal_reported, true)
        {
            shared.report_degraded(LOGIN_REFUSED);
        }
    }
}

/// Waits until a link has to be replaced, and replaces it. Returns the new link.
async fn wait_for_replacement(shared: &Weak<SharedLink>, link: &Link) -> Link {
    let mut outcomes = link.connection.relogin_outcomes();
    let mut is_failure_reported = false;
    loop {
        let why = match outcomes.next().await {
            ReloginOutcome::Renewed => {
                is_failure_reported = false;
                continue;
            }
            ReloginOutcome::NoCredentials(why) => why,
            ReloginOutcome::Refused => match replace_link(shared, link).await {
                Ok(Some(next)) => return next,
                Ok(None) => continue,
                Err(why) => why,
            },
        };
        if let Some(shared) = shared.upgrade()
            && !std::mem::replace(&mut is_failure_reported, true)
        {
            shared.report_degraded(&format!(
                "the login will expire and could not be renewed; the store tries again: {why}"
            ));
        }
    }
}

/// Makes a link and puts it in the place of a live one. `None`: the live one was lost meanwhile.
///
/// Commands that were sent on the old connection end there. It is closed with the last of them.
async fn replace_link(shared: &Weak<SharedLink>, old: &Link) -> Result<Option<Link>> {
    let Some(shared) = shared.upgrade() else { return Ok(None) };
    let number = shared.begin_attempt();
    let weak = Arc::downgrade(&shared);
    let on_push = move |push: &_| SharedLink::on_push(&weak, number, push);
    let connected = shared.connector.connect(number, on_push);
    let link = catch_panic(connected).await.unwrap_or_else(|| Err(defect()))?;
    if !shared.replace(old, &link) {
        shared.mark_lost(number);
        return Ok(None);
    }
    if let Some(feed) = &shared.connector.feed {
        feed.flush_replaced();
    }
    shared.report_failover(&link);
    Ok(Some(link))
}
