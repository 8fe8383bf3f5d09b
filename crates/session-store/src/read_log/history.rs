//! What is remembered of each session: its last versions, as texts or hashes, within one bound in
//! bytes.

use std::cell::LazyCell;
use std::sync::Arc;

use lru::LruCache;

use super::read_number::ReadNumber;
use crate::session::{Digest, Times, hash_of};
use crate::value::Stored;

/// How much all sessions with all their versions may take, in bytes.
pub(super) const FULL_BYTES: usize = 16 * 1024 * 1024;

/// How much all sessions with only their latest version may take, in bytes.
pub(super) const REDUCED_BYTES: usize = 8 * 1024 * 1024;

/// What a session takes, and what a version takes beside its text or its hashes, in bytes.
const ENTRY_BYTES: usize = 160;

/// How many versions of a session are remembered.
const VERSIONS: usize = 64;

/// How many reads of a version are remembered.
const READS: usize = 32;

/// What is remembered of a version.
#[derive(Clone, Debug)]
pub(super) enum VersionContent {
    Text(Stored),
    Digest {
        /// The hash of the text, and its length in bytes.
        text: u64,
        length: usize,
        digest: Arc<Digest>,
        /// Of the digest. Both are here because a write asks all versions for them.
        bytes: usize,
        times: Times,
    },
}

impl VersionContent {
    pub(super) fn is(&self, stored: &Stored) -> bool {
        self.is_hashed(stored, || hash_of(stored.raw()))
    }

    /// As [`VersionContent::is`] with the hash of `stored`, for comparing it with many.
    pub(super) fn is_hashed(&self, stored: &Stored, hash: impl FnOnce() -> u64) -> bool {
        match self {
            VersionContent::Text(text) => text == stored,
            VersionContent::Digest { text, length, .. } => {
                *length == stored.raw().len() && *text == hash()
            }
        }
    }

    /// Whether its session half may have these times.
    pub(super) fn may_have(&self, times: Times) -> bool {
        match self {
            VersionContent::Text(_) => true,
            VersionContent::Digest { times: own, .. } => *own == times,
        }
    }

    /// Of the text.
    pub(super) fn length(&self) -> usize {
        match self {
            VersionContent::Text(text) => text.raw().len(),
            VersionContent::Digest { length, .. } => *length,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            VersionContent::Text(text) => text.raw().len(),
            VersionContent::Digest { bytes, .. } => *bytes,
        }
    }

    /// The digest. `None`: the text is no record of this token.
    pub(super) fn digest(&self, token: &str) -> Option<Arc<Digest>> {
        match self {
            VersionContent::Text(text) => Digest::parse(token, text.text()).map(Arc::new),
            VersionContent::Digest { digest, .. } => Some(digest.clone()),
        }
    }

    /// The same without its text.
    pub(super) fn reduced(self, token: &str) -> Option<Self> {
        match &self {
            VersionContent::Text(text) => {
                let (hash, length) = (hash_of(text.raw()), text.raw().len());
                let digest = self.digest(token)?;
                let (bytes, times) = (digest.bytes(), digest.session.times());
                Some(VersionContent::Digest { text: hash, length, digest, bytes, times })
            }
            VersionContent::Digest { .. } => Some(self),
        }
    }
}

/// A version of a record.
#[derive(Debug)]
pub(super) struct Version {
    pub(super) content: VersionContent,
    /// The last read before it was first read or written.
    pub(super) known_since: ReadNumber,
    /// Its last reads, as far as a writer may be at work on them.
    pub(super) reads: Vec<ReadNumber>,
}

impl Version {
    pub(super) fn record_read(&mut self, read: ReadNumber) {
        if self.reads.len() == READS {
            self.reads.remove(0);
        }
        self.reads.push(read);
    }

    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + self.content.bytes()
    }
}

/// What is remembered of a session.
#[derive(Debug, Default)]
pub(super) struct SessionHistory {
    pub(super) token: Box<str>,
    /// The owner's not-before marker; `None`: not known.
    pub(super) marker: Option<Arc<str>>,
    /// The latest last.
    pub(super) versions: Vec<Version>,
    /// The stored record, where it is not the latest version: its writer wrote the latest version,
    /// and this is what it was merged to.
    pub(super) merged: Option<Stored>,
    /// What all of it takes.
    pub(super) bytes: usize,
}

impl SessionHistory {
    pub(super) fn weigh(&mut self) -> usize {
        let merged = self.merged.as_ref().map_or(0, |merged| merged.raw().len());
        let names = self.token.len() + self.marker.as_ref().map_or(0, |marker| marker.len());
        self.bytes =
            ENTRY_BYTES + names + self.versions.iter().map(Version::bytes).sum::<usize>() + merged;
        self.bytes
    }

    /// Makes this version the latest.
    pub(super) fn make_latest(&mut self, stored: &Stored, now: ReadNumber) -> &mut Version {
        self.merged = None;
        let is_latest = self.versions.last().is_some_and(|latest| latest.content.is(stored));
        if !is_latest {
            // A version that comes again keeps its reads: writers are still at work on them.
            let hash = LazyCell::new(|| hash_of(stored.raw()));
            let place = self
                .versions
                .iter()
                .position(|version| version.content.is_hashed(stored, || *hash));
            let mut version = place.map(|at| self.versions.remove(at)).unwrap_or_else(|| Version {
                content: VersionContent::Text(stored.clone()),
                known_since: now,
                reads: Vec::new(),
            });
            version.content = VersionContent::Text(stored.clone());
            if let Some(superseded) = self.versions.pop()
                && let Some(content) = superseded.content.reduced(&self.token)
            {
                self.versions.push(Version { content, ..superseded });
            }
            if self.versions.len() == VERSIONS {
                self.versions.remove(0);
            }
            self.versions.push(version);
        }
        self.versions.last_mut().expect("it was pushed")
    }

    pub(super) fn was_read(&self) -> bool {
        self.versions.iter().any(|version| !version.reads.is_empty())
    }

    /// Keeps only the latest version, and of that no text.
    pub(super) fn reduce(&mut self) {
        self.merged = None;
        let latest = self.versions.pop();
        let reduced = |version: Version| {
            Some(Version { content: version.content.reduced(&self.token)?, ..version })
        };
        self.versions = latest.and_then(reduced).into_iter().collect();
    }
}

/// The hash of a store and a token. The history holds the token, which decides.
pub(super) type TokenHash = u64;

pub(super) struct SessionTables {
    /// Sessions with all their versions.
    full: LruCache<TokenHash, SessionHistory>,
    pub(super) full_bytes: usize,
    /// Sessions with their latest version only.
    reduced: LruCache<TokenHash, SessionHistory>,
    pub(super) reduced_bytes: usize,
}

impl SessionTables {
    pub(super) fn new() -> Self {
        SessionTables {
            full: LruCache::unbounded(),
            full_bytes: 0,
            reduced: LruCache::unbounded(),
            reduced_bytes: 0,
        }
    }

    /// Changes a session, which then is the most recently used one, and keeps the bounds.
    pub(super) fn change(
        &mut self,
        hash: TokenHash,
        token: &str,
        change: impl FnOnce(&mut SessionHistory),
    ) {
        let reduced = &mut self.reduced;
        let reduced_bytes = &mut self.reduced_bytes;
        let new = || SessionHistory { token: token.into(), ..SessionHistory::default() };
        let history = self.full.get_or_insert_mut(hash, || match reduced.pop(&hash) {
            Some(history) => {
                *reduced_bytes -= history.bytes;
                SessionHistory { bytes: 0, ..history }
            }
            None => new(),
        });
        let before = history.bytes;
        if *history.token != *token {
            *history = new();
        }
        change(history);
        self.full_bytes = self.full_bytes - before + history.weigh();
        while self.full_bytes > FULL_BYTES {
            let Some((hash, mut history)) = self.full.pop_lru() else { break };
            self.full_bytes -= history.bytes;
            if !history.was_read() {
                continue;
            }
            history.reduce();
            self.reduced_bytes += history.weigh();
            self.reduced.put(hash, history);
        }
        while self.reduced_bytes > REDUCED_BYTES {
            let Some((_, history)) = self.reduced.pop_lru() else { break };
            self.reduced_bytes -= history.bytes;
        }
    }

    pub(super) fn get(&self, hash: TokenHash, token: &str) -> Option<&SessionHistory> {
        self.full
            .peek(&hash)
            .or_else(|| self.reduced.peek(&hash))
            .filter(|history| *history.token == *token)
    }

    /// Records that a read answers this version.
    pub(super) fn record_read(
        &mut self,
        hash: TokenHash,
        token: &str,
        marker: &Arc<str>,
        stored: &Stored,
        read: ReadNumber,
    ) {
        // The usual case: the same version is read again.
        if let Some(history) = self.full.get_mut(&hash)
            && *history.token == *token
            && history.merged.is_none()
            && history.marker.is_some()
            && let Some(latest) =
                history.versions.last_mut().filter(|latest| latest.content.is(stored))
        {
            return latest.record_read(read);
        }
        self.change(hash, token, |history| {
            history.marker.get_or_insert_with(|| marker.clone());
            history.make_latest(stored, read).record_read(read);
        });
    }

    pub(super) fn forget(&mut self, hash: TokenHash) {
        self.full_bytes -= self.full.pop(&hash).map_or(0, |history| history.bytes);
        self.reduced_bytes -= self.reduced.pop(&hash).map_or(0, |history| history.bytes);
    }
}
