//! The read log: which versions of each session this process has read, so that a write can be
//! compared with what its writer had read. It also knows each session's owner, because
//! a session never changes its owner.
//!
//! A write is merged against the very version that its writer had read. So each read has a number,
//! and a write says which reads its writer has the answers of ([`ReadWindow`]). The last few
//! versions of a session are kept, because requests overlap. A version is remembered exactly, by
//! the hashes of its fields (`session/digest.rs`); only the latest may keep its text.
//!
//! One bound in bytes holds for the process, whatever the number of cores. Beyond it, the least
//! recently used sessions first lose their older versions and the text of the latest, and only then
//! are forgotten. (Those that were only written, and never read, are forgotten at once.) The writer
//! of a forgotten version has an unknown base (see `session/merge.rs`).

mod history;
mod read_number;

pub use read_number::{ReadNumber, ReadWindow};

use std::mem::take;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use crate::known_sessions::KnownSessions;
use crate::session::{Bases, Times, hash_of};
use crate::sync::Mutex;
use crate::value::Stored;
use history::{SessionHistory, SessionTables, Version, VersionContent};

/// A key that is to be read, and what the read log knows of it.
#[derive(Debug)]
pub(crate) struct KeyToRead<'k> {
    pub(crate) key: &'k str,
    /// The same for the life of the process.
    pub(crate) hash: u64,
    /// How long the session's record was when it was last read or written, in bytes; `None`: not
    /// known.
    pub(crate) length: Option<usize>,
    /// Whether it was seen to be a session.
    pub(crate) is_session: bool,
    /// The not-before marker of the session's owner; `None`: not known.
    pub(crate) marker: Option<Arc<str>>,
}

/// The read log of one store. All stores of a process share the memory.
pub(crate) struct ReadLog {
    store: u64,
    tables: Arc<Mutex<SessionTables>>,
    known: Arc<KnownSessions>,
}

impl ReadLog {
    pub(crate) fn new() -> Self {
        static TABLES: LazyLock<Arc<Mutex<SessionTables>>> =
            LazyLock::new(|| Arc::new(Mutex::new(SessionTables::new())));
        static KNOWN: LazyLock<Arc<KnownSessions>> =
            LazyLock::new(|| Arc::new(KnownSessions::new()));
        static STORES: AtomicU64 = AtomicU64::new(0);
        ReadLog {
            store: STORES.fetch_add(1, Ordering::Relaxed),
            tables: TABLES.clone(),
            known: KNOWN.clone(),
        }
    }

    /// The hash of a token, for the life of the process.
    pub(crate) fn hash(&self, token: &str) -> u64 {
        hash_of((self.store, token))
    }

    /// Looks up keys that are to be read.
    pub(crate) fn look_up<'k>(&self, keys: &[&'k str]) -> Vec<KeyToRead<'k>> {
        let tables = self.tables.lock();
        let look_up = |key: &&'k str| {
            let hash = self.hash(key);
            let history = tables.get(hash, key);
            let length =
                history.and_then(|history| Some(history.versions.last()?.content.length()));
            let marker = history.and_then(|history| history.marker.clone());
            KeyToRead {
                key,
                hash,
                length,
                is_session: marker.is_some() || self.known.contains(hash),
                marker,
            }
        };
        keys.iter().map(look_up).collect()
    }

    /// Records which versions the read `read` answers, each with its owner's marker.
    pub(crate) fn record_reads<'s>(
        &self,
        sessions: impl Iterator<Item = (&'s KeyToRead<'s>, &'s Arc<str>, &'s Stored)>,
        read: ReadNumber,
    ) {
        let mut tables = self.tables.lock();
        for (key, marker, stored) in sessions {
            tables.record_read(key.hash, key.key, marker, stored, read);
            if !key.is_session {
                self.known.insert(key.hash);
            }
        }
    }

    /// Records that these are sessions.
    pub(crate) fn record_sessions(&self, tokens: &[String]) {
        tokens.iter().for_each(|token| self.known.insert(self.hash(token)));
    }

    /// Records a version that was written: the next read may answer it.
    pub(crate) fn record_write(&self, token: &str, marker: &Arc<str>, stored: &Stored) {
        let hash = self.hash(token);
        self.known.insert(hash);
        self.tables.lock().change(hash, token, |history| {
            history.marker.get_or_insert_with(|| marker.clone());
            history.make_latest(stored, ReadNumber::last());
        });
    }

    /// As [`ReadLog::record_write`] of a version that was merged. What its writer wrote comes last,
    /// because the writer will change that next.
    pub(crate) fn record_merged_write(
        &self,
        token: &str,
        marker: &Arc<str>,
        written: &Stored,
        merged: &Stored,
    ) {
        self.tables.lock().change(self.hash(token), token, |history| {
            history.marker.get_or_insert_with(|| marker.clone());
            history.make_latest(merged, ReadNumber::last());
            history.make_latest(written, ReadNumber::last());
            history.merged = Some(merged.clone());
        });
    }

    /// The record that was stored when this process last read or wrote it, if its text is kept.
    pub(crate) fn latest_version(&self, token: &str) -> Option<Stored> {
        let tables = self.tables.lock();
        let SessionHistory { versions, merged, .. } = tables.get(self.hash(token), token)?;
        match (merged, &versions.last()?.content) {
            (Some(merged), _) => Some(merged.clone()),
            (None, VersionContent::Text(stored)) => Some(stored.clone()),
            (None, VersionContent::Digest { .. }) => None,
        }
    }

    /// The versions that a writer may have read who writes a session half with these times: those
    /// in `window`; where there is none, those that it can have read at any time. `window`: `None`
    /// when it is not known.
    pub(crate) fn versions_read_by(
        &self,
        token: &str,
        window: Option<ReadWindow>,
        times: Times,
    ) -> ReadVersions {
        let tables = self.tables.lock();
        let Some(SessionHistory { versions, .. }) = tables.get(self.hash(token), token) else {
            return ReadVersions::default();
        };
        let window =
            window.unwrap_or(ReadWindow { after: ReadNumber::MAX, up_to: ReadNumber::MAX });
        let was_just_read =
            |version: &Version| version.reads.iter().any(|read| window.contains(*read));
        let is_certain = versions.iter().any(was_just_read);
        let is_known = |version: &Version| version.known_since <= window.up_to;
        let knows_any = versions.iter().any(is_known);
        let mut read = ReadVersions { is_certain, ..ReadVersions::default() };
        for version in versions {
            let is_candidate =
                if is_certain { was_just_read(version) } else { !knows_any || is_known(version) };
            if is_candidate {
                read.candidates.push(version.content.clone());
            } else if version.content.may_have(times) && is_known(version) {
                read.earlier.push(version.content.clone());
            }
        }
        read
    }

    /// Whether this is the token of a session that was read or written.
    pub(crate) fn is_known_session(&self, token: &str) -> bool {
        self.known.contains(self.hash(token))
    }

    pub(crate) fn forget(&self, token: &str) {
        self.tables.lock().forget(self.hash(token));
    }
}

/// The versions of a session that a writer may have read.
#[derive(Debug, Default)]
pub(crate) struct ReadVersions {
    /// The versions that it may have changed, the latest last.
    candidates: Vec<VersionContent>,
    /// Whether it has just read one of the candidates; else they are all that it can have read at
    /// any time.
    is_certain: bool,
    /// Further versions that it can have read, as far as they may have the times that it writes.
    earlier: Vec<VersionContent>,
}

impl ReadVersions {
    /// Adds what the near cache has just answered to the writer, after those.
    pub(crate) fn with_cached(mut self, cached: &[Stored]) -> Self {
        if cached.is_empty() {
            return self;
        }
        let before = take(&mut self.candidates);
        let is_cached = |content: &VersionContent| cached.iter().any(|cached| content.is(cached));
        for content in before.into_iter().filter(|content| !is_cached(content)) {
            if self.is_certain {
                self.candidates.push(content);
            } else {
                self.earlier.push(content);
            }
        }
        self.candidates.extend(cached.iter().cloned().map(VersionContent::Text));
        self.is_certain = true;
        self
    }

    /// Whether the writer has surely just read this version, and writes back no session half that
    /// it read before.
    pub(crate) fn is_only(&self, stored: &Stored) -> bool {
        self.is_certain
            && self.earlier.is_empty()
            && matches!(&self.candidates[..], [one] if one.is(stored))
    }

    /// The same for a merge.
    pub(crate) fn bases(&self, token: &str) -> Bases {
        let digests = |contents: &[VersionContent]| {
            contents.iter().filter_map(|content| content.digest(token)).collect()
        };
        Bases {
            candidates: digests(&self.candidates),
            is_certain: self.is_certain,
            earlier: digests(&self.earlier),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::history::{FULL_BYTES, REDUCED_BYTES};
    use super::*;

    impl ReadLog {
        fn alone() -> Self {
            ReadLog {
                store: 0,
                tables: Arc::new(Mutex::new(SessionTables::new())),
                known: Arc::new(KnownSessions::new()),
            }
        }

        fn bytes(&self) -> usize {
            let tables = self.tables.lock();
            tables.full_bytes + tables.reduced_bytes
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

    fn read_as(log: &ReadLog, token: &str, stored: &Stored, now: ReadNumber) {
        log.record_reads([(&log.look_up(&[token])[0], &marker(), stored)].into_iter(), now);
    }

    /// Reads version `n`. Returns the window of a caller that has just this answer.
    fn read(log: &ReadLog, n: u32) -> ReadWindow {
        let after = ReadNumber::last();
        let up_to = ReadNumber::next();
        read_as(log, "t", &version(n), up_to);
        ReadWindow { after, up_to }
    }

    /// Which of the first hundred versions these are.
    fn numbers(contents: &[VersionContent]) -> Vec<u32> {
        let number = |content: &VersionContent| {
            (0..100).find(|n| content.is(&version(*n))).expect("one of them")
        };
        contents.iter().map(number).collect()
    }

    fn candidates(log: &ReadLog, window: Option<ReadWindow>) -> Vec<u32> {
        numbers(&log.versions_read_by("t", window, NO_TIMES).candidates)
    }

    #[test]
    fn the_base_is_the_version_in_the_writers_read_window() {
        let log = ReadLog::alone();
        let (first, second) = (read(&log, 1), read(&log, 2));
        assert_eq!(candidates(&log, Some(first)), [1]);
        assert_eq!(candidates(&log, Some(second)), [2]);
        assert_eq!(numbers(&log.versions_read_by("t", Some(second), NO_TIMES).earlier), [1]);
        assert!(log.versions_read_by("t", Some(second), (Some(1), None)).earlier.is_empty());
        assert_eq!(candidates(&log, None), [1, 2]);
        // A later answer without this session, from before version 2: it has read version 1 only.
        assert_eq!(
            candidates(&log, Some(ReadWindow { after: first.up_to, up_to: first.up_to })),
            [1]
        );
    }

    #[test]
    fn a_version_that_was_only_written_is_no_candidate() {
        let log = ReadLog::alone();
        let mut seen = read(&log, 1);
        log.record_write("t", &marker(), &version(2));
        seen.up_to = ReadNumber::next();
        read_as(&log, "another", &padded("another", 1, 0), seen.up_to);
        assert_eq!(candidates(&log, Some(seen)), [1]);
    }

    #[test]
    fn the_written_version_comes_last_and_the_merged_record_is_the_stored_one() {
        let log = ReadLog::alone();
        read(&log, 1);
        log.record_merged_write("t", &marker(), &version(2), &version(3));
        assert_eq!(candidates(&log, None), [1, 3, 2]);
        assert_eq!(log.latest_version("t"), Some(version(3)));
        read(&log, 4);
        assert_eq!(log.latest_version("t"), Some(version(4)));
    }

    #[test]
    fn a_version_that_comes_again_keeps_its_reads() {
        let log = ReadLog::alone();
        let first = read(&log, 1);
        log.record_write("t", &marker(), &version(2));
        log.record_write("t", &marker(), &version(1));
        let seen = ReadWindow { up_to: read(&log, 3).up_to, ..first };
        assert_eq!(candidates(&log, Some(seen)), [1, 3]);
    }

    #[test]
    fn answers_of_the_near_cache_come_last() {
        let log = ReadLog::alone();
        let (first, second) = (read(&log, 1), read(&log, 2));
        let read_by = |window: ReadWindow, cached: &[u32]| {
            let cached: Vec<_> = cached.iter().map(|n| version(*n)).collect();
            log.versions_read_by("t", Some(window), NO_TIMES).with_cached(&cached)
        };
        assert_eq!(numbers(&read_by(second, &[]).candidates), [2]);
        assert_eq!(numbers(&read_by(second, &[3]).candidates), [2, 3]);
        assert_eq!(
            numbers(&read_by(ReadWindow { after: first.after, ..second }, &[1, 3]).candidates),
            [2, 1, 3]
        );
        // Only what was just answered may be the base; the others were read earlier.
        let reading = read_by(ReadWindow { after: second.up_to, ..second }, &[3]);
        assert_eq!(
            (numbers(&reading.candidates), numbers(&reading.earlier)),
            (vec![3], vec![1, 2])
        );
    }

    #[test]
    fn only_the_last_few_versions_are_kept() {
        let log = ReadLog::alone();
        for n in [1, 2, 3, 2].into_iter().chain(4..66) {
            read(&log, n);
        }
        let kept: Vec<_> = [3, 2].into_iter().chain(4..66).collect();
        assert_eq!(candidates(&log, None), kept);
        assert_eq!(log.latest_version("t"), Some(version(65)));
        log.forget("t");
        assert_eq!(log.latest_version("t"), None);
        assert_eq!(log.bytes(), 0);
    }

    #[test]
    fn the_bound_holds_and_the_latest_versions_outlast_texts_and_older_versions() {
        let log = ReadLog::alone();
        for n in 0..2_000 {
            let token = n.to_string();
            read_as(&log, &token, &padded(&token, 1, 20_000), ReadNumber::next());
            read_as(&log, &token, &padded(&token, 2, 20_000), ReadNumber::next());
            log.record_write(&format!("written {n}"), &marker(), &padded("t", 1, 20_000));
        }
        assert!(log.bytes() <= FULL_BYTES + REDUCED_BYTES);
        let kept = |token: &str| log.versions_read_by(token, None, NO_TIMES).candidates.len();
        assert_eq!((kept("1999"), kept("0")), (2, 1));
        assert_eq!((kept("written 1999"), kept("written 0")), (1, 0));
        assert!(log.latest_version("1999").is_some() && log.latest_version("0").is_none());
        assert!(
            log.versions_read_by("0", None, NO_TIMES).candidates[0].is(&padded("0", 2, 20_000))
        );
        // Then whole sessions, the least recently used first.
        for n in 2_000..100_000 {
            let token = n.to_string();
            read_as(&log, &token, &padded(&token, 1, 0), ReadNumber::next());
        }
        assert!(log.bytes() <= FULL_BYTES + REDUCED_BYTES);
        assert_eq!((kept("99999"), kept("0")), (1, 0));
    }

    #[test]
    fn the_owner_and_the_length_are_known_until_the_session_is_forgotten() {
        let log = ReadLog::alone();
        let known = |log: &ReadLog| {
            let key = log.look_up(&["t"]).pop().expect("one");
            (key.length, key.marker)
        };
        assert_eq!(known(&log), (None, None));
        log.record_write("t", &marker(), &version(1));
        assert_eq!(known(&log), (Some(version(1).raw().len()), Some(marker())));
        log.forget("t");
        assert_eq!(known(&log), (None, None));
    }

    #[test]
    fn stores_share_the_memory_and_no_session() {
        let one = ReadLog::alone();
        let other = ReadLog { store: 1, tables: one.tables.clone(), known: one.known.clone() };
        read(&one, 1);
        read(&other, 2);
        assert_eq!((candidates(&one, None), candidates(&other, None)), (vec![1], vec![2]));
    }
}
