//! Operations on the whole store: listing and clearing its keys, removing dead index entries.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;

use super::state::Store;
use crate::api::Reply;
use crate::engine::{Engine, IDS_PER_STEP, Namespace};
use crate::error::Result;
use crate::keys::SESSION_LIST_PREFIX;
use crate::value::KeyState;

/// An index entry may be dropped when its record was absent for this long: no sign-in takes that
/// long.
const MIN_ABSENCE: Duration = Duration::from_secs(60);

impl<E: Engine> Store<E> {
    /// Removes dead entries from a user's index. Returns how many.
    pub(super) async fn prune(&self, user: &str) -> Result<u64> {
        let mut seen_absent = self.absent.lock().remove(user).unwrap_or_default();
        let claim: Vec<_> = seen_absent
            .iter()
            .filter(|(_, since)| since.elapsed() >= MIN_ABSENCE)
            .map(|(id, _)| id.clone())
            .collect();
        let mut pruned = self.engine.prune(user, &claim, &[]).await?;
        if !pruned.is_all {
            let ids = self.ids(user).await?;
            let mut rest = &ids[..];
            while !rest.is_empty() {
                let part =
                    self.engine.prune(user, &claim, &rest[..rest.len().min(IDS_PER_STEP)]).await?;
                pruned.removed += part.removed;
                pruned.absent.extend(part.absent);
                rest = &rest[part.examined.clamp(1, rest.len())..];
            }
        }
        let absent: HashMap<_, _> = pruned
            .absent
            .into_iter()
            .map(|id| {
                let since = seen_absent.remove(&id).unwrap_or_else(Instant::now);
                (id, since)
            })
            .collect();
        if !absent.is_empty() {
            self.absent.lock().insert(user.to_owned(), absent);
        }
        Ok(pruned.removed)
    }

    pub(super) async fn cleanup(&self) -> Result<Reply> {
        let mut pruned = 0;
        for user in self.scan(Namespace::Users).await? {
            pruned += self.with_deadline(self.prune(&user)).await?;
        }
        Ok(Reply::Count(i64::try_from(pruned).unwrap_or(i64::MAX)))
    }

    pub(super) async fn list_keys(&self) -> Result<Reply> {
        let mut keys: BTreeSet<_> = self.live_keys().await?.into_iter().collect();
        let users = self.scan(Namespace::Users).await?;
        let users: Vec<_> = users.iter().map(String::as_str).collect();
        for part in users.chunks(500) {
            let lists = self.with_deadline(self.active_session_lists(part)).await?;
            let listed = part.iter().zip(lists).filter(|(_, list)| list.is_some());
            keys.extend(listed.map(|(user, _)| [SESSION_LIST_PREFIX, user].concat()));
        }
        let keys: Vec<_> = keys.into_iter().collect();
        Ok(Reply::from(serde_json::Value::from(keys).to_string()))
    }

    pub(super) async fn clear(&self) -> Result<Reply> {
        let keys = self.live_keys().await?;
        for part in keys.chunks(500) {
            self.with_deadline(try_join_all(part.iter().map(|key| self.end(key)))).await?;
        }
        Ok(Reply::Nothing)
    }

    /// Every key that has a value for readers.
    async fn live_keys(&self) -> Result<Vec<String>> {
        let mut live = Vec::new();
        let keys = self.scan(Namespace::Keys).await?;
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        for part in keys.chunks(500) {
            let slots = self.with_deadline(self.engine.get_many(part)).await?;
            let is_own = |(key, slot): &(&&str, KeyState)| {
                slot.stored().is_some_and(|stored| !stored.is_record_of_another(key))
            };
            live.extend(part.iter().zip(slots).filter(is_own).map(|(key, _)| (*key).to_owned()));
        }
        Ok(live)
    }

    /// Every key of a namespace, once.
    async fn scan(&self, namespace: Namespace) -> Result<Vec<String>> {
        let mut keys = Vec::new();
        let mut cursor = 0;
        loop {
            let page = self.with_deadline(self.engine.scan(namespace, cursor)).await?;
            keys.extend(page.keys);
            cursor = page.cursor;
            if cursor == 0 {
                break;
            }
        }
        keys.sort();
        keys.dedup();
        Ok(keys)
    }
}
