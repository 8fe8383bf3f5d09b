//! What the near cache hears from a server: `CLIENT TRACKING` on the one connection, with a
//! heartbeat that shows that it is alive.
//!
//! Answers and pushes come in the order in which the server sent them, and pushes are applied as
//! they are parsed. So when an answer arrives, every change that the server had told of before it
//! has been heard.

use std::future::pending;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, PushInfo, PushKind, RedisResult, Value, pipe};
use tokio::time::{Instant, sleep};

use super::failure::{self, Kind};
use super::heard::SILENCE;
use super::role::Role;
use super::wire::Wire;
use crate::cache::{Flush, Moment, NearCache, Source};

/// Servers before this one put pushes into the middle of other answers (redis/redis#8935).
const FIRST_MAJOR: u64 = 7;

/// How often a change of our own is made to see whether it is told: so long, and so many
/// heartbeats.
const CANARY_EVERY: Duration = Duration::from_secs(30);
const CANARY_BEATS: u32 = 10;

/// How often a cache that is off is tried again: every 30 heartbeats, which is every 30 s by
/// default, and not more seldom than that or than a heartbeat.
const RETRY_BEATS: u32 = 30;
const RETRY_EVERY: Duration = Duration::from_secs(30);

/// How many keys are tried for one that lies on the server.
const CANARIES: u32 = 100_000;

const TOO_OLD: &str = "the server is older than Redis 7";
const DEAF: &str = "the server, or a proxy before it, does not tell of changes";

/// What a heartbeat found.
enum Beat {
    /// The connection works, and changes are told.
    Alive,
    /// The server is a replica.
    Replica,
    /// The server does not say what it is.
    Roleless,
    /// A change was made, and not told.
    Deaf,
}

/// The near cache's ear at one server.
pub(super) struct Feed {
    cache: Arc<NearCache>,
    /// What the cache calls it.
    id: u64,
    key_prefix: String,
    /// A key that only this feed changes. It is there for as long as one pipeline takes.
    canary: String,
    canary_told: AtomicBool,
    /// Whether the server's version is why there is no tracking.
    is_too_old: AtomicBool,
}

impl Feed {
    /// `holds`: whether a key lies on the server.
    pub(super) fn new(
        cache: Arc<NearCache>,
        key_prefix: &str,
        holds: impl Fn(&str) -> bool,
    ) -> Self {
        let random = RandomState::new();
        let mut canaries = (0..CANARIES)
            .map(|n| format!("{key_prefix}near-cache-canary-{:016x}", random.hash_one(n)));
        // A server that holds next to nothing refuses the canary, and is believed without.
        let canary = canaries.find(|key| holds(key)).unwrap_or_default();
        let id = cache.joins();
        let key_prefix = key_prefix.to_owned();
        Feed {
            cache,
            id,
            key_prefix,
            canary,
            canary_told: AtomicBool::default(),
            is_too_old: AtomicBool::default(),
        }
    }

    /// What the cache calls a connection.
    fn source(&self, number: u64) -> Source {
        Source { feed: self.id, number }
    }

    /// Applies a push. Called in the order of the connection.
    pub(super) fn hears(&self, push: &PushInfo) {
        if push.kind != PushKind::Invalidate {
            return;
        }
        let Some(Value::Array(keys)) = push.data.first() else {
            return self.cache.flush(Flush::Flushed);
        };
        for key in keys {
            // A key that is no text is none of this store's.
            let Ok(key) = String::from_redis_value_ref(key) else { continue };
            if key == self.canary {
                self.canary_told.store(true, SeqCst);
            } else if let Some(key) = key.strip_prefix(&self.key_prefix) {
                self.cache.invalidate(key);
            }
        }
    }

    /// Turns tracking on, if the server can; whether it is.
    pub(super) async fn begins(&self, connection: &mut Wire, number: u64) -> RedisResult<bool> {
        let sent = Moment::now();
        let refusal = self.track(connection).await?;
        match refusal {
            None => self.cache.begins(self.source(number), sent),
            Some(reason) => self.is_off(reason, reason == TOO_OLD),
        }
        Ok(refusal.is_none())
    }

    /// Until tracking is on where it was off: it is tried again, unless the server is too old.
    pub(super) async fn begins_late(&self, number: u64, mut connection: Wire, heartbeat: Duration) {
        if self.is_too_old.load(SeqCst) {
            return pending().await;
        }
        let pause = (heartbeat * RETRY_BEATS).min(RETRY_EVERY.max(heartbeat));
        loop {
            sleep(pause).await;
            if matches!(self.begins(&mut connection, number).await, Ok(true)) {
                return;
            }
        }
    }

    /// There is no tracking on a connection like this. `is_too_old`: it is the server's version
    /// that has none.
    pub(super) fn is_off(&self, reason: &str, is_too_old: bool) {
        self.is_too_old.store(is_too_old, SeqCst);
        self.cache.is_off(self.id, reason);
    }

    /// Why there is no tracking.
    pub(super) fn why_off(&self) -> String {
        self.cache.why_off().unwrap_or_default()
    }

    /// Why it cannot.
    async fn track(&self, connection: &mut Wire) -> RedisResult<Option<&'static str>> {
        let mut hello = pipe();
        hello.cmd("HELLO").cmd("PTTL").arg(&self.canary);
        hello.cmd("CLIENT").arg("TRACKING").arg("ON").arg("OPTIN");
        let (hello, life, tracking): (Value, Value, Value) =
            hello.ignore_errors().query_async(connection).await?;
        if major_version(&hello).is_none_or(|major| major < FIRST_MAJOR) {
            return Ok(Some(TOO_OLD));
        }
        if let Some(refusal) = failure::passing(&tracking) {
            return Err(refusal);
        }
        // That it does not answer for the canary now says nothing about other keys later: its
        // cluster may be down.
        if let Err(refusal) = life.extract_error()
            && failure::kind(&refusal) == Kind::Other
        {
            return Ok(Some("the server refuses PTTL"));
        }
        if tracking != Value::Okay {
            return Ok(Some("the server refuses CLIENT TRACKING"));
        }
        Ok(match self.beat(connection, true).await? {
            Beat::Alive => None,
            Beat::Replica => Some("the server is a replica"),
            Beat::Roleless => Some(
                "the server refuses ROLE and INFO, so nobody knows when it is a primary no more",
            ),
            Beat::Deaf => Some(DEAF),
        })
    }

    /// The connection of this number takes part in tracking no more.
    pub(super) fn is_deaf(&self, number: u64) {
        self.lost(number, Flush::Canary, DEAF);
    }

    /// The connection of this number tells no more.
    pub(super) fn lost(&self, number: u64, why: Flush, reason: &str) {
        self.cache.lost(self.source(number), why, reason);
    }

    /// Another connection has taken the place of the tracked one. Call this once nothing more is
    /// read on the old one: what was read there since [`Feed::begins`] is not tracked on the new
    /// one.
    pub(super) fn was_replaced(&self) {
        self.cache.flush(Flush::Disconnected);
    }

    /// Asks for a sign of life, `every` so often, until the connection turns out to be of no use.
    pub(super) async fn watch(&self, number: u64, mut connection: Wire, every: Duration) {
        let patience = self.cache.settings().max_staleness.min(SILENCE);
        let canary_every = CANARY_EVERY.max(every * CANARY_BEATS);
        let heard = connection.heard().clone();
        let mut canary_due = Instant::now() + canary_every;
        loop {
            heard.beat_is_due(every).await;
            let (sent, sent_at) = (Moment::now(), Instant::now());
            let with_canary = sent_at >= canary_due;
            if with_canary {
                canary_due = sent_at + canary_every;
            }
            let beat = self.beat(&mut connection, with_canary);
            let (why, reason) = match heard.unless_silent(sent_at, patience, beat).await {
                Some(Ok(Beat::Alive)) => {
                    self.cache.alive(self.source(number), sent);
                    continue;
                }
                Some(Ok(Beat::Replica)) => (Flush::Demoted, "the server has become a replica"),
                Some(Ok(Beat::Deaf)) => (Flush::Canary, DEAF),
                Some(Ok(Beat::Roleless)) => {
                    (Flush::Demoted, "the server does not say any more what it is")
                }
                // A busy server, for example: no sign of life, and no reason to leave it.
                Some(Err(error)) if failure::is_passing(&error) => continue,
                Some(Err(_)) => (Flush::Disconnected, "the connection was lost"),
                None => (Flush::Silent, "the server does not answer"),
            };
            return self.lost(number, why, reason);
        }
    }

    async fn beat(&self, connection: &mut Wire, with_canary: bool) -> RedisResult<Beat> {
        let mut beat = Pipeline::new();
        if with_canary {
            self.canary_told.store(false, SeqCst);
            beat.cmd("CLIENT").arg("CACHING").arg("YES");
            beat.cmd("GET").arg(&self.canary);
            beat.cmd("SET").arg(&self.canary).arg("").arg("PX").arg(1000);
            beat.cmd("DEL").arg(&self.canary);
        }
        beat.cmd("ROLE");
        let answers: Vec<Value> = beat.ignore_errors().query_async(connection).await?;
        match Role::from_answer(answers.last(), connection).await? {
            Role::Primary => {}
            Role::Replica => return Ok(Beat::Replica),
            Role::Sentinel | Role::Unknown => return Ok(Beat::Roleless),
        }
        // A full memory refuses the change, a busy server that it be tracked: then there is nothing
        // to tell.
        let is_tracked = || answers[..2].iter().all(|answer| failure::passing(answer).is_none());
        let changed = with_canary && answers.get(2) == Some(&Value::Okay) && is_tracked();
        Ok(if changed && !self.canary_told.load(SeqCst) { Beat::Deaf } else { Beat::Alive })
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.cache.leaves(self.id);
    }
}

/// Of the answer to HELLO.
fn major_version(hello: &Value) -> Option<u64> {
    let Value::Map(fields) = hello else { return None };
    let is_version =
        |name: &Value| String::from_redis_value_ref(name).is_ok_and(|name| name == "version");
    let (_, version) = fields.iter().find(|(name, _)| is_version(name))?;
    String::from_redis_value_ref(version).ok()?.split('.').next()?.parse().ok()
}
