//! The near cache's source of invalidations at one server: `CLIENT TRACKING` on the one connection,
//! and a heartbeat that shows that invalidations still arrive.
//!
//! What must always hold: replies and pushes come in the order in which the server sent them, and
//! pushes are applied as they are parsed. So when a reply arrives, every invalidation that the
//! server had sent before it has been applied.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, PushInfo, PushKind, RedisResult, Value, pipe};
use tokio::time::{Instant, sleep};

use super::connection::last_heard::MAX_SILENCE;
use super::connection::role::Role;
use super::connection::wire::Wire;
use super::failure::{self, FailureKind};
use crate::clock::TwoClockTime;
use crate::near_cache::{FeedConnection, FlushReason, NearCache};

/// Servers before this one put pushes into the middle of other answers (redis/redis#8935).
const FIRST_MAJOR: u64 = 7;

/// How often a canary key is changed to see whether its invalidation arrives: not more often than
/// this, nor than every so many heartbeats.
const CANARY_EVERY: Duration = Duration::from_secs(30);
const CANARY_BEATS: u32 = 10;

/// How often tracking is tried again where it is off: every 30 heartbeats, which is every 30 s by
/// default, and at least every 30 s or every heartbeat.
const RETRY_BEATS: u32 = 30;
const RETRY_EVERY: Duration = Duration::from_secs(30);

/// How many keys are tried to find a canary that lies on the server.
const CANARIES: u32 = 100_000;

const TOO_OLD: &str = "the server is older than Redis 7";
const NO_INVALIDATIONS: &str = "the server, or a proxy in front of it, sends no invalidations";

/// What a heartbeat found.
enum Heartbeat {
    /// The connection works, and invalidations arrive.
    Alive,
    /// The server is a replica.
    Replica,
    /// The server does not say what it is.
    UnknownRole,
    /// The canary was changed, and no invalidation came.
    NoInvalidation,
}

/// The source of invalidations at one server.
pub(crate) struct TrackingFeed {
    cache: Arc<NearCache>,
    /// The number by which the cache knows it.
    id: u64,
    key_prefix: String,
    /// A key that only this feed changes. It exists for as long as one pipeline takes.
    canary: String,
    /// Whether an invalidation of the canary has come since its last change.
    is_canary_invalidated: AtomicBool,
    /// Whether the server's version is why there is no tracking.
    is_too_old: AtomicBool,
}

impl TrackingFeed {
    /// `holds`: whether a key lies on the server.
    pub(super) fn new(
        cache: Arc<NearCache>,
        key_prefix: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Self {
        let random = RandomState::new();
        let mut canaries = (0..CANARIES)
            .map(|n| format!("{key_prefix}near-cache-canary-{:016x}", random.hash_one(n)));
        // A server that holds next to nothing refuses the canary, and is trusted without.
        let canary = canaries.find(|key| holds(key)).unwrap_or_default();
        let id = cache.add_feed();
        let key_prefix = key_prefix.to_owned();
        TrackingFeed {
            cache,
            id,
            key_prefix,
            canary,
            is_canary_invalidated: AtomicBool::default(),
            is_too_old: AtomicBool::default(),
        }
    }

    /// A connection, as the cache knows it.
    fn source(&self, number: u64) -> FeedConnection {
        FeedConnection { feed: self.id, number }
    }

    /// Applies a push. Called in the order of the connection.
    pub(super) fn on_push(&self, push: &PushInfo) {
        if push.kind != PushKind::Invalidate {
            return;
        }
        let Some(Value::Array(keys)) = push.data.first() else {
            return self.cache.flush(FlushReason::Flushed);
        };
        for key in keys {
            // A key that is no text is none of this store's.
            let Ok(key) = String::from_redis_value_ref(key) else { continue };
            if key == self.canary {
                self.is_canary_invalidated.store(true, SeqCst);
            } else if let Some(key) = key.strip_prefix(&self.key_prefix) {
                self.cache.invalidate(key);
            }
        }
    }

    /// Turns tracking on, if the server can. Returns whether it is on.
    pub(super) async fn start_tracking(
        &self,
        connection: &mut Wire,
        number: u64,
    ) -> RedisResult<bool> {
        let sent = TwoClockTime::now();
        let refusal = self.track(connection).await?;
        match refusal {
            None => self.cache.start_feed(self.source(number), sent),
            Some(reason) => self.turn_off(reason, reason == TOO_OLD),
        }
        Ok(refusal.is_none())
    }

    /// Tries to turn tracking on where it is off, until it is on. A server that is too old is not
    /// asked again.
    pub(super) async fn retry_tracking(
        &self,
        number: u64,
        mut connection: Wire,
        heartbeat: Duration,
    ) {
        if self.is_too_old.load(SeqCst) {
            return pending().await;
        }
        let pause = (heartbeat * RETRY_BEATS).min(RETRY_EVERY.max(heartbeat));
        loop {
            sleep(pause).await;
            if matches!(self.start_tracking(&mut connection, number).await, Ok(true)) {
                return;
            }
        }
    }

    /// Records that there is no tracking on such a connection, and why. `is_too_old`: it is the
    /// server's version that has none.
    pub(super) fn turn_off(&self, reason: &str, is_too_old: bool) {
        self.is_too_old.store(is_too_old, SeqCst);
        self.cache.disable_feed(self.id, reason);
    }

    /// Why there is no tracking.
    pub(super) fn why_off(&self) -> String {
        self.cache.off_reason().unwrap_or_default()
    }

    /// Turns tracking on. Returns why the server cannot.
    async fn track(&self, connection: &mut Wire) -> RedisResult<Option<&'static str>> {
        let mut hello = pipe();
        hello.cmd("HELLO").cmd("PTTL").arg(&self.canary);
        hello.cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN");
        let (hello, life, tracking): (Value, Value, Value) =
            hello.ignore_errors().query_async(connection).await?;
        if major_version(&hello).is_none_or(|major| major < FIRST_MAJOR) {
            return Ok(Some(TOO_OLD));
        }
        if let Some(refusal) = failure::temporary_refusal(&tracking) {
            return Err(refusal);
        }
        // That it does not answer for the canary now says nothing about other keys later: its
        // cluster may be down.
        if let Err(refusal) = life.extract_error()
            && failure::kind(&refusal) == FailureKind::Other
        {
            return Ok(Some("the server refuses PTTL"));
        }
        if tracking != Value::Okay {
            return Ok(Some("the server refuses CLIENT TRACKING"));
        }
        Ok(match self.beat(connection, true).await? {
            Heartbeat::Alive => None,
            Heartbeat::Replica => Some("the server is a replica"),
            Heartbeat::UnknownRole => Some(
                "the server refuses ROLE and INFO, so the store cannot detect that it becomes a replica",
            ),
            Heartbeat::NoInvalidation => Some(NO_INVALIDATIONS),
        })
    }

    /// The connection of this number has stopped tracking.
    pub(super) fn stop_tracking(&self, number: u64) {
        self.lose(number, FlushReason::Canary, NO_INVALIDATIONS);
    }

    /// The connection of this number sends no invalidations any more.
    pub(super) fn lose(&self, number: u64, why: FlushReason, reason: &str) {
        self.cache.stop_feed(self.source(number), why, reason);
    }

    /// Lets the cache answer without this server. Call this once nothing more is read there.
    pub(super) fn leave(&self) {
        self.cache.remove_feed(self.id);
    }

    /// Empties the cache after another connection has taken the place of the tracked one. Call this
    /// once nothing more is read on the old one: what was read there since
    /// [`TrackingFeed::start_tracking`] is not tracked on the new one.
    pub(super) fn flush_replaced(&self) {
        self.cache.flush(FlushReason::Disconnected);
    }

    /// Sends heartbeats, `every` so often, until the connection turns out to be of no use.
    pub(super) async fn watch(&self, number: u64, mut connection: Wire, every: Duration) {
        let patience = self.cache.settings().max_staleness.min(MAX_SILENCE);
        let canary_every = CANARY_EVERY.max(every * CANARY_BEATS);
        let heard = connection.last_heard().clone();
        let mut canary_due = Instant::now() + canary_every;
        loop {
            heard.wait_for_heartbeat_due(every).await;
            let (sent, sent_at) = (TwoClockTime::now(), Instant::now());
            let with_canary = sent_at >= canary_due;
            if with_canary {
                canary_due = sent_at + canary_every;
            }
            let beat = self.beat(&mut connection, with_canary);
            let (why, reason) = match heard.wait_unless_silent(sent_at, patience, beat).await {
                Some(Ok(Heartbeat::Alive)) => {
                    self.cache.record_heartbeat(self.source(number), sent);
                    continue;
                }
                Some(Ok(Heartbeat::Replica)) => {
                    (FlushReason::Demoted, "the server has become a replica")
                }
                Some(Ok(Heartbeat::NoInvalidation)) => (FlushReason::Canary, NO_INVALIDATIONS),
                Some(Ok(Heartbeat::UnknownRole)) => {
                    (FlushReason::Demoted, "the server no longer answers ROLE or INFO")
                }
                // A busy server, for example: no sign of life, and no reason to leave it.
                Some(Err(error)) if failure::is_temporary_refusal(&error) => continue,
                Some(Err(_)) => (FlushReason::Disconnected, "the connection was lost"),
                None => (FlushReason::Silent, "the server does not answer"),
            };
            return self.lose(number, why, reason);
        }
    }

    async fn beat(&self, connection: &mut Wire, with_canary: bool) -> RedisResult<Heartbeat> {
        let mut beat = Pipeline::new();
        if with_canary {
            self.is_canary_invalidated.store(false, SeqCst);
            beat.cmd("CLIENT").arg("CACHING").arg("YES");
            beat.cmd("GET").arg(&self.canary);
            beat.cmd("SET").arg(&self.canary).arg("").arg("PX").arg(1000);
            beat.cmd("DEL").arg(&self.canary);
        }
        beat.cmd("ROLE");
        let answers: Vec<Value> = beat.ignore_errors().query_async(connection).await?;
        match Role::from_answer(answers.last(), connection).await? {
            Role::Primary => {}
            Role::Replica => return Ok(Heartbeat::Replica),
            Role::Sentinel | Role::Unknown => return Ok(Heartbeat::UnknownRole),
        }
        // A full memory refuses the change, a busy server that it be tracked: then no invalidation
        // is due.
        let is_tracked =
            || answers[..2].iter().all(|answer| failure::temporary_refusal(answer).is_none());
        let changed = with_canary && answers.get(2) == Some(&Value::Okay) && is_tracked();
        Ok(if changed && !self.is_canary_invalidated.load(SeqCst) {
            Heartbeat::NoInvalidation
        } else {
            Heartbeat::Alive
        })
    }
}

impl Drop for TrackingFeed {
    fn drop(&mut self) {
        self.cache.remove_feed(self.id);
    }
}

/// The major version in the answer to HELLO.
fn major_version(hello: &Value) -> Option<u64> {
    let Value::Map(fields) = hello else { return None };
    let is_version =
        |name: &Value| String::from_redis_value_ref(name).is_ok_and(|name| name == "version");
    let (_, version) = fields.iter().find(|(name, _)| is_version(name))?;
    String::from_redis_value_ref(version).ok()?.split('.').next()?.parse().ok()
}
