//! The engine whose steps touch one key each: on a cluster, a user's index and a record lie on
//! different servers, and some single servers permit a script no more (`reach.rs`). What is one
//! script elsewhere is several here, in the order that `tests/protocol.rs` has checked, index
//! first. Whoever dies in between leaves an id in an index whose record is dead or absent, which a
//! prune removes.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, Value, cmd};
use futures_util::future::{join_all, try_join_all};
use tokio::time::Instant;

use super::failure;
use super::replicas::{Acknowledgements, RevokeMetrics};
use super::scripts::{self, Script, ScriptInvocation};
use super::steps::{
    Repeat, Route, Steps, Verdict, expected, how_to_end, length, life_ms, may_create, only,
    own_expiry, put_outcome, scan, unexpected, unprefixed, without,
};
use super::topology::Cluster;
use crate::cache::NearCache;
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::engine::{
    Create, DegradedMetrics, EndSome, EndedSome, Engine, Keyspace, Mark, Namespace, Page, Pruned,
    Put, PutOutcome, YOUNG_MS, system_clock,
};
use crate::error::Result;
use crate::events::Events;
use crate::value::{Slot, Stored, TOMBSTONE_BYTES};

/// How much the scripts that are sent together read of records, in bytes. A larger record is read
/// alone.
const PART_BYTES: usize = 1024 * 1024;

/// A scan's cursor has its server's place in these bits, above those that a server uses.
const SERVER_SHIFT: u32 = 48;

/// How far apart the steps of a put may lie.
pub(super) const PUT_TAKES: Duration = Duration::from_secs(1);

/// Records, by steps over one key each.
pub(super) struct OneKeyEngine<R>(Arc<Steps<R>>);

/// Records on a cluster.
///
/// `credentials`: who is asked for user name and password; `cache`: what is to hear of every
/// change; `events`: of what happens to the connections.
pub(crate) fn cluster_engine(
    config: &Config,
    server: &Server,
    credentials: &Credentials,
    keyspace: Keyspace,
    cache: Option<Arc<NearCache>>,
    events: Events,
) -> impl Engine {
    let route =
        Cluster::new(config, server, credentials, &keyspace.key_prefix, cache, events.clone());
    OneKeyEngine::of(Steps::new(config, route, keyspace, &events))
}

impl<R: Route> OneKeyEngine<R> {
    pub(super) fn of(steps: Arc<Steps<R>>) -> Self {
        OneKeyEngine(steps)
    }

    fn keyspace(&self) -> &Keyspace {
        &self.0.keyspace
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
        self.0.script(&key, repeat, &call).await
    }

    /// Enters a session in its owner's index; the ids in it, if they are asked for.
    async fn enter(
        &self,
        user: &str,
        id: &str,
        ttl_ms: u64,
        expires_at: Option<i64>,
        list: bool,
    ) -> Result<Vec<String>> {
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(id).arg(ttl_ms).arg(u8::from(list)).arg(own_expiry(expires_at));
        };
        let ids: Option<Vec<String>> = self.0.on_index(&scripts::ENTER, user, add).await?;
        Ok(ids.unwrap_or_default())
    }

    /// Takes ids out of a user's index, whose sessions are dead.
    async fn leave(&self, user: &str, ids: &[String]) -> Result<()> {
        for part in ids.chunks(1000) {
            let _: Value = self.0.index_command("ZREM", user, |zrem| _ = zrem.arg(part)).await?;
        }
        Ok(())
    }

    /// Ends a key, answering what lay there.
    async fn end_key(&self, key: &str, repeat: Repeat, how: &str) -> Result<Slot> {
        let Keyspace { tombstone_ms, .. } = self.keyspace();
        let mut verdict = Verdict::none();
        let ended = loop {
            let add = |call: &mut ScriptInvocation<'_>| {
                call.arg(key).arg(tombstone_ms).arg(how);
                verdict.add_to(call);
            };
            match self.on_record(&scripts::END_RECORD, key, repeat, add).await? {
                Value::Array(left) if left.len() == 1 => match Verdict::of(key, only(left)?) {
                    Some(decided) => verdict = decided,
                    None => return Ok(Slot::Absent),
                },
                ended => break ended,
            }
        };
        let ended: Option<(Option<Vec<u8>>, Option<String>)> =
            FromRedisValue::from_redis_value(ended).map_err(|_| unexpected())?;
        let Some((found, owner)) = ended else { return Ok(Slot::Ended) };
        if let Some(owner) = owner {
            // The session is dead, whether or not the server of its owner's index can be reached: a
            // prune finds what is left there.
            let _ = self.leave(&owner, &[key.to_owned()]).await;
        }
        Slot::from_bytes(found)
    }

    /// What lies under the keys, those of one server read together, each with its life as in
    /// [`Engine::get_many_tracked`].
    async fn read(&self, keys: &[&str], tracked: bool) -> Result<Vec<(Slot, Option<u64>)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.0.before(Instant::now(), self.0.route.is_known()).await?;
        let mut by_server: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, key) in keys.iter().enumerate() {
            by_server.entry(self.0.route.place(&self.keyspace().key(key))).or_default().push(at);
        }
        let parts: Vec<_> = by_server.into_values().collect();
        let texts = |part: &Vec<usize>| part.iter().map(|at| keys[*at]).collect::<Vec<_>>();
        let found = try_join_all(
            parts.iter().map(|part| self.read_part(texts(part), keys.len() > 1, tracked)),
        )
        .await?;
        let mut slots: Vec<_> = keys.iter().map(|_| (Slot::Absent, Some(0))).collect();
        for (at, found) in parts.into_iter().flatten().zip(found.into_iter().flatten()) {
            slots[at] = found;
        }
        Ok(slots)
    }

    /// As [`OneKeyEngine::read`], of keys that lie on one server as far as is known. `several`:
    /// whether others are read at the same time, so that a key of another type is nobody's error.
    async fn read_part(
        &self,
        keys: Vec<&str>,
        several: bool,
        tracked: bool,
    ) -> Result<Vec<(Slot, Option<u64>)>> {
        let names: Vec<_> = keys.iter().map(|key| self.keyspace().key(key)).collect();
        let answers = self.0.run(&names[0], Repeat::Safe, |mut hop| {
            let names = &names;
            async move {
                let tracked = tracked && hop.link.is_tracked;
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
                let answers: Vec<Value> =
                    read.ignore_errors().query_async(&mut hop.link.connection).await?;
                // Then nothing was read, or what was read is not tracked.
                if let Some(refusal) = answers.iter().find_map(failure::passing) {
                    return Err(refusal);
                }
                if let (true, Some(Value::ServerError(_))) = (tracked, answers.first()) {
                    hop.server.is_deaf(&hop.link);
                }
                Ok((tracked, answers))
            }
        });
        let (tracked, answers) = answers.await?;
        let each = keys.iter().zip(answers.chunks(if tracked { 3 } else { 1 })).map(
            |(key, answers)| async move {
                let (found, life) = match answers {
                    [_, found, life] => (found, life_ms(life)),
                    [found] => (found, Some(0)),
                    _ => return Err(unexpected()),
                };
                match found {
                    Value::ServerError(error) if several && error.code() == "WRONGTYPE" => {
                        Ok((Slot::Absent, Some(0)))
                    }
                    // It lies elsewhere by now, for example.
                    Value::ServerError(_) => Ok((self.0.get(key).await?, Some(0))),
                    found => {
                        let bytes = FromRedisValue::from_redis_value_ref(found)
                            .map_err(|_| unexpected())?;
                        Ok((Slot::from_bytes(bytes)?, life))
                    }
                }
            },
        );
        try_join_all(each).await
    }
}

/// Whether a write may create its record, as far as this process's clock tells.
fn is_new(create: Create) -> bool {
    match create {
        Create::Young(created_at) => system_clock().abs_diff(created_at) <= YOUNG_MS.unsigned_abs(),
        Create::Always => true,
        Create::Never => false,
    }
}

impl<R: Route> Engine for OneKeyEngine<R> {
    fn put_takes(&self) -> Duration {
        PUT_TAKES
    }

    async fn get(&self, key: &str) -> Result<Slot> {
        self.0.get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Slot>> {
        Ok(self.read(keys, false).await?.into_iter().map(|(slot, _)| slot).collect())
    }

    async fn lengths(&self, keys: &[&str]) -> Result<Vec<usize>> {
        try_join_all(keys.iter().map(async |key| {
            let key = self.keyspace().key(key);
            Ok(length(
                self.0
                    .command(&key, Repeat::Safe, cmd("STRLEN").arg(&key))
                    .await
                    .unwrap_or(Value::Nil),
            ))
        }))
        .await
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(Slot, Option<u64>)>> {
        self.read(keys, true).await
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        self.0.set(key, value, ttl_ms).await
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        self.0.raise(key, value, ttl_ms).await
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        self.0.increment(key, ttl_ms).await
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        // A late write is known by its age, and enters nothing.
        if !is_new(put.create) {
            let add = |call: &mut ScriptInvocation<'_>| {
                _ = call.arg(expected(put)).arg(may_create(put.create))
            };
            let answer = self.on_record(&scripts::MAY_PUT, put.id, Repeat::Safe, add).await?;
            match put_outcome(put.id, answer)? {
                PutOutcome::Created { .. } | PutOutcome::Replaced => {}
                refusal => return Ok(refusal),
            }
        }
        if put.list_others {
            self.0.fold(put.user).await?;
        }
        let others =
            self.enter(put.user, put.id, put.ttl_ms, put.expires_at, put.list_others).await?;
        let add = |call: &mut ScriptInvocation<'_>| {
            call.arg(expected(put))
                .arg(may_create(put.create))
                .arg(put.record.raw())
                .arg(put.ttl_ms);
        };
        let answer = self.on_record(&scripts::PUT_RECORD, put.id, Repeat::Safe, add).await?;
        match put_outcome(put.id, answer)? {
            PutOutcome::Created { .. } => {
                Ok(PutOutcome::Created { others: without(put.id, others) })
            }
            // The tombstone stands. (Of an absent record nobody knows whether another writer is
            // about to create it.)
            PutOutcome::Refused => {
                self.leave(put.user, &[put.id.to_owned()]).await?;
                Ok(PutOutcome::Refused)
            }
            outcome => Ok(outcome),
        }
    }

    async fn adopt(&self, id: &str, user: &str, found: &Stored) -> Result<()> {
        self.0.fold(user).await?;
        let Ok(ttl_ms @ 1..) = u64::try_from(self.0.life(id).await?) else { return Ok(()) };
        self.enter(user, id, ttl_ms, None, false).await?;
        let indexed = Stored::record(found.text());
        let add = |call: &mut ScriptInvocation<'_>| _ = call.arg(found.raw()).arg(indexed.raw());
        self.on_record::<Value>(&scripts::ADOPT_RECORD, id, Repeat::Safe, add).await.map(drop)
    }

    async fn end(&self, key: &str, may_be_session: bool) -> Result<()> {
        self.end_key(key, Repeat::Safe, how_to_end(may_be_session)).await.map(drop)
    }

    async fn take(&self, key: &str) -> Result<Slot> {
        self.end_key(key, Repeat::Never, "take").await
    }

    async fn end_some(
        &self,
        &EndSome { user, except, ids, mark }: &EndSome<'_>,
    ) -> Result<EndedSome> {
        if ids.is_empty() {
            if let Some(Mark { key, before, life_ms }) = mark {
                let index = self.keyspace().index(user);
                let left: i64 =
                    self.0.command(&index, Repeat::Safe, cmd("PTTL").arg(&index)).await?;
                self.raise(key, *before, Some((*life_ms).max(u64::try_from(left).unwrap_or(0))))
                    .await?;
            }
            return Ok(EndedSome::default());
        }
        // Scripts that are sent together are carried out in one go: together they may read no more
        // than one may.
        let texts: Vec<_> = ids.iter().map(String::as_str).collect();
        let mut bytes = 0;
        let mut fits = |length: &usize| {
            bytes += length;
            bytes <= PART_BYTES
        };
        let looked =
            self.lengths(&texts).await?.iter().take_while(|length| fits(length)).count().max(1);
        let to_end: Vec<_> =
            ids[..looked].iter().filter(|id| Some(id.as_str()) != except).collect();
        let outcomes = join_all(to_end.iter().map(async |id| {
            let add = |call: &mut ScriptInvocation<'_>| {
                _ = call.arg(id).arg(user).arg(self.keyspace().tombstone_ms)
            };
            self.on_record::<String>(&scripts::END_OF_USER, id, Repeat::Safe, add).await
        }))
        .await;
        let mut ended = EndedSome { looked, ..EndedSome::default() };
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
        self.leave(user, &ended.gone).await?;
        failure.map_or(Ok(ended), Err)
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        try_join_all(users.iter().map(async |user| {
            self.0.fold(user).await?;
            let entries: Vec<(String, f64)> = self
                .0
                .index_command("ZRANGE", user, |zrange| _ = zrange.arg(0).arg(-1).arg("WITHSCORES"))
                .await?;
            Ok(entries.into_iter().map(|(id, expiry)| (id, expiry as i64)).collect())
        }))
        .await
    }

    async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        self.0.ids_from(user, from, count).await
    }

    async fn list(&self, _user: &str, _most: usize) -> Result<Option<Vec<(String, Stored)>>> {
        Ok(None)
    }

    async fn prune(&self, user: &str, claim: &[String], ids: &[String]) -> Result<Pruned> {
        if ids.is_empty() {
            return Ok(Pruned::default());
        }
        let past: u64 = self.0.on_index(&scripts::DROP_PAST, user, |_| ()).await?;
        let texts: Vec<_> = ids.iter().map(String::as_str).collect();
        let lengths = self.lengths(&texts).await?;
        let short: Vec<_> =
            texts.iter().zip(lengths).filter(|(_, length)| *length <= TOMBSTONE_BYTES).collect();
        let short: Vec<_> = short.into_iter().map(|(id, _)| *id).collect();
        let slots = self.get_many(&short).await?;
        let (mut gone, mut absent) = (Vec::new(), Vec::new());
        for (id, slot) in short.into_iter().map(str::to_owned).zip(slots) {
            match slot {
                Slot::Value(_) => {}
                Slot::Ended => gone.push(id),
                Slot::Absent if claim.contains(&id) => {
                    let add = |call: &mut ScriptInvocation<'_>| {
                        _ = call.arg(self.keyspace().tombstone_ms)
                    };
                    if self.on_record(&scripts::CLAIM, &id, Repeat::Safe, add).await? {
                        gone.push(id);
                    }
                }
                Slot::Absent => absent.push(id),
            }
        }
        self.leave(user, &gone).await?;
        Ok(Pruned { looked: ids.len(), removed: past + gone.len() as u64, absent, is_all: false })
    }

    /// Server after server. What a slot's move takes from one to another meanwhile may be missed.
    async fn scan(&self, namespace: Namespace, cursor: u64) -> Result<Page> {
        let prefix = self.keyspace().prefix(namespace);
        let primaries = self.0.before(Instant::now(), self.0.route.primaries()).await?;
        let at = (cursor >> SERVER_SHIFT) as usize;
        let Some(primary) = primaries.get(at) else { return Ok(Page::default()) };
        let command = scan(prefix, cursor & ((1 << SERVER_SHIFT) - 1));
        let (next, found): (u64, _) = self.0.command_at(primary, &command).await?;
        let cursor = match next {
            0 if at + 1 == primaries.len() => 0,
            0 => (at as u64 + 1) << SERVER_SHIFT,
            next => (at as u64) << SERVER_SHIFT | next,
        };
        Ok(Page { keys: unprefixed(prefix, found), cursor })
    }

    async fn acknowledge(&self, ended: &[&str]) {
        self.0.acknowledge(ended).await;
    }

    fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        self.0.acknowledgements.as_ref().map(Acknowledgements::metrics)
    }

    fn degraded_metrics(&self) -> DegradedMetrics {
        self.0.degraded.metrics()
    }

    async fn now(&self) -> Result<i64> {
        self.0.now().await
    }

    async fn ping(&self) -> Result<()> {
        let primaries = self.0.before(Instant::now(), self.0.route.primaries()).await?;
        let ping = cmd("PING");
        try_join_all(primaries.iter().map(|primary| self.0.command_at::<Value>(primary, &ping)))
            .await
            .map(drop)
    }
}
