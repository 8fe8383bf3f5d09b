//! Keeps a connection: made when it is first asked for, made anew for as long as anybody holds the
//! store, whatever goes wrong.
//!
//! While there is none, who asks is answered soon. A short interruption is ridden out: nobody is
//! refused before `failFastMs` after the loss. Later, who asks waits for one attempt that began
//! after he came, and for `failFastMs` at most; where none begins in that time, for
//! `reconnectMinMs`. What time does not mend (a wrong password) is told as soon as an attempt has
//! shown it.
//!
//! Attempts have a pace of their own (`pace.rs`). Where nothing listens, callers have it looked
//! whether something does, which costs next to nothing, and the next attempt is made as soon as
//! that is so.

mod takeover;

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::{PushInfo, PushKind};
use fail::fail_point;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connector::Connector;
use super::eviction;
use super::last_heard::MAX_SILENCE;
use super::link::Link;
use super::open_stream::try_connect;
use super::pace::ReconnectPace;
use super::role::Role;
use super::wire::Wire;
use crate::cache::Flush;
use crate::config::{Config, Reconnect, Server};
use crate::credentials::Credentials;
use crate::engine::redis::failure;
use crate::engine::redis::replicas::Replicas;
use crate::engine::redis::tracking::Feed;
use crate::error::{Code, Error, Result};
use crate::events::{EventKind, Events};
use crate::guarded::{again_after_panics, defect, unless_panicked};

/// How long a server may take to answer after the clocks have jumped: at least, and at most.
const LEAST_DOUBT: Duration = Duration::from_millis(50);
const MOST_DOUBT: Duration = Duration::from_secs(1);

#[derive(Clone)]
enum State {
    /// Nobody has asked yet, or the first attempt is under way.
    Idle,
    Up(Link),
    Down(Outage),
}

#[derive(Clone)]
struct Outage {
    since: Instant,
    /// The number of the last attempt that has ended.
    ended: u64,
    /// When the next one begins. `None`: it is under way, or about to begin.
    next: Option<Instant>,
    why: Error,
}

/// A connection, and whoever sees to it that there is one.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<Shared>);

struct Shared {
    connector: Arc<Connector>,
    pace: Reconnect,
    state: watch::Sender<State>,
    /// How many attempts have begun.
    begun: AtomicU64,
    is_at_work: AtomicBool,
    asked: Notify,
    events: Events,
    replicas: Option<Replicas>,
}

impl Supervisor {
    /// `credentials`: who is asked for user name and password; `events`: is told what happens to
    /// the connection.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        feed: Option<Arc<Feed>>,
        events: Events,
    ) -> Self {
        let connector = Arc::new(Connector::new(config, server, credentials, feed));
        let tombstone_ms = config.tombstone.as_millis() as u64;
        let replicas =
            |revoke| Replicas::new(revoke, tombstone_ms, connector.clone(), events.clone());
        Supervisor(Arc::new(Shared {
            replicas: config.revoke.as_ref().map(replicas),
            connector,
            pace: config.reconnect.clone(),
            state: watch::Sender::new(State::Idle),
            begun: AtomicU64::new(0),
            is_at_work: AtomicBool::new(false),
            asked: Notify::new(),
            events,
        }))
    }

    /// The server's address, as messages name it.
    pub(crate) fn address(&self) -> &str {
        &self.0.connector.address
    }

    /// The host that it is reached at; empty where it is no host.
    pub(crate) fn host(&self) -> &str {
        self.0.connector.host()
    }

    /// The server's replicas, when they are to acknowledge ends.
    pub(crate) fn replicas(&self) -> Option<&Replicas> {
        self.0.replicas.as_ref()
    }

    /// The live connection, if there is one.
    pub(crate) fn live(&self) -> Option<Link> {
        match &*self.0.state.borrow() {
            State::Up(link) => Some(link.clone()),
            State::Idle | State::Down(_) => None,
        }
    }

    /// The live connection, or the next one.
    pub(crate) async fn link(&self) -> Result<Link> {
        match self.live() {
            Some(link) => Ok(link),
            None => self.0.wait().await,
        }
    }

    /// Sees to it that there will be a connection.
    pub(crate) fn begin(&self) {
        self.0.begin();
    }

    /// Whether the server permits a script one key only, once there is a connection.
    pub(crate) async fn is_one_key(&self) -> Result<bool> {
        if !matches!(&*self.0.state.borrow(), State::Up(_)) {
            self.0.wait().await?;
        }
        Ok(self.was_one_key())
    }

    /// What is known of that by the last connection.
    pub(crate) fn was_one_key(&self) -> bool {
        self.0.connector.is_one_key()
    }

    /// Leaves a link whose server refuses what it permitted when it was asked: the next one asks it
    /// again.
    pub(crate) fn refuses_keys(&self, link: &Link) {
        if self.0.connector.has_reach_probe() && !self.was_one_key() {
            self.drop_link(link);
        }
    }

    /// Leaves a link whose server turned out not to track what is read on it.
    pub(crate) fn drop_untracked(&self, link: &Link) {
        if let Some(feed) = &self.0.connector.feed {
            feed.stop_tracking(link.number);
        }
        self.drop_link(link);
    }

    /// Leaves a link that turned out to be dead, unless another has taken its place.
    pub(crate) fn drop_link(&self, link: &Link) {
        self.0.lose(link.number);
    }

    /// The option `failFastMs`.
    pub(crate) fn fail_fast_after(&self) -> Duration {
        self.0.pace.fail_fast
    }

    /// Why there is no connection, as the end of a sentence. `None`: there is one.
    pub(crate) fn why_no_link(&self) -> Option<String> {
        self.live().is_none().then(|| self.0.connector.waits_for())
    }
}

impl Shared {
    fn begin(self: &Arc<Self>) {
        if !self.is_at_work.swap(true, SeqCst) {
            let shared = Arc::downgrade(self);
            tokio::spawn(again_after_panics(move || supervise(shared.clone())));
        }
    }

    async fn wait(self: &Arc<Self>) -> Result<Link> {
        let came = Instant::now();
        let mut state = self.state.subscribe();
        let begun = self.begun.load(SeqCst);
        self.begin();
        self.asked.notify_one();
        let patience = came + self.pace.fail_fast;
        loop {
            let until = match &*state.borrow_and_update() {
                State::Up(link) => return Ok(link.clone()),
                State::Idle => None,
                State::Down(Outage { since, ended, next, why }) => {
                    let now = Instant::now();
                    let hope = patience.min(*since + self.pace.fail_fast);
                    let until = match *next {
                        _ if *ended > begun => {
                            if failure::is_permanent(why) {
                                now
                            } else {
                                hope
                            }
                        }
                        Some(next) if next > patience => {
                            patience.min(hope.max(came + self.pace.min))
                        }
                        _ => patience,
                    };
                    if now >= until {
                        return Err(why.clone());
                    }
                    Some(until)
                }
            };
            let changed = match until {
                None => state.changed().await,
                Some(until) => timeout_at(until, state.changed()).await.unwrap_or(Ok(())),
            };
            if changed.is_err() {
                return Err(Error::new(Code::Closed, "the store was closed"));
            }
        }
    }

    /// The connection of this number is lost.
    fn lose(&self, number: u64) {
        let is_lost = self.state.send_if_modified(|state| {
            let is_it = matches!(state, State::Up(link) if link.number == number);
            if is_it {
                let why = format!("the connection to Redis at {} was lost", self.connector.address);
                let why = Error::new(Code::Unavailable, why);
                *state =
                    State::Down(Outage { since: Instant::now(), ended: number, next: None, why });
            }
            is_it
        });
        if is_lost {
            self.events.tell(
                EventKind::Down,
                format!("the connection to Redis at {} was lost", self.connector.address),
            );
        }
        if let Some(feed) = &self.connector.feed {
            feed.lose(number, Flush::Disconnected, "the connection was lost");
        }
    }

    /// The near cache hears of what is read on the connection of this number from now on.
    fn mark_tracked(&self, number: u64) {
        let is_up = self.state.send_if_modified(|state| match state {
            State::Up(link) if link.number == number => {
                link.is_tracked = true;
                true
            }
            _ => false,
        });
        if !is_up {
            // It was lost before this: then nobody else tells the cache.
            self.lose(number);
        }
    }

    /// One attempt; the link if it came to one.
    async fn attempt(self: &Arc<Self>) -> Option<Link> {
        let number = self.begin_one();
        let began = Instant::now();
        self.waits_for_next(None);
        if number > 1 {
            let to = &self.connector.address;
            self.events.tell(EventKind::Reconnecting, format!("connecting to Redis at {to} again"));
        }
        let told = Arc::downgrade(self);
        let connected = async {
            fail_point!("redis-connect");
            self.connector.connect(number, move |push| hear(&told, number, push)).await
        };
        let outcome = unless_panicked(connected).await.unwrap_or_else(|| Err(defect()));
        self.tell(&outcome);
        let up = outcome.as_ref().ok().cloned();
        if let Some(link) = &up {
            let warning = eviction::eviction_warning(link.connection.clone());
            let (events, at) = (self.events.clone(), self.connector.address.clone());
            tokio::spawn(async move {
                if let Some(warning) = warning.await {
                    events.tell(EventKind::Degraded, format!("Redis at {at}: {warning}"));
                }
            });
        }
        self.state.send_modify(|state| {
            *state = match outcome {
                Ok(link) => State::Up(link),
                Err(why) => {
                    let since = if let State::Down(outage) = state { outage.since } else { began };
                    State::Down(Outage { since, ended: number, next: None, why })
                }
            }
        });
        up
    }

    /// What an attempt came to.
    fn tell(&self, outcome: &Result<Link>) {
        let Shared { connector, events, state, .. } = self;
        match outcome {
            Ok(link) => {
                if let Some(primary) = &link.primary
                    && connector.replace_primary(primary)
                {
                    events.tell(EventKind::Failover, format!("the primary is {primary} now"));
                }
                events
                    .tell(EventKind::Ready, format!("connected to Redis at {}", connector.address));
                if let (Some(feed), false) = (&connector.feed, link.is_tracked) {
                    events.tell(
                        EventKind::Degraded,
                        format!("the near cache is off: {}", feed.why_off()),
                    );
                }
            }
            // Of an outage only its beginning is news.
            Err(why) if matches!(&*state.borrow(), State::Idle) => {
                events.tell(EventKind::Down, why.to_string())
            }
            Err(_) => {}
        }
    }

    /// At the start, and after a panic, which may have left a connection that nobody watches.
    fn starts(&self) -> ReconnectPace {
        let left = match &*self.state.borrow() {
            State::Up(link) => Some(link.number),
            State::Idle | State::Down(_) => None,
        };
        if let Some(number) = left {
            self.lose(number);
        }
        ReconnectPace::new(&self.pace)
    }

    fn begin_one(&self) -> u64 {
        self.begun.fetch_add(1, SeqCst) + 1
    }

    /// When the next attempt begins; `None`: now.
    fn waits_for_next(&self, at: Option<Instant>) {
        self.state.send_if_modified(|state| {
            let State::Down(outage) = state else { return false };
            outage.next = at;
            at.is_some()
        });
    }

    /// After a connection that was lost as soon as it was made: callers hasten the next attempt.
    async fn pause_after_loss(&self, began: Instant, pace: &ReconnectPace) {
        let next = began + self.pace.min;
        self.waits_for_next(Some(next));
        let _ = timeout_at(pace.next_attempt(began), self.asked.notified()).await;
        sleep_until(next).await;
    }

    /// After an attempt that failed.
    async fn pause(&self, began: Instant, pace: &mut ReconnectPace) {
        let Some(refused) = self.connector.take_refused_target() else {
            let next = pace.next_attempt(began);
            self.waits_for_next(Some(next));
            return sleep_until(next).await;
        };
        let last = pace.record_refusal(began);
        let mut looked = began;
        loop {
            self.waits_for_next(Some(pace.earliest_attempt(looked)));
            if timeout_at(last, self.asked.notified()).await.is_err() {
                return;
            }
            sleep_until(pace.earliest_attempt(looked).min(last)).await;
            looked = Instant::now();
            let number = self.begin_one();
            if timeout_at(last, try_connect(&refused)).await.unwrap_or(true) {
                return;
            }
            self.state.send_modify(|state| {
                if let State::Down(outage) = state {
                    outage.ended = number;
                }
            });
        }
    }
}

/// What the server says unasked. Called in the order of the connection.
fn hear(shared: &Weak<Shared>, number: u64, push: &PushInfo) {
    let Some(shared) = shared.upgrade() else { return };
    match &shared.connector.feed {
        // RESP3 tells of a lost connection at once, so that an idle one is not found dead by a
        // caller.
        _ if push.kind == PushKind::Disconnection => shared.lose(number),
        Some(feed) => feed.on_push(push),
        None => {}
    }
}

/// Makes connections, one after the other, until nobody holds the store.
async fn supervise(shared: Weak<Shared>) {
    let Some(mut pace) = shared.upgrade().map(|held| held.starts()) else { return };
    loop {
        fail_point!("redis-supervise");
        let began = Instant::now();
        let Some(held) = shared.upgrade() else { return };
        let link = held.attempt().await;
        let made = Instant::now();
        let (state, connector) = (held.state.subscribe(), held.connector.clone());
        let fail_fast = held.pace.fail_fast;
        drop(held);
        if let Some(link) = link {
            let number = takeover::hold(link, &connector, &shared, fail_fast, state).await;
            let Some(held) = shared.upgrade() else { return };
            held.lose(number);
            // What holds for a moment only is no better than what fails.
            if made.elapsed() > held.pace.min {
                pace.record_success();
                continue;
            }
            pace.record_failure(began);
            held.pause_after_loss(began, &pace).await;
            continue;
        }
        pace.record_failure(began);
        let Some(held) = shared.upgrade() else { return };
        held.pause(began, &mut pace).await;
    }
}

#[derive(PartialEq)]
enum Stayed {
    /// The link is lost, or of no use.
    UntilLost,
    /// The near cache hears of what is read on it from now on.
    UntilTracked,
}

/// Until a link is lost, or turns out to be of no use, or is tracked where it was not.
async fn stay(
    link: Link,
    connector: &Connector,
    fail_fast: Duration,
    mut state: watch::Receiver<State>,
) -> Stayed {
    let Link { connection, is_tracked, primary, number } = link;
    let doubts = doubts(connection.clone(), fail_fast);
    let beats = async {
        match &connector.feed {
            Some(feed) if is_tracked => feed.watch(number, connection, connector.heartbeat).await,
            Some(feed) => tokio::select! {
                () = heartbeats(connection.clone(), connector.heartbeat) => {}
                () = feed.retry_tracking(number, connection, connector.heartbeat) => return Stayed::UntilTracked,
            },
            None => heartbeats(connection, connector.heartbeat).await,
        }
        Stayed::UntilLost
    };
    let another = async {
        match (&connector.sentinels, &primary) {
            (Some(sentinels), Some(primary)) => sentinels.wait_for_another_primary(primary).await,
            _ => pending().await,
        }
    };
    tokio::select! {
        stayed = beats => stayed,
        () = another => Stayed::UntilLost,
        () = doubts => Stayed::UntilLost,
        _ = state.wait_for(|state| !matches!(state, State::Up(link) if link.number == number)) => Stayed::UntilLost,
    }
}

/// Until the server does not answer after a time of which this process knows nothing. Half of
/// `failFastMs` is left to connect again.
async fn doubts(mut connection: Wire, fail_fast: Duration) {
    let patience = (fail_fast / 2).clamp(LEAST_DOUBT, MOST_DOUBT);
    loop {
        connection.clocks().wait_for_jump().await;
        let (since, heard) = (Instant::now(), connection.last_heard().clone());
        if heard.wait_unless_silent(since, patience, Role::query(&mut connection)).await.is_none() {
            return connection.abandon(since);
        }
    }
}

/// Until the server does not answer, or is a primary no more. This is for a connection that the
/// near cache does not watch.
async fn heartbeats(mut connection: Wire, every: Duration) {
    let heard = connection.last_heard().clone();
    loop {
        heard.wait_for_heartbeat_due(every).await;
        match heard
            .wait_unless_silent(Instant::now(), MAX_SILENCE, Role::query(&mut connection))
            .await
        {
            Some(Ok(Role::Primary | Role::Unknown)) => {}
            Some(Err(error)) if failure::is_temporary_refusal(&error) => {}
            _ => return,
        }
    }
}
