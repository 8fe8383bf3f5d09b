//! What a store holds, beside its engine.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;

use super::journal::Journal;
use crate::config::{Config, OnUnavailable};
use crate::credentials::Credentials;
use crate::engine::Engine;
use crate::events::Events;
use crate::metrics::{NearCacheMetrics, RefusedWritesMetrics, StoreMetrics};
use crate::near_cache::{NearCache, WriteGuard};
use crate::read_log::ReadLog;
use crate::sync::Mutex;

/// Of how many values that the read log does not know the length is remembered.
const LENGTHS: usize = 65_536;

/// How many lists are remembered until their records are read.
const LISTS: usize = 256;

/// Of how many users the length of the records is remembered.
const RECORD_SIZES: usize = 4096;

/// A store over one engine.
pub(crate) struct Store<E> {
    pub(super) engine: E,
    pub(super) read_log: ReadLog,
    pub(super) cache: Option<Arc<NearCache>>,
    pub(super) app_hooks: Option<AppHooks>,
    /// Pending ends and writes, with `onUnavailable: "database"`.
    pub(super) journal: Option<Journal>,
    /// Lists of sessions, by the first id that is not in the near cache: its reader will read the
    /// others.
    pub(super) recently_listed: Cache<String, Arc<ListedSessions>>,
    /// Lengths in bytes of values that the read log does not know, by the hash of their key.
    pub(super) lengths: Cache<u64, usize>,
    /// The length in bytes of the longest record of a user that was written or listed here, by the
    /// hash of the user's id.
    pub(super) record_sizes: Cache<u64, usize>,
    /// The longest lifetime in ms that this store gave a session, or that Better Auth's settings
    /// give.
    pub(super) longest_lifetime_ms: AtomicU64,
    /// By user, the ids whose record a prune found absent, and since when it is absent.
    pub(super) absent: Mutex<HashMap<String, HashMap<String, Instant>>>,
    pub(super) max_value_bytes: usize,
    pub(super) max_sessions: Option<usize>,
    /// How many bytes the ids take on which the limit will be enforced later.
    pub(super) deferred_bytes: AtomicUsize,
    pub(super) command_timeout: Duration,
    pub(super) in_flight: AtomicUsize,
    pub(super) max_in_flight: usize,
    pub(super) refused: RefusedWrites,
}

/// Sessions that were listed together.
pub(super) struct ListedSessions {
    /// Their owner's not-before marker.
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

/// What connects a store with a connection to the application.
pub(crate) struct AppHooks {
    /// What happens to the connection.
    pub(crate) events: Events,
    /// Gives user name and password.
    pub(crate) credentials: Credentials,
}

impl<E: Engine> Store<E> {
    /// `cache`: the near cache that the engine's connections feed. `app_hooks`: `None` for an engine
    /// without a connection.
    pub(crate) fn new(
        engine: E,
        cache: Option<Arc<NearCache>>,
        app_hooks: Option<AppHooks>,
        config: &Config,
    ) -> Self {
        Store {
            engine,
            read_log: ReadLog::new(),
            cache,
            app_hooks,
            journal: (config.on_unavailable == OnUnavailable::Database).then(Journal::new),
            recently_listed: Cache::new(LISTS),
            lengths: Cache::new(LENGTHS),
            record_sizes: Cache::new(RECORD_SIZES),
            longest_lifetime_ms: AtomicU64::new(0),
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

    /// Guards a write of `key` by this process, until the guard is dropped.
    pub(super) fn guard_write<'s>(&'s self, key: &'s str) -> WriteGuard<'s> {
        NearCache::guard_write(self.cache.as_deref(), key)
    }

    pub(crate) fn app_hooks(&self) -> Option<&AppHooks> {
        self.app_hooks.as_ref()
    }

    /// Makes the clock of an engine in this process's memory follow its caller's.
    pub(crate) fn follow_clock(&self, now_ms: i64) {
        self.engine.follow_clock(now_ms);
    }

    /// Says how long sessions live at most, in ms: a not-before marker then lives as long.
    pub(crate) fn expect_session_lifetime(&self, ms: u64) {
        self.longest_lifetime_ms.fetch_max(ms, Relaxed);
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
