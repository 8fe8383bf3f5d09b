//! The operations: Better Auth's key-value calls and the session store's own, made of an engine's
//! atomic steps.
//!
//! What must always hold (each has tests that try to break it):
//! 1. A live session is in its owner's index; ending all of a user's sessions ends every one that
//!    existed when it began.
//! 2. An ended session never comes back, whoever was writing it and however late.
//! 3. Concurrent updates of different fields lose none; a stale writer restores nothing.
//! 4. An error is never told as "no session".
//! 5. `increment` and `take` run at most once.
//! 6. No key without an expiry, but for what Better Auth itself stores without one.

mod deferred;
mod ending;
mod outage;
mod reads;
mod user_half;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::{try_join, try_join_all};
use quick_cache::sync::Cache;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::cache::{Flush, NearCache, REVOKED_BEFORE, Writing};
use crate::command::{Command, Read, Reply};
use crate::config::{Config, OnUnavailable};
use crate::credentials::Credentials;
use crate::engine::{
    Create, DegradedMetrics, Engine, LEGACY_INDEX, Namespace, Put, PutOutcome, RevokeMetrics,
    SAME_CLOCK_MS, TOGETHER, YOUNG_MS, another_application, system_clock,
};
use crate::error::{Code, Error, Result};
use crate::events::Events;
use crate::journal::{Journal, JournalMetrics};
use crate::read_log::ReadLog;
use crate::session::{Object, Record, hash_of, is_stale, merge, patch, replace};
use crate::value::{Slot, Stored};
use reads::{Listing, marker_of};

/// The longest key, token or user id, in bytes.
const MAX_KEY_BYTES: usize = 4096;

/// The longest token of a session, in bytes. Better Auth's have 32.
const MAX_TOKEN_BYTES: usize = 512;

/// What the keys begin with under which Better Auth 1.3 to 1.7 stores something else than a
/// session: every `secondaryStorage` call in `better-auth/dist` (db/internal-adapter,
/// plugins/api-key), `@better-auth/core/dist` (oauth2/dpop) and `@better-auth/api-key/dist`. (The
/// keys of its rate limits begin with an IP address.)
const RESERVED: [&str; 5] =
    [LEGACY_INDEX, REVOKED_BEFORE, "verification:", "api-key:", "dpop-proof:"];

/// An index entry may be dropped when its record was absent for this long: no sign-in takes that
/// long.
const ABSENCE: Duration = Duration::from_secs(60);

/// How much longer than `commandTimeout` an operation may take whose steps Redis keeps answering.
const MOST_BUSY: Duration = Duration::from_secs(60);

/// How soon it is looked again for a session that is being created.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// The furthest expiry that an engine is told, in ms from now: 100 years.
const MAX_TTL_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

pub use reads::PART_BYTES;

/// So many of a user's records are listed together at most, as long as nothing is known of how long
/// they are.
const FIRST_LISTED: usize = 32;

/// Of how many users it is remembered how long their records were.
const RECORD_SIZES: usize = 4096;

/// A store over one engine.
pub(crate) struct Store<E> {
    engine: E,
    read_log: ReadLog,
    cache: Option<Arc<NearCache>>,
    connected: Option<Connected>,
    /// What is still to be done, where the caller's database has the sessions too.
    journal: Option<Journal>,
    /// What was listed together, by its first id that is not in the cache: whoever asks for that
    /// one will ask for the others.
    listings: Cache<String, Arc<Listing>>,
    /// How long values were that the read log does not know, in bytes, by the hash of their key.
    lengths: Cache<u64, usize>,
    /// How long the longest record of a user is that was written or listed here, in bytes, by the
    /// hash of the user's id.
    record_sizes: Cache<u64, usize>,
    /// The longest life that a session was given by this store, or is by Better Auth's settings, in
    /// ms.
    longest_life: AtomicU64,
    /// By user, the ids whose record a prune found absent, and since when.
    absent: Mutex<HashMap<String, HashMap<String, Instant>>>,
    max_value_bytes: usize,
    max_sessions: Option<usize>,
    /// How many bytes the ids take on which the limit is to be enforced later.
    deferred_bytes: AtomicUsize,
    command_timeout: Duration,
    in_flight: AtomicUsize,
    max_in_flight: usize,
    refused: RefusedWrites,
}

/// How many writes of session records were dropped, by reason.
#[derive(Default)]
struct RefusedWrites {
    ended: AtomicU64,
    too_old: AtomicU64,
    too_large: AtomicU64,
    conflict: AtomicU64,
}

/// [`RefusedWrites`], for whoever looks at it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusedWritesMetrics {
    ended: u64,
    too_old: u64,
    too_large: u64,
    conflict: u64,
}

/// What an engine with a connection has to do with the application.
pub(crate) struct Connected {
    /// What happens to the connection.
    pub(crate) events: Events,
    /// Who is asked for user name and password.
    pub(crate) credentials: Credentials,
}

/// Operations that are under way.
pub(crate) struct InFlight<'s>(&'s AtomicUsize, usize);

impl InFlight<'_> {
    /// So many of them have ended.
    fn end(&mut self, count: usize) {
        self.0.fetch_sub(count, Relaxed);
        self.1 -= count;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

/// A write that ends nobody knows what until it is answered; unanswered, it may have ended
/// anything.
struct Unknown<'c>(Option<&'c NearCache>);

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.0 {
            cache.flush(Flush::Uncertain);
        }
    }
}

/// What a write of a session record came to.
enum Written {
    Done {
        /// Whether a session was created with a user half, the user half of one changed, or one was
        /// not taken as it was written.
        user_changed: bool,
    },
    /// The session was ended.
    Ended,
    /// There is none, and it is too old to be created.
    Ignored,
}

impl<E: Engine> Store<E> {
    /// `cache`: the one that the engine's connection feeds.
    pub(crate) fn new(
        engine: E,
        cache: Option<Arc<NearCache>>,
        connected: Option<Connected>,
        config: &Config,
    ) -> Self {
        Store {
            engine,
            read_log: ReadLog::new(),
            cache,
            connected,
            journal: (config.on_unavailable == OnUnavailable::Database).then(Journal::new),
            listings: Cache::new(reads::LISTINGS),
            lengths: Cache::new(reads::LENGTHS),
            record_sizes: Cache::new(RECORD_SIZES),
            longest_life: AtomicU64::new(0),
            absent: Mutex::default(),
            max_value_bytes: config.max_value_bytes,
            max_sessions: config.max_sessions_per_user.map(|max| max.get() as usize),
            deferred_bytes: AtomicUsize::new(0),
            command_timeout: config.command_timeout,
            in_flight: AtomicUsize::new(0),
            max_in_flight: config.max_in_flight,
            refused: RefusedWrites::default(),
        }
    }

    /// Counts operations in, or refuses them: what waits for an outage to end takes memory.
    pub(crate) fn enter(&self, count: usize) -> Result<InFlight<'_>> {
        let before = self.in_flight.fetch_add(count, Relaxed);
        let entered = InFlight(&self.in_flight, count);
        // Many reads that were asked for together are one, when nothing else is under way.
        if before == 0 || before + count <= self.max_in_flight {
            return Ok(entered);
        }
        let what = format!(
            "{before} operations are under way already (option maxInFlight); try again later"
        );
        Err(Error::new(Code::Unavailable, what))
    }

    /// Carries out a command. Each of its steps ends when the server that it waits for is silent
    /// for `commandTimeout`.
    pub(crate) async fn run(self: &Arc<Self>, command: Command) -> Result<Reply> {
        match command {
            Command::ListKeys | Command::Clear | Command::Cleanup => {
                self.in_time(self.settled()).await?;
                match command {
                    Command::ListKeys => Box::pin(self.list_keys()).await,
                    Command::Clear => Box::pin(self.clear()).await,
                    _ => Box::pin(self.cleanup()).await,
                }
            }
            command => {
                let kept = self.kept(&command);
                let outcome = match self.ending(&command)? {
                    Some(ending) => Box::pin(self.end_in_time(ending)).await,
                    None => self.in_time(pin!(self.run_one(command))).await,
                };
                self.keep(kept, outcome)
            }
        }
    }

    /// Each operation in a box of its own: else every call would move as many bytes as the largest
    /// of them has, some 15,000.
    async fn run_one(self: &Arc<Self>, command: Command) -> Result<Reply> {
        self.settled().await?;
        match command {
            Command::Get { key } => {
                let asked = self.read_log.look_up(&[&key]);
                let value = Box::pin(self.read(&asked, false)).await?.values.pop().flatten();
                Ok(value.map_or(Reply::Nothing, Reply::Text))
            }
            Command::Set { key, value, ttl, read } => {
                Box::pin(self.set(&key, &value, ttl, read)).await
            }
            Command::Delete { key } => Box::pin(self.delete(&key)).await.map(|()| Reply::Nothing),
            Command::Take { key } => Box::pin(self.take(&key)).await,
            Command::Increment { key, ttl } => {
                Box::pin(self.increment(&key, ttl)).await.map(Reply::Count)
            }
            Command::Create { token, session } => {
                Box::pin(self.create(&token, &session)).await.map(|()| Reply::Nothing)
            }
            Command::Update { token, changes } => {
                Box::pin(self.update(&token, &changes)).await.map(Reply::from)
            }
            Command::List { user } => Box::pin(self.list(&user)).await.map(Reply::from),
            Command::UserHalves { user } => Box::pin(self.user_halves(&user)).await,
            Command::InstallUser { user, halves, row, as_it_is } => {
                Box::pin(self.install_user(&user, &halves, &row, as_it_is)).await.map(Reply::Count)
            }
            Command::Ping => Box::pin(self.engine.ping()).await.map(|()| Reply::Nothing),
            Command::EndAll { .. } | Command::ListKeys | Command::Clear | Command::Cleanup => {
                unreachable!("run() keeps these")
            }
        }
    }

    /// The engine ends what a silent server does not answer. This ends what goes on for ever, as
    /// others keep changing what it is about.
    async fn in_time<T>(&self, step: impl Future<Output = Result<T>>) -> Result<T> {
        let bound = self.command_timeout + MOST_BUSY;
        timeout(bound, step).await.unwrap_or_else(|_| {
            let what = "though Redis answers; a write may or may not have been carried out";
            Err(Error::new(Code::Timeout, format!("not done within {} s, {what}", bound.as_secs())))
        })
    }

    // ---- Better Auth's view ----

    /// A write of `key` by this process, for as long as the answer lives.
    fn writing<'s>(&'s self, key: &'s str) -> Writing<'s> {
        NearCache::writing(self.cache.as_deref(), key)
    }

    pub(crate) fn connected(&self) -> Option<&Connected> {
        self.connected.as_ref()
    }

    /// Makes the clock of an engine in this process follow its caller's.
    pub(crate) fn follow_clock(&self, now_ms: i64) {
        self.engine.follow_clock(now_ms);
    }

    /// Sessions live for so many ms, or less: then a not-before marker has to live as long.
    pub(crate) fn expect_life(&self, ms: u64) {
        self.longest_life.fetch_max(ms, Relaxed);
    }

    pub(crate) fn refused_writes(&self) -> RefusedWritesMetrics {
        let RefusedWrites { ended, too_old, too_large, conflict } = &self.refused;
        let [ended, too_old, too_large, conflict] =
            [ended, too_old, too_large, conflict].map(|count| count.load(Relaxed));
        RefusedWritesMetrics { ended, too_old, too_large, conflict }
    }

    pub(crate) fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        self.engine.revoke_metrics()
    }

    pub(crate) fn degraded_metrics(&self) -> DegradedMetrics {
        self.engine.degraded_metrics()
    }

    pub(crate) fn journal_metrics(&self) -> Option<JournalMetrics> {
        self.journal.as_ref().map(Journal::metrics)
    }

    pub(crate) fn near_cache(&self) -> Option<&NearCache> {
        self.cache.as_deref()
    }

    async fn set(
        self: &Arc<Self>,
        key: &str,
        value: &str,
        ttl: Option<f64>,
        read: Option<Read>,
    ) -> Result<Reply> {
        check_key("key", key)?;
        let ttl_ms = ttl.map(ttl_ms).transpose()?;
        if key.starts_with(LEGACY_INDEX) {
            return Ok(Reply::Nothing);
        }
        if ttl_ms == Some(0) {
            return Box::pin(self.delete(key)).await.map(|()| Reply::Nothing);
        }
        let Some(record) = Record::parse(key, value) else {
            return Box::pin(self.set_plain(key, value, ttl_ms)).await.map(|()| Reply::Nothing);
        };
        check_token("key", key)?;
        let create = record.created_at().map_or(Create::Never, Create::Young);
        // To Better Auth, a write over an ended session is a write that came too late: nothing to
        // report.
        Ok(match self.put(key, &record, ttl_ms, create, read).await? {
            Written::Done { user_changed: true } => Reply::UserWritten(record.user_id),
            Written::Done { user_changed: false } | Written::Ended => Reply::Nothing,
            Written::Ignored => Reply::Ignored,
        })
    }

    /// Writes a value that is no session record.
    async fn set_plain(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        if value.len() > self.max_value_bytes
            && self
                .engine
                .get(key)
                .await?
                .value()
                .is_none_or(|stored| stored.text().len() < value.len())
        {
            return Err(self.too_large(value.len(), None));
        }
        self.read_log.forget(key);
        let _writing = self.writing(key);
        self.engine.set(key, value, ttl_ms).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        check_key("key", key)?;
        if let Some(user) = key.strip_prefix(LEGACY_INDEX) {
            return self.prune(user).await.map(drop);
        }
        // Its life ends it. Better Auth deletes none, and a stranger who names one as a session's
        // token must not.
        if key.starts_with(REVOKED_BEFORE) {
            return Ok(());
        }
        self.end(key).await
    }

    async fn take(&self, key: &str) -> Result<Reply> {
        check_key("key", key)?;
        if let Some(user) = key.strip_prefix(LEGACY_INDEX) {
            let view = self.index_views(&[user]).await?.pop().flatten();
            self.prune(user).await?;
            return Ok(view.map_or(Reply::Nothing, Reply::from));
        }
        self.read_log.forget(key);
        let taken = {
            let _writing = self.writing(key);
            self.engine.take(key).await?
        };
        if let Some(record) = taken.stored().and_then(|stored| Record::parse(key, stored.text())) {
            self.engine.acknowledge(&[key]).await;
            if self.revoked(&record.user_id).await?(record.created_at()) {
                return Ok(Reply::Nothing);
            }
        }
        Ok(taken.value().into())
    }

    async fn increment(&self, key: &str, ttl: f64) -> Result<i64> {
        check_key("key", key)?;
        match ttl_ms(ttl)? {
            0 => Err(Error::invalid("ttl: a counter needs a life of more than 0 s")),
            ttl_ms => {
                let _writing = self.writing(key);
                self.engine.increment(key, ttl_ms).await
            }
        }
    }

    // ---- Sessions ----

    async fn create(self: &Arc<Self>, token: &str, session: &str) -> Result<()> {
        check_token("session.token", token)?;
        let record = Record::parse(token, session).ok_or_else(|| {
            Error::invalid("session: must be an object with the texts token and userId")
        })?;
        check_key("session.userId", &record.user_id)?;
        if record.expires_at().is_none_or(|expires_at| expires_at <= self.engine.local_clock()) {
            return Err(Error::invalid("session.expiresAt: must be a date in the future"));
        }
        match self.put(token, &record, None, Create::Always, None).await? {
            Written::Done { .. } => Ok(()),
            Written::Ended | Written::Ignored => Err(Error::new(
                Code::Revoked,
                "the session of this token was ended: make one with a new token",
            )),
        }
    }

    /// Writes a session record, merged with what lies there.
    async fn put(
        self: &Arc<Self>,
        token: &str,
        write: &Record<'_>,
        ttl_ms: Option<u64>,
        create: Create,
        read: Option<Read>,
    ) -> Result<Written> {
        let (seen, handed, ahead_ms) = match read {
            Some(Read { seen, handed, ahead_ms }) => (Some(seen), handed, ahead_ms),
            None => (None, Vec::new(), 0),
        };
        let caller = || match ahead_ms.saturating_abs() {
            ..=SAME_CLOCK_MS => self.engine.local_clock(),
            _ => system_clock().saturating_add(ahead_ms),
        };
        let handed: Vec<_> = handed.iter().map(|text| Stored::record(text)).collect();
        let reading = self
            .read_log
            .read_by(token, seen, (write.updated_at(), write.expires_at()))
            .or(&handed);
        let mut bases = None;
        let mut engine_now = None;
        let _writing = self.writing(token);
        // What is taken to lie there; the engine says if it does not. As a rule nothing lies where
        // a session is created.
        let mut known = match create {
            Create::Always => None,
            _ => self.read_log.latest(token).or_else(|| handed.last().cloned()),
        };
        let mut known_for_sure = false;
        loop {
            let stored = known.as_ref().and_then(|stored| Record::parse(token, stored.text()));
            if stored.is_none()
                && known.as_ref().is_some_and(|known| known.is_record_of_another(token))
            {
                self.refused.conflict.fetch_add(1, Relaxed);
                return Err(another_application());
            }
            let json = match &stored {
                Some(stored) if stored.user_id != write.user_id => {
                    if known_for_sure {
                        self.refused.conflict.fetch_add(1, Relaxed);
                        return Err(Error::new(
                            Code::Conflict,
                            "the session belongs to another user: a session never changes its user",
                        ));
                    }
                    known = None;
                    continue;
                }
                Some(stored) if create == Create::Always => replace(stored, write),
                // The usual case: nobody else has written, and both halves are there.
                Some(_)
                    if known.as_ref().is_some_and(|known| reading.is_only(known))
                        && write.user_json().is_some_and(|user| user.starts_with('{'))
                        && stored.as_ref().is_some_and(|stored| {
                            !is_stale(stored.updated_at(), write.updated_at())
                        }) =>
                {
                    Cow::Borrowed(write.json)
                }
                Some(stored) => {
                    let bases = bases.get_or_insert_with(|| reading.bases(token));
                    let Some(merged) = merge(bases, stored, write, engine_now) else {
                        engine_now = Some(self.engine.now().await?);
                        continue;
                    };
                    merged
                }
                None => Cow::Borrowed(write.json),
            };
            let merged = match &json {
                Cow::Borrowed(_) => None,
                Cow::Owned(merged) => Record::parse(token, merged),
            };
            let record = merged.as_ref().unwrap_or(write);
            let expires_at = record.expires_at();
            let Some(life) = life_ms(expires_at, ttl_ms, self.engine.local_clock())? else {
                if expires_at.is_some_and(|expires_at| expires_at > caller()) {
                    self.refused.conflict.fetch_add(1, Relaxed);
                    return Err(clocks_differ(
                        "is over by this machine's clock and not by",
                        caller(),
                        self.engine.local_clock(),
                        None,
                    ));
                }
                // Over, unless what really lies there lives on.
                if !known_for_sure
                    && let Slot::Value(current) = Box::pin(self.engine.get(token)).await?
                {
                    known = Some(current);
                    known_for_sure = true;
                    continue;
                }
                Box::pin(self.end(token)).await?;
                return Ok(Written::Ended);
            };
            if self.is_too_large(&json, known.as_ref()) {
                if !known_for_sure {
                    known = Box::pin(self.engine.get(token)).await?.value();
                    known_for_sure = true;
                    continue;
                }
                return Err(Box::pin(self.refuse_too_large(token, record, stored.is_some())).await?);
            }
            self.expect_life(life);
            let written = Stored::record(&json);
            let put = Put {
                id: token,
                user: &write.user_id,
                record: &written,
                ttl_ms: life,
                expires_at,
                expected: known.as_ref(),
                create,
                list_others: self.max_sessions.is_some() && !record.is_impersonated(),
            };
            let outcome = self.engine.put(&put).await?;
            match outcome {
                PutOutcome::Differs(current) => {
                    known = Some(current);
                    known_for_sure = true;
                }
                PutOutcome::Refused => {
                    self.refused.ended.fetch_add(1, Relaxed);
                    self.read_log.forget(token);
                    return Ok(Written::Ended);
                }
                PutOutcome::TooOld { now } => {
                    self.refused.too_old.fetch_add(1, Relaxed);
                    self.read_log.forget(token);
                    let Create::Young(created_at) = create else {
                        return Err(Error::invalid(
                            "session.createdAt: must be a date, because there is no session of this token yet",
                        ));
                    };
                    if caller().abs_diff(created_at) > YOUNG_MS.unsigned_abs() {
                        return Ok(Written::Ignored);
                    }
                    // Saying nothing would make every sign-in fail in silence.
                    return Err(clocks_differ(
                        "is too old by Redis' clock and not by",
                        caller(),
                        self.engine.local_clock(),
                        Some(now),
                    ));
                }
                PutOutcome::Created { others } => {
                    Box::pin(self.limit(token, write, others)).await?;
                    self.remember(token, write, &written);
                    return Ok(Written::Done { user_changed: record.user_json().is_some() });
                }
                PutOutcome::Replaced => {
                    let is_dropped = write
                        .user_json()
                        .is_some_and(|written| record.user_json() != Some(written));
                    let user_changed = is_dropped
                        || stored.is_none_or(|stored| stored.user_json() != record.user_json());
                    self.remember(token, write, &written);
                    return Ok(Written::Done { user_changed });
                }
            }
        }
    }

    /// Remembers what lies there, and what its writer wrote.
    fn remember(&self, token: &str, write: &Record<'_>, stored: &Stored) {
        let (user, length) = (hash_of(&*write.user_id), stored.text().len());
        if self.record_sizes.get(&user).is_none_or(|longest| longest < length) {
            self.record_sizes.insert(user, length);
        }
        let marker = marker_of(&write.user_id);
        if stored.text() == write.json {
            self.read_log.wrote(token, &marker, stored);
        } else {
            self.read_log.wrote_merged(token, &marker, &Stored::record(write.json), stored);
        }
    }

    /// Whether a record is larger than allowed. One that is no longer than what lies there is never
    /// refused.
    fn is_too_large(&self, json: &str, known: Option<&Stored>) -> bool {
        json.len() > self.max_value_bytes
            && known.is_none_or(|stored| stored.text().len() < json.len())
    }

    /// The error of a record that is too large. The live session that it was to change ends: it
    /// would keep older rights.
    async fn refuse_too_large(
        &self,
        token: &str,
        record: &Record<'_>,
        is_live: bool,
    ) -> Result<Error> {
        self.refused.too_large.fetch_add(1, Relaxed);
        if is_live {
            self.end(token).await?;
        }
        Ok(self.too_large(record.json.len(), record.largest_field()))
    }

    fn too_large(&self, size: usize, largest: Option<(String, usize)>) -> Error {
        let what = if largest.is_some() { "session record" } else { "value" };
        let largest =
            largest.map(|(name, size)| format!("; its largest field is {name} with {size} bytes"));
        let max = self.max_value_bytes;
        Error::new(
            Code::Limit,
            format!(
                "the {what} has {size} bytes; at most {max} are allowed (option maxValueBytes){}",
                largest.unwrap_or_default()
            ),
        )
    }

    /// Ends the user's oldest sessions beyond the limit, after one was created beside `others`. Who
    /// creates them at the same time sees the same order, so that together they end no more than
    /// are too many. Impersonated ones neither count nor end.
    async fn enforce_limit(&self, user: &str, others: &[String]) -> Result<()> {
        let Some(max) = self.max_sessions else { return Ok(()) };
        let ids: Vec<_> = others.iter().map(String::as_str).collect();
        let patience = Instant::now() + self.engine.put_takes().min(self.command_timeout / 2);
        loop {
            let (mut live, mut absent) = (Vec::new(), Vec::new());
            for (id, slot) in ids.iter().zip(self.engine.get_many(&ids).await?) {
                match slot {
                    Slot::Ended => {}
                    Slot::Absent => absent.push((*id).to_owned()),
                    Slot::Value(stored) => live.extend(
                        Record::parse(id, stored.text())
                            .filter(|record| record.user_id == user && !record.is_impersonated())
                            .map(|record| (record.created_at().unwrap_or(i64::MIN), *id)),
                    ),
                }
            }
            let excess = (live.len() + absent.len() + 1).saturating_sub(max);
            if absent.is_empty() || excess == 0 {
                live.sort();
                for (_, id) in live.into_iter().take(excess) {
                    self.end(id).await?;
                }
                return Ok(());
            }
            // How old the absent ones are nobody knows, so none is ended for them: either they
            // come, or they never will.
            if Instant::now() < patience {
                sleep(LOOK_AGAIN).await;
            } else {
                absent.truncate(excess);
                self.engine.prune(user, &absent, &absent).await?;
            }
        }
    }

    async fn update(&self, token: &str, changes: &str) -> Result<String> {
        check_key("token", token)?;
        let changes =
            Object::parse(changes).ok_or_else(|| Error::invalid("updates: must be an object"))?;
        let not_found = || Error::new(Code::NotFound, "there is no live session with this token");
        let _writing = self.writing(token);
        let mut slot = self.session_now(token).await?;
        loop {
            let stored = slot.value().ok_or_else(not_found)?;
            let record = Record::parse(token, stored.text()).ok_or_else(not_found)?;
            for (name, fixed) in [("token", token), ("userId", &record.user_id)] {
                if changes.get(name).is_some() && changes.id(name).as_deref() != Some(fixed) {
                    return Err(Error::invalid(format!(
                        "updates.{name}: a session's {name} cannot change; create a new session"
                    )));
                }
            }
            let json = patch(&record, &changes);
            let patched = Record::parse(token, &json).ok_or_else(not_found)?;
            let expires_at = patched.expires_at();
            let life = life_ms(expires_at, None, self.engine.local_clock())?.ok_or_else(|| {
                Error::invalid(
                    "updates.expiresAt: must be a date in the future; deleteSession ends a session",
                )
            })?;
            self.expect_life(life);
            if self.is_too_large(&json, Some(&stored)) {
                return Err(Box::pin(self.refuse_too_large(token, &patched, true)).await?);
            }
            let written = Stored::record(&json);
            let put = Put {
                id: token,
                user: &record.user_id,
                record: &written,
                ttl_ms: life,
                expires_at,
                expected: Some(&stored),
                create: Create::Never,
                list_others: false,
            };
            match self.engine.put(&put).await? {
                PutOutcome::Differs(current) => slot = Slot::Value(current),
                PutOutcome::Replaced | PutOutcome::Created { .. } => {
                    self.read_log.wrote(token, &marker_of(&record.user_id), &written);
                    return Ok(json);
                }
                PutOutcome::Refused | PutOutcome::TooOld { .. } => return Err(not_found()),
            }
        }
    }

    async fn list(&self, user: &str) -> Result<String> {
        check_key("userId", user)?;
        let mut sessions = Vec::new();
        let each = self.each_session(user, |id, record| {
            let (expires_at, created_at) = (record.expires_at(), record.created_at());
            sessions.push((
                expires_at,
                record.session_json().to_owned(),
                id.to_owned(),
                created_at,
            ));
        });
        let (is_revoked, ()) = try_join(self.revoked(user), each).await?;
        sessions.retain(|(_, _, _, created_at)| !is_revoked(*created_at));
        sessions.sort();
        let (ids, sessions): (Vec<_>, Vec<_>) =
            sessions.into_iter().map(|(_, json, id, _)| (id, json)).unzip();
        self.expect_reads(user, ids);
        Ok(["[", &sessions.join(","), "]"].concat())
    }

    async fn end(&self, key: &str) -> Result<()> {
        self.end_alone(key).await?;
        if may_be_session(key) {
            self.engine.acknowledge(&[key]).await;
        }
        Ok(())
    }

    /// Ends a key; the caller has replicas acknowledge it.
    async fn end_alone(&self, key: &str) -> Result<()> {
        self.read_log.forget(key);
        let _writing = self.writing(key);
        self.engine.end(key, may_be_session(key)).await
    }

    /// Calls `visit` with the id and the record of each live session of a user.
    async fn each_session(
        &self,
        user: &str,
        mut visit: impl FnMut(&str, &Record<'_>),
    ) -> Result<()> {
        let mut longest = 0;
        let mut see = |id: &str, stored: &Stored| {
            let length = stored.raw().len();
            longest = length.max(longest);
            self.lengths.insert(self.read_log.hash(id), length);
            if let Some(record) =
                Record::parse(id, stored.text()).filter(|record| record.user_id == user)
            {
                visit(id, &record);
            }
        };
        if let Some(found) = self.engine.list(user, self.listed_at_once(user)).await? {
            found.iter().for_each(|(id, stored)| see(id, stored));
        } else {
            let ids = self.ids(user).await?;
            let ids: Vec<_> = ids.iter().map(String::as_str).collect();
            for some in ids.chunks(reads::READ_AHEAD) {
                let mut rest = some;
                for count in self.parts_within(some, PART_BYTES).await? {
                    let (part, after) = rest.split_at(count);
                    rest = after;
                    let slots = self.engine.get_many(part).await?;
                    let found =
                        part.iter().zip(slots).filter_map(|(id, slot)| Some((*id, slot.value()?)));
                    found.for_each(|(id, stored)| see(id, &stored));
                }
            }
        }
        self.record_sizes.insert(hash_of(user), longest);
        Ok(())
    }

    /// How many of a user's records are listed together, without a look at how long they are: no
    /// more than a part, were each as long as the longest that is known.
    fn listed_at_once(&self, user: &str) -> usize {
        match self.record_sizes.get(&hash_of(user)) {
            Some(longest) => (PART_BYTES / longest.max(1)).clamp(1, reads::READ_AHEAD),
            None => (PART_BYTES / self.max_value_bytes).clamp(1, FIRST_LISTED),
        }
    }

    // ---- The whole store ----

    async fn prune(&self, user: &str) -> Result<u64> {
        let mut seen = self.lock_absent().remove(user).unwrap_or_default();
        let claim: Vec<_> = seen
            .iter()
            .filter(|(_, since)| since.elapsed() >= ABSENCE)
            .map(|(id, _)| id.clone())
            .collect();
        let mut pruned = self.engine.prune(user, &claim, &[]).await?;
        if !pruned.is_all {
            let ids = self.ids(user).await?;
            let mut rest = &ids[..];
            while !rest.is_empty() {
                let part =
                    self.engine.prune(user, &claim, &rest[..rest.len().min(TOGETHER)]).await?;
                pruned.removed += part.removed;
                pruned.absent.extend(part.absent);
                rest = &rest[part.looked.clamp(1, rest.len())..];
            }
        }
        let absent: HashMap<_, _> = pruned
            .absent
            .into_iter()
            .map(|id| {
                let since = seen.remove(&id).unwrap_or_else(Instant::now);
                (id, since)
            })
            .collect();
        if !absent.is_empty() {
            self.lock_absent().insert(user.to_owned(), absent);
        }
        Ok(pruned.removed)
    }

    fn lock_absent(&self) -> std::sync::MutexGuard<'_, HashMap<String, HashMap<String, Instant>>> {
        self.absent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn cleanup(&self) -> Result<Reply> {
        let mut pruned = 0;
        for user in self.scan(Namespace::Users).await? {
            pruned += self.in_time(self.prune(&user)).await?;
        }
        Ok(Reply::Count(i64::try_from(pruned).unwrap_or(i64::MAX)))
    }

    async fn list_keys(&self) -> Result<Reply> {
        let mut keys: BTreeSet<_> = self.live_keys().await?.into_iter().collect();
        let users = self.scan(Namespace::Users).await?;
        let users: Vec<_> = users.iter().map(String::as_str).collect();
        for part in users.chunks(500) {
            let views = self.in_time(self.index_views(part)).await?;
            let listed = part.iter().zip(views).filter(|(_, view)| view.is_some());
            keys.extend(listed.map(|(user, _)| [LEGACY_INDEX, user].concat()));
        }
        let keys: Vec<_> = keys.into_iter().collect();
        Ok(Reply::from(serde_json::Value::from(keys).to_string()))
    }

    async fn clear(&self) -> Result<Reply> {
        let keys = self.live_keys().await?;
        for part in keys.chunks(500) {
            self.in_time(try_join_all(part.iter().map(|key| self.end(key)))).await?;
        }
        Ok(Reply::Nothing)
    }

    /// Every key that a reader would find.
    async fn live_keys(&self) -> Result<Vec<String>> {
        let mut live = Vec::new();
        let keys = self.scan(Namespace::Keys).await?;
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        for part in keys.chunks(500) {
            let slots = self.in_time(self.engine.get_many(part)).await?;
            let is_own = |(key, slot): &(&&str, Slot)| matches!(slot, Slot::Value(stored) if !stored.is_record_of_another(key));
            live.extend(part.iter().zip(slots).filter(is_own).map(|(key, _)| (*key).to_owned()));
        }
        Ok(live)
    }

    /// Every key of a namespace, once.
    async fn scan(&self, namespace: Namespace) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut cursor = 0;
        loop {
            let page = self.in_time(self.engine.scan(namespace, cursor)).await?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}

fn check_key(argument: &str, key: &str) -> Result<()> {
    let problem = if key.is_empty() {
        "must not be empty".to_owned()
    } else if key.len() > MAX_KEY_BYTES {
        format!("has {} bytes; at most {MAX_KEY_BYTES} are allowed", key.len())
    } else if key.contains('\0') {
        "must not hold a NUL character".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{argument}: {problem}")))
}

/// Refuses what cannot be a session's token.
fn check_token(argument: &str, token: &str) -> Result<()> {
    check_key(argument, token)?;
    let problem = if token.len() > MAX_TOKEN_BYTES {
        format!("has {} bytes; a session's token has at most {MAX_TOKEN_BYTES}", token.len())
    } else if let Some(family) = family(token) {
        format!(
            "a session's token must not begin with \"{family}\", under which Better Auth stores other values"
        )
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{argument}: {problem}")))
}

/// Whether a session record may lie under a key. Only such a key gets a tombstone where nothing
/// lies: strangers choose keys, and may leave nothing that is long or of no use.
pub(crate) fn may_be_session(key: &str) -> bool {
    check_token("", key).is_ok()
}

/// The one of [`RESERVED`] that a key belongs to.
fn family(key: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|family| key.starts_with(family))
}

/// A life in s as whole s in ms; 0 when there is none left.
fn ttl_ms(ttl: f64) -> Result<u64> {
    if !ttl.is_finite() {
        return Err(Error::invalid("ttl: must be a finite number of seconds"));
    }
    Ok(((ttl.ceil().max(0.0) * 1000.0) as u64).min(MAX_TTL_MS))
}

/// How long a session record is to live from `now` (ms since the epoch): until its own `expiresAt`,
/// else for `ttl_ms`. `None`: it is over.
fn life_ms(expires_at: Option<i64>, ttl_ms: Option<u64>, now: i64) -> Result<Option<u64>> {
    match (expires_at, ttl_ms) {
        (Some(expires_at), _) => {
            let left = u64::try_from(expires_at.saturating_sub(now)).unwrap_or(0).min(MAX_TTL_MS);
            Ok((left > 0).then_some(left))
        }
        (None, Some(ttl_ms)) => Ok(Some(ttl_ms)),
        (None, None) => {
            Err(Error::invalid("a session needs an expiresAt that is a date, or a ttl"))
        }
    }
}

/// A session that is not written because of one clock, and would be by JavaScript's.
fn clocks_differ(what: &str, caller: i64, machine: i64, engine: Option<i64>) -> Error {
    let ahead = |other: i64| format!("{:.1} s", (other - caller) as f64 / 1000.0);
    let redis =
        engine.map_or_else(String::new, |now| format!(", and Redis' clock by {}", ahead(now)));
    Error::new(
        Code::Conflict,
        format!(
            "the session {what} JavaScript's Date.now(): this machine's clock is ahead of it by {}{redis}; set all clocks by NTP (fake timers in a test move JavaScript's only)",
            ahead(machine)
        ),
    )
}
