//! What becomes of operations while the engine cannot answer, when the caller's database has the
//! sessions too: see `store/journal.rs`.
//!
//! Ends, and writes of session records, are taken over and done later. Reads fail as ever: whoever
//! has a database turns to it. `increment` and `take` fail as well: what must happen at most once
//! cannot be promised for later. So does the write of any other value: it lies in no database, and
//! whoever needs it later would not find it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::arguments::{check_key, may_be_session, ttl_ms};
use super::journal::{Before, Journal, PendingEnd, PendingPut};
use super::state::{Connected, Store};
use crate::api::{Command, Reply};
use crate::engine::{Create, Engine};
use crate::error::{Code, Error, Result};
use crate::events::EventKind;
use crate::guarded::again_after_panics;
use crate::keys::{LIST_PREFIX, MARKER_PREFIX, MAX_TOKEN_BYTES};
use crate::near_cache::Flush;
use crate::session::Record;

/// How many ends are done together.
const IDS_PER_STEP: usize = 500;

/// Between two attempts to do what is pending: at least, and at most.
const LEAST_PAUSE: Duration = Duration::from_millis(50);
const PAUSE: Duration = Duration::from_secs(1);

/// What an operation leaves to be done later, should it fail.
pub(super) enum Kept {
    Nothing,
    /// It has nothing to do where Redis cannot be reached.
    Housekeeping,
    End {
        key: String,
        /// Whether it was seen to be a session.
        is_session: bool,
    },
    EndUser(String, Before),
    Put(PendingPut),
}

impl<E: Engine> Store<E> {
    /// What is to be kept of a command. Nothing, when it would be refused anyway.
    pub(super) fn kept(&self, command: &Command) -> Kept {
        if self.journal.is_none() {
            return Kept::Nothing;
        }
        match command {
            Command::Delete { key } => self.kept_end(key),
            Command::Set { key, value, ttl, .. } => self.kept_set(key, value, *ttl),
            _ => Kept::Nothing,
        }
    }

    fn kept_set(&self, key: &str, value: &str, ttl: Option<f64>) -> Kept {
        let Ok(ttl_ms) = ttl.map(ttl_ms).transpose() else { return Kept::Nothing };
        if check_key("key", key).is_err() {
            return Kept::Nothing;
        }
        if ttl_ms == Some(0) {
            return self.kept_end(key);
        }
        if let Some(user) = key.strip_prefix(MARKER_PREFIX)
            && let Ok(created_at) = value.parse()
        {
            return Kept::EndUser(user.to_owned(), Before { created_at, ttl_ms });
        }
        let Some(record) = Record::parse(key, value).filter(|_| may_be_session(key)) else {
            return Kept::Nothing;
        };
        Kept::Put(PendingPut {
            key: key.to_owned(),
            value: value.to_owned(),
            user: record.user_id.clone(),
            created_at: record.created_at(),
            ttl_ms,
            since: Instant::now(),
        })
    }

    /// Takes over what a command has failed to do.
    pub(super) fn keep(self: &Arc<Self>, kept: Kept, outcome: Result<Reply>) -> Result<Reply> {
        let (Some(journal), Err(error)) = (&self.journal, &outcome) else { return outcome };
        if !error.code.is_outage() {
            return outcome;
        }
        let begins = match kept {
            Kept::Nothing => return outcome,
            Kept::Housekeeping => return Ok(Reply::Nothing),
            Kept::End { key, is_session } => {
                let begins = journal.end(&key, is_session)?;
                // From now on it is ended for whoever asks; what a read that began before brings is
                // not kept.
                self.read_log.forget(&key);
                drop(self.writing(&key));
                begins
            }
            Kept::EndUser(user, before) => {
                let begins = journal.end_user(&user, before)?;
                if let Some(cache) = &self.cache {
                    cache.flush(Flush::Uncertain);
                }
                begins
            }
            Kept::Put(put) => {
                let (key, user) = (put.key.clone(), put.user.clone());
                if journal.put(put) {
                    self.begin_replay();
                }
                // What a read that began before brings is older.
                drop(self.writing(&key));
                return Ok(Reply::UserWritten(user));
            }
        };
        if begins {
            self.begin_replay();
        }
        Ok(Reply::Nothing)
    }

    fn begin_replay(self: &Arc<Self>) {
        let store = Arc::downgrade(self);
        tokio::spawn(again_after_panics(move || replay(store.clone())));
    }

    /// A list of a user's sessions and the time of their last end are named by strangers too, as
    /// tokens: to delete one says nothing of the user's sessions. (When Better Auth ends them, it
    /// deletes what lib/outage-session-list.ts has listed.)
    fn kept_end(&self, key: &str) -> Kept {
        if key.starts_with(LIST_PREFIX) || key.starts_with(MARKER_PREFIX) {
            Kept::Housekeeping
        } else if key.len() > MAX_TOKEN_BYTES || check_key("key", key).is_err() {
            Kept::Nothing
        } else {
            Kept::End { key: key.to_owned(), is_session: self.read_log.knows(key) }
        }
    }

    /// Until everything that was taken over as ended is ended; an error when that cannot be done
    /// now. Nothing is read or written before.
    pub(super) async fn settled(&self) -> Result<()> {
        match &self.journal {
            Some(journal) => timeout(self.command_timeout, journal.settled())
                .await
                .unwrap_or_else(|_| Err(Error::timed_out(self.command_timeout, None))),
            None => Ok(()),
        }
    }

    /// As [`Store::settled`], for a read of these keys: an error as well when the write of one is
    /// still to be done. A server that takes no writes would answer what is older than what the
    /// database has.
    pub(super) async fn settled_for<'k>(
        &self,
        keys: impl Iterator<Item = &'k str> + Send,
    ) -> Result<()> {
        self.settled().await?;
        self.unless_pending(|journal| journal.has_put_among(keys))
    }

    /// The same for the list of these users' sessions, in which one that is still to be written
    /// would be missing.
    pub(super) async fn settled_for_users(&self, users: &[&str]) -> Result<()> {
        self.settled().await?;
        self.unless_pending(|journal| journal.has_put_of(users))
    }

    fn unless_pending(&self, is_pending: impl FnOnce(&Journal) -> bool) -> Result<()> {
        match &self.journal {
            Some(journal) if is_pending(journal) => {
                let what = "Redis takes no writes: that of a session is still to be done, and the database has what is newer";
                Err(Error::new(Code::Unavailable, what))
            }
            _ => Ok(()),
        }
    }

    /// Does what is pending, ends first.
    async fn catch_up(self: &Arc<Self>, journal: &Journal) -> Result<()> {
        loop {
            let ends = journal.ends(IDS_PER_STEP);
            if ends.is_empty() {
                let Some((number, put)) = journal.next_put() else { return Ok(()) };
                self.finish(self.in_time(self.put_late(&put)).await, || journal.written(number))?;
                continue;
            }
            let outcomes = join_all(ends.iter().map(|end| self.in_time(self.end_late(end)))).await;
            let finish = |(end, outcome)| self.finish(outcome, || journal.ended(end));
            // Each of them, also after one that failed.
            let finished: Vec<_> = ends.iter().zip(outcomes).map(finish).collect();
            finished.into_iter().collect::<Result<()>>()?;
        }
    }

    /// One of them is done, or will never be: then that is told.
    fn finish(&self, outcome: Result<()>, done: impl FnOnce()) -> Result<()> {
        match outcome {
            Err(error) if error.code.is_outage() => return Err(error),
            Err(error) => {
                if let Some(Connected { events, .. }) = &self.connected {
                    events.tell(
                        EventKind::Degraded,
                        format!("what was kept during an outage is refused: {error}"),
                    );
                }
            }
            Ok(()) => {}
        }
        done();
        Ok(())
    }

    async fn end_late(&self, end: &PendingEnd) -> Result<()> {
        match end {
            PendingEnd::Key { key, .. } => self.end(key).await,
            PendingEnd::User { user, before: Before { created_at, ttl_ms }, .. } => {
                self.revoke_before(user, *created_at, *ttl_ms).await
            }
        }
    }

    async fn put_late(self: &Arc<Self>, put: &PendingPut) -> Result<()> {
        let late = u64::try_from(put.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ttl_ms = put.ttl_ms.map(|ttl_ms| ttl_ms.saturating_sub(late));
        let Some(record) = Record::parse(&put.key, &put.value) else { return Ok(()) };
        let create = record.created_at().map_or(Create::Never, Create::Young);
        self.put(&put.key, &record, ttl_ms, create, None).await.map(drop)
    }
}

/// Does what is pending, again and again, until all is done or nobody holds the store.
async fn replay<E: Engine>(store: Weak<Store<E>>) {
    loop {
        let Some(held) = store.upgrade() else { return };
        let Some(journal) = &held.journal else { return };
        let outcome = held.catch_up(journal).await;
        let has_failed = outcome.is_err();
        if journal.attempted(outcome) {
            return;
        }
        if has_failed {
            journal.pause(LEAST_PAUSE, PAUSE).await;
        }
    }
}
