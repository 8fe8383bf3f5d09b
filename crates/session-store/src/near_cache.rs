//! The near cache: what this process read a moment ago, for as long as the server says that it has
//! not changed.
//!
//! It knows keys, values and a *feed*, which is whoever hears from a server: [`NearCache::joins`],
//! [`NearCache::begins`], [`NearCache::alive`], [`NearCache::invalidate`], [`NearCache::lost`]. The
//! rules, each checked by `tests/near_cache.rs` over every interleaving:
//!
//! - A miss leaves a flight. Only the flight's own answer may become a value, and only while the
//!   flight is still the one under its key: an invalidation, a loss of the connection and a write
//!   of ours take it away.
//! - A write of ours takes the value and the flight away before it is sent and before its caller is
//!   told ([`NearCache::writing`]).
//! - Whoever misses a key that has a flight waits for that flight.
//! - A value is answered only while the last sign of life was *sent* less than `max_staleness` ago,
//!   by the monotonic and by the wall clock (a suspended machine stops one of them, a corrected
//!   clock moves the other).
//!
//! - A session is answered only beside its owner's not-before marker, or the absence of one. When a
//!   marker is taken away, the copies that JavaScript threads keep are, all of them.
//!
//! What is kept is session records and `revoked-sessions-before-*`, of which also the absence is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering::{Relaxed, Release};
use std::sync::{Arc, LazyLock, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quick_cache::{Lifecycle, Weighter};
use tokio::sync::oneshot;

use crate::config::NearCacheSettings;
use crate::error::Result;
use crate::keys::MARKER_PREFIX;
use crate::metrics::{FlushCounts, NearCacheMetrics};
use crate::sync::{AtomicU32, AtomicU64, Cache, Mutex, MutexGuard, STRIPES};
use crate::value::{KeyState, Stored};

/// What an entry weighs beside its texts, in bytes.
const ENTRY_BYTES: usize = 350;

/// Of the cache's size, what is left for the copies that JavaScript threads keep
/// (`lib/native/near-cache.ts`).
const COPIES_SHARE: u64 = 8;

/// A moment by both clocks, in ms.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Moment {
    /// Since this process first asked.
    pub monotonic: f64,
    /// Since the epoch.
    pub wall: f64,
}

impl Moment {
    const NEVER: Moment = Moment { monotonic: f64::NEG_INFINITY, wall: f64::NEG_INFINITY };
    const EVER: Moment = Moment { monotonic: f64::INFINITY, wall: f64::INFINITY };

    /// The earlier one by each clock.
    fn min(self, other: Moment) -> Self {
        Moment { monotonic: self.monotonic.min(other.monotonic), wall: self.wall.min(other.wall) }
    }

    /// Now.
    pub fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |since| since.as_secs_f64() * 1e3);
        Moment { monotonic: START.elapsed().as_secs_f64() * 1e3, wall }
    }
}

/// What a thread looks at that keeps copies of the cache's answers, to see without a call whether
/// they still hold (`lib/native/near-cache.ts`). Each has its own.
#[repr(C)]
#[derive(Debug)]
pub struct Shared {
    /// When the last sign of life was sent: [`Moment::monotonic`] as the bits of an `f64`.
    alive_monotonic: AtomicU64,
    /// The same by [`Moment::wall`].
    alive_wall: AtomicU64,
    /// Hits of the copies, since they were last added up.
    hits: AtomicU32,
    /// How often a key of each stripe was taken away. A copy holds while its stripe's counter
    /// stands as it did before the answer.
    stripes: [AtomicU32; STRIPES],
}

impl Shared {
    fn new() -> Self {
        let dead = || AtomicU64::new(f64::NEG_INFINITY.to_bits());
        Shared {
            alive_monotonic: dead(),
            alive_wall: dead(),
            hits: AtomicU32::new(0),
            stripes: [const { AtomicU32::new(0) }; STRIPES],
        }
    }

    /// Whoever sees this sign of life sees what was taken away before it.
    fn set_alive(&self, sent: Moment) {
        self.alive_monotonic.store(sent.monotonic.to_bits(), Release);
        self.alive_wall.store(sent.wall.to_bits(), Release);
    }

    /// Every copy is taken away.
    fn take_all(&self) {
        self.stripes.iter().for_each(|stripe| _ = stripe.fetch_add(1, Release));
    }

    /// How long ago the last sign of life was sent, in ms.
    fn silent_for(&self, now: Moment) -> f64 {
        let monotonic = f64::from_bits(self.alive_monotonic.load(Relaxed));
        let wall = f64::from_bits(self.alive_wall.load(Relaxed));
        (now.monotonic - monotonic).max(now.wall - wall)
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
pub(crate) enum Flush {
    /// The tracked connection was lost.
    Disconnected,
    /// The server was emptied.
    Flushed,
    /// The server is no primary any more.
    Demoted,
    /// A sign of life was not answered in time.
    Silent,
    /// Changes are not told, though the connection works.
    Canary,
    /// A write of unknown extent failed: what it ended, nobody knows.
    Uncertain,
    /// Of a cluster, keys lie on other servers now.
    Topology,
}

/// A value, or the absence of one.
#[derive(Debug)]
struct Entry {
    value: Option<Stored>,
    /// Of a session, the key of its owner's not-before marker.
    marker: Option<Arc<str>>,
    /// From which moment on it is read anew, whichever clock says so first.
    until: Moment,
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

    /// The same without a value.
    pub(crate) fn absent() -> Self {
        Hit { value: None, marker: None }
    }

    pub(crate) fn into_slot(self) -> KeyState {
        self.value.map_or(KeyState::Absent, KeyState::Value)
    }
}

type Waiters = Vec<oneshot::Sender<Result<KeyState>>>;

/// A read under way, and who waits for it.
#[derive(Debug, Default)]
struct Flight(Mutex<Waiters>);

/// What a miss comes to.
pub(crate) enum Begun<'c> {
    /// It is there by now.
    Hit(Hit),
    /// Somebody else reads it.
    Joined(oneshot::Receiver<Result<KeyState>>),
    /// The caller reads it, and lands the flight.
    Leads(Lead<'c>),
}

/// A flight in its leader's hands. Dropped without having landed, it is off the board, and those
/// who wait are told nothing.
pub(crate) struct Lead<'c> {
    cache: &'c NearCache,
    key: String,
    flight: Arc<Flight>,
}

impl Lead<'_> {
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// The answer has come: keeps it if it may be, and tells those who wait. `asked`: before it was
    /// asked for; `life`: what it had left then, in ms (`None`: it has no end); `marker`: of a
    /// session, the key of its owner's not-before marker.
    pub(crate) fn land(
        self,
        answer: &Result<KeyState>,
        asked: Moment,
        life: Option<u64>,
        marker: Option<&Arc<str>>,
    ) {
        self.cache.land(&self.key, &self.flight, answer.as_ref().ok(), asked, life, marker);
        self.tell(answer);
    }

    /// The answer has come, and the server tells of no changes: it is told to those who wait.
    pub(crate) fn tell(self, answer: &Result<KeyState>) {
        for waiter in std::mem::take(&mut *lock(&self.flight.0)) {
            // Whoever waited may have given up.
            let _ = waiter.send(answer.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.lock();
        if state.is_under_way(&self.key, &self.flight) {
            state.flights.remove(&self.key);
        }
    }
}

/// A write under way: see [`NearCache::writing`].
pub(crate) struct Writing<'c> {
    cache: Option<&'c NearCache>,
    key: &'c str,
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.cache {
            cache.evict(self.key);
        }
    }
}

/// A connection that tells of changes: of those that a feed had in turn, only the last one counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Source {
    /// Whose connection it is: [`NearCache::joins`].
    pub(crate) feed: u64,
    /// Its number among the feed's.
    pub(crate) number: u64,
}

/// Whoever hears from a server. Of several servers each has one.
#[derive(Debug)]
enum Feed {
    /// It hears nothing, for this reason.
    Off(String),
    On {
        number: u64,
        /// When its last sign of life was sent.
        alive: Moment,
    },
}

#[derive(Debug)]
struct State {
    /// The cache answers while there is one and all of them hear.
    feeds: BTreeMap<u64, Feed>,
    /// How many have joined.
    joined: u64,
    flights: HashMap<String, Arc<Flight>>,
    /// Those who keep copies.
    copies: Vec<Weak<Shared>>,
}

impl State {
    fn is_under_way(&self, key: &str, flight: &Arc<Flight>) -> bool {
        self.flights.get(key).is_some_and(|under_way| Arc::ptr_eq(under_way, flight))
    }

    fn is_on(&self) -> bool {
        !self.feeds.is_empty() && self.feeds.values().all(|feed| matches!(feed, Feed::On { .. }))
    }

    /// Of the signs of life the oldest.
    fn alive(&self) -> Moment {
        if !self.is_on() {
            return Moment::NEVER;
        }
        self.feeds.values().fold(Moment::EVER, |oldest, feed| match feed {
            Feed::On { alive, .. } => oldest.min(*alive),
            Feed::Off(_) => Moment::NEVER,
        })
    }

    fn each_copy(&mut self, visit: impl Fn(&Shared)) {
        self.copies.retain(|copy| copy.upgrade().inspect(|copy| visit(copy)).is_some());
    }
}

/// The cache of one store.
pub(crate) struct NearCache {
    settings: NearCacheSettings,
    /// How long an absence is answered at most without being asked for anew.
    absence: Duration,
    values: Cache<String, Arc<Entry>, Bytes, quick_cache::DefaultHashBuilder, Evictions>,
    /// Its lock orders whatever puts values in with whatever takes them away.
    state: Mutex<State>,
    alive: Shared,
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
    /// `absence`: how long an absence is answered at most without being asked for anew.
    pub(crate) fn new(settings: &NearCacheSettings, absence: Duration) -> Self {
        let counters = Counters::default();
        let capacity = settings.max_bytes - settings.max_bytes / COPIES_SHARE;
        let items = (capacity / 1024).clamp(64, 1 << 20) as usize;
        let evictions = Evictions(counters.evictions.clone());
        NearCache {
            settings: settings.clone(),
            absence,
            values: Cache::with(items, capacity, Bytes, Default::default(), evictions),
            state: Mutex::new(State {
                feeds: BTreeMap::new(),
                joined: 0,
                flights: HashMap::new(),
                copies: Vec::new(),
            }),
            alive: Shared::new(),
            counters,
        }
    }

    // ---- Reading ----

    /// What a key holds, if that is known for sure.
    pub(crate) fn cached(&self, key: &str) -> Option<Hit> {
        let hit = self.look(key)?;
        self.counters.hits.fetch_add(1, Relaxed);
        Some(hit)
    }

    fn look(&self, key: &str) -> Option<Hit> {
        let (entry, marker) = self.live_entry(key, Moment::now())?;
        Some(Hit {
            value: entry.value.clone(),
            marker: marker.and_then(|marker| marker.value.clone()),
        })
    }

    /// How long a value may be answered without asking again, in ms; 0 when it is not there.
    pub(crate) fn life_ms(&self, key: &str) -> f64 {
        let now = Moment::now();
        let Some((entry, marker)) = self.live_entry(key, now) else { return 0.0 };
        let until = marker.map_or(entry.until, |marker| entry.until.min(marker.until));
        (until.monotonic - now.monotonic).min(until.wall - now.wall)
    }

    /// What is known of a key, and of the marker that goes with it.
    fn live_entry(&self, key: &str, now: Moment) -> Option<(Arc<Entry>, Option<Arc<Entry>>)> {
        if self.alive.silent_for(now) > self.settings.max_staleness.as_secs_f64() * 1e3 {
            return None;
        }
        let lives = |entry: &Arc<Entry>| {
            now.monotonic < entry.until.monotonic && now.wall < entry.until.wall
        };
        let entry = self.values.get(key).filter(lives)?;
        let Some(marker) = entry.marker.as_deref() else { return Some((entry, None)) };
        let marker = self.values.get(marker).filter(lives)?;
        Some((entry, Some(marker)))
    }

    /// A miss. `None`: there is no cache now. `counts`: whether it is a read that metrics tell of.
    pub(crate) fn begin(&self, key: &str, counts: bool) -> Option<Begun<'_>> {
        let count = |counter: &AtomicU64| _ = counter.fetch_add(counts.into(), Relaxed);
        if let Some(hit) = self.look(key) {
            count(&self.counters.hits);
            return Some(Begun::Hit(hit));
        }
        let mut state = self.lock();
        if !state.is_on() {
            return None;
        }
        if let Some(flight) = state.flights.get(key) {
            let (told, answer) = oneshot::channel();
            lock(&flight.0).push(told);
            count(&self.counters.coalesced);
            return Some(Begun::Joined(answer));
        }
        let flight = Arc::new(Flight::default());
        state.flights.insert(key.to_owned(), flight.clone());
        count(&self.counters.misses);
        Some(Begun::Leads(Lead { cache: self, key: key.to_owned(), flight }))
    }

    fn land(
        &self,
        key: &str,
        flight: &Arc<Flight>,
        slot: Option<&KeyState>,
        asked: Moment,
        life: Option<u64>,
        marker: Option<&Arc<str>>,
    ) {
        let mut state = self.lock();
        if !state.is_under_way(key, flight) {
            self.counters.inserts_refused.fetch_add(1, Relaxed);
            return;
        }
        state.flights.remove(key);
        let is_mark = key.starts_with(MARKER_PREFIX);
        let (value, ttl, life) = match slot {
            Some(KeyState::Value(stored))
                if is_mark || marker.is_some() && stored.is_record_of(key) =>
            {
                (Some(stored.clone()), self.settings.ttl, life)
            }
            Some(KeyState::Absent | KeyState::Tombstone) if is_mark => (None, self.absence, None),
            _ => return,
        };
        let ttl = ttl.as_secs_f64() * 1e3;
        let life = life.map_or(ttl, |life| ttl.min(life as f64));
        let until = Moment { monotonic: asked.monotonic + life, wall: asked.wall + life };
        // What it takes the place of has not been evicted, which is what the table would count it
        // as.
        self.values.remove(key);
        self.values
            .insert(key.to_owned(), Arc::new(Entry { value, marker: marker.cloned(), until }));
    }

    // ---- Writing ----

    /// A write of `key` by this process: while the answer lives, and once more when it ends,
    /// nothing read before is kept.
    pub(crate) fn writing<'c>(cache: Option<&'c Self>, key: &'c str) -> Writing<'c> {
        if let Some(cache) = cache {
            cache.evict(key);
        }
        Writing { cache, key }
    }

    /// Takes away what is known of a key.
    pub(crate) fn evict(&self, key: &str) {
        let mut state = self.lock();
        state.flights.remove(key);
        self.values.remove(key);
        if key.starts_with(MARKER_PREFIX) {
            // Whose sessions the threads have copies of, nobody knows.
            return state.each_copy(Shared::take_all);
        }
        let stripe = stripe(key);
        state.each_copy(|copy| _ = copy.stripes[stripe].fetch_add(1, Release));
    }

    // ---- The feed ----

    /// Another server is to be heard, from before anything is read there: until its feed begins,
    /// nothing is answered. The feed's number.
    pub(crate) fn joins(&self) -> u64 {
        let mut state = self.lock();
        state.joined += 1;
        let id = state.joined;
        state.feeds.insert(id, Feed::Off("there is no connection yet".to_owned()));
        self.feeds_changed(&mut state);
        id
    }

    /// A server is heard no more, because nothing is read there any more.
    pub(crate) fn leaves(&self, feed: u64) {
        let mut state = self.lock();
        state.feeds.remove(&feed);
        self.feeds_changed(&mut state);
    }

    /// A feed begins: from `sent` on it tells of every change. What was read before is gone.
    pub(crate) fn begins(&self, source: Source, sent: Moment) {
        let mut state = self.lock();
        state.feeds.insert(source.feed, Feed::On { number: source.number, alive: sent });
        self.feeds_changed(&mut state);
    }

    /// Everything that the server had to tell until `sent` has been heard.
    pub(crate) fn alive(&self, source: Source, sent: Moment) {
        let mut state = self.lock();
        if let Some(Feed::On { number, alive }) = state.feeds.get_mut(&source.feed)
            && *number == source.number
        {
            *alive = sent;
            let oldest = state.alive();
            self.set_alive(&mut state, oldest);
        }
    }

    /// Why nothing is answered.
    pub(crate) fn why_off(&self) -> Option<String> {
        let state = self.lock();
        let why = |feed: &Feed| match feed {
            Feed::On { .. } => None,
            Feed::Off(reason) => Some(reason.clone()),
        };
        match state.feeds.is_empty() {
            true => Some("there is no connection yet".to_owned()),
            false => state.feeds.values().find_map(why),
        }
    }

    /// A key has changed, or is no longer tracked.
    pub(crate) fn invalidate(&self, key: &str) {
        self.evict(key);
        self.counters.invalidations.fetch_add(1, Relaxed);
    }

    /// Everything has changed.
    pub(crate) fn flush(&self, why: Flush) {
        let mut state = self.lock();
        self.empty(&mut state);
        self.counters.flushes[why as usize].fetch_add(1, Relaxed);
    }

    /// A connection tells no more.
    pub(crate) fn lost(&self, source: Source, why: Flush, reason: &str) {
        let mut state = self.lock();
        if matches!(state.feeds.get(&source.feed), Some(Feed::On { number, .. }) if *number == source.number)
        {
            state.feeds.insert(source.feed, Feed::Off(reason.to_owned()));
            self.feeds_changed(&mut state);
            self.counters.flushes[why as usize].fetch_add(1, Relaxed);
        }
    }

    /// There is a connection, and it cannot tell of changes.
    pub(crate) fn is_off(&self, feed: u64, reason: &str) {
        let mut state = self.lock();
        state.feeds.insert(feed, Feed::Off(reason.to_owned()));
        self.feeds_changed(&mut state);
    }

    /// What was read before is gone before anything is answered again.
    fn feeds_changed(&self, state: &mut State) {
        self.set_alive(state, Moment::NEVER);
        self.empty(state);
        let alive = state.alive();
        self.set_alive(state, alive);
    }

    fn empty(&self, state: &mut State) {
        state.flights.clear();
        self.values.clear();
        state.each_copy(Shared::take_all);
    }

    fn set_alive(&self, state: &mut State, sent: Moment) {
        self.alive.set_alive(sent);
        state.each_copy(|copy| copy.set_alive(sent));
    }

    // ---- Looking at it ----

    /// What another thread that keeps copies has to look at.
    pub(crate) fn shared(&self) -> Arc<Shared> {
        let shared = Arc::new(Shared::new());
        let mut state = self.lock();
        let of = |bits: &AtomicU64| f64::from_bits(bits.load(Relaxed));
        shared.set_alive(Moment {
            monotonic: of(&self.alive.alive_monotonic),
            wall: of(&self.alive.alive_wall),
        });
        state.copies.push(Arc::downgrade(&shared));
        shared
    }

    /// How much JavaScript threads may keep as copies each, and for how long a sign of life lasts.
    pub(crate) fn settings(&self) -> &NearCacheSettings {
        &self.settings
    }

    pub(crate) fn metrics(&self) -> NearCacheMetrics {
        let counters = &self.counters;
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        self.lock().each_copy(|copy| {
            _ = counters.hits.fetch_add(copy.hits.swap(0, Relaxed).into(), Relaxed)
        });
        let [disconnected, flushed, demoted, silent, canary, uncertain, topology] =
            counters.flushes.each_ref().map(of);
        let reason = self.why_off();
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

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Arc<Entry>> for Bytes {
    fn weight(&self, key: &String, entry: &Arc<Entry>) -> u64 {
        let value = entry.value.as_ref().map_or(0, |stored| stored.raw().len());
        (key.len() + value + entry.marker.as_ref().map_or(0, |marker| marker.len()) + ENTRY_BYTES)
            as u64
    }
}

/// Counts what had to make room.
#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl<K, V> Lifecycle<K, V> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: K, _: V) {
        self.0.fetch_add(1, Relaxed);
    }
}
