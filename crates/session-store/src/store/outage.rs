//! Operations while the engine cannot answer, when the caller's database has the sessions too
//! (option `onUnavailable: "database"`).
//!
//! Ends, and writes of session records, go into the journal and are replayed later. Reads fail, and
//! their callers turn to the database. `increment` and `take` fail as well, because what runs at
//! most once cannot be replayed. So does the write of any other value: the database does not have
//! it, and its readers would not find it.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::time::timeout;

use super::arguments::{check_key, may_be_session, ttl_ms};
use super::journal::{CreatedBefore, Journal, PendingEnd, PendingPut};
use super::state::{AppHooks, Store};
use crate::api::{Command, Reply};
use crate::engine::{Create, Engine};
use crate::error::{Code, Error, Result};
use crate::events::EventKind;
use crate::keys::{MAX_TOKEN_BYTES, NOT_BEFORE_PREFIX, SESSION_LIST_PREFIX};
use crate::near_cache::FlushReason;
use crate::panics::restart_after_panics;
use crate::session::Record;

/// How many ends are replayed together.
const ENDS_TOGETHER: usize = 500;

/// The pause between two attempts to replay the journal: at least, and at most.
const MIN_PAUSE: Duration = Duration::from_millis(50);
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// What to do when an operation fails by an outage.
pub(super) enum OutageFallback {
    /// It fails.
    Fail,
    /// It has nothing to do while Redis cannot be reached.
    Succeed,
    End {
        key: String,
        /// Whether it was seen to be a session.
        is_session: bool,
    },
    EndUser(String, CreatedBefore),
    Put(PendingPut),
}

impl<E: Engine> Store<E> {
    /// The fallback of a command. It fails where it would be refused anyway.
    pub(super) fn outage_fallback(&self, command: &Command) -> OutageFallback {
        if self.journal.is_none() {
            return OutageFallback::Fail;
        }
        match command {
            Command::Delete { key } => self.end_fallback(key),
            Command::Set { key, value, ttl, .. } => self.set_fallback(key, value, *ttl),
            _ => OutageFallback::Fail,
        }
    }

    fn set_fallback(&self, key: &str, value: &str, ttl: Option<f64>) -> OutageFallback {
        let Ok(ttl_ms) = ttl.map(ttl_ms).transpose() else { return OutageFallback::Fail };
        if check_key("key", key).is_err() {
            return OutageFallback::Fail;
        }
        if ttl_ms == Some(0) {
            return self.end_fallback(key);
        }
        if let Some(user) = key.strip_prefix(NOT_BEFORE_PREFIX)
            && let Ok(before) = value.parse()
        {
            return OutageFallback::EndUser(user.to_owned(), CreatedBefore { before, ttl_ms });
        }
        let Some(record) = Record::parse(key, value).filter(|_| may_be_session(key)) else {
            return OutageFallback::Fail;
        };
        OutageFallback::Put(PendingPut {
            key: key.to_owned(),
            value: value.to_owned(),
            user: record.user_id.clone(),
            created_at: record.created_at(),
            ttl_ms,
            since: Instant::now(),
        })
    }

    /// Adds a command that has failed by an outage to the journal.
    pub(super) fn apply_fallback(
        self: &Arc<Self>,
        fallback: OutageFallback,
        outcome: Result<Reply>,
    ) -> Result<Reply> {
        let (Some(journal), Err(error)) = (&self.journal, &outcome) else { return outcome };
        if !error.code.is_outage() {
            return outcome;
        }
        let starts_replay = match fallback {
            OutageFallback::Fail => return outcome,
            OutageFallback::Succeed => return Ok(Reply::Nothing),
            OutageFallback::End { key, is_session } => {
                let starts_replay = journal.add_end(&key, is_session)?;
                // It counts as ended from here on, so the near cache must not keep the answer of a
                // read that has begun before.
                self.read_log.forget(&key);
                drop(self.guard_write(&key));
                starts_replay
            }
            OutageFallback::EndUser(user, before) => {
                let starts_replay = journal.add_user_end(&user, before)?;
                if let Some(cache) = &self.cache {
                    cache.flush(FlushReason::Uncertain);
                }
                starts_replay
            }
            OutageFallback::Put(put) => {
                let (key, user) = (put.key.clone(), put.user.clone());
                if journal.add_put(put) {
                    self.start_replay();
                }
                // The answer of a read that has begun before is older.
                drop(self.guard_write(&key));
                return Ok(Reply::UserWritten(user));
            }
        };
        if starts_replay {
            self.start_replay();
        }
        Ok(Reply::Nothing)
    }

    fn start_replay(self: &Arc<Self>) {
        let store = Arc::downgrade(self);
        tokio::spawn(restart_after_panics(move || replay(store.clone())));
    }

    /// Strangers send the keys of session lists and of not-before markers as tokens too, so the
    /// deletion of one does not end the user's sessions. (When Better Auth ends them, it deletes what
    /// lib/outage-session-list.ts has listed.)
    fn end_fallback(&self, key: &str) -> OutageFallback {
        if key.starts_with(SESSION_LIST_PREFIX) || key.starts_with(NOT_BEFORE_PREFIX) {
            OutageFallback::Succeed
        } else if key.len() > MAX_TOKEN_BYTES || check_key("key", key).is_err() {
            OutageFallback::Fail
        } else {
            OutageFallback::End {
                key: key.to_owned(),
                is_session: self.read_log.is_known_session(key),
            }
        }
    }

    /// Waits until all pending ends are done; nothing is read or written before. An error when they
    /// cannot be done now.
    pub(super) async fn wait_for_pending_ends(&self) -> Result<()> {
        match &self.journal {
            Some(journal) => timeout(self.command_timeout, journal.wait_for_ends())
                .await
                .unwrap_or_else(|_| Err(Error::timed_out(self.command_timeout, None))),
            None => Ok(()),
        }
    }

    /// As [`Store::wait_for_pending_ends`], for a read of these keys: an error as well when the write
    /// of one is pending. A server that takes no writes would answer what is older than the database.
    pub(super) async fn wait_until_readable<'k>(
        &self,
        keys: impl Iterator<Item = &'k str> + Send,
    ) -> Result<()> {
        self.wait_for_pending_ends().await?;
        self.check_pending(|journal| journal.has_put_among(keys))
    }

    /// The same for the lists of these users' sessions, in which a pending one would be missing.
    pub(super) async fn wait_until_listable(&self, users: &[&str]) -> Result<()> {
        self.wait_for_pending_ends().await?;
        self.check_pending(|journal| journal.has_put_of(users))
    }

    fn check_pending(&self, is_pending: impl FnOnce(&Journal) -> bool) -> Result<()> {
        match &self.journal {
            Some(journal) if is_pending(journal) => {
                let what = "Redis takes no writes: that of a session is still to be done, and the database has what is newer";
                Err(Error::new(Code::Unavailable, what))
            }
            _ => Ok(()),
        }
    }

    /// Replays what is pending, ends first.
    async fn replay_pending(self: &Arc<Self>, journal: &Journal) -> Result<()> {
        loop {
            let ends = journal.ends(ENDS_TOGETHER);
            if ends.is_empty() {
                let Some((number, put)) = journal.next_put() else { return Ok(()) };
                self.finish_replay(self.with_deadline(self.replay_put(&put)).await, || {
                    journal.remove_put(number)
                })?;
                continue;
            }
            let outcomes =
                join_all(ends.iter().map(|end| self.with_deadline(self.replay_end(end)))).await;
            let finish = |(end, outcome)| self.finish_replay(outcome, || journal.remove_end(end));
            // Each of them, even after one that failed.
            let finished: Vec<_> = ends.iter().zip(outcomes).map(finish).collect();
            finished.into_iter().collect::<Result<()>>()?;
        }
    }

    /// Calls `remove` for an entry that is done, or is refused for good, which is an event.
    fn finish_replay(&self, outcome: Result<()>, remove: impl FnOnce()) -> Result<()> {
        match outcome {
            Err(error) if error.code.is_outage() => return Err(error),
            Err(error) => {
                if let Some(AppHooks { events, .. }) = &self.app_hooks {
                    events.publish(
                        EventKind::Degraded,
                        format!(
                            "Redis refused a write that was postponed during an outage: {error}"
                        ),
                    );
                }
            }
            Ok(()) => {}
        }
        remove();
        Ok(())
    }

    async fn replay_end(&self, end: &PendingEnd) -> Result<()> {
        match end {
            PendingEnd::Key { key, .. } => self.end(key).await,
            PendingEnd::User { user, before: CreatedBefore { before, ttl_ms }, .. } => {
                self.revoke_before(user, *before, *ttl_ms).await
            }
        }
    }

    async fn replay_put(self: &Arc<Self>, put: &PendingPut) -> Result<()> {
        let delay_ms = u64::try_from(put.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        let ttl_ms = put.ttl_ms.map(|ttl_ms| ttl_ms.saturating_sub(delay_ms));
        let Some(record) = Record::parse(&put.key, &put.value) else { return Ok(()) };
        let create = record.created_at().map_or(Create::Never, Create::Young);
        self.put(&put.key, &record, ttl_ms, create, None).await.map(drop)
    }
}

/// Replays the journal until nothing is pending or the store has no handle.
async fn replay<E: Engine>(store: Weak<Store<E>>) {
    loop {
        let Some(held) = store.upgrade() else { return };
        let Some(journal) = &held.journal else { return };
        let outcome = held.replay_pending(journal).await;
        let has_failed = outcome.is_err();
        if journal.finish_attempt(outcome) {
            return;
        }
        if has_failed {
            journal.pause(MIN_PAUSE, MAX_PAUSE).await;
        }
    }
}
