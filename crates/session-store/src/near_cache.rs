//! The near cache: what this process read a moment ago, for as long as the server says that it has
//! not changed.
//!
//! It knows keys, values and feeds. A feed is the source of a server's invalidations, one for each
//! server: [`NearCache::add_feed`], [`NearCache::start_feed`], [`NearCache::record_heartbeat`],
//! [`NearCache::invalidate`], [`NearCache::stop_feed`]. The rules, each checked by
//! `tests/near_cache.rs` over every interleaving:
//!
//! - A miss leaves a flight. Only the flight's own answer may become a value, and only while the
//!   flight is still the one under its key. An invalidation, a lost connection and a write of this
//!   process detach it.
//! - A write of this process takes the value away and detaches the flight, before it is sent and
//!   again before its caller gets the answer ([`NearCache::guard_write`]).
//! - A miss of a key that has a flight waits for that flight.
//! - A value is answered only while the last answered heartbeat was *sent* less than
//!   `max_staleness` ago, by the monotonic and by the wall clock ([`TwoClockTime`]).
//! - A session is answered only beside its owner's not-before marker, or the absence of one. When a
//!   marker is taken away, so are all copies that JavaScript threads keep.
//!
//! Kept are session records, and `revoked-sessions-before-*`: its value or its absence.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, Weak};
use std::time::Duration;

use quick_cache::{Lifecycle, Weighter};
use tokio::sync::oneshot;

use crate::clock::TwoClockTime;
use crate::config::NearCacheSettings;
use crate::error::Result;
use crate::keys::NOT_BEFORE_PREFIX;
use crate::metrics::{FlushCounts, NearCacheMetrics};
use crate::sync::{AtomicU32, AtomicU64, Cache, Mutex, STRIPES};
use crate::value::{KeyState, Stored};

/// What an entry weighs beside its texts, in bytes.
const ENTRY_BYTES: usize = 350;

/// The part of the cache's size that is left for the copies which JavaScript threads keep
/// (`lib/native/near-cache.ts`): one in so many bytes.
const COPIES_SHARE: u64 = 8;

/// Memory by which a JavaScript thread that keeps copies of the cache's answers sees without a call
/// whether they are still fresh (`lib/native/near-cache.ts`). Each thread has its own.
#[repr(C)]
#[derive(Debug)]
pub struct CopyFreshness {
    /// When the last answered heartbeat was sent: [`TwoClockTime::monotonic_ms`] as the bits of an
    /// `f64`.
    heartbeat_monotonic: AtomicU64,
    /// The same by [`TwoClockTime::wall_ms`].
    heartbeat_wall: AtomicU64,
    /// Hits of the copies, since they were last added up.
    hits: AtomicU32,
    /// How often a key of each stripe was taken away. A copy is fresh while its stripe's counter is
    /// what it was before the answer.
    stripes: [AtomicU32; STRIPES],
}

impl CopyFreshness {
    fn new() -> Self {
        let never = || AtomicU64::new(f64::NEG_INFINITY.to_bits());
        CopyFreshness {
            heartbeat_monotonic: never(),
            heartbeat_wall: never(),
            hits: AtomicU32::new(0),
            stripes: [const { AtomicU32::new(0) }; STRIPES],
        }
    }

    /// A thread that sees this heartbeat also sees what was taken away before it.
    fn set_heartbeat(&self, sent: TwoClockTime) {
        self.heartbeat_monotonic.store(sent.monotonic_ms.to_bits(), Release);
        self.heartbeat_wall.store(sent.wall_ms.to_bits(), Release);
    }

    fn heartbeat(&self) -> TwoClockTime {
        let load = |bits: &AtomicU64| f64::from_bits(bits.load(Relaxed));
        TwoClockTime {
            monotonic_ms: load(&self.heartbeat_monotonic),
            wall_ms: load(&self.heartbeat_wall),
        }
    }

    /// Takes every copy away.
    fn take_all(&self) {
        self.stripes.iter().for_each(|stripe| _ = stripe.fetch_add(1, Release));
    }

    /// How long ago the last answered heartbeat was sent, in ms.
    fn silent_for_ms(&self, now: TwoClockTime) -> f64 {
        let heartbeat = self.heartbeat();
        (now.monotonic_ms - heartbeat.monotonic_ms).max(now.wall_ms - heartbeat.wall_ms)
    }
}

/// The stripe of a key: of its last three UTF-16 units, so that JavaScript finds the same one.
fn stripe(key: &str) -> usize {
    let mut units = [0_usize; 3];
    for unit in key.encode_utf16() {
        units = [units[1], units[2], unit.into()];
    }
    ((units[0] * 31 + units[1]) * 31 + units[2]) % STRIPES
}

/// Why the cache was emptied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum FlushReason {
    /// The tracked connection was lost.
    Disconnected,
    /// The server was emptied.
    Flushed,
    /// The server is no primary any more.
    Demoted,
    /// A heartbeat was not answered in time.
    Silent,
    /// Changes are not reported, though the connection works.
    Canary,
    /// A write of unknown extent failed: it may have ended any session.
    Uncertain,
    /// Keys of a cluster have moved to other servers.
    Topology,
}

/// A value, or the absence of one.
#[derive(Debug)]
struct CacheEntry {
    value: Option<Stored>,
    /// Of a session, the key of its owner's not-before marker.
    marker: Option<Arc<str>>,
    /// From then on it is read anew, by whichever clock gets there first.
    until: TwoClockTime,
}

/// What the cache answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// `None`: there is none.
    value: Option<Stored>,
    /// Of a session, its owner's not-before marker, if there is one.
    marker: Option<Stored>,
}

impl Hit {
    /// The text; `None`: there is no value.
    pub fn text(&self) -> Option<&str> {
        self.value.as_ref().map(Stored::text)
    }

    /// The text of the not-before marker of a session's owner; `None`: there is none.
    pub(crate) fn marker(&self) -> Option<&str> {
        self.marker.as_ref().map(Stored::text)
    }

    /// No value.
    pub(crate) fn absent() -> Self {
        Hit { value: None, marker: None }
    }

    pub(crate) fn into_slot(self) -> KeyState {
        self.value.map_or(KeyState::Absent, KeyState::Value)
    }
}

type Waiters = Vec<oneshot::Sender<Result<KeyState>>>;

/// A read in flight, and those that wait for its answer.
#[derive(Debug, Default)]
struct Flight(Mutex<Waiters>);

/// How a key is to be read.
pub(crate) enum ReadStart<'c> {
    /// The cache holds it.
    Hit(Hit),
    /// Another caller's flight reads it; its answer comes here.
    JoinedFlight(oneshot::Receiver<Result<KeyState>>),
    /// The caller reads it, and completes the flight.
    LeadsFlight(FlightLead<'c>),
}

/// A flight in its leader's hands. One that is dropped incomplete is detached, and its waiters get
/// no answer.
pub(crate) struct FlightLead<'c> {
    cache: &'c NearCache,
    key: String,
    flight: Arc<Flight>,
}

impl FlightLead<'_> {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Keeps the answer if the flight is still attached, and passes it to the waiters. `asked_at`:
    /// a moment before the request; `ttl_ms`: the value's remaining lifetime then (`None`: it never
    /// expires); `marker`: of a session, the key of its owner's not-before marker.
    pub(crate) fn complete(
        self,
        answer: &Result<KeyState>,
        asked_at: TwoClockTime,
        ttl_ms: Option<u64>,
        marker: Option<&Arc<str>>,
    ) {
        let slot = answer.as_ref().ok();
        self.cache.keep(&self.key, &self.flight, slot, asked_at, ttl_ms, marker);
        self.answer_waiters(answer);
    }

    /// Passes the answer to the waiters, and keeps nothing: the server does not report changes of
    /// this key.
    pub(crate) fn answer_waiters(self, answer: &Result<KeyState>) {
        for waiter in std::mem::take(&mut *self.flight.0.lock()) {
            // The waiter may have given up.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl Drop for FlightLead<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state.lock();
        if state.is_attached(&self.key, &self.flight) {
            state.flights.remove(&self.key);
        }
    }
}

/// A write in flight: see [`NearCache::guard_write`].
pub(crate) struct WriteGuard<'c> {
    cache: Option<&'c NearCache>,
    key: &'c str,
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.cache {
            cache.evict(self.key);
        }
    }
}

/// A connection that reports changes. Only the last one of a feed counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct FeedConnection {
    /// Number of its feed: [`NearCache::add_feed`].
    pub(crate) feed: u64,
    /// Its number among the feed's connections.
    pub(crate) number: u64,
}

/// Whether a feed reports changes.
#[derive(Debug)]
enum FeedState {
    /// It reports none, for this reason.
    Off(String),
    On {
        /// Number of its connection.
        number: u64,
        /// When its last answered heartbeat was sent.
        heartbeat: TwoClockTime,
    },
}

#[derive(Debug)]
struct CacheState {
    /// The cache answers while there is a feed and all feeds are on.
    feeds: BTreeMap<u64, FeedState>,
    last_feed: u64,
    flights: HashMap<String, Arc<Flight>>,
    /// Of the threads that keep copies.
    copies: Vec<Weak<CopyFreshness>>,
}

impl CacheState {
    fn is_attached(&self, key: &str, flight: &Arc<Flight>) -> bool {
        self.flights.get(key).is_some_and(|attached| Arc::ptr_eq(attached, flight))
    }

    fn is_on(&self) -> bool {
        let is_on = |feed: &FeedState| matches!(feed, FeedState::On { .. });
        !self.feeds.is_empty() && self.feeds.values().all(is_on)
    }

    /// The oldest of the feeds' heartbeats.
    fn heartbeat(&self) -> TwoClockTime {
        if !self.is_on() {
            return TwoClockTime::NEVER;
        }
        self.feeds.values().fold(TwoClockTime::FOREVER, |oldest, feed| match feed {
            FeedState::On { heartbeat, .. } => oldest.min(*heartbeat),
            FeedState::Off(_) => TwoClockTime::NEVER,
        })
    }

    fn each_copy(&mut self, visit: impl Fn(&CopyFreshness)) {
        self.copies.retain(|copy| copy.upgrade().inspect(|copy| visit(copy)).is_some());
    }
}

/// The cache of one store.
pub(crate) struct NearCache {
    settings: NearCacheSettings,
    /// How long an absence is answered at most before it is read anew.
    absence_ttl: Duration,
    values: Cache<
        String,
        Arc<CacheEntry>,
        EntryWeight,
        quick_cache::DefaultHashBuilder,
        EvictionCounter,
    >,
    /// Its lock orders what puts values in with what takes them away.
    state: Mutex<CacheState>,
    /// When the last heartbeat was sent that every feed has answered.
    freshness: CopyFreshness,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    inserts_refused: AtomicU64,
    invalidations: AtomicU64,
    evictions: Arc<AtomicU64>,
    flushes: [AtomicU64; 7],
}

impl NearCache {
    /// `absence_ttl`: how long an absence is answered at most before it is read anew.
    pub(crate) fn new(settings: &NearCacheSettings, absence_ttl: Duration) -> Self {
        let counters = Counters::default();
        let capacity = settings.max_bytes - settings.max_bytes / COPIES_SHARE;
        let items = (capacity / 1024).clamp(64, 1 << 20) as usize;
        let evictions = EvictionCounter(counters.evictions.clone());
        NearCache {
            settings: settings.clone(),
            absence_ttl,
            values: Cache::with(items, capacity, EntryWeight, Default::default(), evictions),
            state: Mutex::new(CacheState {
                feeds: BTreeMap::new(),
                last_feed: 0,
                flights: HashMap::new(),
                copies: Vec::new(),
            }),
            freshness: CopyFreshness::new(),
            counters,
        }
    }

    // ---- Reading ----

    /// The value of a key, or its absence; `None`: the cache does not know.
    pub(crate) fn cached(&self, key: &str) -> Option<Hit> {
        let hit = self.lookup(key)?;
        self.counters.hits.fetch_add(1, Relaxed);
        Some(hit)
    }

    fn lookup(&self, key: &str) -> Option<Hit> {
        let (entry, marker) = self.live_entry(key, TwoClockTime::now())?;
        Some(Hit {
            value: entry.value.clone(),
            marker: marker.and_then(|marker| marker.value.clone()),
        })
    }

    /// For how many ms the value of a key may be answered without being read; 0 when the cache does
    /// not know it.
    pub(crate) fn fresh_for_ms(&self, key: &str) -> f64 {
        let now = TwoClockTime::now();
        let Some((entry, marker)) = self.live_entry(key, now) else { return 0.0 };
        let until = marker.map_or(entry.until, |marker| entry.until.min(marker.until));
        (until.monotonic_ms - now.monotonic_ms).min(until.wall_ms - now.wall_ms)
    }

    /// The entry of a key, and of the marker that goes with it.
    fn live_entry(
        &self,
        key: &str,
        now: TwoClockTime,
    ) -> Option<(Arc<CacheEntry>, Option<Arc<CacheEntry>>)> {
        if self.freshness.silent_for_ms(now) > self.settings.max_staleness.as_secs_f64() * 1e3 {
            return None;
        }
        let lives = |entry: &Arc<CacheEntry>| {
            now.monotonic_ms < entry.until.monotonic_ms && now.wall_ms < entry.until.wall_ms
        };
        let entry = self.values.get(key).filter(lives)?;
        let Some(marker) = entry.marker.as_deref() else { return Some((entry, None)) };
        let marker = self.values.get(marker).filter(lives)?;
        Some((entry, Some(marker)))
    }

    /// Starts to read a key. `None`: the cache is off. `is_counted`: whether metrics count the read.
    pub(crate) fn start_read(&self, key: &str, is_counted: bool) -> Option<ReadStart<'_>> {
        let count = |counter: &AtomicU64| _ = counter.fetch_add(is_counted.into(), Relaxed);
        if let Some(hit) = self.lookup(key) {
            count(&self.counters.hits);
            return Some(ReadStart::Hit(hit));
        }
        let mut state = self.state.lock();
        if !state.is_on() {
            return None;
        }
        if let Some(flight) = state.flights.get(key) {
            let (waiter, answer) = oneshot::channel();
            flight.0.lock().push(waiter);
            count(&self.counters.coalesced);
            return Some(ReadStart::JoinedFlight(answer));
        }
        let flight = Arc::new(Flight::default());
        state.flights.insert(key.to_owned(), flight.clone());
        count(&self.counters.misses);
        Some(ReadStart::LeadsFlight(FlightLead { cache: self, key: key.to_owned(), flight }))
    }

    /// Keeps the answer of a flight that is still attached.
    fn keep(
        &self,
        key: &str,
        flight: &Arc<Flight>,
        slot: Option<&KeyState>,
        asked_at: TwoClockTime,
        ttl_ms: Option<u64>,
        marker: Option<&Arc<str>>,
    ) {
        let mut state = self.state.lock();
        if !state.is_attached(key, flight) {
            self.counters.inserts_refused.fetch_add(1, Relaxed);
            return;
        }
        state.flights.remove(key);
        let is_marker = key.starts_with(NOT_BEFORE_PREFIX);
        let (value, max_ttl, ttl_ms) = match slot {
            Some(KeyState::Value(stored))
                if is_marker || marker.is_some() && stored.is_record_of(key) =>
            {
                (Some(stored.clone()), self.settings.ttl, ttl_ms)
            }
            Some(KeyState::Absent | KeyState::Tombstone) if is_marker => {
                (None, self.absence_ttl, None)
            }
            _ => return,
        };
        let max_ttl_ms = max_ttl.as_secs_f64() * 1e3;
        let ttl_ms = ttl_ms.map_or(max_ttl_ms, |ttl_ms| max_ttl_ms.min(ttl_ms as f64));
        let until = TwoClockTime {
            monotonic_ms: asked_at.monotonic_ms + ttl_ms,
            wall_ms: asked_at.wall_ms + ttl_ms,
        };
        // Removed first, because the table would count a replaced entry as an eviction.
        self.values.remove(key);
        self.values
            .insert(key.to_owned(), Arc::new(CacheEntry { value, marker: marker.cloned(), until }));
    }

    // ---- Writing ----

    /// Guards a write of `key` by this process: takes away what is known of the key now, and again
    /// when the guard is dropped.
    pub(crate) fn guard_write<'c>(cache: Option<&'c Self>, key: &'c str) -> WriteGuard<'c> {
        if let Some(cache) = cache {
            cache.evict(key);
        }
        WriteGuard { cache, key }
    }

    /// Takes away what is known of a key.
    pub(crate) fn evict(&self, key: &str) {
        let mut state = self.state.lock();
        state.flights.remove(key);
        self.values.remove(key);
        if key.starts_with(NOT_BEFORE_PREFIX) {
            // It is not known whose sessions the threads have copies of.
            return state.each_copy(CopyFreshness::take_all);
        }
        let stripe = stripe(key);
        state.each_copy(|copy| _ = copy.stripes[stripe].fetch_add(1, Release));
    }

    // ---- The feeds ----

    /// Adds the feed of another server, before anything is read there: until the feed starts,
    /// nothing is answered. Returns the feed's number.
    pub(crate) fn add_feed(&self) -> u64 {
        let mut state = self.state.lock();
        state.last_feed += 1;
        let id = state.last_feed;
        state.feeds.insert(id, FeedState::Off("there is no connection yet".to_owned()));
        self.feeds_changed(&mut state);
        id
    }

    /// Removes the feed of a server where nothing is read any more.
    pub(crate) fn remove_feed(&self, feed: u64) {
        let mut state = self.state.lock();
        state.feeds.remove(&feed);
        self.feeds_changed(&mut state);
    }

    /// Starts a feed: its connection reports every change from `sent` on. What was read before is
    /// taken away.
    pub(crate) fn start_feed(&self, connection: FeedConnection, sent: TwoClockTime) {
        let on = FeedState::On { number: connection.number, heartbeat: sent };
        self.set_feed(connection.feed, on);
    }

    /// Records an answered heartbeat: every change that the server reported until `sent` has been
    /// applied.
    pub(crate) fn record_heartbeat(&self, connection: FeedConnection, sent: TwoClockTime) {
        let mut state = self.state.lock();
        if let Some(FeedState::On { number, heartbeat }) = state.feeds.get_mut(&connection.feed)
            && *number == connection.number
        {
            *heartbeat = sent;
            let oldest = state.heartbeat();
            self.set_heartbeat(&mut state, oldest);
        }
    }

    /// Why nothing is answered; `None`: the cache is on.
    pub(crate) fn off_reason(&self) -> Option<String> {
        let state = self.state.lock();
        let reason = |feed: &FeedState| match feed {
            FeedState::On { .. } => None,
            FeedState::Off(reason) => Some(reason.clone()),
        };
        match state.feeds.is_empty() {
            true => Some("there is no connection yet".to_owned()),
            false => state.feeds.values().find_map(reason),
        }
    }

    /// A key has changed, or is no longer tracked.
    pub(crate) fn invalidate(&self, key: &str) {
        self.evict(key);
        self.counters.invalidations.fetch_add(1, Relaxed);
    }

    /// Takes everything away.
    pub(crate) fn flush(&self, reason: FlushReason) {
        let mut state = self.state.lock();
        self.empty(&mut state);
        self.count_flush(reason);
    }

    /// Turns a feed off whose connection reports changes no more.
    pub(crate) fn stop_feed(&self, connection: FeedConnection, flush: FlushReason, reason: &str) {
        let mut state = self.state.lock();
        let feed = state.feeds.get(&connection.feed);
        if matches!(feed, Some(FeedState::On { number, .. }) if *number == connection.number) {
            state.feeds.insert(connection.feed, FeedState::Off(reason.to_owned()));
            self.feeds_changed(&mut state);
            self.count_flush(flush);
        }
    }

    /// Turns a feed off whose connection cannot report changes.
    pub(crate) fn disable_feed(&self, feed: u64, reason: &str) {
        self.set_feed(feed, FeedState::Off(reason.to_owned()));
    }

    /// Sets the state of a feed, unless it has been removed meanwhile: the attempt to connect to a
    /// server may end after a change of the cluster's map has removed that server.
    fn set_feed(&self, feed: u64, state_now: FeedState) {
        let mut state = self.state.lock();
        let Some(feed) = state.feeds.get_mut(&feed) else { return };
        *feed = state_now;
        self.feeds_changed(&mut state);
    }

    /// Takes away what was read before, and only then answers again.
    fn feeds_changed(&self, state: &mut CacheState) {
        self.set_heartbeat(state, TwoClockTime::NEVER);
        self.empty(state);
        let heartbeat = state.heartbeat();
        self.set_heartbeat(state, heartbeat);
    }

    fn empty(&self, state: &mut CacheState) {
        state.flights.clear();
        self.values.clear();
        state.each_copy(CopyFreshness::take_all);
    }

    fn set_heartbeat(&self, state: &mut CacheState, sent: TwoClockTime) {
        self.freshness.set_heartbeat(sent);
        state.each_copy(|copy| copy.set_heartbeat(sent));
    }

    fn count_flush(&self, reason: FlushReason) {
        self.counters.flushes[reason as usize].fetch_add(1, Relaxed);
    }

    // ---- For JavaScript threads and metrics ----

    /// Memory for another thread that keeps copies.
    pub(crate) fn copy_freshness(&self) -> Arc<CopyFreshness> {
        let copy = Arc::new(CopyFreshness::new());
        let mut state = self.state.lock();
        copy.set_heartbeat(self.freshness.heartbeat());
        state.copies.push(Arc::downgrade(&copy));
        copy
    }

    /// How many bytes of copies each JavaScript thread may keep, and how long a heartbeat counts.
    pub(crate) fn settings(&self) -> &NearCacheSettings {
        &self.settings
    }

    pub(crate) fn metrics(&self) -> NearCacheMetrics {
        let counters = &self.counters;
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        self.state.lock().each_copy(|copy| {
            _ = counters.hits.fetch_add(copy.hits.swap(0, Relaxed).into(), Relaxed)
        });
        let [disconnected, flushed, demoted, silent, canary, uncertain, topology] =
            counters.flushes.each_ref().map(of);
        let reason = self.off_reason();
        NearCacheMetrics {
            enabled: reason.is_none(),
            reason,
            hits: of(&counters.hits),
            misses: of(&counters.misses),
            coalesced: of(&counters.coalesced),
            inserts_refused: of(&counters.inserts_refused),
            invalidations: of(&counters.invalidations),
            flushes: FlushCounts {
                disconnected,
                flushed,
                demoted,
                silent,
                canary,
                uncertain,
                topology,
            },
            evictions: of(&counters.evictions),
            bytes: self.values.weight(),
            entries: self.values.len() as u64,
        }
    }
}

#[derive(Clone)]
struct EntryWeight;

impl Weighter<String, Arc<CacheEntry>> for EntryWeight {
    fn weight(&self, key: &String, entry: &Arc<CacheEntry>) -> u64 {
        let value = entry.value.as_ref().map_or(0, |stored| stored.raw().len());
        (key.len() + value + entry.marker.as_ref().map_or(0, |marker| marker.len()) + ENTRY_BYTES)
            as u64
    }
}

/// Counts what had to make room.
#[derive(Clone)]
struct EvictionCounter(Arc<AtomicU64>);

impl<K, V> Lifecycle<K, V> for EvictionCounter {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.0.fetch_add(1, Relaxed);
    }
}
