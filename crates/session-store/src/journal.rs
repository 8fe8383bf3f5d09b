//! Ends, and writes of sessions, that could not be done because the engine was unavailable, kept until it is back (option
//! `onUnavailable: "database"`: the caller's database has the sessions meanwhile).
//!
//! What must hold:
//! 1. An end that was taken over is done before anything else is read or written: whoever operates waits for [`Journal::settled`] first.
//!    So nothing that was ended meanwhile is read from the engine, whatever old data it comes back with.
//! 2. An end that was taken over is never dropped. When there is no room, puts give way, and then further ends are refused.
//! 3. A put of a session that is ended is dropped, whichever came first. What was ended stays ended.
//! 4. Bounded in bytes. Lost with the process: then what it had taken over is not done.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{Notify, watch};

use crate::error::{Code, Error, Result};

/// How much the journal may hold, in bytes: some 100,000 ends.
const CAPACITY_BYTES: usize = 16 * 1024 * 1024;

/// What an entry takes beside its texts.
const ENTRY_BYTES: usize = 100;

/// Something that is to be ended, as it was taken over; a later one of the same name has a higher number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingEnd {
    pub(crate) what: Ending,
    number: u64,
}

/// What is to be ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ending {
    /// A key.
    Key(String),
    /// A user's sessions.
    User(String),
}

/// Of a user's sessions, which.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Before {
    /// Those created before, in ms since the epoch.
    pub(crate) created_at: i64,
    /// Whether that is to be written down, and for how long in ms (`None`: for ever).
    pub(crate) mark: Option<Option<u64>>,
}

impl Before {
    /// Both of them.
    fn and(self, other: Before) -> Self {
        let mark = match (self.mark, other.mark) {
            (Some(a), Some(b)) => Some(a.zip(b).map(|(a, b)| a.max(b))),
            (a, b) => a.or(b),
        };
        Before { created_at: self.created_at.max(other.created_at), mark }
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

#[derive(Default)]
struct State {
    ends: HashMap<Ending, (u64, Option<Before>)>,
    puts: HashMap<String, (u64, PendingPut)>,
    /// The keys of `puts`, the oldest first.
    order: BTreeMap<u64, String>,
    last: u64,
    bytes: usize,
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

/// What the journal holds, for whoever looks at it.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalMetrics {
    ends: usize,
    puts: usize,
    bytes: usize,
    dropped_puts: u64,
}

/// The journal of one store.
pub(crate) struct Journal {
    state: Mutex<State>,
    progress: watch::Sender<Progress>,
    asked: Notify,
    capacity: usize,
}

impl Journal {
    pub(crate) fn new() -> Self {
        Journal::of(CAPACITY_BYTES)
    }

    fn of(capacity: usize) -> Self {
        Journal { state: Mutex::default(), progress: watch::Sender::default(), asked: Notify::new(), capacity }
    }

    /// Whether an error says that the engine cannot answer.
    pub(crate) fn is_outage(error: &Error) -> bool {
        matches!(error.code, Code::Unavailable | Code::Timeout | Code::ReadOnly | Code::Auth | Code::Tls)
    }

    // ---- Taking over ----

    /// Takes over the end of a key. Whether somebody has to begin the replay.
    pub(crate) fn end(&self, key: &str) -> Result<bool> {
        self.take_over(Ending::Key(key.to_owned()), None)
    }

    /// Takes over the end of a user's sessions. Whether somebody has to begin the replay.
    pub(crate) fn end_user(&self, user: &str, before: Before) -> Result<bool> {
        self.take_over(Ending::User(user.to_owned()), Some(before))
    }

    fn take_over(&self, what: Ending, before: Option<Before>) -> Result<bool> {
        let mut state = self.lock();
        let weight = weight(&what);
        let known = state.ends.get(&what).map(|(_, known)| *known);
        if known.is_none() {
            while state.bytes + weight > self.capacity {
                if !state.drop_oldest_put() {
                    let what = "Redis cannot be reached, and the journal of ends that it does not know yet is full";
                    return Err(Error::new(Code::Unavailable, what));
                }
            }
            state.bytes += weight;
        }
        let before = match (before, known.flatten()) {
            (Some(new), Some(old)) => Some(new.and(old)),
            (new, old) => new.or(old),
        };
        state.drop_puts_ended_by(&what, before);
        state.last += 1;
        let number = state.last;
        state.ends.insert(what, (number, before));
        self.progress.send_modify(|progress| progress.ends = state.ends.len());
        Ok(!std::mem::replace(&mut state.is_replayed, true))
    }

    /// Takes over the write of a session, unless it is ended or there is no room. Whether somebody has to begin the replay.
    pub(crate) fn put(&self, put: PendingPut) -> bool {
        let mut state = self.lock();
        let by_user = state.ends.get(&Ending::User(put.user.clone())).and_then(|(_, before)| *before);
        let is_ended = state.ends.contains_key(&Ending::Key(put.key.clone()))
            || by_user.is_some_and(|before| is_before(put.created_at, before));
        if is_ended {
            return false;
        }
        state.drop_put(&put.key.clone());
        if state.bytes + put.weight() > self.capacity {
            state.dropped_puts += 1;
            return false;
        }
        state.bytes += put.weight();
        state.last += 1;
        let number = state.last;
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
        let told =
            progress.wait_for(|progress| progress.ends == 0 || progress.attempts > came && progress.why.is_some());
        match told.await {
            Ok(progress) if progress.ends == 0 => Ok(()),
            Ok(progress) => Err(progress.why.clone().expect("waited for")),
            Err(_) => Err(Error::new(Code::Closed, "the store was closed")),
        }
    }

    // ---- Doing ----

    /// Ends to do, so many at most.
    pub(crate) fn ends(&self, most: usize) -> Vec<(PendingEnd, Option<Before>)> {
        let state = self.lock();
        let pending = |(what, (number, before)): (&Ending, &(u64, Option<Before>))| {
            (PendingEnd { what: what.clone(), number: *number }, *before)
        };
        state.ends.iter().take(most).map(pending).collect()
    }

    /// An end is done; if it was asked for once more meanwhile, that one stays.
    pub(crate) fn ended(&self, end: &PendingEnd) {
        let mut state = self.lock();
        if state.ends.get(&end.what).is_some_and(|(number, _)| *number == end.number) {
            state.ends.remove(&end.what);
            state.bytes -= weight(&end.what);
        }
        self.progress.send_modify(|progress| progress.ends = state.ends.len());
    }

    /// The oldest write, when no end is pending.
    pub(crate) fn next_put(&self) -> Option<(u64, PendingPut)> {
        let state = self.lock();
        let (_, key) = state.order.first_key_value()?;
        state.ends.is_empty().then(|| state.puts[key].clone())
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
        let is_done = state.ends.is_empty() && state.puts.is_empty();
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
        let State { ends, puts, bytes, dropped_puts, .. } = &*self.lock();
        JournalMetrics { ends: ends.len(), puts: puts.len(), bytes: *bytes, dropped_puts: *dropped_puts }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether there was one.
    fn drop_oldest_put(&mut self) -> bool {
        let Some(key) = self.order.first_key_value().map(|(_, key)| key.clone()) else { return false };
        self.drop_put(&key);
        self.dropped_puts += 1;
        true
    }

    fn drop_put(&mut self, key: &str) {
        if let Some((number, put)) = self.puts.remove(key) {
            self.order.remove(&number);
            self.bytes -= put.weight();
        }
    }

    fn drop_puts_ended_by(&mut self, what: &Ending, before: Option<Before>) {
        let ended: Vec<_> = match (what, before) {
            (Ending::Key(key), _) => vec![key.clone()],
            (Ending::User(user), Some(before)) => {
                let is_ended = |put: &&PendingPut| put.user == *user && is_before(put.created_at, before);
                self.puts.values().map(|(_, put)| put).filter(is_ended).map(|put| put.key.clone()).collect()
            }
            (Ending::User(_), None) => Vec::new(),
        };
        ended.iter().for_each(|key| self.drop_put(key));
    }
}

fn weight(what: &Ending) -> usize {
    let (Ending::Key(name) | Ending::User(name)) = what;
    name.len() + ENTRY_BYTES
}

/// Whether a session is among those that were created before.
fn is_before(created_at: Option<i64>, before: Before) -> bool {
    created_at.is_none_or(|created_at| created_at < before.created_at)
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
        Before { created_at, mark: None }
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
        assert!(journal.end("a").unwrap());
        assert!(!journal.end("b").unwrap());
        assert!(!journal.attempted(Err(unavailable())));
        assert!(!journal.put(put("c", "u", 1)));
        for (end, _) in journal.ends(10) {
            journal.ended(&end);
        }
        let (number, _) = journal.next_put().unwrap();
        journal.written(number);
        assert!(journal.attempted(Ok(())));
        assert_eq!(journal.metrics(), JournalMetrics { ends: 0, puts: 0, bytes: 0, dropped_puts: 0 });
        assert!(journal.put(put("c", "u", 1)), "the next one needs a replay again");
    }

    #[test]
    fn a_put_does_not_outlive_the_end_of_its_session_whichever_came_first() {
        let journal = Journal::new();
        journal.put(put("a", "u", 1));
        journal.put(put("b", "u", 1));
        journal.end("a").unwrap();
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
        journal.end("b").unwrap();
        assert_eq!(journal.next_put(), None);
        let (end, _) = journal.ends(1).pop().unwrap();
        journal.ended(&end);
        assert_eq!(journal.next_put().unwrap().1.key, "a");
    }

    #[test]
    fn an_end_that_is_asked_for_again_while_it_is_done_stays() {
        let journal = Journal::new();
        journal.end("a").unwrap();
        let (end, _) = journal.ends(1).pop().unwrap();
        journal.end("a").unwrap();
        journal.ended(&end);
        assert_eq!(journal.metrics().ends, 1);
        let (end, _) = journal.ends(1).pop().unwrap();
        journal.ended(&end);
        assert_eq!(journal.metrics().ends, 0);
    }

    #[test]
    fn of_a_users_ends_the_latest_counts_and_the_longest_mark() {
        let journal = Journal::new();
        journal.end_user("u", Before { created_at: 9, mark: Some(Some(1)) }).unwrap();
        journal.end_user("u", before(5)).unwrap();
        journal.end_user("u", Before { created_at: 7, mark: Some(Some(3)) }).unwrap();
        let ends = journal.ends(10);
        assert_eq!(ends.len(), 1);
        assert_eq!(ends[0].1, Some(Before { created_at: 9, mark: Some(Some(3)) }));
        journal.end_user("u", Before { created_at: 7, mark: Some(None) }).unwrap();
        assert_eq!(journal.ends(10)[0].1, Some(Before { created_at: 9, mark: Some(None) }), "for ever is longest");
    }

    #[test]
    fn when_there_is_no_room_puts_give_way_and_then_ends_are_refused() {
        let room_for = |entries: usize| entries * (ENTRY_BYTES + 1);
        let journal = Journal::of(room_for(2) + 5);
        journal.put(put("p", "u", 1));
        journal.put(put("q", "u", 1));
        assert_eq!(puts(&journal), ["p"], "there was no room for the second");
        journal.end("a").unwrap();
        assert_eq!(puts(&journal), ["p"]);
        journal.end("b").unwrap();
        assert_eq!(puts(&journal), [""; 0]);
        assert_eq!(journal.end("c").unwrap_err().code, Code::Unavailable);
        journal.end("a").expect("it is there already");
        let metrics = journal.metrics();
        assert_eq!((metrics.ends, metrics.dropped_puts), (2, 2));
        assert!(metrics.bytes <= room_for(2) + 5);
    }

    #[test]
    fn bytes_are_given_back() {
        let journal = Journal::new();
        journal.put(put("a", "u", 1));
        journal.put(PendingPut { value: "x".repeat(1000), ..put("a", "u", 1) });
        journal.put(put("b", "u", 1));
        journal.end_user("u", before(2)).unwrap();
        journal.end("a").unwrap();
        journal.ends(10).iter().for_each(|(end, _)| journal.ended(end));
        assert_eq!(journal.metrics().bytes, 0);
    }

    #[tokio::test]
    async fn who_operates_waits_for_the_ends_or_is_told_why_not() {
        let journal = Journal::new();
        journal.settled().await.unwrap();
        journal.put(put("a", "u", 1));
        journal.settled().await.expect("nobody waits for puts");
        journal.end("a").unwrap();
        let attempt = async {
            tokio::task::yield_now().await;
            journal.attempted(Err(unavailable()));
        };
        let (settled, ()) = tokio::join!(journal.settled(), attempt);
        assert_eq!(settled.unwrap_err().code, Code::Unavailable);
        // The failure of an attempt before does not count.
        let done = async {
            tokio::task::yield_now().await;
            let (end, _) = journal.ends(1).pop().unwrap();
            journal.ended(&end);
        };
        let (settled, ()) = tokio::join!(journal.settled(), done);
        settled.unwrap();
    }
}
