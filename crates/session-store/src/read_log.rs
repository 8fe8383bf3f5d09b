//! What this process handed out for each session: what a writer has read before it writes back. And
//! whose session each is, because a session never changes its owner.
//!
//! A write is compared with the very version that its writer was handed. So each serving has a
//! number, and a write says between which numbers its writer was last handed something ([`Seen`]).
//! The last few versions of a session are kept, because requests overlap. A version is remembered
//! exactly, by the hashes of its fields ([`Digest`]); only the latest may keep its text.
//!
//! One bound in bytes holds for the process, whatever the number of cores. Beyond it, the least
//! recently used sessions first lose their older versions and the text of the latest, and only then
//! are forgotten. (Those that were only written, and handed to nobody, are forgotten at once.) A
//! forgotten version makes its writer one with an unknown base (see `session/merge.rs`).

use std::cell::LazyCell;
use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use crate::known_sessions::KnownSessions;
use crate::session::{Bases, Digest, Times, hash_of};
use crate::value::Stored;

/// How much all sessions take that have all their versions, in bytes.
const WHOLE_BYTES: usize = 16 * 1024 * 1024;

/// How much all sessions take that have only their latest version left, in bytes.
const REDUCED_BYTES: usize = 8 * 1024 * 1024;

/// What a session, and what a version takes beside its text or its hashes, in bytes.
const ENTRY_BYTES: usize = 160;

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

/// What a caller has been handed when it writes: numbers of servings, as [`crate::Values::serving`]
/// tells them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seen {
    /// What it is working on now was served after this one …
    pub after: Serving,
    /// … up to this one. Later ones it has not seen.
    pub up_to: Serving,
}

/// What a version holds.
#[derive(Clone, Debug)]
pub(crate) enum Content {
    Text(Stored),
    Digest {
        /// The hash of the text, and its length in bytes.
        text: u64,
        length: usize,
        digest: Arc<Digest>,
        /// The digest's, here because a write asks all versions for them.
        bytes: usize,
        times: Times,
    },
}

impl Content {
    fn is(&self, stored: &Stored) -> bool {
        self.is_hashed(stored, || hash_of(stored.raw()))
    }

    /// As [`Content::is`] with `stored`'s hash, for who compares it with many.
    fn is_hashed(&self, stored: &Stored, hash: impl FnOnce() -> u64) -> bool {
        match self {
            Content::Text(text) => text == stored,
            Content::Digest { text, length, .. } => {
                *length == stored.raw().len() && *text == hash()
            }
        }
    }

    /// Whether its session half may have these times.
    fn may_have(&self, times: Times) -> bool {
        match self {
            Content::Text(_) => true,
            Content::Digest { times: own, .. } => *own == times,
        }
    }

    /// Of the text.
    fn length(&self) -> usize {
        match self {
            Content::Text(text) => text.raw().len(),
            Content::Digest { length, .. } => *length,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Content::Text(text) => text.raw().len(),
            Content::Digest { bytes, .. } => *bytes,
        }
    }

    /// The digest. `None`: the text is no record of this token.
    fn digest(&self, token: &str) -> Option<Arc<Digest>> {
        match self {
            Content::Text(text) => Digest::parse(token, text.text()).map(Arc::new),
            Content::Digest { digest, .. } => Some(digest.clone()),
        }
    }

    /// The same without its text.
    fn reduced(self, token: &str) -> Option<Self> {
        match &self {
            Content::Text(text) => {
                let (hash, length) = (hash_of(text.raw()), text.raw().len());
                let digest = self.digest(token)?;
                let (bytes, times) = (digest.bytes(), digest.session.times());
                Some(Content::Digest { text: hash, length, digest, bytes, times })
            }
            Content::Digest { .. } => Some(self),
        }
    }
}

/// A version of a record.
#[derive(Debug)]
struct Version {
    content: Content,
    /// The serving at or before which it came to be known.
    first: Serving,
    /// Its last servings, as far as a writer may be at work on them.
    servings: Vec<Serving>,
}

impl Version {
    fn is_served(&mut self, now: Serving) {
        if self.servings.len() == SERVINGS_KEPT {
            self.servings.remove(0);
        }
        self.servings.push(now);
    }

    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.content.bytes()
    }
}

/// What is known of a session.
#[derive(Debug, Default)]
struct Entry {
    token: Box<str>,
    /// The owner's not-before marker; `None`: not known.
    marker: Option<Arc<str>>,
    /// The latest last.
    versions: Vec<Version>,
    /// What lies in the store, where it is not the latest version: its writer wrote that, and it
    /// was merged.
    merged: Option<Stored>,
    /// What all of it takes, in bytes.
    bytes: usize,
}

impl Entry {
    fn weigh(&mut self) -> usize {
        let merged = self.merged.as_ref().map_or(0, |merged| merged.raw().len());
        let names = self.token.len() + self.marker.as_ref().map_or(0, |marker| marker.len());
        self.bytes =
            ENTRY_BYTES + names + self.versions.iter().map(Version::bytes).sum::<usize>() + merged;
        self.bytes
    }

    /// Makes this version the latest.
    fn make_latest(&mut self, stored: &Stored, now: Serving) -> &mut Version {
        self.merged = None;
        let is_latest = self.versions.last().is_some_and(|latest| latest.content.is(stored));
        if !is_latest {
            // One that comes again is still at work wherever it was.
            let hash = LazyCell::new(|| hash_of(stored.raw()));
            let again = self
                .versions
                .iter()
                .position(|version| version.content.is_hashed(stored, || *hash));
            let mut version = again.map(|at| self.versions.remove(at)).unwrap_or_else(|| Version {
                content: Content::Text(stored.clone()),
                first: now,
                servings: Vec::new(),
            });
            version.content = Content::Text(stored.clone());
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

    fn was_handed_out(&self) -> bool {
        self.versions.iter().any(|version| !version.servings.is_empty())
    }

    /// Keeps only the latest version, and of that no text.
    fn reduce(&mut self) {
        self.merged = None;
        let latest = self.versions.pop();
        let reduced = |Version { content, first, servings }| {
            Some(Version { content: content.reduced(&self.token)?, first, servings })
        };
        self.versions = latest.and_then(reduced).into_iter().collect();
    }
}

/// A session of a store, by its hash. Its entry tells for sure.
type Key = u64;

struct Sessions {
    /// Those with all their versions.
    whole: LruCache<Key, Entry>,
    whole_bytes: usize,
    /// Those with their latest version only.
    reduced: LruCache<Key, Entry>,
    reduced_bytes: usize,
}

impl Sessions {
    fn new() -> Self {
        Sessions {
            whole: LruCache::unbounded(),
            whole_bytes: 0,
            reduced: LruCache::unbounded(),
            reduced_bytes: 0,
        }
    }

    /// Changes a session, which is the most recently used from then on, and keeps the bounds.
    fn change(&mut self, key: Key, token: &str, change: impl FnOnce(&mut Entry)) {
        let reduced = &mut self.reduced;
        let reduced_bytes = &mut self.reduced_bytes;
        let anew = || Entry { token: token.into(), ..Entry::default() };
        let entry = self.whole.get_or_insert_mut(key, || match reduced.pop(&key) {
            Some(entry) => {
                *reduced_bytes -= entry.bytes;
                Entry { bytes: 0, ..entry }
            }
            None => anew(),
        });
        let before = entry.bytes;
        if *entry.token != *token {
            *entry = anew();
        }
        change(entry);
        self.whole_bytes = self.whole_bytes - before + entry.weigh();
        while self.whole_bytes > WHOLE_BYTES {
            let Some((key, mut entry)) = self.whole.pop_lru() else { break };
            self.whole_bytes -= entry.bytes;
            if !entry.was_handed_out() {
                continue;
            }
            entry.reduce();
            self.reduced_bytes += entry.weigh();
            self.reduced.put(key, entry);
        }
        while self.reduced_bytes > REDUCED_BYTES {
            let Some((_, entry)) = self.reduced.pop_lru() else { break };
            self.reduced_bytes -= entry.bytes;
        }
    }

    fn get(&self, key: Key, token: &str) -> Option<&Entry> {
        self.whole
            .peek(&key)
            .or_else(|| self.reduced.peek(&key))
            .filter(|entry| *entry.token == *token)
    }

    /// See [`ReadLog::serve`].
    fn serve(&mut self, asked: &Asked<'_>, marker: &Arc<str>, stored: &Stored, now: Serving) {
        // The usual case: what was served before is served again.
        if let Some(entry) = self.whole.get_mut(&asked.hash)
            && *entry.token == *asked.key
            && entry.merged.is_none()
            && entry.marker.is_some()
            && let Some(latest) =
                entry.versions.last_mut().filter(|latest| latest.content.is(stored))
        {
            return latest.is_served(now);
        }
        self.change(asked.hash, asked.key, |entry| {
            entry.marker.get_or_insert_with(|| marker.clone());
            entry.make_latest(stored, now).is_served(now);
        });
    }

    fn forget(&mut self, key: Key) {
        self.whole_bytes -= self.whole.pop(&key).map_or(0, |entry| entry.bytes);
        self.reduced_bytes -= self.reduced.pop(&key).map_or(0, |entry| entry.bytes);
    }
}

/// A key that is to be read, and what is known of it.
#[derive(Debug)]
pub(crate) struct Asked<'k> {
    pub(crate) key: &'k str,
    /// The key's, for the life of the process.
    pub(crate) hash: u64,
    /// How long the session's record was when it was last met, in bytes; `None`: not known.
    pub(crate) length: Option<usize>,
    /// Whether it was seen to be a session.
    pub(crate) is_session: bool,
    /// The not-before marker of the session's owner; `None`: not known.
    pub(crate) marker: Option<Arc<str>>,
}

/// The versions that one store handed out. All stores of a process share the memory.
pub(crate) struct ReadLog {
    store: u64,
    sessions: Arc<Mutex<Sessions>>,
    known: Arc<KnownSessions>,
}

impl ReadLog {
    pub(crate) fn new() -> Self {
        static PROCESS: LazyLock<Arc<Mutex<Sessions>>> =
            LazyLock::new(|| Arc::new(Mutex::new(Sessions::new())));
        static KNOWN: LazyLock<Arc<KnownSessions>> =
            LazyLock::new(|| Arc::new(KnownSessions::new()));
        static STORES: AtomicU64 = AtomicU64::new(0);
        ReadLog {
            store: STORES.fetch_add(1, Ordering::Relaxed),
            sessions: PROCESS.clone(),
            known: KNOWN.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of a key, for the life of the process.
    pub(crate) fn hash(&self, token: &str) -> u64 {
        hash_of((self.store, token))
    }

    /// What is known of keys that are to be read.
    pub(crate) fn look_up<'k>(&self, keys: &[&'k str]) -> Vec<Asked<'k>> {
        let sessions = self.lock();
        let look_up = |key: &&'k str| {
            let hash = self.hash(key);
            let entry = sessions.get(hash, key);
            let length = entry.and_then(|entry| Some(entry.versions.last()?.content.length()));
            let marker = entry.and_then(|entry| entry.marker.clone());
            Asked {
                key,
                hash,
                length,
                is_session: marker.is_some() || self.known.contains(hash),
                marker,
            }
        };
        keys.iter().map(look_up).collect()
    }

    /// Remembers versions that are served now, each with its owner's marker.
    pub(crate) fn serve<'s>(
        &self,
        served: impl Iterator<Item = (&'s Asked<'s>, &'s Arc<str>, &'s Stored)>,
        now: Serving,
    ) {
        let mut sessions = self.lock();
        for (asked, marker, stored) in served {
            sessions.serve(asked, marker, stored, now);
            if !asked.is_session {
                self.known.insert(asked.hash);
            }
        }
    }

    /// Remembers that these are sessions.
    pub(crate) fn met(&self, tokens: &[String]) {
        tokens.iter().for_each(|token| self.known.insert(self.hash(token)));
    }

    /// Remembers a version that was written: the next one may be handed it.
    pub(crate) fn wrote(&self, token: &str, marker: &Arc<str>, stored: &Stored) {
        let hash = self.hash(token);
        self.known.insert(hash);
        self.lock().change(hash, token, |entry| {
            entry.marker.get_or_insert_with(|| marker.clone());
            entry.make_latest(stored, Serving::last());
        });
    }

    /// As [`ReadLog::wrote`] of a version that was merged. Last comes what its writer wrote, which
    /// is what it will change next.
    pub(crate) fn wrote_merged(
        &self,
        token: &str,
        marker: &Arc<str>,
        written: &Stored,
        merged: &Stored,
    ) {
        self.lock().change(self.hash(token), token, |entry| {
            entry.marker.get_or_insert_with(|| marker.clone());
            entry.make_latest(merged, Serving::last());
            entry.make_latest(written, Serving::last());
            entry.merged = Some(merged.clone());
        });
    }

    /// A guess at what lies in the store, if its text is still there.
    pub(crate) fn latest(&self, token: &str) -> Option<Stored> {
        let sessions = self.lock();
        let Entry { versions, merged, .. } = sessions.get(self.hash(token), token)?;
        match (merged, &versions.last()?.content) {
            (Some(merged), _) => Some(merged.clone()),
            (None, Content::Text(stored)) => Some(stored.clone()),
            (None, Content::Digest { .. }) => None,
        }
    }

    /// What a writer may have read who writes a session half with these times: the versions that it
    /// is working on now; else those that it has seen.
    pub(crate) fn read_by(&self, token: &str, seen: Option<Seen>, times: Times) -> Reading {
        let sessions = self.lock();
        let Some(Entry { versions, .. }) = sessions.get(self.hash(token), token) else {
            return Reading::default();
        };
        let seen = seen.unwrap_or(Seen { after: Serving(u64::MAX), up_to: Serving(u64::MAX) });
        let just_served = |version: &Version| {
            version.servings.iter().any(|n| *n > seen.after && *n <= seen.up_to)
        };
        let is_certain = versions.iter().any(just_served);
        let is_known = |version: &Version| version.first <= seen.up_to;
        let knows_any = versions.iter().any(is_known);
        let mut reading = Reading { is_certain, ..Reading::default() };
        for version in versions {
            if if is_certain { just_served(version) } else { !knows_any || is_known(version) } {
                reading.handed.push(version.content.clone());
            } else if version.content.may_have(times) && is_known(version) {
                reading.earlier.push(version.content.clone());
            }
        }
        reading
    }

    /// Whether this is the token of a session that was met.
    pub(crate) fn knows(&self, token: &str) -> bool {
        self.known.contains(self.hash(token))
    }

    pub(crate) fn forget(&self, token: &str) {
        self.lock().forget(self.hash(token));
    }
}

/// What a writer may have read.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// The versions that it may have changed, the latest last.
    handed: Vec<Content>,
    /// Whether it was handed one of these just now; else these are all that it has ever been
    /// handed.
    is_certain: bool,
    /// Further versions that it was handed at some time, as far as they may have the times that it
    /// writes.
    earlier: Vec<Content>,
}

impl Reading {
    /// The writer was handed these as well, just now and after those.
    pub(crate) fn or(mut self, handed: &[Stored]) -> Self {
        if handed.is_empty() {
            return self;
        }
        let before = take(&mut self.handed);
        let is_again = |content: &Content| handed.iter().any(|later| content.is(later));
        for content in before.into_iter().filter(|content| !is_again(content)) {
            if self.is_certain { self.handed.push(content) } else { self.earlier.push(content) }
        }
        self.handed.extend(handed.iter().cloned().map(Content::Text));
        self.is_certain = true;
        self
    }

    /// Whether the writer has surely read this one just now, and writes back no session half that
    /// it read before.
    pub(crate) fn is_only(&self, stored: &Stored) -> bool {
        self.is_certain
            && self.earlier.is_empty()
            && matches!(&self.handed[..], [one] if one.is(stored))
    }

    /// The same for `merge`.
    pub(crate) fn bases(&self, token: &str) -> Bases {
        let digests = |contents: &[Content]| {
            contents.iter().filter_map(|content| content.digest(token)).collect()
        };
        Bases {
            handed: digests(&self.handed),
            is_certain: self.is_certain,
            earlier: digests(&self.earlier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ReadLog {
        fn alone() -> Self {
            ReadLog {
                store: 0,
                sessions: Arc::new(Mutex::new(Sessions::new())),
                known: Arc::new(KnownSessions::new()),
            }
        }

        fn bytes(&self) -> usize {
            let sessions = self.lock();
            sessions.whole_bytes + sessions.reduced_bytes
        }
    }

    const NO_TIMES: Times = (None, None);

    fn version(n: u32) -> Stored {
        padded("t", n, 0)
    }

    fn padded(token: &str, n: u32, bytes: usize) -> Stored {
        let filling = "x".repeat(bytes);
        Stored::record(&format!(
            r#"{{"token":"{token}","userId":"u","n":{n},"filling":"{filling}"}}"#
        ))
    }

    fn marker() -> Arc<str> {
        "revoked-sessions-before-u".into()
    }

    fn serve_as(log: &ReadLog, token: &str, stored: &Stored, now: Serving) {
        log.serve([(&log.look_up(&[token])[0], &marker(), stored)].into_iter(), now);
    }

    /// Serves version `n` and tells what a caller has seen who is handed just that.
    fn serve(log: &ReadLog, n: u32) -> Seen {
        let after = Serving::last();
        let up_to = Serving::next();
        serve_as(log, "t", &version(n), up_to);
        Seen { after, up_to }
    }

    /// Which of the first hundred versions these are.
    fn numbers(contents: &[Content]) -> Vec<u32> {
        let number =
            |content: &Content| (0..100).find(|n| content.is(&version(*n))).expect("one of them");
        contents.iter().map(number).collect()
    }

    fn handed(log: &ReadLog, seen: Option<Seen>) -> Vec<u32> {
        numbers(&log.read_by("t", seen, NO_TIMES).handed)
    }

    #[test]
    fn a_writer_is_known_by_what_it_was_handed() {
        let log = ReadLog::alone();
        let (first, second) = (serve(&log, 1), serve(&log, 2));
        assert_eq!(handed(&log, Some(first)), [1]);
        assert_eq!(handed(&log, Some(second)), [2]);
        assert_eq!(numbers(&log.read_by("t", Some(second), NO_TIMES).earlier), [1]);
        assert!(log.read_by("t", Some(second), (Some(1), None)).earlier.is_empty());
        assert_eq!(handed(&log, None), [1, 2]);
        // Handed something else meanwhile, before version 2 was served: it has seen version 1 only.
        assert_eq!(handed(&log, Some(Seen { after: first.up_to, up_to: first.up_to })), [1]);
    }

    #[test]
    fn what_was_written_is_handed_to_nobody() {
        let log = ReadLog::alone();
        let mut seen = serve(&log, 1);
        log.wrote("t", &marker(), &version(2));
        seen.up_to = Serving::next();
        serve_as(&log, "another", &padded("another", 1, 0), seen.up_to);
        assert_eq!(handed(&log, Some(seen)), [1]);
    }

    #[test]
    fn what_a_writer_wrote_comes_last_and_what_lies_there_is_what_was_merged() {
        let log = ReadLog::alone();
        serve(&log, 1);
        log.wrote_merged("t", &marker(), &version(2), &version(3));
        assert_eq!(handed(&log, None), [1, 3, 2]);
        assert_eq!(log.latest("t"), Some(version(3)));
        serve(&log, 4);
        assert_eq!(log.latest("t"), Some(version(4)));
    }

    #[test]
    fn a_version_that_comes_again_is_still_at_work() {
        let log = ReadLog::alone();
        let first = serve(&log, 1);
        log.wrote("t", &marker(), &version(2));
        log.wrote("t", &marker(), &version(1));
        let seen = Seen { up_to: serve(&log, 3).up_to, ..first };
        assert_eq!(handed(&log, Some(seen)), [1, 3]);
    }

    #[test]
    fn what_was_handed_out_beside_comes_last() {
        let log = ReadLog::alone();
        let (first, second) = (serve(&log, 1), serve(&log, 2));
        let read_by = |seen: Seen, handed: &[u32]| {
            let handed: Vec<_> = handed.iter().map(|n| version(*n)).collect();
            log.read_by("t", Some(seen), NO_TIMES).or(&handed)
        };
        assert_eq!(numbers(&read_by(second, &[]).handed), [2]);
        assert_eq!(numbers(&read_by(second, &[3]).handed), [2, 3]);
        assert_eq!(
            numbers(&read_by(Seen { after: first.after, ..second }, &[1, 3]).handed),
            [2, 1, 3]
        );
        // Of those served once only, what was handed out just now may be the base; the others were
        // read earlier.
        let reading = read_by(Seen { after: second.up_to, ..second }, &[3]);
        assert_eq!((numbers(&reading.handed), numbers(&reading.earlier)), (vec![3], vec![1, 2]));
    }

    #[test]
    fn only_the_last_few_versions_are_kept() {
        let log = ReadLog::alone();
        for n in [1, 2, 3, 2].into_iter().chain(4..66) {
            serve(&log, n);
        }
        let kept: Vec<_> = [3, 2].into_iter().chain(4..66).collect();
        assert_eq!(handed(&log, None), kept);
        assert_eq!(log.latest("t"), Some(version(65)));
        log.forget("t");
        assert_eq!(log.latest("t"), None);
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn the_bound_holds_and_the_latest_versions_outlast_texts_and_older_versions() {
        let log = ReadLog::alone();
        for n in 0..2_000 {
            let token = n.to_string();
            serve_as(&log, &token, &padded(&token, 1, 20_000), Serving::next());
            serve_as(&log, &token, &padded(&token, 2, 20_000), Serving::next());
            log.wrote(&format!("written {n}"), &marker(), &padded("t", 1, 20_000));
        }
        assert!(log.bytes() <= WHOLE_BYTES + REDUCED_BYTES);
        let kept = |token: &str| log.read_by(token, None, NO_TIMES).handed.len();
        assert_eq!((kept("1999"), kept("0")), (2, 1));
        assert_eq!((kept("written 1999"), kept("written 0")), (1, 0));
        assert!(log.latest("1999").is_some() && log.latest("0").is_none());
        assert!(log.read_by("0", None, NO_TIMES).handed[0].is(&padded("0", 2, 20_000)));
        // Then whole sessions, the least recently used first.
        for n in 2_000..100_000 {
            let token = n.to_string();
            serve_as(&log, &token, &padded(&token, 1, 0), Serving::next());
        }
        assert!(log.bytes() <= WHOLE_BYTES + REDUCED_BYTES);
        assert_eq!((kept("99999"), kept("0")), (1, 0));
    }

    #[test]
    fn the_owner_and_the_length_are_known_until_the_session_is_forgotten() {
        let log = ReadLog::alone();
        let known = |log: &ReadLog| {
            let asked = log.look_up(&["t"]).pop().expect("one");
            (asked.length, asked.marker)
        };
        assert_eq!(known(&log), (None, None));
        log.wrote("t", &marker(), &version(1));
        assert_eq!(known(&log), (Some(version(1).raw().len()), Some(marker())));
        log.forget("t");
        assert_eq!(known(&log), (None, None));
    }

    #[test]
    fn stores_share_the_memory_and_no_session() {
        let one = ReadLog::alone();
        let other = ReadLog { store: 1, sessions: one.sessions.clone(), known: one.known.clone() };
        serve(&one, 1);
        serve(&other, 2);
        assert_eq!((handed(&one, None), handed(&other, None)), (vec![1], vec![2]));
    }
}
