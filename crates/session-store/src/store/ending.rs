//! The end of many of a user's sessions: in parts, so that nobody else waits long, however many
//! there are and however large.
//!
//! What must always hold:
//! - The not-before marker is raised first. From then on every session from before it is refused,
//!   whatever becomes of the rest.
//! - Each session that is in the index when the call begins is ended by the time it resolves.
//! - An id that cannot be ended is passed over: the end of all always comes to its own end.

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
use crate::keys::MARKER_PREFIX;
use crate::near_cache::{Flush, NearCache};
use crate::session::Record;

/// A marker lives for so long at least, in ms: 7 days, Better Auth's own default for sessions.
const LEAST_MARK_MS: u64 = 7 * 24 * 3_600_000;

/// How much is read of records that may be ended, in bytes at a time. A larger one is read alone.
const PART_BYTES: usize = 1024 * 1024;

/// How many ids are read from an index at a time.
const PAGE: usize = 1000;

/// Sessions of a user that are to be ended.
pub(super) struct Ending {
    user: String,
    which: Which,
}

enum Which {
    All {
        marker: NotBeforeMarker,
    },
    AllBut {
        except: String,
    },
    /// Those from before the marker, whose life is in ms (`None`: for ever).
    Older {
        before: i64,
        ttl_ms: Option<u64>,
    },
}

/// What has been ended so far.
#[derive(Default)]
struct Ended {
    live: u64,
    ids: Vec<String>,
}

impl Ending {
    /// What is raised by the first step.
    fn marker(&self) -> Option<&NotBeforeMarker> {
        if let Which::All { marker } = &self.which { Some(marker) } else { None }
    }

    fn except(&self) -> Option<&str> {
        if let Which::AllBut { except } = &self.which { Some(except) } else { None }
    }
}

/// A write that ends nobody knows what until it is answered; unanswered, it may have ended
/// anything.
struct Unknown<'c>(Option<&'c NearCache>);

impl Drop for Unknown<'_> {
    fn drop(&mut self) {
        if let Some(cache) = self.0 {
            cache.flush(Flush::Uncertain);
        }
    }
}

impl<E: Engine> Store<E> {
    pub(super) async fn end(&self, key: &str) -> Result<()> {
        self.end_alone(key).await?;
        if may_be_session(key) {
            self.engine.acknowledge(&[key]).await;
        }
        Ok(())
    }

    /// Ends a key; the caller has replicas acknowledge it.
    async fn end_alone(&self, key: &str) -> Result<()> {
        self.read_log.forget(key);
        let _writing = self.writing(key);
        self.engine.end(key, may_be_session(key)).await
    }

    /// What a command is to end of a user's sessions; `None`: it is another command.
    pub(super) fn ending(&self, command: &Command) -> Result<Option<Ending>> {
        match command {
            Command::EndAll { user, except, now } => {
                check_key("userId", user)?;
                let which = match except {
                    Some(except) => Which::AllBut { except: except.clone() },
                    None => Which::All { marker: self.marker(user, *now) },
                };
                Ok(Some(Ending { user: user.clone(), which }))
            }
            Command::Set { key, value, ttl, .. } => {
                let Some((user, before)) = key.strip_prefix(MARKER_PREFIX).zip(value.parse().ok())
                else {
                    return Ok(None);
                };
                check_key("key", key)?;
                match ttl.map(ttl_ms).transpose()? {
                    Some(0) => Ok(None),
                    ttl_ms => Ok(Some(Ending {
                        user: user.to_owned(),
                        which: Which::Older { before, ttl_ms },
                    })),
                }
            }
            _ => Ok(None),
        }
    }

    fn marker(&self, user: &str, before: i64) -> NotBeforeMarker {
        let life_ms = self.longest_life.load(Relaxed).max(LEAST_MARK_MS);
        NotBeforeMarker { key: [MARKER_PREFIX, user].concat(), before, life_ms }
    }

    /// Ends what is to be ended. What takes longer than `commandTimeout` goes on afterwards.
    pub(super) async fn end_in_time(self: &Arc<Self>, mut ending: Ending) -> Result<Reply> {
        let patience = Instant::now() + self.command_timeout;
        let mut ended = Ended::default();
        let begun = async {
            self.settled().await?;
            self.begin(&mut ending, &mut ended).await
        };
        if self.in_time(begun).await? {
            return Ok(self.ended(&ending, ended).await);
        }
        let refused =
            if ending.except().is_some() { "" } else { ", and the older ones are refused already" };
        let mut rest = Box::pin(go_on(Arc::downgrade(self), ending, ended));
        if let Ok(outcome) = timeout_at(patience, &mut rest).await {
            return outcome;
        }
        let events = self.connected.as_ref().map(|connected| connected.events.clone());
        tokio::spawn(async move {
            if let (Err(error), Some(events)) = (rest.await, events)
                && error.code != Code::Closed
            {
                events.tell(
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

    /// Takes the first step; whether it was the last.
    async fn begin(&self, ending: &mut Ending, ended: &mut Ended) -> Result<bool> {
        let key = [MARKER_PREFIX, &ending.user].concat();
        let _writing = ending.except().is_none().then(|| self.writing(&key));
        if let Which::Older { before, ttl_ms } = &mut ending.which {
            *before = self.engine.raise(&key, *before, *ttl_ms).await?;
            return Ok(false);
        }
        Ok(self.end_part(ending, &[], ended).await?.is_all)
    }

    /// Ends some of the sessions, the first of `ids`.
    async fn end_part(
        &self,
        ending: &Ending,
        ids: &[String],
        ended: &mut Ended,
    ) -> Result<EndedSome> {
        let user = &*ending.user;
        if let Which::Older { before, .. } = ending.which {
            self.end_older_of(user, before, ids, ended).await?;
            return Ok(EndedSome { examined: ids.len(), ..EndedSome::default() });
        }
        let mut unknown = Unknown(self.cache.as_deref());
        let which = EndSome {
            user,
            except: ending.except(),
            ids,
            marker: ending.marker().filter(|_| ids.is_empty()),
        };
        let mut part = self.engine.end_some(&which).await?;
        if let Some(cache) = unknown.0.take() {
            part.gone.iter().for_each(|id| cache.evict(id));
        }
        ended.live += part.live;
        ended.ids.append(&mut part.gone);
        let undecided: Vec<_> = part.undecided.iter().map(String::as_str).collect();
        self.end_if(user, &undecided, |_| true, ended).await?;
        Ok(part)
    }

    /// Ends those of the sessions that are the user's and `wanted`.
    async fn end_if(
        &self,
        user: &str,
        ids: &[&str],
        wanted: impl Fn(&Record<'_>) -> bool,
        ended: &mut Ended,
    ) -> Result<()> {
        let mut rest = ids;
        for count in self.parts_within(ids, PART_BYTES).await? {
            let (part, after) = rest.split_at(count);
            rest = after;
            let slots = self.engine.get_many(part).await?;
            let is_wanted = |id: &str, text: &str| {
                Record::parse(id, text)
                    .is_some_and(|record| record.user_id == user && wanted(&record))
            };
            let found = part.iter().zip(slots).filter_map(|(id, slot)| Some((*id, slot.value()?)));
            let found: Vec<_> = found
                .filter(|(id, stored)| is_wanted(id, stored.text()))
                .map(|(id, _)| id)
                .collect();
            try_join_all(found.iter().map(|id| self.end_alone(id))).await?;
            ended.live += found.len() as u64;
            ended.ids.extend(found.into_iter().map(str::to_owned));
        }
        Ok(())
    }

    /// All of them are ended.
    async fn ended(&self, ending: &Ending, ended: Ended) -> Reply {
        self.acknowledge(&ended).await;
        match ending.which {
            Which::Older { .. } => Reply::Nothing,
            Which::All { .. } | Which::AllBut { .. } => {
                Reply::Count(i64::try_from(ended.live).unwrap_or(i64::MAX))
            }
        }
    }

    async fn acknowledge(&self, ended: &Ended) {
        let ids: Vec<_> = ended.ids.iter().map(String::as_str).collect();
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
        let key = [MARKER_PREFIX, user].concat();
        let before = {
            let _writing = self.writing(&key);
            self.engine.raise(&key, before, ttl_ms).await?
        };
        self.end_older(user, before).await
    }

    /// Ends a user's sessions that were created before, in ms since the epoch.
    pub(super) async fn end_older(&self, user: &str, before: i64) -> Result<()> {
        let mut ended = Ended::default();
        let ids = self.ids(user).await?;
        for part in ids.chunks(IDS_PER_STEP) {
            self.end_older_of(user, before, part, &mut ended).await?;
        }
        self.acknowledge(&ended).await;
        Ok(())
    }

    async fn end_older_of(
        &self,
        user: &str,
        before: i64,
        ids: &[String],
        ended: &mut Ended,
    ) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(String::as_str).collect();
        self.end_if(user, &ids, |record| record.created_at().is_none_or(|at| at < before), ended)
            .await
    }

    /// Every id that is in a user's index all the while.
    pub(super) async fn ids(&self, user: &str) -> Result<Vec<String>> {
        let (mut ids, mut from, mut count) = (IndexSet::new(), LOWEST_SCORE.to_owned(), PAGE);
        loop {
            let page = self.in_time(self.engine.ids_from(user, &from, count)).await?;
            let is_last = page.len() < count;
            let furthest = page.last().map(|(_, score)| score.clone());
            ids.extend(page.into_iter().map(|(id, _)| id));
            let Some(score) = furthest.filter(|_| !is_last) else {
                return Ok(ids.into_iter().collect());
            };
            // Scores only rise, so nothing below this one is still to come. As many may share one
            // score as there are.
            count = if score == from { count * 2 } else { PAGE };
            from = score;
        }
    }
}

/// Ends the rest, part after part, as long as somebody holds the store.
async fn go_on<E: Engine>(
    store: Weak<Store<E>>,
    ending: Ending,
    mut ended: Ended,
) -> Result<Reply> {
    end_rest(&store, &ending, &mut ended).await?;
    let store = store.upgrade().ok_or_else(closed)?;
    Ok(store.ended(&ending, ended).await)
}

async fn end_rest<E: Engine>(
    store: &Weak<Store<E>>,
    ending: &Ending,
    ended: &mut Ended,
) -> Result<()> {
    let held = || store.upgrade().ok_or_else(closed);
    let ids = held()?.ids(&ending.user).await?;
    let mut rest = &ids[..];
    while !rest.is_empty() {
        let store = held()?;
        let part = &rest[..rest.len().min(IDS_PER_STEP)];
        let examined = store.in_time(store.end_part(ending, part, ended)).await?.examined;
        rest = &rest[examined.clamp(1, part.len())..];
    }
    Ok(())
}

fn closed() -> Error {
    Error::new(Code::Closed, "the store was closed")
}
