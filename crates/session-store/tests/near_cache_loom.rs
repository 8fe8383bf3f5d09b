//! `src/near_cache.rs` itself under loom: every order in which threads may take its locks and see its
//! atomics, up to three preemptions. The file is compiled here once more, with loom's locks and
//! atomics in the place of `src/sync.rs`. The rules are checked in `near_cache.rs`, and here that
//! the code keeps them, for readers, writers and the feed on threads of their own.
//!
//! The server holds a 0 under one key, and then a 1.

#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
#[path = "../src/clock.rs"]
mod clock;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::modulo_one,
    reason = "the library uses all of it, and more stripes"
)]
#[path = "../src/near_cache.rs"]
mod near_cache;
#[allow(dead_code, reason = "the library uses all of it")]
#[path = "../src/value.rs"]
mod value;

#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
#[path = "../src/keys.rs"]
mod keys;
#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
#[path = "../src/metrics.rs"]
mod metrics;

mod config {
    pub(crate) use session_store::NearCacheSettings;
}

mod error {
    pub(crate) use session_store::{Code, Error, Result};
}

/// Every record here tells its token where it begins, so that none is decoded.
mod session {
    pub(crate) struct Record;

    impl Record {
        pub(crate) fn parse(_token: &str, _json: &str) -> Option<Self> {
            None
        }
    }
}

mod sync {
    use std::borrow::Borrow;
    use std::collections::BTreeMap;
    use std::marker::PhantomData;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    use loom::sync::MutexGuard;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap()
        }
    }

    /// Every key has the same.
    pub(crate) const STRIPES: usize = 1;

    /// Loom knows of it from its first load on, which is made before there are threads: most only
    /// count, and each that loom knows of makes for more orders.
    macro_rules! atomic {
        ($name:ident of $value:ty) => {
            #[derive(Debug, Default)]
            pub(crate) struct $name {
                unseen: std::sync::atomic::$name,
                known: OnceLock<loom::sync::atomic::$name>,
            }

            #[allow(dead_code, reason = "not every type needs all")]
            impl $name {
                pub(crate) const fn new(value: $value) -> Self {
                    $name { unseen: std::sync::atomic::$name::new(value), known: OnceLock::new() }
                }

                pub(crate) fn load(&self, order: Ordering) -> $value {
                    let known =
                        || loom::sync::atomic::$name::new(self.unseen.load(Ordering::Relaxed));
                    self.known.get_or_init(known).load(order)
                }

                pub(crate) fn store(&self, value: $value, order: Ordering) {
                    match self.known.get() {
                        Some(known) => known.store(value, order),
                        None => self.unseen.store(value, order),
                    }
                }

                pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                    match self.known.get() {
                        Some(known) => known.fetch_add(value, order),
                        None => self.unseen.fetch_add(value, order),
                    }
                }

                pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                    match self.known.get() {
                        Some(known) => known.swap(value, order),
                        None => self.unseen.swap(value, order),
                    }
                }
            }
        };
    }

    atomic!(AtomicU32 of u32);
    atomic!(AtomicU64 of u64);

    /// What the near cache uses of quick_cache's, without a bound.
    pub(crate) struct Cache<K, V, We, B, L>(Mutex<BTreeMap<K, V>>, PhantomData<(We, B, L)>);

    impl<K: Ord + Borrow<str>, V: Clone, We, B, L> Cache<K, V, We, B, L> {
        pub(crate) fn with(
            _items: usize,
            _weight: u64,
            _weighter: We,
            _hasher: B,
            _lifecycle: L,
        ) -> Self {
            Cache(Mutex::default(), PhantomData)
        }

        pub(crate) fn get(&self, key: &str) -> Option<V> {
            self.map().get(key).cloned()
        }

        pub(crate) fn insert(&self, key: K, value: V) {
            self.map().insert(key, value);
        }

        pub(crate) fn remove(&self, key: &str) -> Option<V> {
            self.map().remove(key)
        }

        pub(crate) fn clear(&self) {
            self.map().clear();
        }

        pub(crate) fn len(&self) -> usize {
            self.map().len()
        }

        pub(crate) fn weight(&self) -> u64 {
            0
        }

        fn map(&self) -> MutexGuard<'_, BTreeMap<K, V>> {
            self.0.lock()
        }
    }
}

use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Release, SeqCst};
use std::time::Duration;

use loom::sync::atomic::{AtomicBool, AtomicU32};
use loom::thread::{self, JoinHandle};
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use clock::TwoClockTime;
use error::Result;

use near_cache::{CopyFreshness, FeedConnection, FlushReason, NearCache, ReadStart};
use value::{KeyState, Stored};

/// One whose every value is kept.
const KEY: &str = "revoked-sessions-before-user";

const HOUR: Duration = Duration::from_secs(3600);

/// The feeds.
const FIRST: FeedConnection = FeedConnection { feed: 1, number: 1 };
const SECOND: FeedConnection = FeedConnection { feed: 1, number: 2 };

/// A heartbeat that is too old, by both clocks.
const SILENT: f64 = -1e9;

type Version = u32;

struct Process {
    cache: NearCache,
    server: AtomicU32,
    /// Whether a thread was informed that the server's value has changed.
    informed: AtomicBool,
}

/// The result of a read.
enum Read {
    Found(Version),
    Joined(oneshot::Receiver<Result<KeyState>>),
}

impl Process {
    fn new() -> Self {
        let settings =
            config::NearCacheSettings { max_bytes: 1 << 20, ttl: HOUR, max_staleness: HOUR };
        let cache = NearCache::new(&settings, HOUR);
        assert_eq!(cache.add_feed(), FIRST.feed);
        cache.start_feed(FIRST, TwoClockTime::now());
        assert_eq!(cache.cached(KEY), None);
        Process { cache, server: AtomicU32::new(0), informed: AtomicBool::new(false) }
    }

    fn read(&self) -> Read {
        match self.cache.start_read(KEY, true) {
            Some(ReadStart::Hit(hit)) => Read::Found(version(hit.text())),
            Some(ReadStart::JoinedFlight(answer)) => Read::Joined(answer),
            Some(ReadStart::LeadsFlight(lead)) => {
                let asked_at = TwoClockTime::now();
                let found = self.server.load(SeqCst);
                lead.complete(
                    &Ok(KeyState::Value(Stored::plain(&found.to_string()))),
                    asked_at,
                    None,
                    None,
                );
                Read::Found(found)
            }
            None => Read::Found(self.server.load(SeqCst)),
        }
    }

    /// When all threads have ended.
    fn answered(&self, read: Read) -> Version {
        match read {
            Read::Found(version) => version,
            Read::Joined(mut answer) => match answer.try_recv() {
                Ok(slot) => version(slot.unwrap().value().as_ref().map(Stored::text)),
                Err(TryRecvError::Closed) => self.server.load(SeqCst),
                Err(TryRecvError::Empty) => panic!("a waiter gets no answer"),
            },
        }
    }

    fn change(&self) {
        self.server.store(1, SeqCst);
    }

    /// The connection has long been frozen.
    fn falls_silent(&self) {
        self.cache.record_heartbeat(FIRST, TwoClockTime { monotonic_ms: SILENT, wall_ms: SILENT });
    }

    fn kept(&self) -> Option<Version> {
        self.cache.cached(KEY).map(|hit| version(hit.text()))
    }

    /// When all threads have ended.
    fn check_at_rest(&self) {
        assert!(
            self.kept().is_none_or(|kept| kept == self.server.load(SeqCst)),
            "an old value is kept"
        );
        assert!(
            !matches!(self.cache.start_read(KEY, true), Some(ReadStart::JoinedFlight(_))),
            "a flight without a leader is left"
        );
    }
}

fn version(text: Option<&str>) -> Version {
    text.unwrap().parse().unwrap()
}

/// [`CopyFreshness`] as JavaScript sees it.
#[repr(C)]
struct Memory {
    heartbeat: [sync::AtomicU64; 2],
    hits: sync::AtomicU32,
    stripes: [sync::AtomicU32; sync::STRIPES],
}

impl Memory {
    fn of(freshness: &CopyFreshness) -> &Self {
        // SAFETY: both are laid out as in C, of the same types.
        unsafe { &*ptr::from_ref(freshness).cast() }
    }

    fn count(&self) -> u32 {
        self.stripes[0].load(SeqCst)
    }

    fn is_fresh(&self) -> bool {
        self.heartbeat.iter().all(|clock| f64::from_bits(clock.load(Acquire)) > SILENT)
    }
}

fn model(run: impl Fn(&Arc<Process>) + Send + Sync + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || run(&Arc::new(Process::new())));
}

fn spawn<T: 'static>(
    process: &Arc<Process>,
    run: impl FnOnce(&Process) -> T + 'static,
) -> JoinHandle<T> {
    let process = process.clone();
    thread::spawn(move || run(&process))
}

#[test]
fn an_answer_from_before_a_change_is_not_kept() {
    model(|process| {
        let readers = [(); 2].map(|()| spawn(process, Process::read));
        process.change();
        process.cache.invalidate(KEY);
        for read in readers.map(|reader| reader.join().unwrap()) {
            process.answered(read);
        }
        process.check_at_rest();
    });
}

#[test]
fn a_write_is_read_back() {
    for is_kept in [false, true] {
        model(move |process| {
            if is_kept {
                process.read();
            }
            let reader = spawn(process, Process::read);
            let writer = spawn(process, |process| {
                let guard = NearCache::guard_write(Some(&process.cache), KEY);
                process.change();
                drop(guard);
                process.read()
            });
            let [read, written] = [reader, writer].map(|thread| thread.join().unwrap());
            process.answered(read);
            assert_eq!(process.answered(written), 1);
            process.check_at_rest();
        });
    }
}

#[test]
fn a_feed_starts_with_an_empty_cache() {
    for is_kept in [false, true] {
        model(move |process| {
            if is_kept {
                process.read();
            }
            let reader = spawn(process, Process::read);
            let feed = spawn(process, |process| {
                process.change();
                process.cache.stop_feed(FIRST, FlushReason::Disconnected, "");
                process.cache.start_feed(SECOND, TwoClockTime::now());
                process.read()
            });
            // Somebody else finds the same.
            process.cache.stop_feed(FIRST, FlushReason::Disconnected, "");
            let [read, fed] = [reader, feed].map(|thread| thread.join().unwrap());
            process.answered(read);
            assert_eq!(process.answered(fed), 1);
            process.check_at_rest();
            assert!(process.cache.start_read(KEY, true).is_some(), "the second feed is on");
        });
    }
}

#[test]
fn a_value_from_before_a_silence_is_not_answered_again() {
    model(|process| {
        process.read();
        process.falls_silent();
        process.change();
        let reader = spawn(process, Process::kept);
        process.cache.stop_feed(FIRST, FlushReason::Silent, "");
        process.cache.start_feed(SECOND, TwoClockTime::now());
        assert_eq!(reader.join().unwrap(), None);
    });
}

#[test]
fn waiters_of_a_leader_that_gives_up_are_released() {
    model(|process| {
        let leader = spawn(process, |process| drop(process.cache.start_read(KEY, true)));
        let reader = spawn(process, Process::read);
        process.cache.invalidate(KEY);
        leader.join().unwrap();
        process.answered(reader.join().unwrap());
        process.check_at_rest();
    });
}

#[test]
fn a_copy_is_stale_once_the_value_is() {
    model(|process| {
        let freshness = process.cache.copy_freshness();
        Memory::of(&freshness).count();
        let reader = spawn(process, Process::read);
        let copier = spawn(process, move |process| {
            let memory = Memory::of(&freshness);
            let count = memory.count();
            let copy = process.kept();
            let was_informed = process.informed.load(Acquire);
            let holds = memory.count() == count;
            assert!(
                !(was_informed && holds && copy == Some(0)),
                "a copy outlives a change of which its thread was informed"
            );
            (freshness, count, copy)
        });
        process.change();
        process.cache.invalidate(KEY);
        process.informed.store(true, Release);
        reader.join().unwrap();
        let (freshness, count, copy) = copier.join().unwrap();
        assert!(Memory::of(&freshness).count() != count || copy != Some(0), "an old copy is kept");
    });
}

#[test]
fn a_copy_is_stale_once_the_feed_stops() {
    model(|process| {
        let freshness = process.cache.copy_freshness();
        let count = Memory::of(&freshness).count();
        process.read();
        process.falls_silent();
        assert!(!Memory::of(&freshness).is_fresh());
        let copier = spawn(process, move |_| {
            let memory = Memory::of(&freshness);
            // In this order: a counter from before the loss proves nothing beside a heartbeat from
            // after it.
            let is_fresh = memory.is_fresh();
            assert!(!(is_fresh && memory.count() == count), "a copy that was too old is answered");
        });
        process.cache.stop_feed(FIRST, FlushReason::Silent, "");
        process.cache.start_feed(SECOND, TwoClockTime::now());
        copier.join().unwrap();
    });
}

#[test]
fn a_removed_feed_does_not_come_back() {
    model(|process| {
        let starter =
            spawn(process, |process| process.cache.start_feed(SECOND, TwoClockTime::now()));
        process.cache.remove_feed(FIRST.feed);
        starter.join().unwrap();
        assert!(
            process.cache.start_read(KEY, true).is_none(),
            "a server that left feeds the cache"
        );
    });
}
