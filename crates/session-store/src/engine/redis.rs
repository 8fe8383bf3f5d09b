//! The engine on one Redis (or Valkey) server, 6.2 or later: each step is one command or one
//! script. And what it shares with the engine on a cluster, `redis/cluster.rs`, whose steps it
//! takes where the server permits a script one key only (`redis/reach.rs`).

mod batch;
mod clocks;
mod cluster;
mod connection;
mod degraded;
mod eviction;
mod failure;
mod heard;
mod index;
mod names;
mod node;
mod pace;
mod reach;
mod relogin;
mod replicas;
mod role;
mod scripts;
mod sentinel;
mod slots;
mod steps;
mod stream;
mod supervisor;
mod threads;
mod tls;
mod topology;
mod tracking;
mod trust;
mod version;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, Value, cmd, pipe};
use tokio::time::Instant;

use super::{
    DegradedMetrics, EndSome, EndedSome, Engine, INDEX_MARGIN_MS, Keyspace, Namespace, Page,
    Pruned, Put, PutOutcome, TOGETHER,
};
use crate::cache::NearCache;
use crate::config::{Config, Server};
use crate::credentials::Credentials;
use crate::error::Result;
use crate::events::Events;
use crate::value::{Slot, Stored};
use batch::Batch;
use cluster::OneKeyEngine;
pub(crate) use cluster::cluster_engine;
use replicas::Acknowledgements;
pub(crate) use replicas::RevokeMetrics;
use scripts::ScriptInvocation;
use steps::{
    Repeat, Steps, Verdict, count, expected, how_to_end, length, life_ms, may_create, only,
    own_expiry, put_outcome, scan, unexpected, unprefixed,
};
use supervisor::Supervisor;
use tracking::Feed;
pub use trust::trust_certificates;

/// Records on one server.
pub(crate) struct RedisEngine {
    steps: Arc<Steps<Supervisor>>,
    one_key: OneKeyEngine<Supervisor>,
    puts: Batch,
    /// Those that answer the user's other ids.
    listing_puts: Batch,
    increments: Batch,
}

impl RedisEngine {
    /// `credentials`: who is asked for user name and password; `cache`: what is to hear of every
    /// change; `events`: of what happens to the connection.
    pub(crate) fn new(
        config: &Config,
        server: &Server,
        credentials: &Credentials,
        keyspace: Keyspace,
        cache: Option<Arc<NearCache>>,
        events: Events,
    ) -> Self {
        let feed = cache.map(|cache| Arc::new(Feed::new(cache, &keyspace.key_prefix, |_| true)));
        let key_prefix = keyspace.key_prefix.clone();
        let route = Supervisor::new(config, server, credentials, feed, events.clone());
        let steps = Steps::new(config, route, keyspace, &events);
        let batch = |script, repeat, common| Batch::new(steps.clone(), script, repeat, common);
        RedisEngine {
            puts: batch(&scripts::PUT, Repeat::Safe, vec![key_prefix.clone()]),
            listing_puts: batch(&scripts::PUT_LISTING, Repeat::Safe, vec![key_prefix]),
            increments: batch(&scripts::INCREMENT, Repeat::Never, Vec::new()),
            one_key: OneKeyEngine::of(steps.clone()),
            steps,
        }
    }

    fn keyspace(&self) -> &Keyspace {
        &self.steps.keyspace
    }

    /// The steps over one key each, if the server permits no others. In boxes, because they are
    /// rare: a call carries no room for them.
    async fn one_key(&self) -> Result<Option<&OneKeyEngine<Supervisor>>> {
        let is_one_key = self.steps.before(Instant::now(), self.steps.route.is_one_key()).await?;
        Ok(is_one_key.then_some(&self.one_key))
    }

    /// On the one server there is, whatever the key.
    async fn script<T: FromRedisValue + Send>(
        &self,
        repeat: Repeat,
        call: &ScriptInvocation<'_>,
    ) -> Result<T> {
        self.steps.script("", repeat, call).await
    }

    /// Ends a key; what lay there, if that is asked for.
    async fn end_key(&self, key: &str, repeat: Repeat, how: &str) -> Result<Option<Vec<u8>>> {
        let Keyspace { user_prefix, tombstone_ms, .. } = self.keyspace();
        let mut verdict = Verdict::none();
        loop {
            let mut call = scripts::END.key(self.keyspace().key(key));
            call.arg(key).arg(tombstone_ms).arg(how);
            verdict.add_to(&mut call);
            call.arg(user_prefix);
            match self.script(repeat, &call).await? {
                Value::Array(left) => match Verdict::of(key, only(left)?) {
                    Some(decided) => verdict = decided,
                    None => return Ok(None),
                },
                ended => return FromRedisValue::from_redis_value(ended).map_err(|_| unexpected()),
            }
        }
    }
}

impl Engine for RedisEngine {
    fn put_takes(&self) -> Duration {
        if self.steps.route.was_one_key() { cluster::PUT_TAKES } else { Duration::ZERO }
    }

    async fn get(&self, key: &str) -> Result<Slot> {
        self.steps.get(key).await
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Slot>> {
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
        let found: Vec<Option<Vec<u8>>> = self.steps.command("", Repeat::Safe, &mget).await?;
        found.into_iter().map(Slot::from_bytes).collect()
    }

    async fn lengths(&self, keys: &[&str]) -> Result<Vec<usize>> {
        let mut pipeline = pipe();
        for key in keys {
            pipeline.cmd("STRLEN").arg(self.keyspace().key(key));
        }
        let lengths: Vec<Value> = self.steps.pipeline("", pipeline.ignore_errors()).await?;
        Ok(lengths.into_iter().map(length).collect())
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(Slot, Option<u64>)>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.get_many_tracked(keys)).await;
        }
        let mut read = Pipeline::new();
        read.cmd("CLIENT").arg("CACHING").arg("YES");
        read.cmd(if keys.len() == 1 { "GET" } else { "MGET" });
        self.keyspace().each_key(keys, |key| _ = read.arg(key));
        // A key whose time is up is not told of until the server comes across it, which may take it
        // long.
        self.keyspace().each_key(keys, |key| _ = read.cmd("PTTL").arg(key));
        read.ignore_errors();
        let answers = self.steps.run("", Repeat::Safe, |mut hop| {
            let read = &read;
            async move {
                if !hop.link.is_tracked {
                    return Ok(None);
                }
                let mut answers: Vec<Value> = read.query_async(&mut hop.link.connection).await?;
                if let Some(refusal @ Value::ServerError(_)) = answers.first() {
                    // Then what was read is not tracked.
                    if let Some(refusal) = failure::passing(refusal) {
                        return Err(refusal);
                    }
                    hop.server.is_deaf(&hop.link);
                }
                match answers.get_mut(1).map(std::mem::take) {
                    Some(error @ Value::ServerError(_)) => error.extract_error().map(|_| None),
                    Some(found) => Ok(Some((found, answers))),
                    None => Ok(None),
                }
            }
        });
        let Some((found, lives)) = answers.await? else {
            // This connection does not track: nothing of it is kept.
            return Ok(self
                .get_many(keys)
                .await?
                .into_iter()
                .map(|slot| (slot, Some(0)))
                .collect());
        };
        let found: Vec<Option<Vec<u8>>> = match found {
            Value::Array(_) => FromRedisValue::from_redis_value(found).map_err(|_| unexpected())?,
            one => vec![FromRedisValue::from_redis_value(one).map_err(|_| unexpected())?],
        };
        found
            .into_iter()
            .zip(&lives[2..])
            .map(|(bytes, ms)| Ok((Slot::from_bytes(bytes)?, life_ms(ms))))
            .collect()
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        self.steps.set(key, value, ttl_ms).await
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        self.steps.raise(key, value, ttl_ms).await
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.increment(key, ttl_ms)).await;
        }
        let add =
            |call: &mut ScriptInvocation<'_>| _ = call.key(self.keyspace().key(key)).arg(ttl_ms);
        count(self.increments.join(key.len(), add).await?)
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.put(put)).await;
        }
        let add = |call: &mut ScriptInvocation<'_>| {
            call.key(self.keyspace().key(put.id)).key(self.keyspace().index(put.user));
            if put.list_others {
                call.key(self.keyspace().legacy_index(put.user));
            }
            call.arg(put.id).arg(put.record.raw());
            call.arg(put.ttl_ms).arg(put.ttl_ms + INDEX_MARGIN_MS.unsigned_abs());
            call.arg(expected(put)).arg(may_create(put.create)).arg(own_expiry(put.expires_at));
        };
        let puts = if put.list_others { &self.listing_puts } else { &self.puts };
        loop {
            let answer = puts.join(put.record.raw().len() + expected(put).len(), add).await?;
            if !is_fold(&answer) {
                return put_outcome(put.id, answer);
            }
            self.steps.fold(put.user).await?;
        }
    }

    async fn adopt(&self, id: &str, user: &str, found: &Stored) -> Result<()> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.adopt(id, user, found)).await;
        }
        self.steps.fold(user).await?;
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
        self.end_key(key, Repeat::Safe, how_to_end(may_be_session)).await.map(drop)
    }

    async fn take(&self, key: &str) -> Result<Slot> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.take(key)).await;
        }
        self.end_key(key, Repeat::Never, "take").await.and_then(Slot::from_bytes)
    }

    async fn end_some(&self, which: &EndSome<'_>) -> Result<EndedSome> {
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.end_some(which)).await;
        }
        let &EndSome { user, except, ids, mark } = which;
        let Keyspace { key_prefix, tombstone_ms, .. } = self.keyspace();
        let mut call = scripts::END_SOME.key(self.keyspace().index(user));
        call.key(self.keyspace().legacy_index(user));
        call.key(self.keyspace().key(mark.map(|mark| &*mark.key).unwrap_or_default()));
        call.arg(user).arg(except.unwrap_or_default()).arg(tombstone_ms).arg(key_prefix);
        call.arg(mark.map(|mark| mark.before.to_string()).unwrap_or_default());
        call.arg(mark.map(|mark| mark.life_ms).unwrap_or_default()).arg(ids);
        let (looked, live, gone, undecided, is_all) = self.script(Repeat::Safe, &call).await?;
        Ok(EndedSome { looked, live, gone, undecided, is_all })
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        type Entries = Vec<(String, f64)>;
        if let Some(one_key) = self.one_key().await? {
            return Box::pin(one_key.entries(users)).await;
        }
        let zrange = |user: &str| {
            let mut zrange = cmd("ZRANGE");
            zrange.arg(self.keyspace().index(user)).arg(0).arg(-1).arg("WITHSCORES");
            zrange
        };
        let mut pipeline = pipe();
        pipeline.cmd("EXISTS");
        for user in users {
            pipeline.arg(self.keyspace().legacy_index(user));
        }
        for user in users {
            pipeline.add_command(zrange(user));
        }
        let found: Vec<Value> = self.steps.pipeline("", pipeline.ignore_errors()).await?;
        let none_is_left = found.first() == Some(&Value::Int(0));
        let mut indexes = Vec::with_capacity(users.len());
        for (user, answer) in users.iter().zip(&found[1..]) {
            let entries = match Entries::from_redis_value_ref(answer) {
                Ok(entries) if none_is_left => entries,
                _ => {
                    self.steps.fold(user).await?;
                    self.steps
                        .index_command("ZRANGE", user, |zrange| {
                            _ = zrange.arg(0).arg(-1).arg("WITHSCORES")
                        })
                        .await?
                }
            };
            indexes.push(entries.into_iter().map(|(id, expiry)| (id, expiry as i64)).collect());
        }
        Ok(indexes)
    }

    async fn ids_from(
        &self,
        user: &str,
        from: &str,
        count: usize,
    ) -> Result<Vec<(String, String)>> {
        self.steps.ids_from(user, from, count).await
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
            self.steps.pipeline("", pipeline.ignore_errors()).await?;
        let is_plain_set = kind == Value::SimpleString("set".to_owned());
        match (legacy, found) {
            (Value::Int(0), Value::Array(found)) if !is_plain_set && found.len() <= 2 * most => {
                listed(found).map(Some)
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
        let claim: Vec<_> =
            claim.iter().filter(|id| ids.is_empty() || ids.contains(id)).take(TOGETHER).collect();
        let mut call = scripts::PRUNE.key(self.keyspace().index(user));
        call.key(self.keyspace().legacy_index(user));
        call.arg(&self.keyspace().key_prefix)
            .arg(self.keyspace().tombstone_ms)
            .arg(claim.len())
            .arg(&claim)
            .arg(ids);
        let (looked, removed, absent, is_all) = self.script(Repeat::Safe, &call).await?;
        Ok(Pruned { looked, removed, absent, is_all })
    }

    async fn scan(&self, namespace: Namespace, cursor: u64) -> Result<Page> {
        let prefix = self.keyspace().prefix(namespace);
        let (cursor, found) = self.steps.command("", Repeat::Safe, &scan(prefix, cursor)).await?;
        Ok(Page { keys: unprefixed(prefix, found), cursor })
    }

    async fn acknowledge(&self, ended: &[&str]) {
        self.steps.acknowledge(ended).await;
    }

    fn revoke_metrics(&self) -> Option<RevokeMetrics> {
        self.steps.acknowledgements.as_ref().map(Acknowledgements::metrics)
    }

    fn degraded_metrics(&self) -> DegradedMetrics {
        self.steps.degraded.metrics()
    }

    async fn now(&self) -> Result<i64> {
        self.steps.now().await
    }

    async fn ping(&self) -> Result<()> {
        self.steps.command::<Value>("", Repeat::Safe, &cmd("PING")).await.map(drop)
    }
}

/// Whether a script asks for the legacy list to be folded first.
fn is_fold(answer: &Value) -> bool {
    *answer == Value::BulkString(b"FOLD".to_vec())
}

/// The values among ids that are each followed by what lies there.
fn listed(found: Vec<Value>) -> Result<Vec<(String, Stored)>> {
    let mut values = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(id), Some(bytes)) = (found.next(), found.next()) {
        let (Value::BulkString(id), Value::BulkString(bytes)) = (id, bytes) else { continue };
        // An id that is no text was not written by this store.
        if let (Ok(id), Slot::Value(stored)) =
            (String::from_utf8(id), Slot::from_bytes(Some(bytes))?)
        {
            values.push((id, stored));
        }
    }
    Ok(values)
}
