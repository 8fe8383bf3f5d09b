//! The engine on one Redis (or Valkey) server, 6.2 or later: each step is one command or one script.

mod connection;
mod failure;
mod role;
mod sentinel;
mod supervisor;
mod tracking;

use std::future::Future;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisResult, Script, ScriptInvocation, Value, cmd, pipe};
use fail::fail_point;
use tokio::time::{Instant, sleep};

use super::{
    Create, EndedAll, Engine, INDEX_MARGIN_MS, Keyspace, Namespace, Page, Pruned, Put, PutOutcome, Slot, Stored,
    TOMBSTONE, YOUNG_MS,
};
use crate::cache::NearCache;
use crate::config::Config;
use crate::error::{Code, Error, Result};
use crate::events::Events;
use connection::Link;
use failure::Kind;
use supervisor::Supervisor;
use tracking::Feed;

/// How many keys a scan asks the server to look at in one step.
const SCAN_COUNT: usize = 500;

/// How long a server is left alone that says that it is not ready.
const NOT_READY_PAUSE: Duration = Duration::from_millis(20);

/// A script out of its parts: the constants and the clock, then the named files. What a script does not use costs it time.
macro_rules! script {
    ($name:ident: $($file:literal)+) => {
        static $name: LazyLock<Script> = LazyLock::new(|| {
            script(&[include_str!("redis/scripts/clock.lua"), $(include_str!(concat!("redis/scripts/", $file, ".lua"))),+])
        });
    };
}

script!(PUT: "index" "put" "put_only");
script!(PUT_LISTING: "index" "legacy" "put" "put_listing");
script!(END: "owner" "index" "end");
script!(END_ALL: "owner" "index" "legacy" "end_all");
script!(LIST: "index" "legacy" "list");
script!(PRUNE: "index" "legacy" "prune");
script!(ADOPT: "index" "legacy" "adopt");
script!(RAISE: "raise");
script!(INCREMENT: "increment");

fn script(parts: &[&str]) -> Script {
    let tombstone: String = TOMBSTONE.iter().map(|byte| format!("\\{byte:03}")).collect();
    let names = "TOMBSTONE, YOUNG_MS, INDEX_MARGIN_MS";
    let constants = format!("local {names} = '{tombstone}', {YOUNG_MS}, {INDEX_MARGIN_MS}\n");
    Script::new(&[&constants, &*parts.concat()].concat())
}

/// Whether a step may be sent again when the connection was lost before its answer came.
#[derive(Clone, Copy, PartialEq)]
enum Repeat {
    /// Doing it twice is the same as doing it once.
    Safe,
    /// It must run at most once: never sent again.
    Never,
}

/// Records on one server.
pub(crate) struct RedisEngine {
    connection: Supervisor,
    keyspace: Keyspace,
}

impl RedisEngine {
    /// `cache`: what is to hear of every change; `events`: of what happens to the connection.
    pub(crate) fn new(
        config: &Config,
        server: &crate::config::Server,
        keyspace: Keyspace,
        cache: Option<Arc<NearCache>>,
        events: Events,
    ) -> Self {
        let feed = cache.map(|cache| Arc::new(Feed::new(cache, &keyspace.key_prefix)));
        RedisEngine { connection: Supervisor::new(config, server, feed, events), keyspace }
    }

    async fn run<T, F, Sent>(&self, repeat: Repeat, send: F) -> Result<T>
    where
        T: Send,
        F: Fn(Link) -> Sent + Send,
        Sent: Future<Output = RedisResult<T>> + Send,
    {
        let mut again = repeat == Repeat::Safe;
        let patience = Instant::now() + self.connection.fail_fast();
        loop {
            let link = self.connection.link().await?;
            fail_point!("redis-before-send");
            let answer = send(link.clone()).await;
            fail_point!("redis-after-reply");
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match failure::kind(&error) {
                Kind::Lost => {
                    self.connection.drop_link(&link);
                    if std::mem::take(&mut again) {
                        continue;
                    }
                }
                // Refused, so not carried out: it may be sent again, whatever it is.
                Kind::Demoted if Instant::now() < patience => {
                    self.connection.drop_link(&link);
                    continue;
                }
                Kind::NotReady if Instant::now() < patience => {
                    sleep(NOT_READY_PAUSE).await;
                    continue;
                }
                Kind::Demoted => self.connection.drop_link(&link),
                Kind::NotReady | Kind::Other => {}
            }
            return Err(failure::error(&error, self.connection.address()));
        }
    }

    async fn command<T: FromRedisValue + Send>(&self, repeat: Repeat, command: &Cmd) -> Result<T> {
        self.run(repeat, |mut link| async move { command.query_async(&mut link.connection).await }).await
    }

    async fn pipeline<T: FromRedisValue + Send>(&self, pipeline: &Pipeline) -> Result<T> {
        self.run(Repeat::Safe, |mut link| async move { pipeline.query_async(&mut link.connection).await }).await
    }

    async fn script<T: FromRedisValue + Send>(&self, repeat: Repeat, call: &ScriptInvocation<'_>) -> Result<T> {
        self.run(repeat, |mut link| async move { call.invoke_async(&mut link.connection).await }).await
    }

    /// A call of a script over a user's index, which is its first keys.
    fn on_index<'s>(&self, script: &'s Script, user: &str) -> ScriptInvocation<'s> {
        let mut call = script.prepare_invoke();
        call.key(self.keyspace.index(user)).key(self.keyspace.legacy_index(user));
        call
    }

    async fn end_script<T: FromRedisValue + Send>(&self, repeat: Repeat, key: &str, answer: bool) -> Result<T> {
        let Keyspace { user_prefix, tombstone_ms, .. } = &self.keyspace;
        let mut call = END.key(self.keyspace.key(key));
        call.arg(key).arg(tombstone_ms).arg(user_prefix).arg(u8::from(answer));
        self.script(repeat, &call).await
    }
}

impl Engine for RedisEngine {
    async fn get(&self, key: &str) -> Result<Slot> {
        let found = self.command(Repeat::Safe, cmd("GET").arg(self.keyspace.key(key))).await?;
        Slot::from_bytes(found)
    }

    async fn get_many(&self, keys: &[&str]) -> Result<Vec<Slot>> {
        match keys {
            [] => return Ok(Vec::new()),
            [key] => return Ok(vec![self.get(key).await?]),
            _ => {}
        }
        let mut mget = cmd("MGET");
        for key in keys {
            mget.arg(self.keyspace.key(key));
        }
        let found: Vec<Option<Vec<u8>>> = self.command(Repeat::Safe, &mget).await?;
        found.into_iter().map(Slot::from_bytes).collect()
    }

    async fn get_many_tracked(&self, keys: &[&str]) -> Result<Vec<(Slot, Option<u64>)>> {
        let mut read = Pipeline::new();
        read.cmd("CLIENT").arg("CACHING").arg("YES");
        read.cmd(if keys.len() == 1 { "GET" } else { "MGET" });
        for key in keys {
            read.arg(self.keyspace.key(key));
        }
        // A key whose time is up is not told of until the server comes across it, which may take it long.
        for key in keys {
            read.cmd("PTTL").arg(self.keyspace.key(key));
        }
        read.ignore_errors();
        let answers = self.run(Repeat::Safe, |mut link| {
            let read = &read;
            async move {
                if !link.is_tracked {
                    return Ok(None);
                }
                let mut answers: Vec<Value> = read.query_async(&mut link.connection).await?;
                if let Some(Value::ServerError(_)) = answers.first() {
                    self.connection.is_deaf(&link);
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
            return Ok(self.get_many(keys).await?.into_iter().map(|slot| (slot, Some(0))).collect());
        };
        let found: Vec<Option<Vec<u8>>> = match found {
            Value::Array(_) => FromRedisValue::from_redis_value(found).map_err(|_| unexpected())?,
            one => vec![FromRedisValue::from_redis_value(one).map_err(|_| unexpected())?],
        };
        let life = |life: &Value| match life {
            Value::Int(-1) => None,
            Value::Int(ms) => Some(u64::try_from(*ms).unwrap_or(0)),
            _ => Some(0),
        };
        found.into_iter().zip(&lives[2..]).map(|(bytes, ms)| Ok((Slot::from_bytes(bytes)?, life(ms)))).collect()
    }

    async fn set(&self, key: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        let value = Stored::plain(value);
        let mut set = cmd("SET");
        set.arg(self.keyspace.key(key)).arg(value.raw());
        if let Some(ttl_ms) = ttl_ms {
            set.arg("PX").arg(ttl_ms);
        }
        self.command(Repeat::Safe, &set).await
    }

    async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let mut call = RAISE.key(self.keyspace.key(key));
        call.arg(value).arg(ttl_ms.map(|ms| ms.to_string()).unwrap_or_default());
        self.script(Repeat::Safe, &call).await
    }

    async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        let mut call = INCREMENT.key(self.keyspace.key(key));
        call.arg(ttl_ms);
        self.script(Repeat::Never, &call).await
    }

    async fn put(&self, put: &Put<'_>) -> Result<PutOutcome> {
        let create = match put.create {
            Create::Young(created_at) => created_at.to_string(),
            Create::Always => "always".to_owned(),
            Create::Never => "never".to_owned(),
        };
        let script = if put.list_others { &PUT_LISTING } else { &PUT };
        let mut call = script.key(self.keyspace.index(put.user));
        call.key(self.keyspace.key(put.id));
        if put.list_others {
            call.key(self.keyspace.legacy_index(put.user));
        }
        call.arg(put.id).arg(Stored::record(put.json).raw()).arg(put.ttl_ms);
        call.arg(u8::from(put.expected.is_some())).arg(put.expected.map(Stored::raw).unwrap_or_default());
        call.arg(create).arg(&self.keyspace.key_prefix);
        put_outcome(put.id, self.script(Repeat::Safe, &call).await?)
    }

    async fn adopt(&self, id: &str, user: &str, found: &Stored) -> Result<()> {
        let mut call = self.on_index(&ADOPT, user);
        call.key(self.keyspace.key(id));
        call.arg(id).arg(found.raw()).arg(Stored::record(found.text()).raw());
        call.arg(&self.keyspace.key_prefix);
        self.script::<Value>(Repeat::Safe, &call).await.map(drop)
    }

    async fn end(&self, key: &str) -> Result<()> {
        self.end_script::<Value>(Repeat::Safe, key, false).await.map(drop)
    }

    async fn take(&self, key: &str) -> Result<Slot> {
        self.end_script(Repeat::Never, key, true).await.and_then(Slot::from_bytes)
    }

    async fn end_all(&self, user: &str, except: Option<&str>) -> Result<EndedAll> {
        let mut call = self.on_index(&END_ALL, user);
        call.arg(user).arg(except.unwrap_or_default()).arg(self.keyspace.tombstone_ms);
        call.arg(&self.keyspace.key_prefix);
        let (live, ids) = self.script(Repeat::Safe, &call).await?;
        Ok(EndedAll { live, ids })
    }

    async fn entries(&self, users: &[&str]) -> Result<Vec<Vec<(String, i64)>>> {
        type Entries = Vec<(String, f64)>;
        let zrange = |user: &str| {
            let mut zrange = cmd("ZRANGE");
            zrange.arg(self.keyspace.index(user)).arg(0).arg(-1).arg("WITHSCORES");
            zrange
        };
        let mut pipeline = pipe();
        for user in users {
            pipeline.cmd("EXISTS").arg(self.keyspace.legacy_index(user)).add_command(zrange(user));
        }
        let found: Result<Vec<Value>> = self.pipeline(pipeline.ignore_errors()).await;
        let mut indexes = Vec::with_capacity(users.len());
        for (user, answers) in users.iter().zip(found?.chunks_exact(2)) {
            let plain = answers[0] == Value::Int(0);
            let entries = Entries::from_redis_value_ref(&answers[1]);
            let entries = match entries {
                Ok(entries) if plain => entries,
                _ => {
                    // What another store left is folded by the script.
                    self.list(user).await?;
                    self.command(Repeat::Safe, &zrange(user)).await?
                }
            };
            indexes.push(entries.into_iter().map(|(id, expiry)| (id, expiry as i64)).collect());
        }
        Ok(indexes)
    }

    async fn list(&self, user: &str) -> Result<Vec<(String, Stored)>> {
        let Keyspace { key_prefix, .. } = &self.keyspace;
        // SORT looks up a record for each id by itself, five times as fast as a script does. It takes the first asterisk for the id.
        if !key_prefix.contains('*') {
            let mut pipeline = pipe();
            pipeline.cmd("EXISTS").arg(self.keyspace.legacy_index(user));
            pipeline.cmd("TYPE").arg(self.keyspace.index(user));
            pipeline.cmd("SORT").arg(self.keyspace.index(user)).arg("BY").arg("nosort");
            pipeline.arg("GET").arg("#").arg("GET").arg(self.keyspace.key("*"));
            let (legacy, kind, found): (Value, Value, Value) = self.pipeline(pipeline.ignore_errors()).await?;
            let is_plain_set = kind == Value::SimpleString("set".to_owned());
            if let (Value::Int(0), false, Value::Array(found)) = (legacy, is_plain_set, found) {
                return listed(found);
            }
        }
        // What another store left is folded first, or the server refuses SORT (its memory is full, or what it permits the user).
        let mut call = self.on_index(&LIST, user);
        call.arg(key_prefix);
        listed(self.script(Repeat::Safe, &call).await?)
    }

    async fn prune(&self, user: &str, claim: &[String]) -> Result<Pruned> {
        let mut call = self.on_index(&PRUNE, user);
        call.arg(&self.keyspace.key_prefix).arg(self.keyspace.tombstone_ms).arg(claim);
        let (removed, absent) = self.script(Repeat::Safe, &call).await?;
        Ok(Pruned { removed, absent })
    }

    async fn scan(&self, namespace: Namespace, cursor: u64) -> Result<Page> {
        let prefix = match namespace {
            Namespace::Keys => &self.keyspace.key_prefix,
            Namespace::Users => &self.keyspace.user_prefix,
        };
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(glob(prefix)).arg("COUNT").arg(SCAN_COUNT);
        let (cursor, found): (u64, Vec<Vec<u8>>) = self.command(Repeat::Safe, &scan).await?;
        // A key that is no text was not written by this store.
        let keys = found
            .into_iter()
            .filter_map(|key| String::from_utf8(key).ok()?.strip_prefix(prefix.as_str()).map(str::to_owned))
            .collect();
        Ok(Page { keys, cursor })
    }

    async fn ping(&self) -> Result<()> {
        self.command::<Value>(Repeat::Safe, &cmd("PING")).await.map(drop)
    }
}

/// The pattern that matches every key with `prefix`, whatever characters it holds.
fn glob(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for c in prefix.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern.push('*');
    pattern
}

/// The values among ids that are each followed by what lies there.
fn listed(found: Vec<Value>) -> Result<Vec<(String, Stored)>> {
    let mut values = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(id), Some(bytes)) = (found.next(), found.next()) {
        let (Value::BulkString(id), Value::BulkString(bytes)) = (id, bytes) else { continue };
        // An id that is no text was not written by this store.
        if let (Ok(id), Slot::Value(stored)) = (String::from_utf8(id), Slot::from_bytes(Some(bytes))?) {
            values.push((id, stored));
        }
    }
    Ok(values)
}

fn unexpected() -> Error {
    Error::new(Code::Protocol, "the server answered with something that it does not return")
}

fn put_outcome(id: &str, answer: Vec<Value>) -> Result<PutOutcome> {
    let mut answer = answer.into_iter();
    let word: String = answer.next().and_then(|v| FromRedisValue::from_redis_value(v).ok()).ok_or_else(unexpected)?;
    let rest = answer.next().unwrap_or(Value::Nil);
    match word.as_str() {
        "CREATED" => {
            let others: Option<Vec<String>> = FromRedisValue::from_redis_value(rest).map_err(|_| unexpected())?;
            let others = others.unwrap_or_default().into_iter().filter(|other| other != id).collect();
            Ok(PutOutcome::Created { others })
        }
        "REPLACED" => Ok(PutOutcome::Replaced),
        "REFUSED" => Ok(PutOutcome::Refused),
        "OLD" => FromRedisValue::from_redis_value(rest).map(|now| PutOutcome::TooOld { now }).map_err(|_| unexpected()),
        "DIFFERS" => {
            let bytes = FromRedisValue::from_redis_value(rest).map_err(|_| unexpected())?;
            Stored::from_bytes(bytes).map(PutOutcome::Differs)
        }
        _ => Err(unexpected()),
    }
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_prefix_is_matched_as_it_is_written() {
        assert_eq!(glob("session:"), "session:*");
        assert_eq!(glob("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\*");
    }
}
