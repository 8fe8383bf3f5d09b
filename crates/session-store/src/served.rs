//! What this process last served for each session: what a writer has read before it writes back.
//!
//! A write is compared with the very version that its writer was handed, so each serving has a number, and a write says
//! between which numbers its writer was last handed something ([`Seen`]). Of a session the last few versions are kept, because
//! requests overlap. Bounded in bytes; a version that fell out makes its writer one "whose reading is unknown" (see
//! `session/merge.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::engine::Stored;

/// How much the versions may weigh together, in bytes.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;

/// How many versions of a session are remembered.
const VERSIONS: usize = 4;

/// The number of the last serving in this process.
static SERVINGS: AtomicU64 = AtomicU64::new(0);

/// What a caller has been handed when it writes: numbers of servings, as [`crate::Values::serving`] tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// What it is working on now was served after this one …
    pub after: u64,
    /// … up to this one. Later ones it has not seen.
    pub up_to: u64,
}

/// A version of a record, and the numbers of its first and last serving.
#[derive(Debug)]
struct Version {
    stored: Stored,
    first: u64,
    last: AtomicU64,
}

type Versions = Arc<Vec<Arc<Version>>>;

/// The versions served, by session token; the latest last.
pub(crate) struct Served(Cache<String, Versions, Bytes>);

impl Served {
    pub(crate) fn new() -> Self {
        Served(Cache::with_weighter(16_384, CAPACITY_BYTES, Bytes))
    }

    /// Remembers that a version is served now.
    pub(crate) fn remember(&self, token: &str, stored: &Stored) {
        let now = SERVINGS.fetch_add(1, Ordering::Relaxed) + 1;
        let known = self.0.get(token);
        if let Some(latest) = known.as_ref().and_then(|versions| versions.last())
            && latest.stored == *stored
        {
            latest.last.store(now, Ordering::Relaxed);
            return;
        }
        let mut versions = known.map_or_else(Vec::new, |versions| Vec::clone(&versions));
        versions.retain(|version| version.stored != *stored);
        if versions.len() == VERSIONS {
            versions.remove(0);
        }
        versions.push(Arc::new(Version { stored: stored.clone(), first: now, last: AtomicU64::new(now) }));
        self.0.insert(token.to_owned(), Arc::new(versions));
    }

    /// The latest version.
    pub(crate) fn latest(&self, token: &str) -> Option<Stored> {
        Some(self.0.get(token)?.last()?.stored.clone())
    }

    /// The versions that a writer may have read: those that it is working on now; else the latest that it has seen.
    pub(crate) fn read_by(&self, token: &str, seen: Option<Seen>) -> Vec<Stored> {
        let Some(versions) = self.0.get(token) else { return Vec::new() };
        let seen = seen.unwrap_or(Seen { after: u64::MAX, up_to: u64::MAX });
        let mut known = versions.iter().filter(|version| version.first <= seen.up_to);
        let at_work = known.clone().filter(|version| version.last.load(Ordering::Relaxed) > seen.after);
        let at_work: Vec<_> = at_work.map(|version| version.stored.clone()).collect();
        if !at_work.is_empty() {
            return at_work;
        }
        known.next_back().or(versions.last()).map(|version| version.stored.clone()).into_iter().collect()
    }

    pub(crate) fn forget(&self, token: &str) {
        self.0.remove(token);
    }
}

/// The number of the last serving.
pub(crate) fn last_serving() -> u64 {
    SERVINGS.load(Ordering::Relaxed)
}

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Versions> for Bytes {
    fn weight(&self, token: &String, versions: &Versions) -> u64 {
        let texts: usize = versions.iter().map(|version| version.stored.raw().len() + 96).sum();
        (token.len() + 128 + texts) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(n: u32) -> Stored {
        Stored::record(&n.to_string())
    }

    /// Serves version `n` and tells what a caller has seen who is handed just that.
    fn serve(served: &Served, n: u32) -> Seen {
        let after = last_serving();
        served.remember("t", &version(n));
        Seen { after, up_to: last_serving() }
    }

    #[test]
    fn a_writer_is_known_by_what_it_was_handed() {
        let served = Served::new();
        let (first, second) = (serve(&served, 1), serve(&served, 2));
        assert_eq!(served.read_by("t", Some(first)), [version(1)]);
        assert_eq!(served.read_by("t", Some(second)), [version(2)]);
        assert_eq!(served.read_by("t", None), [version(2)]);
        // Handed something else meanwhile, before version 2 was served: it has seen version 1 last.
        assert_eq!(served.read_by("t", Some(Seen { after: first.up_to, up_to: first.up_to })), [version(1)]);
    }

    #[test]
    fn only_the_last_few_versions_are_kept() {
        let served = Served::new();
        for n in [1, 2, 3, 2, 4, 5] {
            serve(&served, n);
        }
        assert_eq!(served.read_by("t", Some(Seen { after: 0, up_to: u64::MAX })), [3, 2, 4, 5].map(version));
        assert_eq!(served.latest("t"), Some(version(5)));
        served.forget("t");
        assert_eq!(served.latest("t"), None);
    }

    #[test]
    fn the_bound_holds() {
        let served = Served::new();
        let version = Stored::record(&"x".repeat(10_000));
        for n in 0..5_000 {
            served.remember(&n.to_string(), &version);
        }
        assert!(served.0.weight() <= CAPACITY_BYTES);
    }
}
