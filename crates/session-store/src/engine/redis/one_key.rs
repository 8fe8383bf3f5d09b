//! The engine whose steps touch one key each: on a cluster, a user's index and a record lie on
//! different servers, and some single servers permit a script one key only
//! (`connection/script_reach.rs`). What is one script on a standalone server is several here, in the
//! order that `tests/protocol.rs` has checked, index first. A process that dies between two of them
//! leaves an id in an index whose record is dead or absent. A prune removes it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, Value, cmd};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::executor::{Executor, Repeat};
use super::ownership::KnownOwner;
use super::replicas::Acknowledgements;
use super::route::Route;
use super::scan::{scan, without_prefix};
use super::scripts::{self, Script, ScriptInvocation};
use super::{arguments, failure, replies};
use crate::clock::now_ms;
use crate::engine::{
    Create, EndSome, EndedSome, Engine, Keyspace, Namespace, NotBeforeMarker, Page, Pruned, Put,
    PutOutcome, YOUNG_MS, another_application,
};
use crate::error::Result;
use crate::metrics::{DegradedMetrics, RevokeMetrics};
use crate::value::{KeyState, Stored, TOMBSTONE_BYTES};

/// How much the scripts that are sent together read of records, in bytes. A larger record is read
/// alone.
const PART_BYTES: usize = 1024 * 1024;

/// A scan's cursor has its server's place in these bits, above those that a server uses.
const SERVER_SHIFT: u32 = 48;

/// How many ids one ZREM names.
const REMOVED_TOGETHER: usize = 1000;

/// The longest time between the steps of a put.
pub(super) const MAX_PUT_DURATION: Duration = Duration::from_secs(1);

/// A step's reply to a key that is absent, or of another type.
const NOTHING_FOUND: (KeyState, Option<u64>) = (KeyState::Absent, Some(0));

/// Records, by steps over one key each.
pub(super) struct OneKeyEngine<R> {
    executor: Arc<Executor<R>>,
}

impl<R: Route> OneKeyEngine<R> {
    pub(super) fn new(executor: Arc<Executor<R>>) -> Self {
        OneKeyEngine { executor }
    }

    fn keyspace(&self) -> &Keyspace {
        &self.executor.keyspace
    }

    /// A call of a script on a record.
    async fn on_record<T: FromRedisValue + Send>(
        &self,
        script: &Script,
        id: &str,
        repeat: Repeat,
        add: impl FnOnce(&mut ScriptInvocation<'_>),
    ) -> Result<T> {
        let key = self.keyspace().key(id);
        let mut call = script.key(&key);
        add(&mut call);
        self.executor.script(&key, repeat, &call).await
    }

    /// Enters a session in its owner's index. Returns the ids in it, if `list` asks for them.
    async fn add_to_index(
        &self,
        user: &str,
        id: &str,
        ttl_ms: u64,
        expires_at: Option<i64>,
        list: bool,
    ) -> Result<Vec<String>> {
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(id).arg(ttl_ms).arg(u8::from(list)).arg(arguments::expires_at(expires_at));
        };
        let ids: Option<Vec<String>> =
            self.executor.on_index(&scripts::ADD_TO_INDEX, user, add).await?;
        Ok(ids.unwrap_or_default())
    }

    /// Removes ids from a user's index, whose sessions are dead.
    async fn remove_from_index(&self, user: &str, ids: &[String]) -> Result<()> {
        for part in ids.chunks(REMOVED_TOGETHER) {
            let _: Value =
                self.executor.index_command("ZREM", user, |zrem| _ = zrem.arg(part)).await?;
        }
        Ok(())
    }

    /// Ends a key. Returns what it held.
    async fn end_key(&self, key: &str, repeat: Repeat, how: &str) -> Result<KeyState> {
        let Keyspace { tombstone_ms, .. } = self.keyspace();
        let mut known = KnownOwner::none();
        let ended = loop {
            let add = |call: &mut ScriptInvocation<'_>| {
                call.arg(key).arg(tombstone_ms).arg(how);
                known.add_to(call);
            };
            match self.on_record(&scripts::END_RECORD, key, repeat, add).await? {
                Value::Array(undecided) if undecided.len() == 1 => {
                    match KnownOwner::read(key, replies::single_value(undecided)?) {
                        Some(owner) => known = owner,
                        None => return Ok(KeyState::Absent),
                    }
                }
                ended => break ended,
            }
        };
        let ended: Option<(Option<Vec<u8>>, Option<String>)> = replies::parse(ended)?;
        let Some((found, owner)) = ended else { return Ok(KeyState::Tombstone) };
        if let Some(owner) = owner {
            // The session is dead, whether or not the server of its owner's index can be reached: a
            // prune finds what is left there.
            let _ = self.remove_from_index(&owner, &[key.to_owned()]).await;
        }
        KeyState::from_bytes(found)
    }

    /// What lies under the keys, those of one server read together, each with its life as in
    /// [`Engine::get_many_tracked`].
    async fn read(&self, keys: &[&str], tracked: bool) -> Result<Vec<(KeyState, Option<u64>)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let route = &self.executor.route;
        self.executor.within_timeout(Instant::now(), route.wait_until_known()).await?;
        let mut by_server: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            by_server.entry(route.server_number(&self.keyspace().key(key))).or_default().push(at);
        }
        let parts: Vec<_> = by_server.into_values().collect();
        let texts = |part: &Vec<usize>| part.iter().map(|at| keys[*at]).collect::<Vec<_>>();
        let found = try_join_all(
            parts.iter().map(|part| self.read_part(texts(part), keys.len() > 1, tracked)),
        )
        .await?;
        let mut slots: Vec<_> = keys.iter().map(|_| NOTHING_FOUND).collect();
        for (at, found) in parts.into_iter().flatten().zip(found.into_iter().flatten()) {
            slots[at] = found;
        }
        Ok(slots)
    }

    /// As [`OneKeyEngine::read`], of keys that lie on one server as far as is known. `several`:
    /// whether others are read at the same time, so that a key of another type is no error.
    async fn read_part(
        &self,
        keys: Vec<&str>,
        several: bool,
        tracked: bool,
    ) -> Result<Vec<(KeyState, Option<u64>)>> {
        let names: Vec<_> = keys.iter().map(|key| self.keyspace().key(key)).collect();
        let read = self.executor.run(&names[0], Repeat::Safe, |mut target| {
            let names = &names;
            async move {
                let tracked = tracked && target.link.is_tracked;
                let replies: Vec<Value> =
                    read_pipeline(names, tracked).query_async(&mut target.link.connection).await?;
                // Then nothing was read, or what was read is not tracked.
                if let Some(refusal) = replies.iter().find_map(failure::temporary_refusal) {
                    return Err(refusal);
                }
                if let (true, Some(Value::ServerError(_))) = (tracked, replies.first()) {
                    target.server.drop_untracked(&target.link);
                }
                Ok((tracked, replies))
            }
        });
        let (tracked, replies) = read.await?;
        let each = keys.iter().zip(replies.chunks(if tracked { 3 } else { 1 })).map(
            |(key, replies)| async move {
                match replies {
                    [_, found, life] => {
                        self.found(key, found, replies::life_ms(life), several).await
                    }
                    [found] => self.found(key, found, Some(0), several).await,
                    _ => Err(replies::unexpected()),
                }
            },
        );
        try_join_all(each).await
    }

    /// What a GET among several found.
    async fn found(
        &self,
        key: &str,
        found: &Value,
        life_ms: Option<u64>,
        several: bool,
    ) -> Result<(KeyState, Option<u64>)> {
        match found {
            Value::ServerError(error) if several && error.code() == "WRONGTYPE" => {
                Ok(NOTHING_FOUND)
            }
            // It lies elsewhere by now, for example.
            Value::ServerError(_) => Ok((self.get(key).await?, Some(0))),
            found => Ok((KeyState::from_bytes(replies::parse_ref(found)?)?, life_ms)),
        }
    }

    /// Raises the not-before marker, so that it outlives the user's index.
    async fn raise_marker(&self, user: &str, marker: &NotBeforeMarker) -> Result<()> {
        let NotBeforeMarker { key, before, life_ms } = marker;
        let index = self.keyspace().index(user);
        let left: i64 =
            self.executor.command(&index, Repeat::Safe, cmd("PTTL").arg(&index)).await?;
        let life_ms = (*life_ms).max(u64::try_from(left).unwrap_or(0));
        self.raise(key, *before, Some(life_ms)).await.map(drop)
    }

    /// How many of the ids, the first ones, have records that fit into one part. Scripts that are
    /// sent together are carried out in one go: together they may read no more than one may.
    async fn fitting(&self, ids: &[String]) -> Result<usize> {
        let texts: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut bytes = 0;
        let mut fits = |length: &usize| {
            bytes += length;
            bytes <= PART_BYTES
        };
        Ok(self.lengths(&texts).await?.iter().take_while(|length| fits(length)).count().max(1))
    }

    /// Makes sure by a tombstone that a session which was absent stays so. `true`: it is dead.
    async fn claim_absence(&self, id: &str) -> Result<bool> {
        let add = |call: &mut ScriptInvocation<'_>| _ = call.arg(self.keyspace().tombstone_ms);
        self.on_record(&scripts::CLAIM_ABSENCE, id, Repeat::Safe, add).await
    }
}

/// GETs of keys; tracked, each with its announcement and its life.
fn read_pipeline(names: &[String], tracked: bool) -> Pipeline {
    let mut read = Pipeline::new();
    for name in names {
        if tracked {
            read.cmd("CLIENT").arg("CACHING").arg("YES");
        }
        read.cmd("GET").arg(name);
        if tracked {
            read.cmd("PTTL").arg(name);
        }
    }
    read.ignore_errors();
    read
}

/// Whether a write may create its record, as far as this process's clock tells.
fn is_new(create: Create) -> bool {
    match create {
        Create::Young(created_at) => now_ms().abs_diff(created_at) <= YOUNG_MS.unsigned_abs(),
        Create::Always => true,
        Create::Never => false,
    }
}

impl<R: Route> Engine for OneKeyEngine<R> {
    fn max_put_duration(&self) -> Duration {
        MAX_PUT_DURATION
    }

    async fn get(&self, key: &str) -> Result<KeyState> {
        let key = self.keyspace().key(key);
        let found = self.executor.command(&key, Repeat::Safe, cmd("GET").arg(&key)).await?;
        KeyState::from_bytes(found)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<KeyState>> {
        Ok(self.read(keys, false).await?.into_iter().map(|(slot, _)| slot).collect())
    }

    async fn lengths(&self, keys: &[&str]) -> Result<Vec<usize>> {
        try_join_all(keys.iter().map(async |key| {
            let key = self.keyspace().key(key);
            let length = self.executor.command(&key, Repeat::Safe, cmd("STRLEN").arg(&key)).await;
            Ok(replies::length(&length.unwrap_or(Value::Nil)))
        }))
        .await
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(KeyState, Option<u64>)>> {
        self.read(keys, true).await
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(key).arg(Stored::plain(value).raw()).arg(arguments::life_ms(ttl_ms));
        };
        match self.on_record(&scripts::SET_VALUE, key, Repeat::Safe, add).await? {
            0 => Err(another_application()),
            _ => Ok(()),
        }
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(value).arg(arguments::life_ms(ttl_ms));
        };
        self.on_record(&scripts::RAISE, key, Repeat::Safe, add).await
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        let key = self.keyspace().key(key);
        let mut call = scripts::INCREMENT.key(&key);
        call.arg(ttl_ms);
        let mut counts = self.executor.script_of_many(&key, Repeat::Never, &call).await?;
        replies::parse(counts.pop().ok_or_else(replies::unexpected)??)
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        let (expected, create) = (arguments::expected(put), arguments::create(put.create));
        // A write that comes long after its session was created must not enter the index.
        if !is_new(put.create) {
            let add = |call: &mut ScriptInvocation<'_>| _ = call.arg(expected).arg(&create);
            let reply = self.on_record(&scripts::CHECK_PUT, put.id, Repeat::Safe, add).await?;
            match replies::put_outcome(put.id, reply)? {
                PutOutcome::Created { .. } | PutOutcome::Replaced => {}
                refusal => return Ok(refusal),
            }
        }
        if put.list_others {
            self.executor.fold(put.user).await?;
        }
        let ids = self
            .add_to_index(put.user, put.id, put.ttl_ms, put.expires_at, put.list_others)
            .await?;
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(expected).arg(&create).arg(put.record.raw()).arg(put.ttl_ms);
        };
        let reply = self.on_record(&scripts::PUT_RECORD, put.id, Repeat::Safe, add).await?;
        match replies::put_outcome(put.id, reply)? {
            PutOutcome::Created { .. } => {
                Ok(PutOutcome::Created { others: replies::other_ids(ids, put.id) })
            }
            // The tombstone stands. (An absent record leaves the entry: another writer may be about
            // to create it.)
            PutOutcome::Refused => {
                self.remove_from_index(put.user, &[put.id.to_owned()]).await?;
                Ok(PutOutcome::Refused)
            }
            outcome => Ok(outcome),
        }
    }

    async fn adopt(&self, id: &str, user: &str, found: &Stored) -> Result<()> {
        self.executor.fold(user).await?;
        let Ok(ttl_ms @ 1..) = u64::try_from(self.executor.life(id).await?) else { return Ok(()) };
        self.add_to_index(user, id, ttl_ms, None, false).await?;
        let indexed = Stored::record(found.text());
        let add = |call: &mut ScriptInvocation<'_>| _ = call.arg(found.raw()).arg(indexed.raw());
        self.on_record::<Value>(&scripts::MARK_INDEXED, id, Repeat::Safe, add).await.map(drop)
    }

    async fn end(&self, key: &str, may_be_session: bool) -> Result<()> {
        self.end_key(key, Repeat::Safe, arguments::how_to_end(may_be_session)).await.map(drop)
    }

    async fn take(&self, key: &str) -> Result<KeyState> {
        self.end_key(key, Repeat::Never, "take").await
    }

    async fn end_some(
        &self,
        &EndSome { user, except, ids, marker }: &EndSome<'_>,
    ) -> Result<EndedSome> {
        if ids.is_empty() {
            if let Some(marker) = marker {
                self.raise_marker(user, marker).await?;
            }
            return Ok(EndedSome::default());
        }
        let examined = self.fitting(ids).await?;
        let to_end: Vec<_> =
            ids[..examined].iter().filter(|id| Some(id.as_str()) != except).collect();
        let outcomes = join_all(to_end.iter().map(async |id| {
            let add = |call: &mut ScriptInvocation<'_>| {
                _ = call.arg(id).arg(user).arg(self.keyspace().tombstone_ms)
            };
            self.on_record::<String>(&scripts::END_IF_OWNED, id, Repeat::Safe, add).await
        }))
        .await;
        let mut ended = EndedSome { examined, ..EndedSome::default() };
        let mut failure = None;
        for (id, outcome) in to_end.into_iter().zip(outcomes) {
            match outcome.as_deref() {
                Ok("OTHER") => {}
                Ok("UNDECIDED") => ended.undecided.push(id.clone()),
                Ok(outcome) => {
                    ended.live += u64::from(outcome == "LIVE");
                    ended.gone.push(id.clone());
                }
                Err(error) => failure = Some(error.clone()),
            }
        }
        self.remove_from_index(user, &ended.gone).await?;
        failure.map_or(Ok(ended), Err)
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        try_join_all(users.iter().map(async |user| {
            self.executor.fold(user).await?;
            self.executor.index_entries(user).await
        }))
        .await
    }

    async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        self.executor.ids_from(user, from, count).await
    }

    async fn list(&self, _user: &str, _most: usize) -> Result<Option<Vec<(String, Stored)>>> {
        Ok(None)
    }

    async fn prune(&self, user: &str, claim: &[String], ids: &[String]) -> Result<Pruned> {
        if ids.is_empty() {
            return Ok(Pruned::default());
        }
        let past: u64 = self.executor.on_index(&scripts::DROP_PAST_ENTRIES, user, |_| ()).await?;
        let texts: Vec<_> = ids.iter().map(String::as_str).collect();
        let lengths = self.lengths(&texts).await?;
        let short: Vec<_> =
            texts.iter().zip(lengths).filter(|(_, length)| *length <= TOMBSTONE_BYTES).collect();
        let short: Vec<_> = short.into_iter().map(|(id, _)| *id).collect();
        let slots = self.get_many(&short).await?;
        let (mut gone, mut absent) = (Vec::new(), Vec::new());
        for (id, slot) in short.into_iter().map(str::to_owned).zip(slots) {
            match slot {
                KeyState::Value(_) => {}
                KeyState::Tombstone => gone.push(id),
                KeyState::Absent if claim.contains(&id) => {
                    if self.claim_absence(&id).await? {
                        gone.push(id);
                    }
                }
                KeyState::Absent => absent.push(id),
            }
        }
        self.remove_from_index(user, &gone).await?;
        Ok(Pruned { examined: ids.len(), removed: past + gone.len() as u64, absent, is_all: false })
    }

    /// Server after server. What a slot's move takes from one to another meanwhile may be missed.
    async fn scan(&self, namespace: Namespace, cursor: u64) -> Result<Page> {
        let prefix = self.keyspace().prefix(namespace);
        let primaries = self.executor.route.primaries();
        let primaries = self.executor.within_timeout(Instant::now(), primaries).await?;
        let at = (cursor >> SERVER_SHIFT) as usize;
        let Some(primary) = primaries.get(at) else { return Ok(Page::default()) };
        let command = scan(prefix, cursor & ((1 << SERVER_SHIFT) - 1));
        let (next, found): (u64, _) = self.executor.command_at(primary, &command).await?;
        let cursor = match next {
            0 if at + 1 == primaries.len() => 0,
            0 => (at as u64 + 1) << SERVER_SHIFT,
            next => (at as u64) << SERVER_SHIFT | next,
        };
        Ok(Page { keys: without_prefix(prefix, found), cursor })
    }

    async fn acknowledge(&self, ended: &[&str]) {
        self.executor.acknowledge(ended).await;
    }

    fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        self.executor.acknowledgements.as_ref().map(Acknowledgements::metrics)
    }

    fn degraded_metrics(&self) -> DegradedMetrics {
        self.executor.degraded.metrics()
    }

    /// Of whichever server holds the empty key.
    async fn now(&self) -> Result<i64> {
        let (seconds, micros): (i64, i64) =
            self.executor.command("", Repeat::Safe, &cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    async fn ping(&self) -> Result<()> {
        let primaries = self.executor.route.primaries();
        let primaries = self.executor.within_timeout(Instant::now(), primaries).await?;
        let ping = cmd("PING");
        try_join_all(
            primaries.iter().map(|primary| self.executor.command_at::<Value>(primary, &ping)),
        )
        .await
        .map(drop)
    }
}
