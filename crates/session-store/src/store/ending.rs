//! The end of one session, and of many of a user's: in parts, so that other callers do not wait
//! long, however many there are and however large.
//!
//! What must always hold:
//! - The not-before marker is raised first. From then on every session from before it is refused,
//!   even if the rest fails.
//! - Each session that is in the index when the call begins is ended by the time it resolves.
//! - An id that cannot be ended is passed over, so an end of all always finishes.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use futures_util::future::try_join_all;
use indexmap::IndexSet;
use tokio::time::{Instant, timeout_at};

use super::arguments::{check_key, may_be_session, ttl_ms};
use super::state::Store;
use crate::api::{Command, Reply};
use crate::engine::{EndSome, EndedSome, Engine, IDS_PER_STEP, LOWEST_SCORE, NotBeforeMarker};
use crate::error::{Code, Error, Result};
use crate::events::EventKind;
use crate::keys::NOT_BEFORE_PREFIX;
use crate::near_cache::{FlushReason, NearCache};
use crate::session::Record;

/// The shortest lifetime of a marker, in ms: 7 days, Better Auth's own default for sessions.
const MIN_MARKER_MS: u64 = 7 * 24 * 3_600_000;

/// How many bytes of records that may be ended are read at a time. A larger record is read alone.
const END_PART_BYTES: usize = 1024 * 1024;

/// How many ids are read from an index at a time.
const PAGE: usize = 1000;

/// Sessions of a user that are to be ended.
pub(super) struct EndRequest {
    user: String,
    scope: EndScope,
}

enum EndScope {
    All {
        marker: NotBeforeMarker,
    },
    AllExcept {
        except: String,
    },
    /// Those from before the marker.
    CreatedBefore {
        /// In ms since the epoch.
        before: i64,
        /// The marker's lifetime in ms (`None`: for ever).
        ttl_ms: Option<u64>,
    },
}

/// What has been ended so far.
#[derive(Default)]
struct EndProgress {
    /// How many of the ids were live sessions.
    live: u64,
    ids: Vec<String>,
}

impl EndRequest {
    /// The marker that the first step raises.
    fn marker(&self) -> Option<&NotBeforeMarker> {
        if let EndScope::All { marker } = &self.scope { Some(marker) } else { None }
    }

    fn except(&self) -> Option<&str> {
        if let EndScope::AllExcept { except } = &self.scope { Some(except) } else { None }
    }
}

/// Empties the near cache when it is dropped: for a write whose answer says what it ended. A write
/// without an answer may have ended any session.
struct FlushOnDrop<'c>(Option<&'c NearCache>);

impl Drop for FlushOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.0 {
            cache.flush(FlushReason::Uncertain);
        }
    }
}

impl<E: Engine> Store<E> {
    /// Ends a key, and waits for replicas to acknowledge it.
    pub(super) async fn end(&self, key: &str) -> Result<()> {
        self.end_without_ack(key).await?;
        if may_be_session(key) {
            self.engine.acknowledge(&[key]).await;
        }
        Ok(())
    }

    /// Ends a key. The caller waits for replicas to acknowledge it.
    async fn end_without_ack(&self, key: &str) -> Result<()> {
        self.read_log.forget(key);
        let _guard = self.guard_write(key);
        self.engine.end(key, may_be_session(key)).await
    }

    /// The sessions of a user that a command ends; `None`: it is another command.
    pub(super) fn sessions_to_end(&self, command: &Command) -> Result<Option<EndRequest>> {
        match command {
            Command::EndAll { user, except, now } => {
                check_key("userId", user)?;
                let scope = match except {
                    Some(except) => EndScope::AllExcept { except: except.clone() },
                    None => EndScope::All { marker: self.marker(user, *now) },
                };
                Ok(Some(EndRequest { user: user.clone(), scope }))
            }
            Command::Set { key, value, ttl, .. } => {
                let Some((user, before)) =
                    key.strip_prefix(NOT_BEFORE_PREFIX).zip(value.parse().ok())
                else {
                    return Ok(None);
                };
                check_key("key", key)?;
                match ttl.map(ttl_ms).transpose()? {
                    Some(0) => Ok(None),
                    ttl_ms => Ok(Some(EndRequest {
                        user: user.to_owned(),
                        scope: EndScope::CreatedBefore { before, ttl_ms },
                    })),
                }
            }
            _ => Ok(None),
        }
    }

    fn marker(&self, user: &str, before: i64) -> NotBeforeMarker {
        let life_ms = self.longest_lifetime_ms.load(Relaxed).max(MIN_MARKER_MS);
        NotBeforeMarker { key: [NOT_BEFORE_PREFIX, user].concat(), before, life_ms }
    }

    /// Ends a user's sessions. What takes longer than `commandTimeout` goes on in the background.
    pub(super) async fn end_sessions(self: &Arc<Self>, mut request: EndRequest) -> Result<Reply> {
        let deadline = Instant::now() + self.command_timeout;
        let mut progress = EndProgress::default();
        let first_step = async {
            self.wait_for_pending_ends().await?;
            self.begin_end(&mut request, &mut progress).await
        };
        if self.with_deadline(first_step).await? {
            return Ok(self.finish_end(&request, progress).await);
        }
        let refused = if request.except().is_some() {
            ""
        } else {
            ", and the older ones are refused already"
        };
        let mut rest = Box::pin(end_in_background(Arc::downgrade(self), request, progress));
        if let Ok(outcome) = timeout_at(deadline, &mut rest).await {
            return outcome;
        }
        let events = self.app_hooks.as_ref().map(|hooks| hooks.events.clone());
        tokio::spawn(async move {
            if let (Err(error), Some(events)) = (rest.await, events)
                && error.code != Code::Closed
            {
                events.publish(
                    EventKind::Degraded,
                    format!("not all of a user's sessions were ended: {error}"),
                );
            }
        });
        let ms = self.command_timeout.as_millis();
        let what = format!(
            "not all of the user's sessions were ended within {ms} ms (option commandTimeout): the rest is being ended{refused}"
        );
        Err(Error::new(Code::Timeout, what))
    }

    /// Takes the first step. Returns whether it was the last.
    async fn begin_end(
        &self,
        request: &mut EndRequest,
        progress: &mut EndProgress,
    ) -> Result<bool> {
        let key = [NOT_BEFORE_PREFIX, &request.user].concat();
        let _guard = request.except().is_none().then(|| self.guard_write(&key));
        if let EndScope::CreatedBefore { before, ttl_ms } = &mut request.scope {
            *before = self.engine.raise(&key, *before, *ttl_ms).await?;
            return Ok(false);
        }
        Ok(self.end_part(request, &[], progress).await?.is_all)
    }

    /// Ends the sessions of the first of `ids`.
    async fn end_part(
        &self,
        request: &EndRequest,
        ids: &[String],
        progress: &mut EndProgress,
    ) -> Result<EndedSome> {
        let user = &*request.user;
        if let EndScope::CreatedBefore { before, .. } = request.scope {
            self.end_older_of(user, before, ids, progress).await?;
            return Ok(EndedSome { examined: ids.len(), ..EndedSome::default() });
        }
        let mut flush = FlushOnDrop(self.cache.as_deref());
        let some = EndSome {
            user,
            except: request.except(),
            ids,
            marker: request.marker().filter(|_| ids.is_empty()),
        };
        let mut part = self.engine.end_some(&some).await?;
        if let Some(cache) = flush.0.take() {
            part.gone.iter().for_each(|id| cache.evict(id));
        }
        progress.live += part.live;
        progress.ids.append(&mut part.gone);
        let undecided: Vec<_> = part.undecided.iter().map(String::as_str).collect();
        self.end_if(user, &undecided, |_| true, progress).await?;
        Ok(part)
    }

    /// Ends those of the sessions that are the user's and match `condition`.
    async fn end_if(
        &self,
        user: &str,
        ids: &[&str],
        condition: impl Fn(&Record<'_>) -> bool,
        progress: &mut EndProgress,
    ) -> Result<()> {
        let mut rest = ids;
        for count in self.parts_within(ids, END_PART_BYTES).await? {
            let (part, after) = rest.split_at(count);
            rest = after;
            let slots = self.engine.get_many(part).await?;
            let matches = |id: &str, text: &str| {
                Record::parse(id, text)
                    .is_some_and(|record| record.user_id == user && condition(&record))
            };
            let found = part.iter().zip(slots).filter_map(|(id, slot)| Some((*id, slot.value()?)));
            let found: Vec<_> =
                found.filter(|(id, stored)| matches(id, stored.text())).map(|(id, _)| id).collect();
            try_join_all(found.iter().map(|id| self.end_without_ack(id))).await?;
            progress.live += found.len() as u64;
            progress.ids.extend(found.into_iter().map(str::to_owned));
        }
        Ok(())
    }

    /// Waits for replicas, and composes the answer.
    async fn finish_end(&self, request: &EndRequest, progress: EndProgress) -> Reply {
        self.acknowledge(&progress).await;
        match request.scope {
            EndScope::CreatedBefore { .. } => Reply::Nothing,
            EndScope::All { .. } | EndScope::AllExcept { .. } => {
                Reply::Count(i64::try_from(progress.live).unwrap_or(i64::MAX))
            }
        }
    }

    async fn acknowledge(&self, progress: &EndProgress) {
        let ids: Vec<_> = progress.ids.iter().map(String::as_str).collect();
        self.engine.acknowledge(&ids).await;
    }

    /// Raises the marker and ends a user's sessions that were created before it, in ms since the
    /// epoch.
    pub(super) async fn revoke_before(
        &self,
        user: &str,
        before: i64,
        ttl_ms: Option<u64>,
    ) -> Result<()> {
        let key = [NOT_BEFORE_PREFIX, user].concat();
        let before = {
            let _guard = self.guard_write(&key);
            self.engine.raise(&key, before, ttl_ms).await?
        };
        self.end_older(user, before).await
    }

    /// Ends a user's sessions that were created before, in ms since the epoch.
    pub(super) async fn end_older(&self, user: &str, before: i64) -> Result<()> {
        let mut progress = EndProgress::default();
        let ids = self.ids(user).await?;
        for part in ids.chunks(IDS_PER_STEP) {
            self.end_older_of(user, before, part, &mut progress).await?;
        }
        self.acknowledge(&progress).await;
        Ok(())
    }

    async fn end_older_of(
        &self,
        user: &str,
        before: i64,
        ids: &[String],
        progress: &mut EndProgress,
    ) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        self.end_if(user, &ids, |record| record.created_at().is_none_or(|at| at < before), progress)
            .await
    }

    /// Every id that is in a user's index during the whole call.
    pub(super) async fn ids(&self, user: &str) -> Result<Vec<String>> {
        let (mut ids, mut from, mut count) = (IndexSet::new(), LOWEST_SCORE.to_owned(), PAGE);
        loop {
            let page = self.with_deadline(self.engine.ids_from(user, &from, count)).await?;
            let is_last = page.len() < count;
            let furthest = page.last().map(|(_, score)| score.clone());
            ids.extend(page.into_iter().map(|(id, _)| id));
            let Some(score) = furthest.filter(|_| !is_last) else {
                return Ok(ids.into_iter().collect());
            };
            // Scores only rise, so no id below this score is still to come. Any number of ids may
            // share one score.
            count = if score == from { count * 2 } else { PAGE };
            from = score;
        }
    }
}

/// Ends the rest, part by part, while the store has a handle.
async fn end_in_background<E: Engine>(
    store: Weak<Store<E>>,
    request: EndRequest,
    mut progress: EndProgress,
) -> Result<Reply> {
    end_rest(&store, &request, &mut progress).await?;
    let store = store.upgrade().ok_or_else(closed)?;
    Ok(store.finish_end(&request, progress).await)
}

async fn end_rest<E: Engine>(
    store: &Weak<Store<E>>,
    request: &EndRequest,
    progress: &mut EndProgress,
) -> Result<()> {
    let held = || store.upgrade().ok_or_else(closed);
    let ids = held()?.ids(&request.user).await?;
    let mut rest = &ids[..];
    while !rest.is_empty() {
        let store = held()?;
        let part = &rest[..rest.len().min(IDS_PER_STEP)];
        let examined = store.with_deadline(store.end_part(request, part, progress)).await?.examined;
        rest = &rest[examined.clamp(1, part.len())..];
    }
    Ok(())
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store was closed")
}
