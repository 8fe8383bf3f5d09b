//! Ends, and writes of sessions, that could not be done because the engine was unavailable, kept
//! until it is back (option `onUnavailable: "database"`: the caller's database has the sessions
//! meanwhile).
//!
//! What must hold:
//! 1. An end that was taken over is done before anything else is read or written: whoever operates
//!    waits for [`Journal::settled`] first. So nothing that was ended meanwhile is read from the
//!    engine, whatever old data it comes back with.
//! 2. An end that was taken over is never dropped. When there is no room, puts give way, and then
//!    further ends are refused.
//! 3. A put of a session that is ended is dropped, whichever came first. What was ended stays
//!    ended.
//! 4. Bounded in bytes. Ends of keys that were never seen to be sessions have room of their own:
//!    strangers make them up, and they must not push out anything else.
//! 5. Lost with the process: then what it had taken over is not done.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::error::{Code, Error, Result};
use crate::metrics::JournalMetrics;

/// How much the journal may hold, in bytes: some 75,000 ends of sessions, and 25,000 of keys that
/// were never seen to be one.
const CAPACITY: Capacity = Capacity { known: 12 * 1024 * 1024, unknown: 4 * 1024 * 1024 };

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 100;

/// Something that is to be ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PendingEnd {
    /// A key.
    Key { key: String, number: u64 },
    /// Those of a user's sessions.
    User { user: String, before: Before, number: u64 },
}

/// Of a user's sessions, which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Before {
    /// Those created before, in ms since the epoch.
    pub(crate) created_at: i64,
    /// How long that is to be kept, in ms (`None`: for ever).
    pub(crate) ttl_ms: Option<u64>,
}

impl Before {
    /// Both of them.
    fn and(self, other: Before) -> Self {
        let ttl_ms = self.ttl_ms.zip(other.ttl_ms).map(|(a, b)| a.max(b));
        Before { created_at: self.created_at.max(other.created_at), ttl_ms }
    }

    /// Whether a session is among them. One that does not say when it was created is.
    fn includes(self, put: &PendingPut) -> bool {
        put.created_at.is_none_or(|created_at| created_at < self.created_at)
    }
}

/// A session record that is to be written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingPut {
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) user: String,
    pub(crate) created_at: Option<i64>,
    /// Life in ms from `since`.
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
    /// For whatever follows.
    known: usize,
    /// For ends of keys that were never seen to be sessions.
    unknown: usize,
}

#[derive(Default)]
struct State {
    /// Of each the number of its last taking over.
    keys: HashMap<String, u64>,
    /// Those of `keys` that were never seen to be sessions.
    unknown: HashSet<String>,
    users: HashMap<String, (u64, Before)>,
    puts: HashMap<String, (u64, PendingPut)>,
    /// The keys of `puts`, the oldest first.
    order: BTreeMap<u64, String>,
    last: u64,
    /// Without `unknown_bytes`.
    bytes: usize,
    unknown_bytes: usize,
    dropped_puts: u64,
    /// Whether somebody is seeing to it that the journal is done.
    is_replayed: bool,
}

/// How the doing stands.
#[derive(Clone, Default)]
struct Progress {
    ends: usize,
    /// How many attempts have come to an end.
    attempts: u64,
    /// Why the last one failed.
    why: Option<Error>,
}

/// The journal of one store.
pub(crate) struct Journal {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    asked: Notify,
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
            asked: Notify::new(),
            capacity,
        }
    }

    // ---- Taking over ----

    /// Takes over the end of a key; `is_session`: it was seen to be a session. Whether somebody has
    /// to begin the replay.
    pub(crate) fn end(&self, key: &str, is_session: bool) -> Result<bool> {
        let mut state = self.lock();
        if !state.keys.contains_key(key) {
            if is_session || state.puts.contains_key(key) {
                state.make_room(self.capacity.known, key)?;
            } else {
                state.make_room_for_unknown(self.capacity.unknown, key)?;
            }
        }
        state.drop_put(key);
        let number = state.next_number();
        state.keys.insert(key.to_owned(), number);
        Ok(self.taken_over(&mut state))
    }

    /// Takes over the end of a user's sessions. Whether somebody has to begin the replay.
    pub(crate) fn end_user(&self, user: &str, before: Before) -> Result<bool> {
        let mut state = self.lock();
        let before = match state.users.get(user) {
            Some((_, known)) => before.and(*known),
            None => {
                state.make_room(self.capacity.known, user)?;
                before
            }
        };
        state.drop_puts_of(user, before);
        let number = state.next_number();
        state.users.insert(user.to_owned(), (number, before));
        Ok(self.taken_over(&mut state))
    }

    fn taken_over(&self, state: &mut State) -> bool {
        self.progress.send_modify(|progress| progress.ends = state.ends());
        !std::mem::replace(&mut state.is_replayed, true)
    }

    /// Takes over the write of a session, unless it is ended or there is no room. Whether somebody
    /// has to begin the replay.
    pub(crate) fn put(&self, put: PendingPut) -> bool {
        let mut state = self.lock();
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

    /// Until no end is pending. An error when that cannot be done now.
    pub(crate) async fn settled(&self) -> Result<()> {
        let mut progress = self.progress.subscribe();
        let came = match &*progress.borrow_and_update() {
            Progress { ends: 0, .. } => return Ok(()),
            Progress { attempts, .. } => *attempts,
        };
        self.asked.notify_one();
        let told = progress.wait_for(|progress| {
            progress.ends == 0 || progress.attempts > came && progress.why.is_some()
        });
        match told.await {
            Ok(progress) if progress.ends == 0 => Ok(()),
            Ok(progress) => Err(progress.why.clone().expect("waited for")),
            Err(_) => Err(Error::new(Code::Closed, "the store was closed")),
        }
    }

    /// Whether writes of sessions are still to be done.
    pub(crate) fn has_puts(&self) -> bool {
        !self.lock().puts.is_empty()
    }

    /// Whether writes of some of these keys are still to be done.
    pub(crate) fn has_put_among<'k>(&self, mut keys: impl Iterator<Item = &'k str>) -> bool {
        let state = self.lock();
        !state.puts.is_empty() && keys.any(|key| state.puts.contains_key(key))
    }

    /// Whether writes of sessions of some of these users are still to be done.
    pub(crate) fn has_put_of(&self, users: &[&str]) -> bool {
        self.lock().puts.values().any(|(_, put)| users.contains(&put.user.as_str()))
    }

    // ---- Doing ----

    /// Ends to do, so many at most.
    pub(crate) fn ends(&self, most: usize) -> Vec<PendingEnd> {
        let state = self.lock();
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

    /// An end is done; if it was asked for once more meanwhile, that one stays.
    pub(crate) fn ended(&self, end: &PendingEnd) {
        let mut state = self.lock();
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
        let state = self.lock();
        let (_, key) = state.order.first_key_value()?;
        (state.ends() == 0).then(|| state.puts[key].clone())
    }

    /// A write is done; if there is a later one of its key, that one stays.
    pub(crate) fn written(&self, number: u64) {
        let mut state = self.lock();
        if let Some(key) = state.order.get(&number).cloned() {
            state.drop_put(&key);
        }
    }

    /// An attempt to do all has come to an end. Whether there is nothing left to do.
    pub(crate) fn attempted(&self, outcome: Result<()>) -> bool {
        let mut state = self.lock();
        let is_done = state.ends() == 0 && state.puts.is_empty();
        state.is_replayed = !is_done;
        self.progress.send_modify(|progress| {
            progress.attempts += 1;
            progress.why = outcome.err();
        });
        is_done
    }

    /// For so long, or until somebody waits for the ends.
    pub(crate) async fn pause(&self, least: Duration, most: Duration) {
        let began = tokio::time::Instant::now();
        let _ = tokio::time::timeout(most, self.asked.notified()).await;
        tokio::time::sleep_until(began + least).await;
    }

    pub(crate) fn metrics(&self) -> JournalMetrics {
        let state = self.lock();
        let (ends, puts) = (state.ends(), state.puts.len());
        JournalMetrics {
            ends,
            puts,
            bytes: state.bytes + state.unknown_bytes,
            dropped_puts: state.dropped_puts,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ends(&self) -> usize {
        self.keys.len() + self.users.len()
    }

    fn next_number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// Takes the room for an end of this name.
    fn make_room(&mut self, capacity: usize, name: &str) -> Result<()> {
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

    /// Takes the room for the end of a key that was never seen to be a session. Nothing gives way
    /// to it.
    fn make_room_for_unknown(&mut self, capacity: usize, key: &str) -> Result<()> {
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

    fn drop_puts_of(&mut self, user: &str, before: Before) {
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

    fn before(created_at: i64) -> Before {
        Before { created_at, ttl_ms: Some(1) }
    }

    /// The keys of the writes that are pending, in their order.
    fn puts(journal: &Journal) -> Vec<String> {
        journal.lock().order.values().cloned().collect()
    }

    fn unavailable() -> Error {
        Error::new(Code::Unavailable, "down")
    }

    #[test]
    fn the_first_entry_asks_for_a_replay_and_the_last_one_done_ends_it() {
        let journal = Journal::new();
        assert!(journal.end("a", true).unwrap());
        assert!(!journal.end("b", true).unwrap());
        assert!(!journal.attempted(Err(unavailable())));
        assert!(!journal.put(put("c", "u", 1)));
        journal.ends(10).iter().for_each(|end| journal.ended(end));
        let (number, _) = journal.next_put().unwrap();
        journal.written(number);
        assert!(journal.attempted(Ok(())));
        assert_eq!(
            journal.metrics(),
            JournalMetrics { ends: 0, puts: 0, bytes: 0, dropped_puts: 0 }
        );
        assert!(journal.put(put("c", "u", 1)), "the next one needs a replay again");
    }

    #[test]
    fn a_put_does_not_outlive_the_end_of_its_session_whichever_came_first() {
        let journal = Journal::new();
        journal.put(put("a", "u", 1));
        journal.put(put("b", "u", 1));
        journal.end("a", true).unwrap();
        assert_eq!(puts(&journal), ["b"]);
        journal.put(put("a", "u", 2));
        assert_eq!(puts(&journal), ["b"]);

        journal.put(put("c", "u", 9));
        journal.put(put("d", "other", 1));
        journal.end_user("u", before(5)).unwrap();
        assert_eq!(puts(&journal), ["c", "d"]);
        journal.put(put("e", "u", 4));
        journal.put(put("f", "u", 5));
        assert_eq!(puts(&journal), ["c", "d", "f"]);
        // One that does not say when it was created is among them.
        journal.put(PendingPut { created_at: None, ..put("g", "u", 0) });
        assert_eq!(puts(&journal), ["c", "d", "f"]);
    }

    #[test]
    fn ends_come_first() {
        let journal = Journal::new();
        journal.put(put("a", "u", 1));
        journal.end("b", true).unwrap();
        assert_eq!(journal.next_put(), None);
        let end = journal.ends(1).pop().unwrap();
        journal.ended(&end);
        assert_eq!(journal.next_put().unwrap().1.key, "a");
    }

    #[test]
    fn an_end_that_is_asked_for_again_while_it_is_done_stays() {
        let journal = Journal::new();
        journal.end("a", true).unwrap();
        let end = journal.ends(1).pop().unwrap();
        journal.end("a", true).unwrap();
        journal.ended(&end);
        assert_eq!(journal.metrics().ends, 1);
        let end = journal.ends(1).pop().unwrap();
        journal.ended(&end);
        assert_eq!(journal.metrics().ends, 0);
    }

    #[test]
    fn of_a_users_ends_the_latest_counts_and_the_longest_mark() {
        let journal = Journal::new();
        journal.end_user("u", Before { created_at: 9, ttl_ms: Some(1) }).unwrap();
        journal.end_user("u", before(5)).unwrap();
        journal.end_user("u", Before { created_at: 7, ttl_ms: Some(3) }).unwrap();
        let pending = || match journal.ends(10).as_slice() {
            [PendingEnd::User { before, .. }] => *before,
            other => panic!("{other:?}"),
        };
        assert_eq!(pending(), Before { created_at: 9, ttl_ms: Some(3) });
        journal.end_user("u", Before { created_at: 7, ttl_ms: None }).unwrap();
        assert_eq!(pending(), Before { created_at: 9, ttl_ms: None }, "for ever is longest");
    }

    #[test]
    fn when_there_is_no_room_puts_give_way_and_then_ends_are_refused() {
        let room_for = |entries: usize| entries * (ENTRY_BYTES + 1);
        let journal = Journal::of(Capacity { known: room_for(2) + 5, unknown: 0 });
        journal.put(put("p", "u", 1));
        journal.put(put("q", "u", 1));
        assert_eq!(puts(&journal), ["p"], "there was no room for the second");
        journal.end("a", true).unwrap();
        assert_eq!(puts(&journal), ["p"]);
        journal.end("b", true).unwrap();
        assert_eq!(puts(&journal), [""; 0]);
        assert_eq!(journal.end("c", true).unwrap_err().code, Code::Unavailable);
        journal.end("a", true).expect("it is there already");
        let metrics = journal.metrics();
        assert_eq!((metrics.ends, metrics.dropped_puts), (2, 2));
        assert!(metrics.bytes <= room_for(2) + 5);
    }

    #[test]
    fn ends_of_keys_that_were_never_sessions_push_nothing_out() {
        let room_for = |entries: usize| entries * (ENTRY_BYTES + 1);
        let journal = Journal::of(Capacity { known: room_for(3), unknown: room_for(2) });
        journal.put(put("p", "u", 1));
        journal.end("x", false).unwrap();
        journal.end("y", false).unwrap();
        assert_eq!(journal.end("z", false).unwrap_err().code, Code::Unavailable);
        journal.end("x", false).expect("it is there already");
        assert_eq!(puts(&journal), ["p"]);
        journal.end("p", false).expect("its write makes it a session");
        journal.end("a", true).unwrap();
        journal.end_user("u", before(5)).unwrap();
        assert_eq!(journal.metrics().ends, 5);
        journal.ends(10).iter().for_each(|end| journal.ended(end));
        assert_eq!(journal.metrics().bytes, 0);
        journal.end("z", false).expect("there is room again");
    }

    #[test]
    fn bytes_are_given_back() {
        let journal = Journal::new();
        journal.put(put("a", "u", 1));
        journal.put(PendingPut { value: "x".repeat(1000), ..put("a", "u", 1) });
        journal.put(put("b", "u", 1));
        journal.end_user("u", before(2)).unwrap();
        journal.end("a", true).unwrap();
        journal.ends(10).iter().for_each(|end| journal.ended(end));
        assert_eq!(journal.metrics().bytes, 0);
    }

    #[tokio::test]
    async fn who_operates_waits_for_the_ends_or_is_told_why_not() {
        let journal = Journal::new();
        journal.settled().await.unwrap();
        journal.put(put("a", "u", 1));
        journal.settled().await.expect("nobody waits for puts");
        journal.end("a", true).unwrap();
        let attempt = async {
            tokio::task::yield_now().await;
            journal.attempted(Err(unavailable()));
        };
        let (settled, ()) = tokio::join!(journal.settled(), attempt);
        assert_eq!(settled.unwrap_err().code, Code::Unavailable);
        // The failure of an attempt before does not count.
        let done = async {
            tokio::task::yield_now().await;
            let end = journal.ends(1).pop().unwrap();
            journal.ended(&end);
        };
        let (settled, ()) = tokio::join!(journal.settled(), done);
        settled.unwrap();
    }
}
