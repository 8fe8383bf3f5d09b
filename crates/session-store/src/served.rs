//! What this process last served for each session: what a writer has read before it writes back.
//!
//! A few versions per session, because requests overlap: one may write what it read before another one's read. Bounded in
//! bytes; a version that fell out makes its writer one "whose reading is unknown" (see `session/merge.rs`).

use quick_cache::Weighter;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::engine::Stored;

/// How much the versions may weigh together, in bytes.
const CAPACITY_BYTES: u64 = 16 * 1024 * 1024;

/// How many versions of a session are remembered.
const VERSIONS: usize = 4;

type Versions = Arc<Vec<Stored>>;

/// The versions served, by session token.
pub(crate) struct Served(Cache<String, Versions, Bytes>);

impl Served {
    pub(crate) fn new() -> Self {
        Served(Cache::with_weighter(16_384, CAPACITY_BYTES, Bytes))
    }

    /// The versions of a session, the latest last.
    pub(crate) fn versions(&self, token: &str) -> Versions {
        self.0.get(token).unwrap_or_default()
    }

    /// Remembers a version as the latest.
    pub(crate) fn remember(&self, token: &str, version: &Stored) {
        let versions = self.versions(token);
        if versions.last() == Some(version) {
            return;
        }
        let mut versions = Vec::clone(&versions);
        versions.retain(|known| known != version);
        if versions.len() == VERSIONS {
            versions.remove(0);
        }
        versions.push(version.clone());
        self.0.insert(token.to_owned(), Arc::new(versions));
    }

    pub(crate) fn forget(&self, token: &str) {
        self.0.remove(token);
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<String, Versions> for Bytes {
    fn weight(&self, token: &String, versions: &Versions) -> u64 {
        let texts: usize = versions.iter().map(|version| version.raw().len() + 64).sum();
        (token.len() + 128 + texts) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_few_versions_are_kept_in_order() {
        let served = Served::new();
        for n in [1, 2, 3, 2, 4, 5] {
            served.remember("t", &Stored::record(&n.to_string()));
        }
        let texts: Vec<_> = served.versions("t").iter().map(|version| version.text().to_owned()).collect();
        assert_eq!(texts, ["3", "2", "4", "5"]);
        served.forget("t");
        assert!(served.versions("t").is_empty());
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
