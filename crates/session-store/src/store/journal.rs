//! The journal: ends, and writes of sessions, that failed because the engine was unavailable, kept
//! until it is back (option `onUnavailable: "database"`: the caller's database has the sessions
//! meanwhile).
//!
//! What must hold:
//! 1. A pending end is done before anything else is read or written: every operation first
//!    waits in [`Journal::wait_for_ends`]. So nothing that was ended meanwhile is read from the
//!    engine, whatever old data it comes back with.
//! 2. A pending end is never dropped. When there is no room, puts are dropped, and then
//!    further ends are refused.
//! 3. A put of a session that is ended is dropped, whichever came first. What was ended stays
//!    ended.
//! 4. Bounded in bytes. Ends of keys that were never seen to be sessions have room of their own:
//!    strangers make them up, and they must not displace anything else.
//! 5. Lost with the process: then what was pending is not done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::error::{Code, Error, Result};
use crate::metrics::JournalMetrics;
use crate::sync::Mutex;

/// How much the journal may hold, in bytes: some 75,000 ends of sessions, and 25,000 of keys that
/// were never seen to be one.
const CAPACITY: Capacity = Capacity { known: 12 * 1024 * 1024, unknown: 4 * 1024 * 1024 };

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 100;

/// An end that is to be replayed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PendingEnd {
    /// A key.
    Key { key: String, number: u64 },
    /// Those of a user's sessions.
    User { user: String, before: CreatedBefore, number: u64 },
}

/// Which of a user's sessions: those created before a moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct CreatedBefore {
    /// In ms since the epoch.
    pub(crate) before: i64,
    /// The lifetime of the not-before marker in ms (`None`: for ever).
    pub(crate) ttl_ms: Option<u64>,
}

impl CreatedBefore {
    /// The sessions of both, and the longer lifetime.
    fn union(self, other: CreatedBefore) -> Self {
        let ttl_ms = self.ttl_ms.zip(other.ttl_ms).map(|(a, b)| a.max(b));
        CreatedBefore { before: self.before.max(other.before), ttl_ms }
    }

    /// Whether the session of a put is among them. One without a `createdAt` is.
    fn includes(self, put: &PendingPut) -> bool {
        put.created_at.is_none_or(|created_at| created_at < self.before)
    }
}

/// A write of a session record that is to be replayed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingPut {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) user: String,
    pub(crate) created_at: Option<i64>,
    /// Lifetime in ms from `since`.
    pub(crate) ttl_ms: Option<u64>,
    pub(crate) since: Instant,
}

impl PendingPut {
    fn weight(&self) -> usize {
        self.key.len() + self.value.len() + self.user.len() + ENTRY_BYTES
    }
}

/// In bytes.
#[derive(Clone, Copy)]
struct Capacity {
    /// For everything else.
    known: usize,
    /// For ends of keys that were never seen to be sessions.
    unknown: usize,
}

#[derive(Default)]
struct JournalState {
    /// Each with the number of its last entry.
    keys: HashMap<String, u64>,
    /// Those of `keys` that were never seen to be sessions.
    unknown: HashSet<String>,
    users: HashMap<String, (u64, CreatedBefore)>,
    puts: HashMap<String, (u64, PendingPut)>,
    /// The keys of `puts`, the oldest first.
    order: BTreeMap<u64, String>,
    last: u64,
    /// Without `unknown_bytes`.
    bytes: usize,
    unknown_bytes: usize,
    dropped_puts: u64,
    /// Whether a task replays the journal.
    is_replayed: bool,
}

/// The progress of the replay.
#[derive(Clone, Default)]
struct ReplayProgress {
    /// How many ends are pending.
    ends: usize,
    /// How many attempts have finished.
    attempts: u64,
    /// Why the last one failed.
    error: Option<Error>,
}

/// The journal of one store.
pub(crate) struct Journal {
    state: Mutex<JournalState>,
    progress: watch::Sender<ReplayProgress>,
    /// An operation waits for the pending ends.
    is_awaited: Notify,
    capacity: Capacity,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Journal::of(CAPACITY)
    }

    fn of(capacity: Capacity) -> Self {
        Journal {
            state: Mutex::default(),
            progress: watch::Sender::default(),
            is_awaited: Notify::new(),
            capacity,
        }
    }

    // ---- Adding entries ----

    /// Adds the end of a key; `is_session`: it was seen to be a session. Returns whether the caller
    /// has to start the replay.
    pub(crate) fn add_end(&self, key: &str, is_session: bool) -> Result<bool> {
        let mut state = self.state.lock();
        if !state.keys.contains_key(key) {
            if is_session || state.puts.contains_key(key) {
                state.take_room(self.capacity.known, key)?;
            } else {
                state.take_room_for_unknown(self.capacity.unknown, key)?;
            }
        }
        state.drop_put(key);
        let number = state.next_number();
        state.keys.insert(key.to_owned(), number);
        Ok(self.end_added(&mut state))
    }

    /// Adds the end of a user's sessions. Returns whether the caller has to start the replay.
    pub(crate) fn add_user_end(&self, user: &str, before: CreatedBefore) -> Result<bool> {
        let mut state = self.state.lock();
        let before = match state.users.get(user) {
            Some((_, known)) => before.union(*known),
            None => {
                state.take_room(self.capacity.known, user)?;
                before
            }
        };
        state.drop_puts_of(user, before);
        let number = state.next_number();
        state.users.insert(user.to_owned(), (number, before));
        Ok(self.end_added(&mut state))
    }

    fn end_added(&self, state: &mut JournalState) -> bool {
        self.progress.send_modify(|progress| progress.ends = state.ends());
        !std::mem::replace(&mut state.is_replayed, true)
    }

    /// Adds the write of a session, unless it is ended or there is no room. Returns whether the
    /// caller has to start the replay.
    pub(crate) fn add_put(&self, put: PendingPut) -> bool {
        let mut state = self.state.lock();
        let by_user = state.users.get(&put.user).is_some_and(|(_, before)| before.includes(&put));
        if by_user || state.keys.contains_key(&put.key) {
            return false;
        }
        state.drop_put(&put.key);
        if state.bytes + put.weight() > self.capacity.known {
            state.dropped_puts += 1;
            return false;
        }
        state.bytes += put.weight();
        let number = state.next_number();
        state.order.insert(number, put.key.clone());
        state.puts.insert(put.key.clone(), (number, put));
        !std::mem::replace(&mut state.is_replayed, true)
    }

    // ---- Waiting ----

    /// Waits until no end is pending. An error when the next attempt to replay them fails.
    pub(crate) async fn wait_for_ends(&self) -> Result<()> {
        let mut progress = self.progress.subscribe();
        let attempts_before = match &*progress.borrow_and_update() {
            ReplayProgress { ends: 0, .. } => return Ok(()),
            ReplayProgress { attempts, .. } => *attempts,
        };
        self.is_awaited.notify_one();
        let outcome = progress.wait_for(|progress| {
            progress.ends == 0 || progress.attempts > attempts_before && progress.error.is_some()
        });
        match outcome.await {
            Ok(progress) if progress.ends == 0 => Ok(()),
            Ok(progress) => Err(progress.error.clone().expect("waited for")),
            Err(_) => Err(Error::new(Code::Closed, "the store was closed")),
        }
    }

    /// Whether writes of sessions are pending.
    pub(crate) fn has_puts(&self) -> bool {
        !self.state.lock().puts.is_empty()
    }

    /// Whether writes of some of these keys are pending.
    pub(crate) fn has_put_among<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        let state = self.state.lock();
        !state.puts.is_empty() && keys.any(|key| state.puts.contains_key(key))
    }

    /// Whether writes of sessions of some of these users are pending.
    pub(crate) fn has_put_of(&self, users: &[&str]) -> bool {
        self.state.lock().puts.values().any(|(_, put)| users.contains(&put.user.as_str()))
    }

    // ---- Replaying ----

    /// Pending ends, `most` at most.
    pub(crate) fn ends(&self, most: usize) -> Vec<PendingEnd> {
        let state = self.state.lock();
        let keys = state
            .keys
            .iter()
            .map(|(key, number)| PendingEnd::Key { key: key.clone(), number: *number });
        let users = state.users.iter().map(|(user, (number, before))| PendingEnd::User {
            user: user.clone(),
            before: *before,
            number: *number,
        });
        keys.chain(users).take(most).collect()
    }

    /// Removes an end that is done, unless it was added again meanwhile.
    pub(crate) fn remove_end(&self, end: &PendingEnd) {
        let mut state = self.state.lock();
        let (name, is_last) = match end {
            PendingEnd::Key { key, number } => (key, state.keys.get(key) == Some(number)),
            PendingEnd::User { user, number, .. } => {
                (user, state.users.get(user).is_some_and(|(n, _)| n == number))
            }
        };
        if is_last {
            match end {
                PendingEnd::Key { .. } => _ = state.keys.remove(name),
                PendingEnd::User { .. } => _ = state.users.remove(name),
            }
            if state.unknown.remove(name) {
                state.unknown_bytes -= weight(name);
            } else {
                state.bytes -= weight(name);
            }
        }
        self.progress.send_modify(|progress| progress.ends = state.ends());
    }

    /// The oldest write, when no end is pending.
    pub(crate) fn next_put(&self) -> Option<(u64, PendingPut)> {
        let state = self.state.lock();
        let (_, key) = state.order.first_key_value()?;
        (state.ends() == 0).then(|| state.puts[key].clone())
    }

    /// Removes a write that is done, unless there is a later one of its key.
    pub(crate) fn remove_put(&self, number: u64) {
        let mut state = self.state.lock();
        if let Some(key) = state.order.get(&number).cloned() {
            state.drop_put(&key);
        }
    }

    /// Records that an attempt to replay everything has finished. Returns whether nothing is pending.
    pub(crate) fn finish_attempt(&self, outcome: Result<()>) -> bool {
        let mut state = self.state.lock();
        let is_done = state.ends() == 0 && state.puts.is_empty();
        state.is_replayed = !is_done;
        self.progress.send_modify(|progress| {
            progress.attempts += 1;
            progress.error = outcome.err();
        });
        is_done
    }

    /// Waits for `most`, or until an operation waits for the ends, but `least` at least.
    pub(crate) async fn pause(&self, least: Duration, most: Duration) {
        let began = tokio::time::Instant::now();
        let _ = tokio::time::timeout(most, self.is_awaited.notified()).await;
        tokio::time::sleep_until(began + least).await;
    }

    pub(crate) fn metrics(&self) -> JournalMetrics {
        let state = self.state.lock();
        let (ends, puts) = (state.ends(), state.puts.len());
        JournalMetrics {
            ends,
            puts,
            bytes: state.bytes + state.unknown_bytes,
            dropped_puts: state.dropped_puts,
        }
    }
}

impl JournalState {
    fn ends(&self) -> usize {
        self.keys.len() + self.users.len()
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes the room for the end of a key or a user.
    fn take_room(&mut self, capacity: usize, name: &str) -> Result<()> {
        while self.bytes + weight(name) > capacity {
            let Some(oldest) = self.order.first_key_value().map(|(_, key)| key.clone()) else {
                return Err(full());
            };
            self.drop_put(&oldest);
            self.dropped_puts += 1;
        }
        self.bytes += weight(name);
        Ok(())
    }

    /// Takes the room for the end of a key that was never seen to be a session. No other entry is
    /// dropped for it.
    fn take_room_for_unknown(&mut self, capacity: usize, key: &str) -> Result<()> {
        if self.unknown_bytes + weight(key) > capacity {
            return Err(full());
        }
        self.unknown_bytes += weight(key);
        self.unknown.insert(key.to_owned());
        Ok(())
    }

    fn drop_put(&mut self, key: &str) {
        if let Some((number, put)) = self.puts.remove(key) {
            self.order.remove(&number);
            self.bytes -= put.weight();
        }
    }

    fn drop_puts_of(&mut self, user: &str, before: CreatedBefore) {
        let is_ended = |put: &&PendingPut| put.user == user && before.includes(put);
        let ended: Vec<_> = self
            .puts
            .values()
            .map(|(_, put)| put)
            .filter(is_ended)
            .map(|put| put.key.clone())
            .collect();
        ended.iter().for_each(|key| self.drop_put(key));
    }
}

fn full() -> Error {
    Error::new(
        Code::Unavailable,
        "Redis cannot be reached, and the journal of ends that it does not know yet is full",
    )
}

fn weight(name: &str) -> usize {
    name.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, user: &str, created_at: i64) -> PendingPut {
        PendingPut {
            key: key.to_owned(),
            value: "{}".to_owned(),
            user: user.to_owned(),
            created_at: Some(created_at),
            ttl_ms: None,
            since: Instant::now(),
        }
    }

    fn before(created_at: i64) -> CreatedBefore {
        CreatedBefore { before: created_at, ttl_ms: Some(1) }
    }

    /// The keys of the writes that are pending, in their order.
    fn puts(journal: &Journal) -> Vec<String> {
        journal.state.lock().order.values().cloned().collect()
    }

    fn unavailable() -> Error {
        Error::new(Code::Unavailable, "down")
    }

    #[test]
    fn the_first_entry_starts_a_replay_and_the_last_one_removed_ends_it() {
        let journal = Journal::new();
        assert!(journal.add_end("a", true).unwrap());
        assert!(!journal.add_end("b", true).unwrap());
        assert!(!journal.finish_attempt(Err(unavailable())));
        assert!(!journal.add_put(put("c", "u", 1)));
        journal.ends(10).iter().for_each(|end| journal.remove_end(end));
        let (number, _) = journal.next_put().unwrap();
        journal.remove_put(number);
        assert!(journal.finish_attempt(Ok(())));
        assert_eq!(
            journal.metrics(),
            JournalMetrics { ends: 0, puts: 0, bytes: 0, dropped_puts: 0 }
        );
        assert!(journal.add_put(put("c", "u", 1)), "the next one needs a replay again");
    }

    #[test]
    fn a_put_does_not_outlive_the_end_of_its_session_whichever_came_first() {
        let journal = Journal::new();
        journal.add_put(put("a", "u", 1));
        journal.add_put(put("b", "u", 1));
        journal.add_end("a", true).unwrap();
        assert_eq!(puts(&journal), ["b"]);
        journal.add_put(put("a", "u", 2));
        assert_eq!(puts(&journal), ["b"]);

        journal.add_put(put("c", "u", 9));
        journal.add_put(put("d", "other", 1));
        journal.add_user_end("u", before(5)).unwrap();
        assert_eq!(puts(&journal), ["c", "d"]);
        journal.add_put(put("e", "u", 4));
        journal.add_put(put("f", "u", 5));
        assert_eq!(puts(&journal), ["c", "d", "f"]);
        // One that does not say when it was created is among them.
        journal.add_put(PendingPut { created_at: None, ..put("g", "u", 0) });
        assert_eq!(puts(&journal), ["c", "d", "f"]);
    }

    #[test]
    fn ends_come_first() {
        let journal = Journal::new();
        journal.add_put(put("a", "u", 1));
        journal.add_end("b", true).unwrap();
        assert_eq!(journal.next_put(), None);
        let end = journal.ends(1).pop().unwrap();
        journal.remove_end(&end);
        assert_eq!(journal.next_put().unwrap().1.key, "a");
    }

    #[test]
    fn an_end_that_is_added_again_while_it_is_replayed_stays() {
        let journal = Journal::new();
        journal.add_end("a", true).unwrap();
        let end = journal.ends(1).pop().unwrap();
        journal.add_end("a", true).unwrap();
        journal.remove_end(&end);
        assert_eq!(journal.metrics().ends, 1);
        let end = journal.ends(1).pop().unwrap();
        journal.remove_end(&end);
        assert_eq!(journal.metrics().ends, 0);
    }

    #[test]
    fn of_a_users_ends_the_latest_counts_and_the_longest_marker() {
        let journal = Journal::new();
        journal.add_user_end("u", CreatedBefore { before: 9, ttl_ms: Some(1) }).unwrap();
        journal.add_user_end("u", before(5)).unwrap();
        journal.add_user_end("u", CreatedBefore { before: 7, ttl_ms: Some(3) }).unwrap();
        let pending = || match journal.ends(10).as_slice() {
            [PendingEnd::User { before, .. }] => *before,
            other => panic!("{other:?}"),
        };
        assert_eq!(pending(), CreatedBefore { before: 9, ttl_ms: Some(3) });
        journal.add_user_end("u", CreatedBefore { before: 7, ttl_ms: None }).unwrap();
        assert_eq!(pending(), CreatedBefore { before: 9, ttl_ms: None }, "for ever is longest");
    }

    #[test]
    fn without_room_puts_are_dropped_and_then_ends_are_refused() {
        let room_for = |entries: usize| entries * (ENTRY_BYTES + 1);
        let journal = Journal::of(Capacity { known: room_for(2) + 5, unknown: 0 });
        journal.add_put(put("p", "u", 1));
        journal.add_put(put("q", "u", 1));
        assert_eq!(puts(&journal), ["p"], "there was no room for the second");
        journal.add_end("a", true).unwrap();
        assert_eq!(puts(&journal), ["p"]);
        journal.add_end("b", true).unwrap();
        assert_eq!(puts(&journal), [""; 0]);
        assert_eq!(journal.add_end("c", true).unwrap_err().code, Code::Unavailable);
        journal.add_end("a", true).expect("it is there already");
        let metrics = journal.metrics();
        assert_eq!((metrics.ends, metrics.dropped_puts), (2, 2));
        assert!(metrics.bytes <= room_for(2) + 5);
    }

    #[test]
    fn ends_of_keys_that_were_never_sessions_drop_no_other_entry() {
        let room_for = |entries: usize| entries * (ENTRY_BYTES + 1);
        let journal = Journal::of(Capacity { known: room_for(3), unknown: room_for(2) });
        journal.add_put(put("p", "u", 1));
        journal.add_end("x", false).unwrap();
        journal.add_end("y", false).unwrap();
        assert_eq!(journal.add_end("z", false).unwrap_err().code, Code::Unavailable);
        journal.add_end("x", false).expect("it is there already");
        assert_eq!(puts(&journal), ["p"]);
        journal.add_end("p", false).expect("its write makes it a session");
        journal.add_end("a", true).unwrap();
        journal.add_user_end("u", before(5)).unwrap();
        assert_eq!(journal.metrics().ends, 5);
        journal.ends(10).iter().for_each(|end| journal.remove_end(end));
        assert_eq!(journal.metrics().bytes, 0);
        journal.add_end("z", false).expect("there is room again");
    }

    #[test]
    fn bytes_of_removed_entries_are_free_again() {
        let journal = Journal::new();
        journal.add_put(put("a", "u", 1));
        journal.add_put(PendingPut { value: "x".repeat(1000), ..put("a", "u", 1) });
        journal.add_put(put("b", "u", 1));
        journal.add_user_end("u", before(2)).unwrap();
        journal.add_end("a", true).unwrap();
        journal.ends(10).iter().for_each(|end| journal.remove_end(end));
        assert_eq!(journal.metrics().bytes, 0);
    }

    #[tokio::test]
    async fn operations_wait_for_the_ends_or_get_the_reason_why_not() {
        let journal = Journal::new();
        journal.wait_for_ends().await.unwrap();
        journal.add_put(put("a", "u", 1));
        journal.wait_for_ends().await.expect("no operation waits for puts");
        journal.add_end("a", true).unwrap();
        let attempt = async {
            tokio::task::yield_now().await;
            journal.finish_attempt(Err(unavailable()));
        };
        let (settled, ()) = tokio::join!(journal.wait_for_ends(), attempt);
        assert_eq!(settled.unwrap_err().code, Code::Unavailable);
        // The failure of an attempt before does not count.
        let done = async {
            tokio::task::yield_now().await;
            let end = journal.ends(1).pop().unwrap();
            journal.remove_end(&end);
        };
        let (settled, ()) = tokio::join!(journal.wait_for_ends(), done);
        settled.unwrap();
    }
}
