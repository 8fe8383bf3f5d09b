//! What this process last served for each session: what a writer has read before it writes back.
//!
//! A write is compared with the very version that its writer was handed, so each serving has a number, and a write says
//! between which numbers its writer was last handed something ([`Seen`]). Of a session the last few versions are kept, because
//! requests overlap. Bounded in bytes; a version that fell out makes its writer one "whose reading is unknown" (see
//! `session/merge.rs`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::engine::Stored;

/// How much the versions may weigh together, in bytes.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;

/// How many versions of a session are remembered.
const VERSIONS: usize = 64;

/// How many servings of a version are remembered.
const SERVINGS_KEPT: usize = 32;

/// The number of something that this process served: the later, the higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Serving(u64);

static LAST: AtomicU64 = AtomicU64::new(0);

impl Serving {
    pub(crate) fn next() -> Self {
        Serving(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn last() -> Self {
        Serving(LAST.load(Ordering::Relaxed))
    }
}

/// What a caller has been handed when it writes: numbers of servings, as [`crate::Values::serving`] tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// What it is working on now was served after this one …
    pub after: Serving,
    /// … up to this one. Later ones it has not seen.
    pub up_to: Serving,
}

/// What a writer may have read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// The latest last.
    pub(crate) versions: Vec<Stored>,
    /// Whether it was handed one of these just now; else these are all that it has ever been handed.
    pub(crate) is_certain: bool,
}

impl Reading {
    /// The writer was handed these as well, just now and after those.
    pub(crate) fn or(mut self, handed: impl ExactSizeIterator<Item = Stored> + Clone) -> Self {
        if handed.len() > 0 {
            self.versions.retain(|version| self.is_certain && !handed.clone().any(|later| later == *version));
            self.versions.extend(handed);
            self.is_certain = true;
        }
        self
    }
}

/// A version of a record.
#[derive(Debug)]
struct Version {
    stored: Stored,
    /// The serving at or before which it came to be known.
    first: Serving,
    /// Its last servings, as far as a writer may be at work on them.
    servings: Mutex<VecDeque<Serving>>,
}

impl Version {
    fn servings(&self) -> MutexGuard<'_, VecDeque<Serving>> {
        self.servings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Versions = Arc<Vec<Arc<Version>>>;

/// The versions served, by session token; the latest last.
pub(crate) struct Served(Cache<String, Versions, Bytes>);

impl Served {
    pub(crate) fn new() -> Self {
        Served(Cache::with_weighter(16_384, CAPACITY_BYTES, Bytes))
    }

    /// Remembers that a version is served now.
    pub(crate) fn serve(&self, token: &str, stored: &Stored, now: Serving) {
        let version = self.latest_version(token, stored, now);
        let mut servings = version.servings();
        if servings.len() == SERVINGS_KEPT {
            servings.pop_front();
        }
        servings.push_back(now);
    }

    /// Remembers a version that was written: its writer knows it, and the next one may be handed it.
    pub(crate) fn wrote(&self, token: &str, stored: &Stored) {
        self.latest_version(token, stored, Serving::last());
    }

    fn latest_version(&self, token: &str, stored: &Stored, now: Serving) -> Arc<Version> {
        let known = self.0.get(token);
        if let Some(latest) = known.as_ref().and_then(|versions| versions.last())
            && latest.stored == *stored
        {
            return latest.clone();
        }
        let mut versions = known.map_or_else(Vec::new, |versions| Vec::clone(&versions));
        // One that comes again is still at work wherever it was.
        let again = versions.iter().position(|version| version.stored == *stored);
        let version = again
            .map(|at| versions.remove(at))
            .unwrap_or_else(|| Arc::new(Version { stored: stored.clone(), first: now, servings: Mutex::default() }));
        if versions.len() == VERSIONS {
            versions.remove(0);
        }
        versions.push(version.clone());
        self.0.insert(token.to_owned(), Arc::new(versions));
        version
    }

    /// The latest version.
    pub(crate) fn latest(&self, token: &str) -> Option<Stored> {
        Some(self.0.get(token)?.last()?.stored.clone())
    }

    /// The versions that a writer may have read, the latest last: those that it is working on now; else those that it has seen.
    pub(crate) fn read_by(&self, token: &str, seen: Option<Seen>) -> Reading {
        let Some(versions) = self.0.get(token) else { return Reading::default() };
        let seen = seen.unwrap_or(Seen { after: Serving(u64::MAX), up_to: Serving(u64::MAX) });
        let known = versions.iter().filter(|version| version.first <= seen.up_to);
        let just_served =
            |version: &&Arc<Version>| version.servings().iter().any(|n| *n > seen.after && *n <= seen.up_to);
        let at_work: Vec<_> = known.clone().filter(just_served).collect();
        let is_certain = !at_work.is_empty();
        let read = if is_certain { at_work } else { known.collect() };
        let read = if read.is_empty() { versions.iter().collect() } else { read };
        Reading { versions: read.into_iter().map(|version| version.stored.clone()).collect(), is_certain }
    }

    pub(crate) fn forget(&self, token: &str) {
        self.0.remove(token);
    }
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
        let after = Serving::last();
        let up_to = Serving::next();
        served.serve("t", &version(n), up_to);
        Seen { after, up_to }
    }

    #[test]
    fn a_writer_is_known_by_what_it_was_handed() {
        let served = Served::new();
        let (first, second) = (serve(&served, 1), serve(&served, 2));
        assert_eq!(served.read_by("t", Some(first)).versions, [version(1)]);
        assert_eq!(served.read_by("t", Some(second)).versions, [version(2)]);
        assert_eq!(served.read_by("t", None).versions, [version(1), version(2)]);
        // Handed something else meanwhile, before version 2 was served: it has seen version 1 only.
        assert_eq!(served.read_by("t", Some(Seen { after: first.up_to, up_to: first.up_to })).versions, [version(1)]);
    }

    #[test]
    fn what_was_written_is_handed_to_nobody() {
        let served = Served::new();
        let mut seen = serve(&served, 1);
        served.wrote("t", &version(2));
        seen.up_to = Serving::next();
        served.serve("another", &version(1), seen.up_to);
        assert_eq!(served.read_by("t", Some(seen)).versions, [version(1)]);
    }

    #[test]
    fn a_version_that_comes_again_is_still_at_work() {
        let served = Served::new();
        let first = serve(&served, 1);
        served.wrote("t", &version(2));
        served.wrote("t", &version(1));
        let seen = Seen { up_to: serve(&served, 3).up_to, ..first };
        assert_eq!(served.read_by("t", Some(seen)).versions, [version(1), version(3)]);
    }

    #[test]
    fn what_was_handed_out_beside_comes_last() {
        let served = Served::new();
        let (first, second) = (serve(&served, 1), serve(&served, 2));
        let read_by = |seen: Seen, handed: &[u32]| {
            let handed: Vec<_> = handed.iter().map(|n| version(*n)).collect();
            served.read_by("t", Some(seen)).or(handed.into_iter()).versions
        };
        assert_eq!(read_by(second, &[]), [version(2)]);
        assert_eq!(read_by(second, &[3]), [version(2), version(3)]);
        assert_eq!(read_by(Seen { after: first.after, ..second }, &[1, 3]), [version(2), version(1), version(3)]);
        // Of those served once only, what was handed out just now is all that counts.
        assert_eq!(read_by(Seen { after: second.up_to, ..second }, &[3]), [version(3)]);
    }

    #[test]
    fn only_the_last_few_versions_are_kept() {
        let served = Served::new();
        for n in [1, 2, 3, 2].into_iter().chain(4..66) {
            serve(&served, n);
        }
        let kept: Vec<_> = [3, 2].into_iter().chain(4..66).map(version).collect();
        assert_eq!(served.read_by("t", None).versions, kept);
        assert_eq!(served.latest("t"), Some(version(65)));
        served.forget("t");
        assert_eq!(served.latest("t"), None);
    }

    #[test]
    fn the_bound_holds() {
        let served = Served::new();
        let version = Stored::record(&"x".repeat(10_000));
        for n in 0..5_000 {
            served.serve(&n.to_string(), &version, Serving::next());
        }
        assert!(served.0.weight() <= CAPACITY_BYTES);
    }
}
