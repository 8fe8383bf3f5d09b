//! The engine on one primary: each step is one command or one script. Where the server permits a
//! script one key only (`connection/script_reach.rs`), it takes the steps of `one_key.rs` instead.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Value, cmd, pipe};
use tokio::time::Instant;

use super::batch::Batch;
use super::connection::script_reach::ScriptReach;
use super::connection::supervisor::Supervisor;
use super::executor::{Executor, Repeat};
use super::one_key::{self, OneKeyEngine};
use super::ownership::KnownOwner;
use super::route::ServerLink;
use super::scan::{scan, without_prefix};
use super::scripts::{self, ScriptInvocation};
use super::tracking::TrackingFeed;
use super::{arguments, failure, replies};
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::engine::{
    EndSome, EndedSome, Engine, IDS_PER_STEP, INDEX_MARGIN_MS, Keyspace, Namespace, Page, Pruned,
    Put, PutOutcome,
};
use crate::error::Result;
use crate::events::Events;
use crate::metrics::{DegradedMetrics, RevokeMetrics};
use crate::near_cache::NearCache;
use crate::value::{KeyState, Stored};

/// Records on one server.
pub(crate) struct StandaloneEngine {
    executor: Arc<Executor<Supervisor>>,
    one_key: OneKeyEngine<Supervisor>,
    puts: Batch,
    /// Those that answer the user's other ids.
    listing_puts: Batch,
    increments: Batch,
}

impl StandaloneEngine {
    /// `credentials`: provides user name and password. `cache`: receives every change of what it
    /// keeps. `events`: receives what happens to the connection.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        keyspace: Keyspace,
        cache: Option<Arc<NearCache>>,
        events: Events,
    ) -> Self {
        let feed =
            cache.map(|cache| Arc::new(TrackingFeed::new(cache, &keyspace.key_prefix, |_| true)));
        let key_prefix = keyspace.key_prefix.clone();
        let route = Supervisor::new(config, server, credentials, feed, events.clone());
        let executor = Executor::new(config, route, keyspace, &events);
        let batch = |script, repeat, common| Batch::new(executor.clone(), script, repeat, common);
        StandaloneEngine {
            puts: batch(&scripts::PUT, Repeat::Safe, vec![key_prefix.clone()]),
            listing_puts: batch(&scripts::PUT_LISTING, Repeat::Safe, vec![key_prefix]),
            increments: batch(&scripts::INCREMENT, Repeat::Never, Vec::new()),
            one_key: OneKeyEngine::new(executor.clone()),
            executor,
        }
    }

    fn keyspace(&self) -> &Keyspace {
        &self.executor.keyspace
    }

    /// The steps over one key each, if the server permits no others. Their futures are boxed,
    /// because they are rare: a call carries no room for them.
    async fn one_key(&self) -> Result<Option<&OneKeyEngine<Supervisor>>> {
        let reach = self.executor.route.wait_for_script_reach();
        let reach = self.executor.within_timeout(Instant::now(), reach).await?;
        Ok((reach == ScriptReach::OneKey).then_some(&self.one_key))
    }

    /// On the one server there is, whatever the key.
    async fn script<T: FromRedisValue + Send>(
        &self,
        repeat: Repeat,
        call: &ScriptInvocation<'_>,
    ) -> Result<T> {
        self.executor.script("", repeat, call).await
    }

    /// Ends a key. Returns what it held, if `how` is `take`.
    async fn end_key(&self, key: &str, repeat: Repeat, how: &str) -> Result<Option<Vec<u8>>> {
        let Keyspace { user_prefix, tombstone_ms, .. } = self.keyspace();
        let mut known = KnownOwner::none();
        loop {
            let mut call = scripts::END.key(self.keyspace().key(key));
            call.arg(key).arg(tombstone_ms).arg(how);
            known.add_to(&mut call);
            call.arg(user_prefix);
            match self.script(repeat, &call).await? {
                Value::Array(undecided) => {
                    match KnownOwner::read(key, replies::single_value(undecided)?) {
                        Some(owner) => known = owner,
                        None => return Ok(None),
                    }
                }
                ended => return replies::parse(ended),
            }
        }
    }

    /// A read of keys that the server is to track, with their lives.
    fn tracked_read(&self, keys: &[&str]) -> Pipeline {
        let mut read = Pipeline::new();
        read.cmd("CLIENT").arg("CACHING").arg("YES");
        read.cmd(if keys.len() == 1 { "GET" } else { "MGET" });
        self.keyspace().each_key(keys, |key| _ = read.arg(key));
        // The server does not report an expired key until it comes across it, which may take it
        // long.
        self.keyspace().each_key(keys, |key| _ = read.cmd("PTTL").arg(key));
        read.ignore_errors();
        read
    }

    /// The index's command that answers all entries with their scores.
    fn add_index_reads(&self, users: &[&str], pipeline: &mut Pipeline) {
        for user in users {
            pipeline.cmd("ZRANGE").arg(self.keyspace().index(user));
            pipeline.arg(0).arg(-1).arg("WITHSCORES");
        }
    }
}

/// What a tracked read found, and the replies to the whole pipeline; `None`: the connection does
/// not track.
async fn run_tracked(
    read: &Pipeline,
    mut target: ServerLink,
) -> RedisResult<Option<(Value, Vec<Value>)>> {
    if !target.link.is_tracked {
        return Ok(None);
    }
    let mut replies: Vec<Value> = read.query_async(&mut target.link.connection).await?;
    if let Some(refusal @ Value::ServerError(_)) = replies.first() {
        // Then what was read is not tracked.
        if let Some(refusal) = failure::temporary_refusal(refusal) {
            return Err(refusal);
        }
        target.server.drop_untracked(&target.link);
    }
    match replies.get_mut(1).map(std::mem::take) {
        Some(error @ Value::ServerError(_)) => error.extract_error().map(|_| None),
        Some(found) => Ok(Some((found, replies))),
        None => Ok(None),
    }
}

impl Engine for StandaloneEngine {
    fn max_put_duration(&self) -> Duration {
        match self.executor.route.last_script_reach() {
            ScriptReach::OneKey => one_key::MAX_PUT_DURATION,
            ScriptReach::AnyKeys => Duration::ZERO,
        }
    }

    async fn get(&self, key: &str) -> Result<KeyState> {
        self.one_key.get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<KeyState>> {
        match keys {
            [] => return Ok(Vec::new()),
            [key] => return Ok(vec![self.get(key).await?]),
            _ => {}
        }
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.get_many(keys)).await;
        }
        let mut mget = cmd("MGET");
        self.keyspace().each_key(keys, |key| _ = mget.arg(key));
        let found: Vec<Option<Vec<u8>>> = self.executor.command("", Repeat::Safe, &mget).await?;
        found.into_iter().map(KeyState::from_bytes).collect()
    }

    async fn lengths(&self, keys: &[&str]) -> Result<Vec<usize>> {
        let mut pipeline = pipe();
        for key in keys {
            pipeline.cmd("STRLEN").arg(self.keyspace().key(key));
        }
        let lengths: Vec<Value> = self.executor.pipeline("", pipeline.ignore_errors()).await?;
        Ok(lengths.iter().map(replies::length).collect())
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(KeyState, Option<u64>)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.get_many_tracked(keys)).await;
        }
        let read = self.tracked_read(keys);
        let found = self.executor.run("", Repeat::Safe, |target| run_tracked(&read, target));
        let Some((found, replies)) = found.await? else {
            // Nothing that is read on a connection that does not track is kept.
            let slots = self.get_many(keys).await?;
            return Ok(slots.into_iter().map(|slot| (slot, Some(0))).collect());
        };
        let found: Vec<Option<Vec<u8>>> = match found {
            Value::Array(_) => replies::parse(found)?,
            one => vec![replies::parse(one)?],
        };
        found
            .into_iter()
            .zip(&replies[2..])
            .map(|(bytes, life)| Ok((KeyState::from_bytes(bytes)?, replies::life_ms(life))))
            .collect()
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        self.one_key.set(key, value, ttl_ms).await
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        self.one_key.raise(key, value, ttl_ms).await
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.increment(key, ttl_ms)).await;
        }
        let add =
            |call: &mut ScriptInvocation<'_>| _ = call.key(self.keyspace().key(key)).arg(ttl_ms);
        replies::parse(self.increments.join(key.len(), add).await?)
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.put(put)).await;
        }
        let expected = arguments::expected(put);
        let add = |call: &mut ScriptInvocation<'_>| {
            call.key(self.keyspace().key(put.id)).key(self.keyspace().index(put.user));
            if put.list_others {
                call.key(self.keyspace().legacy_index(put.user));
            }
            call.arg(put.id).arg(put.record.raw());
            call.arg(put.ttl_ms).arg(put.ttl_ms + INDEX_MARGIN_MS.unsigned_abs());
            call.arg(expected).arg(arguments::create(put.create));
            call.arg(arguments::expires_at(put.expires_at));
        };
        let puts = if put.list_others { &self.listing_puts } else { &self.puts };
        loop {
            let reply = puts.join(put.record.raw().len() + expected.len(), add).await?;
            if !replies::asks_for_fold(&reply) {
                return replies::put_outcome(put.id, reply);
            }
            self.executor.fold(put.user).await?;
        }
    }

    async fn adopt(&self, id: &str, user: &str, found: &Stored) -> Result<()> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.adopt(id, user, found)).await;
        }
        self.executor.fold(user).await?;
        let mut call = scripts::ADOPT.key(self.keyspace().index(user));
        call.key(self.keyspace().key(id));
        call.arg(id).arg(found.raw()).arg(Stored::record(found.text()).raw());
        call.arg(&self.keyspace().key_prefix);
        self.script::<Value>(Repeat::Safe, &call).await.map(drop)
    }

    async fn end(&self, key: &str, may_be_session: bool) -> Result<()> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.end(key, may_be_session)).await;
        }
        self.end_key(key, Repeat::Safe, arguments::how_to_end(may_be_session)).await.map(drop)
    }

    async fn take(&self, key: &str) -> Result<KeyState> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.take(key)).await;
        }
        self.end_key(key, Repeat::Never, "take").await.and_then(KeyState::from_bytes)
    }

    async fn end_some(&self, which: &EndSome<'_>) -> Result<EndedSome> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.end_some(which)).await;
        }
        let &EndSome { user, except, ids, marker } = which;
        let Keyspace { key_prefix, tombstone_ms, .. } = self.keyspace();
        let mut call = scripts::END_SOME.key(self.keyspace().index(user));
        call.key(self.keyspace().legacy_index(user));
        call.key(self.keyspace().key(marker.map(|marker| &*marker.key).unwrap_or_default()));
        call.arg(user).arg(except.unwrap_or_default()).arg(tombstone_ms).arg(key_prefix);
        call.arg(marker.map(|marker| marker.before.to_string()).unwrap_or_default());
        call.arg(marker.map(|marker| marker.life_ms).unwrap_or_default()).arg(ids);
        let (examined, live, gone, undecided, is_all) = self.script(Repeat::Safe, &call).await?;
        Ok(EndedSome { examined, live, gone, undecided, is_all })
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.entries(users)).await;
        }
        let mut pipeline = pipe();
        pipeline.cmd("EXISTS");
        for user in users {
            pipeline.arg(self.keyspace().legacy_index(user));
        }
        self.add_index_reads(users, &mut pipeline);
        let found: Vec<Value> = self.executor.pipeline("", pipeline.ignore_errors()).await?;
        let is_folded = found.first() == Some(&Value::Int(0));
        let mut indexes = Vec::with_capacity(users.len());
        for (user, reply) in users.iter().zip(&found[1..]) {
            indexes.push(match replies::index_entries(reply) {
                Ok(entries) if is_folded => entries,
                _ => {
                    self.executor.fold(user).await?;
                    self.executor.index_entries(user).await?
                }
            });
        }
        Ok(indexes)
    }

    async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        self.one_key.ids_from(user, from, count).await
    }

    async fn list(&self, user: &str, most: usize) -> Result<Option<Vec<(String, Stored)>>> {
        // SORT looks up a record for each id by itself, five times as fast as a script does. It
        // takes the first asterisk for the id.
        if self.keyspace().key_prefix.contains('*') || self.one_key().await?.is_some() {
            return Ok(None);
        }
        let mut pipeline = pipe();
        pipeline.cmd("EXISTS").arg(self.keyspace().legacy_index(user));
        pipeline.cmd("TYPE").arg(self.keyspace().index(user));
        pipeline.cmd("SORT").arg(self.keyspace().index(user)).arg("BY").arg("nosort");
        pipeline.arg("LIMIT").arg(0).arg(most + 1);
        pipeline.arg("GET").arg("#").arg("GET").arg(self.keyspace().key("*"));
        let (legacy, kind, found): (Value, Value, Value) =
            self.executor.pipeline("", pipeline.ignore_errors()).await?;
        let is_plain_set = kind == Value::SimpleString("set".to_owned());
        match (legacy, found) {
            (Value::Int(0), Value::Array(found)) if !is_plain_set && found.len() <= 2 * most => {
                replies::listed(found).map(Some)
            }
            // Another store left something; there are too many; or the server refuses SORT (its
            // memory is full, or what it permits the user).
            _ => Ok(None),
        }
    }

    async fn prune(&self, user: &str, claim: &[String], ids: &[String]) -> Result<Pruned> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.prune(user, claim, ids)).await;
        }
        let claim: Vec<_> = claim
            .iter()
            .filter(|id| ids.is_empty() || ids.contains(id))
            .take(IDS_PER_STEP)
            .collect();
        let mut call = scripts::PRUNE.key(self.keyspace().index(user));
        call.key(self.keyspace().legacy_index(user));
        call.arg(&self.keyspace().key_prefix)
            .arg(self.keyspace().tombstone_ms)
            .arg(claim.len())
            .arg(&claim)
            .arg(ids);
        let (examined, removed, absent, is_all) = self.script(Repeat::Safe, &call).await?;
        Ok(Pruned { examined, removed, absent, is_all })
    }

    async fn scan(&self, namespace: Namespace, cursor: u64) -> Result<Page> {
        let prefix = self.keyspace().prefix(namespace);
        let scan = scan(prefix, cursor);
        let (cursor, found) = self.executor.command("", Repeat::Safe, &scan).await?;
        Ok(Page { keys: without_prefix(prefix, found), cursor })
    }

    async fn acknowledge(&self, ended: &[&str]) {
        self.executor.acknowledge(ended).await;
    }

    fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        self.one_key.revoke_metrics()
    }

    fn degraded_metrics(&self) -> DegradedMetrics {
        self.executor.degraded.metrics()
    }

    async fn now(&self) -> Result<i64> {
        self.one_key.now().await
    }

    async fn ping(&self) -> Result<()> {
        self.executor.command::<Value>("", Repeat::Safe, &cmd("PING")).await.map(drop)
    }
}
