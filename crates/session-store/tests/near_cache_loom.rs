//! `src/near_cache.rs` itself under loom: every order in which threads may take its locks and see its
//! atomics, up to three preemptions. The file is compiled here once more, with loom's locks and
//! atomics in the place of `src/sync.rs`. The rules are checked in `near_cache.rs`, and here that
//! the code keeps them, for readers, writers and the feed on threads of their own.
//!
//! The server holds a 0 under one key, and then a 1.

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

#[allow(dead_code, reason = "the library uses all of it")]
#[path = "../src/metrics.rs"]
mod metrics;

#[allow(dead_code, unreachable_pub, reason = "the library uses all of it")]
#[path = "../src/keys.rs"]
mod keys;

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

    pub(crate) use loom::sync::{Mutex, MutexGuard};

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
            self.0.lock().unwrap()
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

use error::Result;
use near_cache::{Begun, Flush, Moment, NearCache, Shared, Source};
use value::{KeyState, Stored};

/// One whose every value is kept.
const KEY: &str = "revoked-sessions-before-user";

const HOUR: Duration = Duration::from_secs(3600);

/// The feeds.
const FIRST: Source = Source { feed: 1, number: 1 };
const SECOND: Source = Source { feed: 1, number: 2 };

/// A sign of life that is too old, by both clocks.
const SILENT: f64 = -1e9;

type Version = u32;

struct Process {
    cache: NearCache,
    server: AtomicU32,
    /// Whether somebody was told that the server's value has changed.
    told: AtomicBool,
}

/// What a read came to.
enum Read {
    Found(Version),
    Joined(oneshot::Receiver<Result<KeyState>>),
}

impl Process {
    fn new() -> Self {
        let settings =
            config::NearCacheSettings { max_bytes: 1 << 20, ttl: HOUR, max_staleness: HOUR };
        let cache = NearCache::new(&settings, HOUR);
        assert_eq!(cache.joins(), FIRST.feed);
        cache.begins(FIRST, Moment::now());
        assert_eq!(cache.cached(KEY), None);
        Process { cache, server: AtomicU32::new(0), told: AtomicBool::new(false) }
    }

    fn read(&self) -> Read {
        match self.cache.begin(KEY, true) {
            Some(Begun::Hit(hit)) => Read::Found(version(hit.text())),
            Some(Begun::Joined(answer)) => Read::Joined(answer),
            Some(Begun::Leads(lead)) => {
                let asked = Moment::now();
                let found = self.server.load(SeqCst);
                lead.land(
                    &Ok(KeyState::Value(Stored::plain(&found.to_string()))),
                    asked,
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
                Err(TryRecvError::Empty) => panic!("who joined is never told"),
            },
        }
    }

    fn change(&self) {
        self.server.store(1, SeqCst);
    }

    /// The connection has long been frozen.
    fn falls_silent(&self) {
        self.cache.alive(FIRST, Moment { monotonic: SILENT, wall: SILENT });
    }

    fn kept(&self) -> Option<Version> {
        self.cache.cached(KEY).map(|hit| version(hit.text()))
    }

    /// When all threads have ended.
    fn is_at_rest(&self) {
        assert!(
            self.kept().is_none_or(|kept| kept == self.server.load(SeqCst)),
            "an old value is kept"
        );
        assert!(
            !matches!(self.cache.begin(KEY, true), Some(Begun::Joined(_))),
            "a flight is left that nobody leads"
        );
    }
}

fn version(text: Option<&str>) -> Version {
    text.unwrap().parse().unwrap()
}

/// What JavaScript sees of [`Shared`].
#[repr(C)]
struct Memory {
    alive: [sync::AtomicU64; 2],
    hits: sync::AtomicU32,
    stripes: [sync::AtomicU32; sync::STRIPES],
}

impl Memory {
    fn of(shared: &Shared) -> &Self {
        // SAFETY: both are laid out as in C, of the same types.
        unsafe { &*ptr::from_ref(shared).cast() }
    }

    fn count(&self) -> u32 {
        self.stripes[0].load(SeqCst)
    }

    fn is_alive(&self) -> bool {
        self.alive.iter().all(|clock| f64::from_bits(clock.load(Acquire)) > SILENT)
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
        process.is_at_rest();
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
                let writing = NearCache::writing(Some(&process.cache), KEY);
                process.change();
                drop(writing);
                process.read()
            });
            let [read, written] = [reader, writer].map(|thread| thread.join().unwrap());
            process.answered(read);
            assert_eq!(process.answered(written), 1);
            process.is_at_rest();
        });
    }
}

#[test]
fn a_feed_begins_with_nothing() {
    for is_kept in [false, true] {
        model(move |process| {
            if is_kept {
                process.read();
            }
            let reader = spawn(process, Process::read);
            let feed = spawn(process, |process| {
                process.change();
                process.cache.lost(FIRST, Flush::Disconnected, "");
                process.cache.begins(SECOND, Moment::now());
                process.read()
            });
            // Somebody else finds the same.
            process.cache.lost(FIRST, Flush::Disconnected, "");
            let [read, fed] = [reader, feed].map(|thread| thread.join().unwrap());
            process.answered(read);
            assert_eq!(process.answered(fed), 1);
            process.is_at_rest();
            assert!(process.cache.begin(KEY, true).is_some(), "the second feed is on");
        });
    }
}

#[test]
fn what_was_silent_is_not_heard_again() {
    model(|process| {
        process.read();
        process.falls_silent();
        process.change();
        let reader = spawn(process, Process::kept);
        process.cache.lost(FIRST, Flush::Silent, "");
        process.cache.begins(SECOND, Moment::now());
        assert_eq!(reader.join().unwrap(), None);
    });
}

#[test]
fn who_joined_a_leader_that_gives_up_is_let_go() {
    model(|process| {
        let leader = spawn(process, |process| drop(process.cache.begin(KEY, true)));
        let reader = spawn(process, Process::read);
        process.cache.invalidate(KEY);
        leader.join().unwrap();
        process.answered(reader.join().unwrap());
        process.is_at_rest();
    });
}

#[test]
fn a_copy_ends_with_the_value() {
    model(|process| {
        let shared = process.cache.shared();
        Memory::of(&shared).count();
        let reader = spawn(process, Process::read);
        let copier = spawn(process, move |process| {
            let memory = Memory::of(&shared);
            let count = memory.count();
            let copy = process.kept();
            let was_told = process.told.load(Acquire);
            let holds = memory.count() == count;
            assert!(
                !(was_told && holds && copy == Some(0)),
                "a copy outlives a change of which its thread was told"
            );
            (shared, count, copy)
        });
        process.change();
        process.cache.invalidate(KEY);
        process.told.store(true, Release);
        reader.join().unwrap();
        let (shared, count, copy) = copier.join().unwrap();
        assert!(Memory::of(&shared).count() != count || copy != Some(0), "an old copy is kept");
    });
}

#[test]
fn a_copy_ends_with_the_feed() {
    model(|process| {
        let shared = process.cache.shared();
        let count = Memory::of(&shared).count();
        process.read();
        process.falls_silent();
        assert!(!Memory::of(&shared).is_alive());
        let copier = spawn(process, move |_| {
            let memory = Memory::of(&shared);
            // In this order: a counter from before the loss proves nothing beside a sign of life
            // from after it.
            let is_alive = memory.is_alive();
            assert!(!(is_alive && memory.count() == count), "a copy that was too old is answered");
        });
        process.cache.lost(FIRST, Flush::Silent, "");
        process.cache.begins(SECOND, Moment::now());
        copier.join().unwrap();
    });
}
