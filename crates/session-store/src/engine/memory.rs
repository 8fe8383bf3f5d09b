//! The embedded engine: records in this process's memory, for development, tests and the demo.
//!
//! The same steps as on Redis, each under one lock. Nothing is shared with other processes and
//! nothing survives this one. Its clock is that of its caller, so that sessions expire in a test
//! that moves JavaScript's clock.

use std::collections::{BTreeSet, HashMap};
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use super::{
    Create, EndSome, EndedSome, Engine, INDEX_MARGIN_MS, Keyspace, Namespace, NotBeforeMarker,
    Page, Pruned, Put, PutOutcome, SAME_CLOCK_MS, YOUNG_MS, not_a_counter,
};
use crate::clock::now_ms;
use crate::error::Result;
use crate::session::Record;
use crate::sync::Mutex;
use crate::value::{KeyState, Stored};

/// Records in memory.
pub(crate) struct MemoryEngine {
    tables: Mutex<Tables>,
    /// How far the caller's clock is ahead of this machine's, in ms.
    ahead_ms: AtomicI64,
}

#[derive(Default)]
struct Tables {
    entries: HashMap<String, KeyEntry>,
    /// Every entry that expires, soonest first: what [`Tables::sweep`] removes.
    expiries: BTreeSet<(i64, String)>,
    /// User id to session id to expiry in ms since the epoch.
    indexes: HashMap<String, HashMap<String, i64>>,
    tombstone_ms: u64,
}

struct KeyEntry {
    /// `None` is a tombstone.
    value: Option<Stored>,
    /// In ms since the epoch; `None` is for ever.
    expires_at: Option<i64>,
}

impl MemoryEngine {
    /// An empty one. Keys need no prefix here.
    pub(crate) fn new(keyspace: &Keyspace) -> Self {
        let tables =
            Mutex::new(Tables { tombstone_ms: keyspace.tombstone_ms, ..Tables::default() });
        MemoryEngine { tables, ahead_ms: AtomicI64::new(0) }
    }

    /// The tables, without what has expired by now (ms since the epoch).
    fn current(&self) -> (MutexGuard<'_, Tables>, i64) {
        let mut tables = self.tables.lock();
        let now = self.local_clock();
        tables.sweep(now);
        (tables, now)
    }
}

impl Tables {
    fn sweep(&mut self, now: i64) {
        while let Some((expires_at, _)) = self.expiries.first()
            && *expires_at <= now
        {
            let (_, key) = self.expiries.pop_first().expect("there is a first");
            self.entries.remove(&key);
        }
    }

    fn slot(&self, key: &str) -> KeyState {
        match self.entries.get(key) {
            None => KeyState::Absent,
            Some(KeyEntry { value: None, .. }) => KeyState::Tombstone,
            Some(KeyEntry { value: Some(stored), .. }) => KeyState::Value(stored.clone()),
        }
    }

    fn write(&mut self, key: &str, value: Option<Stored>, expires_at: Option<i64>) {
        self.remove(key);
        if let Some(at) = expires_at {
            self.expiries.insert((at, key.to_owned()));
        }
        self.entries.insert(key.to_owned(), KeyEntry { value, expires_at });
    }

    fn remove(&mut self, key: &str) {
        if let Some(KeyEntry { expires_at: Some(at), .. }) = self.entries.remove(key) {
            self.expiries.remove(&(at, key.to_owned()));
        }
    }

    fn write_tombstone(&mut self, key: &str, now: i64) {
        self.write(key, None, Some(later(now, self.tombstone_ms)));
    }

    /// Adds an id to an index; scores only rise.
    fn add_to_index(&mut self, user: &str, id: &str, expires_at: i64, now: i64) {
        let ids = self.indexes.entry(user.to_owned()).or_default();
        ids.retain(|_, expiry| *expiry >= now - INDEX_MARGIN_MS);
        let expiry = ids.entry(id.to_owned()).or_insert(expires_at);
        *expiry = expires_at.max(*expiry);
    }

    fn remove_from_index(&mut self, user: &str, ids: &[String]) {
        if let Some(index) = self.indexes.get_mut(user) {
            for id in ids {
                index.remove(id);
            }
            if index.is_empty() {
                self.indexes.remove(user);
            }
        }
    }

    /// A user's index, the soonest to expire first.
    fn entries(&self, user: &str) -> Vec<(String, i64)> {
        let mut entries: Vec<_> = self
            .indexes
            .get(user)
            .into_iter()
            .flatten()
            .map(|(id, at)| (id.clone(), *at))
            .collect();
        entries.sort_by(|(a, a_at), (b, b_at)| (a_at, a).cmp(&(b_at, b)));
        entries
    }

    /// How long a user's index is of use from now on, in ms.
    fn index_life(&self, user: &str, now: i64) -> u64 {
        let last = self.indexes.get(user).into_iter().flat_map(HashMap::values).max();
        last.map_or(0, |last| u64::try_from(last.saturating_sub(now)).unwrap_or(0))
    }

    fn ids(&self, user: &str) -> Vec<String> {
        self.entries(user).into_iter().map(|(id, _)| id).collect()
    }

    fn end(&mut self, key: &str, ends_absent: bool, now: i64) -> KeyState {
        let found = self.slot(key);
        let owner = match &found {
            KeyState::Value(stored) => {
                Record::parse(key, stored.text()).map(|record| record.user_id)
            }
            KeyState::Absent | KeyState::Tombstone => None,
        };
        match (&found, owner) {
            (KeyState::Tombstone, _) => {}
            (KeyState::Absent, _) if !ends_absent => {}
            (KeyState::Absent, _) => self.write_tombstone(key, now),
            (KeyState::Value(_), None) => self.remove(key),
            (KeyState::Value(_), Some(owner)) => {
                self.write_tombstone(key, now);
                self.remove_from_index(&owner, &[key.to_owned()]);
            }
        }
        found
    }
}

fn later(now: i64, ms: u64) -> i64 {
    now.saturating_add_unsigned(ms)
}

impl Engine for MemoryEngine {
    async fn get(&self, key: &str) -> Result<KeyState> {
        Ok(self.current().0.slot(key))
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<KeyState>> {
        let (tables, _) = self.current();
        Ok(keys.iter().map(|key| tables.slot(key)).collect())
    }

    async fn lengths(&self, keys: &[&str]) -> Result<Vec<usize>> {
        let length = |slot: KeyState| slot.value().map_or(0, |stored| stored.raw().len());
        Ok(self.get_many(keys).await?.into_iter().map(length).collect())
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(KeyState, Option<u64>)>> {
        // The near cache keeps nothing of this engine: it is memory already.
        Ok(self.get_many(keys).await?.into_iter().map(|slot| (slot, Some(0))).collect())
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        let (mut tables, now) = self.current();
        tables.write(key, Some(Stored::plain(value)), ttl_ms.map(|ms| later(now, ms)));
        Ok(())
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let (mut tables, now) = self.current();
        let found = tables.slot(key).value();
        let highest =
            found.as_ref().and_then(|v| v.text().parse().ok()).unwrap_or(value).max(value);
        let left = if found.is_some() { tables.entries[key].expires_at } else { Some(i64::MIN) };
        let expires_at =
            left.zip(ttl_ms.map(|ms| later(now, ms))).map(|(left, wanted)| left.max(wanted));
        tables.write(key, Some(Stored::plain(&highest.to_string())), expires_at);
        Ok(highest)
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        let (mut tables, now) = self.current();
        let (count, expires_at) = match tables.slot(key) {
            KeyState::Absent | KeyState::Tombstone => (0, None),
            KeyState::Value(stored) => {
                let count = stored.text().parse::<i64>().map_err(|_| not_a_counter())?;
                (count, tables.entries[key].expires_at)
            }
        };
        let count = count.checked_add(1).ok_or_else(not_a_counter)?;
        let expires_at = expires_at.unwrap_or_else(|| later(now, ttl_ms));
        tables.write(key, Some(Stored::plain(&count.to_string())), Some(expires_at));
        Ok(count)
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        let (mut tables, now) = self.current();
        let created = match tables.slot(put.id) {
            KeyState::Tombstone => return Ok(PutOutcome::Refused),
            KeyState::Value(stored) if Some(&stored) != put.expected => {
                return Ok(PutOutcome::Differs(stored));
            }
            KeyState::Value(_) => false,
            KeyState::Absent => match put.create {
                Create::Always => true,
                Create::Young(created_at)
                    if now.abs_diff(created_at) <= YOUNG_MS.unsigned_abs() =>
                {
                    true
                }
                Create::Young(_) | Create::Never => return Ok(PutOutcome::TooOld { now }),
            },
        };
        let expires_at = later(now, put.ttl_ms);
        let own = put.expires_at.filter(|own| (own - expires_at).abs() <= SAME_CLOCK_MS);
        tables.add_to_index(put.user, put.id, own.unwrap_or(expires_at), now);
        tables.write(put.id, Some(put.record.clone()), Some(expires_at));
        if !created {
            return Ok(PutOutcome::Replaced);
        }
        let mut others = if put.list_others { tables.ids(put.user) } else { Vec::new() };
        // An id whose time is past is dead, even if it stays in the index for the margin.
        others.retain(|id| id != put.id && tables.indexes[put.user][id] > now);
        Ok(PutOutcome::Created { others })
    }

    /// Every record here was written, and so indexed, by this store.
    async fn adopt(&self, _id: &str, _user: &str, _found: &Stored) -> Result<()> {
        Ok(())
    }

    async fn end(&self, key: &str, may_be_session: bool) -> Result<()> {
        let (mut tables, now) = self.current();
        tables.end(key, may_be_session, now);
        Ok(())
    }

    async fn take(&self, key: &str) -> Result<KeyState> {
        let (mut tables, now) = self.current();
        Ok(tables.end(key, false, now))
    }

    async fn end_some(
        &self,
        &EndSome { user, except, ids, marker }: &EndSome<'_>,
    ) -> Result<EndedSome> {
        if let Some(NotBeforeMarker { key, before, life_ms }) = marker {
            let left = {
                let (tables, now) = self.current();
                tables.index_life(user, now)
            };
            self.raise(key, *before, Some(left.max(*life_ms))).await?;
        }
        let (mut tables, now) = self.current();
        let is_all = ids.is_empty();
        let ids = if is_all { tables.ids(user) } else { ids.to_vec() };
        let mut ended = EndedSome { examined: ids.len(), is_all, ..EndedSome::default() };
        for id in ids.into_iter().filter(|id| Some(id.as_str()) != except) {
            match tables.slot(&id) {
                KeyState::Tombstone => {}
                KeyState::Absent => tables.write_tombstone(&id, now),
                KeyState::Value(stored) => match Record::parse(&id, stored.text()) {
                    Some(record) if record.user_id == user => {
                        tables.write_tombstone(&id, now);
                        ended.live += 1;
                    }
                    _ => continue,
                },
            }
            ended.gone.push(id);
        }
        tables.remove_from_index(user, &ended.gone);
        Ok(ended)
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        let (tables, _) = self.current();
        Ok(users.iter().map(|user| tables.entries(user)).collect())
    }

    async fn ids_from(
        &self,
        user: &str,
        _from: &str,
        _count: usize,
    ) -> Result<Vec<(String, String)>> {
        Ok(self
            .current()
            .0
            .entries(user)
            .into_iter()
            .map(|(id, score)| (id, score.to_string()))
            .collect())
    }

    async fn list(&self, user: &str, _most: usize) -> Result<Option<Vec<(String, Stored)>>> {
        let (tables, _) = self.current();
        let stored = |id: String| tables.slot(&id).value().map(|stored| (id, stored));
        Ok(Some(tables.ids(user).into_iter().filter_map(stored).collect()))
    }

    async fn prune(&self, user: &str, claim: &[String], ids: &[String]) -> Result<Pruned> {
        let (mut tables, now) = self.current();
        let is_all = ids.is_empty();
        let ids = if is_all { tables.ids(user) } else { ids.to_vec() };
        let mut pruned = Pruned { examined: ids.len(), is_all, ..Pruned::default() };
        let mut gone = Vec::new();
        let scores = tables.indexes.get(user).cloned().unwrap_or_default();
        for id in ids {
            match tables.slot(&id) {
                _ if scores.get(&id).is_some_and(|score| *score < now - INDEX_MARGIN_MS) => {
                    gone.push(id)
                }
                KeyState::Value(_) => {}
                KeyState::Tombstone => gone.push(id),
                KeyState::Absent if claim.contains(&id) => {
                    tables.write_tombstone(&id, now);
                    gone.push(id);
                }
                KeyState::Absent => pruned.absent.push(id),
            }
        }
        tables.remove_from_index(user, &gone);
        pruned.removed = gone.len() as u64;
        Ok(pruned)
    }

    async fn scan(&self, namespace: Namespace, _cursor: u64) -> Result<Page> {
        let (tables, _) = self.current();
        let keys = match namespace {
            Namespace::Keys => tables.entries.keys().cloned().collect(),
            Namespace::Users => tables.indexes.keys().cloned().collect(),
        };
        Ok(Page { keys, cursor: 0 })
    }

    fn local_clock(&self) -> i64 {
        now_ms() + self.ahead_ms.load(Relaxed)
    }

    fn follow_clock(&self, caller_now_ms: i64) {
        self.ahead_ms.store(caller_now_ms - now_ms(), Relaxed);
    }

    async fn now(&self) -> Result<i64> {
        Ok(self.local_clock())
    }

    async fn ping(&self) -> Result<()> {
        Ok(())
    }
}
