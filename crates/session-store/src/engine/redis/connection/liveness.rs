//! Watches a link until it is lost or must be given up.
//!
//! A link is given up when a heartbeat fails, when the server has become a replica, when the
//! sentinels name another primary, or when the server is silent after the clocks have jumped.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::connector::Connector;
use super::last_heard::MAX_SILENCE;
use super::link::Link;
use super::node::Node;
use super::role::Role;
use super::shared_link::LinkState;
use super::wire::Wire;
use crate::engine::redis::failure;

/// How long a server may take to answer after the clocks have jumped: at least, and at most.
const MIN_SILENCE_AFTER_JUMP: Duration = Duration::from_millis(50);
const MAX_SILENCE_AFTER_JUMP: Duration = Duration::from_secs(1);

/// Why the watching of a link ended.
#[derive(PartialEq)]
pub(super) enum WatchEnd {
    /// The link is lost, or of no use.
    Lost,
    /// Tracking was off, and is on from now on.
    TrackingStarted,
}

/// Watches a link until it is lost, or of no use, or tracked where it was not.
pub(super) async fn watch_link(
    link: Link,
    connector: &Connector,
    fail_fast: Duration,
    mut state: watch::Receiver<LinkState>,
) -> WatchEnd {
    let number = link.number;
    let silent = wait_for_silence_after_jump(link.connection.clone(), fail_fast);
    let another_primary = wait_for_another_primary(connector, link.primary.clone());
    tokio::select! {
        end = watch_heartbeats(link, connector) => end,
        () = another_primary => WatchEnd::Lost,
        () = silent => WatchEnd::Lost,
        _ = state.wait_for(|state| !state.is_up_with(number)) => WatchEnd::Lost,
    }
}

async fn watch_heartbeats(link: Link, connector: &Connector) -> WatchEnd {
    let Link { connection, is_tracked, number, .. } = link;
    let every = connector.heartbeat;
    match &connector.feed {
        Some(feed) if is_tracked => feed.watch(number, connection, every).await,
        Some(feed) => tokio::select! {
            () = send_heartbeats(connection.clone(), every) => {}
            () = feed.retry_tracking(number, connection, every) => return WatchEnd::TrackingStarted,
        },
        None => send_heartbeats(connection, every).await,
    }
    WatchEnd::Lost
}

/// Waits until the sentinels name another primary; for ever where there are no sentinels.
async fn wait_for_another_primary(connector: &Connector, current: Option<Node>) {
    match (&connector.sentinels, &current) {
        (Some(sentinels), Some(current)) => sentinels.wait_for_another_primary(current).await,
        _ => pending().await,
    }
}

/// Waits until the server does not answer after the clocks have jumped, and closes the connection
/// then. Half of `failFastMs` is left to connect again.
async fn wait_for_silence_after_jump(mut connection: Wire, fail_fast: Duration) {
    let patience = (fail_fast / 2).clamp(MIN_SILENCE_AFTER_JUMP, MAX_SILENCE_AFTER_JUMP);
    loop {
        connection.clocks().wait_for_jump().await;
        let (asked, last_heard) = (Instant::now(), connection.last_heard().clone());
        let answer = last_heard.wait_unless_silent(asked, patience, Role::query(&mut connection));
        if answer.await.is_none() {
            return connection.abandon(asked);
        }
    }
}

/// Sends heartbeats until the server does not answer one, or is no longer a primary. For a link
/// without tracking: with tracking, the feed sends them.
async fn send_heartbeats(mut connection: Wire, every: Duration) {
    let last_heard = connection.last_heard().clone();
    loop {
        last_heard.wait_for_heartbeat_due(every).await;
        let role = Role::query(&mut connection);
        match last_heard.wait_unless_silent(Instant::now(), MAX_SILENCE, role).await {
            Some(Ok(Role::Primary | Role::Unknown)) => {}
            Some(Err(error)) if failure::is_temporary_refusal(&error) => {}
            _ => return,
        }
    }
}
