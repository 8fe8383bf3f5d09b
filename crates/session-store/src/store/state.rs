//! What a store holds, beside its engine.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::journal::Journal;
use crate::config::{Config, OnUnavailable};
use crate::credentials::Credentials;
use crate::engine::Engine;
use crate::events::Events;
use crate::metrics::{NearCacheMetrics, RefusedWritesMetrics, StoreMetrics};
use crate::near_cache::{NearCache, Writing};
use crate::read_log::ReadLog;

/// Of how many values the length is remembered that the read log does not know.
const LENGTHS: usize = 65_536;

/// How many listings are remembered until their records are asked for.
const LISTINGS: usize = 256;

/// Of how many users it is remembered how long their records were.
const RECORD_SIZES: usize = 4096;

/// A store over one engine.
pub(crate) struct Store<E> {
    pub(super) engine: E,
    pub(super) read_log: ReadLog,
    pub(super) cache: Option<Arc<NearCache>>,
    pub(super) connected: Option<Connected>,
    /// What is still to be done, where the caller's database has the sessions too.
    pub(super) journal: Option<Journal>,
    /// What was listed together, by its first id that is not in the cache: whoever asks for that
    /// one will ask for the others.
    pub(super) listings: Cache<String, Arc<Listing>>,
    /// How long values were that the read log does not know, in bytes, by the hash of their key.
    pub(super) lengths: Cache<u64, usize>,
    /// How long the longest record of a user is that was written or listed here, in bytes, by the
    /// hash of the user's id.
    pub(super) record_sizes: Cache<u64, usize>,
    /// The longest life that a session was given by this store, or is by Better Auth's settings, in
    /// ms.
    pub(super) longest_life: AtomicU64,
    /// By user, the ids whose record a prune found absent, and since when.
    pub(super) absent: Mutex<HashMap<String, HashMap<String, Instant>>>,
    pub(super) max_value_bytes: usize,
    pub(super) max_sessions: Option<usize>,
    /// How many bytes the ids take on which the limit is to be enforced later.
    pub(super) deferred_bytes: AtomicUsize,
    pub(super) command_timeout: Duration,
    pub(super) in_flight: AtomicUsize,
    pub(super) max_in_flight: usize,
    pub(super) refused: RefusedWrites,
}

/// Sessions that were listed together.
pub(super) struct Listing {
    /// Of their owner.
    pub(super) marker: Arc<str>,
    pub(super) ids: Vec<String>,
}

/// How many writes of session records were dropped, by reason.
#[derive(Default)]
pub(super) struct RefusedWrites {
    pub(super) ended: AtomicU64,
    pub(super) too_old: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) conflict: AtomicU64,
}

impl RefusedWrites {
    fn metrics(&self) -> RefusedWritesMetrics {
        let RefusedWrites { ended, too_old, too_large, conflict } = self;
        let [ended, too_old, too_large, conflict] =
            [ended, too_old, too_large, conflict].map(|count| count.load(Relaxed));
        RefusedWritesMetrics { ended, too_old, too_large, conflict }
    }
}

/// What an engine with a connection has to do with the application.
pub(crate) struct Connected {
    /// What happens to the connection.
    pub(crate) events: Events,
    /// Who is asked for user name and password.
    pub(crate) credentials: Credentials,
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
            listings: Cache::new(LISTINGS),
            lengths: Cache::new(LENGTHS),
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

    /// A write of `key` by this process, for as long as the answer lives.
    pub(super) fn writing<'s>(&'s self, key: &'s str) -> Writing<'s> {
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

    /// How this store stands.
    pub(crate) fn metrics(&self) -> StoreMetrics {
        StoreMetrics {
            near_cache: self.near_cache().map_or_else(NearCacheMetrics::none, NearCache::metrics),
            revoke: self.engine.revoke_metrics(),
            journal: self.journal.as_ref().map(Journal::metrics),
            refused_writes: self.refused.metrics(),
            degraded: self.engine.degraded_metrics(),
        }
    }

    pub(crate) fn near_cache(&self) -> Option<&NearCache> {
        self.cache.as_deref()
    }
}
