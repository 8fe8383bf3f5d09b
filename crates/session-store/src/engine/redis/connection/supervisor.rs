//! Keeps a connection to one server: connects at the first call, and connects again for as long as
//! the store is held, whatever goes wrong.
//!
//! `fail_fast.rs` says how long callers wait meanwhile, `pace.rs` when an attempt begins. Where
//! nothing listens, waiting callers make the task probe the address, which costs next to nothing.
//! The next attempt begins as soon as something accepts a connection there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use fail::fail_point;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connector::Connector;
use super::eviction;
use super::fail_fast::wait_for_link;
use super::link::Link;
use super::open_stream::try_connect;
use super::pace::ReconnectPace;
use super::script_reach::ScriptReach;
use super::shared_link::{LinkState, SharedLink};
use super::takeover::keep_link;
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::engine::redis::replicas::Replicas;
use crate::engine::redis::tracking::TrackingFeed;
use crate::error::Result;
use crate::events::{EventKind, Events};
use crate::panics::{catch_panic, defect, restart_after_panics};

/// Keeps a connection. All clones share it.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<SharedLink>);

impl Supervisor {
    /// `credentials`: for a server that takes its login from a function. `feed`: for the near
    /// cache. `events`: receives what happens to the connection.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        feed: Option<Arc<TrackingFeed>>,
        events: Events,
    ) -> Self {
        let connector = Arc::new(Connector::new(config, server, credentials, feed));
        let tombstone_ms = config.tombstone.as_millis() as u64;
        let replicas =
            |revoke| Replicas::new(revoke, tombstone_ms, connector.clone(), events.clone());
        Supervisor(Arc::new(SharedLink {
            replicas: config.revoke.as_ref().map(replicas),
            connector,
            reconnect: config.reconnect.clone(),
            state: watch::Sender::new(LinkState::Idle),
            begun: AtomicU64::new(0),
            is_started: AtomicBool::new(false),
            wanted: Notify::new(),
            events,
        }))
    }

    /// The server's address, as messages name it.
    pub(crate) fn address(&self) -> &str {
        &self.0.connector.address
    }

    /// The server's host; empty where its address has none.
    pub(crate) fn host(&self) -> &str {
        self.0.connector.host()
    }

    /// The server's replicas, when they are to acknowledge ends.
    pub(crate) fn replicas(&self) -> Option<&Replicas> {
        self.0.replicas.as_ref()
    }

    /// The live link, if there is one.
    pub(crate) fn live_link(&self) -> Option<Link> {
        self.0.live_link()
    }

    /// The live link, or the next one. How long it waits: see `fail_fast.rs`.
    pub(crate) async fn wait_for_link(&self) -> Result<Link> {
        match self.live_link() {
            Some(link) => Ok(link),
            None => self.wait_for_next_link().await,
        }
    }

    /// Starts the task that connects, if it was not started.
    pub(crate) fn start(&self) {
        if !self.0.is_started.swap(true, SeqCst) {
            let shared = Arc::downgrade(&self.0);
            tokio::spawn(restart_after_panics(move || supervise(shared.clone())));
        }
    }

    async fn wait_for_next_link(&self) -> Result<Link> {
        wait_for_link(&self.0, || self.start()).await
    }

    /// Which keys scripts may touch on the server. Waits for a link.
    pub(crate) async fn wait_for_script_reach(&self) -> Result<ScriptReach> {
        if !matches!(&*self.0.state.borrow(), LinkState::Up(_)) {
            self.wait_for_next_link().await?;
        }
        Ok(self.last_script_reach())
    }

    /// Which keys scripts may touch, by the last link's probe.
    pub(crate) fn last_script_reach(&self) -> ScriptReach {
        self.0.connector.script_reach()
    }

    /// Drops a link whose server refused a script's keys although its probe permitted them. The
    /// next link probes again.
    pub(crate) fn drop_link_after_key_refusal(&self, link: &Link) {
        let reach = self.last_script_reach();
        if self.0.connector.has_reach_probe() && reach == ScriptReach::AnyKeys {
            self.drop_link(link);
        }
    }

    /// Drops a link whose server turned out not to track what is read on it.
    pub(crate) fn drop_untracked(&self, link: &Link) {
        if let Some(feed) = &self.0.connector.feed {
            feed.stop_tracking(link.number);
        }
        self.drop_link(link);
    }

    /// Lets the near cache answer without this server. Call this once nothing more is read there.
    /// An attempt to connect may go on, and holds the feed until it ends.
    pub(crate) fn leave_near_cache(&self) {
        if let Some(feed) = &self.0.connector.feed {
            feed.leave();
        }
    }

    /// Drops a dead link, unless another has taken its place.
    pub(crate) fn drop_link(&self, link: &Link) {
        self.0.mark_lost(link.number);
    }

    /// The option `failFastMs`.
    pub(crate) fn fail_fast_after(&self) -> Duration {
        self.0.reconnect.fail_fast
    }

    /// Why there is no connection, as the end of a sentence. `None`: there is one.
    pub(crate) fn why_no_link(&self) -> Option<String> {
        self.live_link().is_none().then(|| self.0.connector.pending_step())
    }
}

/// Makes links, one after the other, until the store is dropped.
async fn supervise(shared: Weak<SharedLink>) {
    let Some(mut pace) = shared.upgrade().map(|held| start_pace(&held)) else { return };
    loop {
        fail_point!("redis-supervise");
        let began = Instant::now();
        let Some(held) = shared.upgrade() else { return };
        let link = connect_once(&held).await;
        let made = Instant::now();
        let (state, connector) = (held.state.subscribe(), held.connector.clone());
        let fail_fast = held.reconnect.fail_fast;
        drop(held);
        if let Some(link) = link {
            let number = keep_link(link, &connector, &shared, fail_fast, state).await;
            let Some(held) = shared.upgrade() else { return };
            held.mark_lost(number);
            // A link that lasts for a moment only is no better than a failed attempt.
            if made.elapsed() > held.reconnect.min {
                pace.record_success();
                continue;
            }
            pace.record_failure(began);
            pause_after_short_link(&held, began, &pace).await;
            continue;
        }
        pace.record_failure(began);
        let Some(held) = shared.upgrade() else { return };
        pause_after_failure(&held, began, &mut pace).await;
    }
}

/// At the start, and after a panic, which may have left a link that nothing watches.
fn start_pace(shared: &SharedLink) -> ReconnectPace {
    if let Some(link) = shared.live_link() {
        shared.mark_lost(link.number);
    }
    ReconnectPace::new(&shared.reconnect)
}

/// One attempt. `None`: it failed.
async fn connect_once(shared: &Arc<SharedLink>) -> Option<Link> {
    let number = shared.begin_attempt();
    let began = Instant::now();
    shared.set_next_attempt(None);
    if number > 1 {
        let what = format!("connecting to Redis at {} again", shared.connector.address);
        shared.events.publish(EventKind::Reconnecting, what);
    }
    let weak = Arc::downgrade(shared);
    let connected = async {
        fail_point!("redis-connect");
        let on_push = move |push: &_| SharedLink::on_push(&weak, number, push);
        shared.connector.connect(number, on_push).await
    };
    let outcome = catch_panic(connected).await.unwrap_or_else(|| Err(defect()));
    report_attempt(shared, &outcome);
    let link = outcome.as_ref().ok().cloned();
    if let Some(link) = &link {
        spawn_eviction_check(shared, link);
    }
    shared.end_attempt(number, began, outcome);
    link
}

/// Reports how an attempt ended.
fn report_attempt(shared: &SharedLink, outcome: &Result<Link>) {
    let SharedLink { connector, events, state, .. } = shared;
    match outcome {
        Ok(link) => {
            shared.report_failover(link);
            events
                .publish(EventKind::Ready, format!("connected to Redis at {}", connector.address));
            if let (Some(feed), false) = (&connector.feed, link.is_tracked) {
                let what = format!("the near cache is off: {}", feed.why_off());
                events.publish(EventKind::Degraded, what);
            }
        }
        // Of an outage only the beginning is reported.
        Err(why) if matches!(&*state.borrow(), LinkState::Idle) => {
            events.publish(EventKind::Down, why.to_string())
        }
        Err(_) => {}
    }
}

fn spawn_eviction_check(shared: &SharedLink, link: &Link) {
    let warning = eviction::eviction_warning(link.connection.clone());
    let (events, at) = (shared.events.clone(), shared.connector.address.clone());
    tokio::spawn(async move {
        if let Some(warning) = warning.await {
            events.publish(EventKind::Degraded, format!("Redis at {at}: {warning}"));
        }
    });
}

/// Waits after a link that was lost as soon as it was made. A waiting caller shortens the pause to
/// `reconnectMinMs`.
async fn pause_after_short_link(shared: &SharedLink, began: Instant, pace: &ReconnectPace) {
    let next = began + shared.reconnect.min;
    shared.set_next_attempt(Some(next));
    let _ = timeout_at(pace.next_attempt(began), shared.wanted.notified()).await;
    sleep_until(next).await;
}

/// Waits after an attempt that failed. Where nothing listens, each waiting caller makes this probe
/// the address, at most every `reconnectMinMs`.
async fn pause_after_failure(shared: &SharedLink, began: Instant, pace: &mut ReconnectPace) {
    let Some(refused) = shared.connector.take_refused_target() else {
        let next = pace.next_attempt(began);
        shared.set_next_attempt(Some(next));
        return sleep_until(next).await;
    };
    let last = pace.record_refusal(began);
    let mut probed = began;
    loop {
        shared.set_next_attempt(Some(pace.earliest_attempt(probed)));
        if timeout_at(last, shared.wanted.notified()).await.is_err() {
            return;
        }
        sleep_until(pace.earliest_attempt(probed).min(last)).await;
        probed = Instant::now();
        let number = shared.begin_attempt();
        if timeout_at(last, try_connect(&refused)).await.unwrap_or(true) {
            return;
        }
        shared.end_attempt_as_before(number);
    }
}
