//! One step on the server that a key lies on: sent, and sent again where that is safe. And the
//! steps that touch one key only, which are the same on one server and on a cluster.

use std::collections::BTreeMap;
use std::future::{Future, ready};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{
    Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value, cmd, parse_redis_value,
};
use fail::fail_point;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::Link;
use super::degraded::Degraded;
use super::failure::{self, Kind};
use super::heard::Heard;
use super::replicas::Acknowledgements;
use super::scripts::{self, ScriptInvocation};
use super::supervisor::Supervisor;
use crate::config::Config;
use crate::engine::{Create, Keyspace, Put, PutOutcome, another_application};
use crate::error::{Code, Error, Result};
use crate::events::Events;
use crate::session::Record;
use crate::value::{Slot, Stored};

/// How long a server is left alone that says that it is not ready, or sends on to another that
/// sends back.
const NOT_READY_PAUSE: Duration = Duration::from_millis(20);

/// Whether a step may be sent again when the connection was lost before its answer came.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Repeat {
    /// Doing it twice is the same as doing it once.
    Safe,
    /// It must run at most once: never sent again.
    Never,
}

/// A server, and a live connection to it.
#[derive(Clone)]
pub(super) struct Hop {
    pub(super) server: Supervisor,
    pub(super) link: Link,
}

/// Which server a key lies on.
pub(super) trait Route: Send + Sync + 'static {
    /// The server of a key of Redis', once there is a connection to it.
    fn hop(&self, key: &str) -> impl Future<Output = Result<Hop>> + Send;

    /// Where to go on after a server has refused because the key lies elsewhere; `None`:
    /// [`Route::hop`] knows it now.
    fn redirected(
        &self,
        from: &Hop,
        refusal: &RedisError,
    ) -> impl Future<Output = Result<Option<Hop>>> + Send;

    /// The servers that hold keys, once they are known.
    fn primaries(&self) -> impl Future<Output = Result<Vec<Supervisor>>> + Send;

    /// Until it is known which server holds a key.
    fn is_known(&self) -> impl Future<Output = Result<()>> + Send {
        ready(Ok(()))
    }

    /// Which of several servers holds a key, as far as is known.
    fn place(&self, _key: &str) -> Option<u16> {
        None
    }

    /// For how long it is hoped that what is down now will be up again.
    fn fail_fast(&self) -> Duration;

    /// What is waited for while there is no connection, as the end of a sentence.
    fn waits_for(&self) -> Option<String> {
        None
    }
}

/// Sends steps to where they belong.
pub(super) struct Steps<R> {
    pub(super) route: R,
    pub(super) keyspace: Keyspace,
    /// How ends were acknowledged by replicas, when they are to be.
    pub(super) acknowledgements: Option<Acknowledgements>,
    /// How long a server may be silent that is to answer, and a connection may be waited for.
    pub(super) command_timeout: Duration,
    pub(super) degraded: Degraded,
}

impl<R: Route> Steps<R> {
    /// `events`: is told how the servers answer.
    pub(super) fn new(config: &Config, route: R, keyspace: Keyspace, events: &Events) -> Arc<Self> {
        let acknowledgements =
            config.revoke.as_ref().map(|revoke| Acknowledgements::new(revoke, events.clone()));
        let degraded = Degraded::new(config.slow, events.clone());
        Arc::new(Steps {
            route,
            keyspace,
            acknowledgements,
            command_timeout: config.command_timeout,
            degraded,
        })
    }

    /// `key`: of Redis', one that the step touches.
    pub(super) async fn run<T, F, Sent>(&self, key: &str, repeat: Repeat, send: F) -> Result<T>
    where
        T: Send,
        F: Fn(Hop) -> Sent + Send,
        Sent: Future<Output = RedisResult<T>> + Send,
    {
        let mut again = repeat == Repeat::Safe;
        let mut asked = Instant::now();
        let patience = asked + self.route.fail_fast().min(self.command_timeout);
        let mut redirected = None;
        let mut redirections = 0;
        let mut doubted: Option<(Instant, Error)> = None;
        loop {
            let hop = match redirected.take() {
                Some(hop) => hop,
                None => {
                    let hop = pin!(self.route.hop(key));
                    let found = self.before(asked, hop);
                    match doubted.take() {
                        Some((at, why)) => timeout_at(at + self.route.fail_fast(), found)
                            .await
                            .unwrap_or(Err(why))?,
                        None => found.await?,
                    }
                }
            };
            hop.link.connection.clocks().look();
            let heard = hop.link.connection.heard();
            fail_point!("redis-before-send");
            let answer =
                heard.unless_silent(asked, self.command_timeout, pin!(send(hop.clone()))).await;
            fail_point!("redis-after-reply");
            let error = match answer.ok_or_else(|| self.unanswered(heard))? {
                Ok(answer) => {
                    self.degraded.answered(heard.took(asked), hop.server.address());
                    return Ok(answer);
                }
                Err(error) => error,
            };
            asked = heard.since(asked);
            let kind = failure::kind(&error);
            if matches!(kind, Kind::Lost | Kind::Demoted) {
                hop.server.drop_link(&hop.link);
            }
            if failure::is_key_refusal(&error) {
                hop.server.refuses_keys(&hop.link);
            }
            match kind {
                Kind::Lost if std::mem::take(&mut again) => {
                    let why = |at| (at, failure::error(&error, hop.server.address()));
                    doubted = hop.link.connection.doubted().map(why);
                    continue;
                }
                // Refused, so not carried out: it may be sent again, whatever it is.
                Kind::Demoted if Instant::now() < patience => continue,
                Kind::NotReady if Instant::now() < patience => {
                    sleep(NOT_READY_PAUSE).await;
                    continue;
                }
                Kind::Elsewhere if redirections == 0 || Instant::now() < patience => {
                    redirections += 1;
                    if redirections > 1 {
                        sleep(NOT_READY_PAUSE).await;
                    }
                    redirected =
                        self.before(asked, pin!(self.route.redirected(&hop, &error))).await?;
                    continue;
                }
                Kind::Elsewhere => return Err(failure::astray(hop.server.address())),
                _ => return Err(self.told(&error, &hop.server)),
            }
        }
    }

    /// The error to hand to the caller. A full memory leaves a trace.
    fn told(&self, error: &RedisError, server: &Supervisor) -> Error {
        let error = failure::error(error, server.address());
        if error.code == Code::OutOfMemory {
            self.degraded.out_of_memory_at(server.address());
        }
        error
    }

    /// What is there within `commandTimeout` after `asked`.
    pub(super) async fn before<T>(
        &self,
        asked: Instant,
        found: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        timeout_at(asked + self.command_timeout, found).await.unwrap_or_else(|_| Err(self.late()))
    }

    /// The server is silent: the connection may be of no more use.
    fn unanswered(&self, heard: &Heard) -> Error {
        heard.doubt();
        self.late()
    }

    fn late(&self) -> Error {
        Error::late(self.command_timeout, self.route.waits_for())
    }

    pub(super) async fn command<T: FromRedisValue + Send>(
        &self,
        key: &str,
        repeat: Repeat,
        command: &Cmd,
    ) -> Result<T> {
        self.run(key, repeat, |mut hop| async move {
            command.query_async(&mut hop.link.connection).await
        })
        .await
    }

    /// Several commands that ignore errors. A server that refuses some of them for now is asked
    /// again.
    pub(super) async fn pipeline<T: FromRedisValue + Send>(
        &self,
        key: &str,
        pipeline: &Pipeline,
    ) -> Result<T> {
        self.run(key, Repeat::Safe, |mut hop| async move {
            let answers: Vec<Value> = pipeline.query_async(&mut hop.link.connection).await?;
            match answers.iter().find_map(failure::passing) {
                Some(refusal) => Err(refusal),
                None => Ok(FromRedisValue::from_redis_value(Value::Array(answers))?),
            }
        })
        .await
    }

    pub(super) async fn script<T: FromRedisValue + Send>(
        &self,
        key: &str,
        repeat: Repeat,
        call: &ScriptInvocation<'_>,
    ) -> Result<T> {
        self.run(key, repeat, |mut hop| async move { call.invoke(&mut hop.link.connection).await })
            .await
    }

    /// A script that answers for several (scripts/each.lua): what each came to. A server that
    /// refused them has done nothing for them, and is asked again.
    pub(super) async fn script_of_many(
        &self,
        key: &str,
        repeat: Repeat,
        call: &ScriptInvocation<'_>,
    ) -> Result<Vec<Result<Value>>> {
        self.run(key, repeat, |mut hop| async move {
            let answers: Vec<Value> = call.invoke(&mut hop.link.connection).await?;
            let answers: Vec<_> = answers.into_iter().map(share).collect();
            let refusal = |answer: &RedisResult<Value>| {
                answer
                    .as_ref()
                    .err()
                    .filter(|error| !matches!(failure::kind(error), Kind::Unfit | Kind::Other))
                    .cloned()
            };
            let refusals: Vec<_> = answers.iter().filter_map(refusal).collect();
            // What must run once at most is sent again only if nothing of it was carried out.
            let again = repeat == Repeat::Safe || refusals.len() == answers.len();
            match refusals.into_iter().next() {
                Some(refusal) if again => Err(refusal),
                _ => Ok(answers
                    .into_iter()
                    .map(|answer| {
                        answer.map_err(|error| {
                            if failure::is_key_refusal(&error) {
                                hop.server.refuses_keys(&hop.link);
                            }
                            self.told(&error, &hop.server)
                        })
                    })
                    .collect()),
            }
        })
        .await
    }

    /// At a server of whom it does not matter what it holds.
    pub(super) async fn command_at<T: FromRedisValue>(
        &self,
        server: &Supervisor,
        command: &Cmd,
    ) -> Result<T> {
        let patience = Instant::now() + self.route.fail_fast().min(self.command_timeout);
        loop {
            let asked = Instant::now();
            let link = self.before(asked, server.link()).await?;
            let mut connection = link.connection.clone();
            let answer = command.query_async(&mut connection);
            let heard = link.connection.heard();
            let answer = heard.unless_silent(asked, self.command_timeout, answer).await;
            let error = match answer.ok_or_else(|| self.unanswered(heard))? {
                Ok(answer) => {
                    self.degraded.answered(heard.took(asked), server.address());
                    return Ok(answer);
                }
                Err(error) => error,
            };
            match failure::kind(&error) {
                Kind::NotReady if Instant::now() < patience => {
                    sleep(NOT_READY_PAUSE).await;
                    continue;
                }
                Kind::Lost => server.drop_link(&link),
                _ => {}
            }
            return Err(self.told(&error, server));
        }
    }

    /// Waits for replicas to acknowledge that these keys were ended, on each server that holds some
    /// of them.
    pub(super) async fn acknowledge(&self, ended: &[&str]) {
        let Some(acknowledgements) = &self.acknowledgements else { return };
        if ended.is_empty() {
            return;
        }
        let mut servers = BTreeMap::new();
        for id in ended {
            let key = self.keyspace.key(id);
            // It was there a moment ago.
            let Ok(Hop { server, .. }) = self.route.hop(&key).await else {
                return acknowledgements.count(None);
            };
            let (_, keys) =
                servers.entry(server.address().to_owned()).or_insert((server, Vec::new()));
            keys.push((key, (*id).to_owned()));
        }
        let waiting = servers
            .into_values()
            .map(async |(server, keys)| server.replicas()?.acknowledge(keys).await);
        let acked: Option<Vec<u32>> = join_all(waiting).await.into_iter().collect();
        acknowledgements.count(acked.and_then(|acked| acked.into_iter().min()));
    }

    // ---- Steps over one key of the store's ----

    pub(super) async fn get(&self, key: &str) -> Result<Slot> {
        let key = self.keyspace.key(key);
        Slot::from_bytes(self.command(&key, Repeat::Safe, cmd("GET").arg(&key)).await?)
    }

    /// The server's clock, in ms since the epoch.
    pub(super) async fn now(&self) -> Result<i64> {
        let (seconds, micros): (i64, i64) = self.command("", Repeat::Safe, &cmd("TIME")).await?;
        Ok(seconds * 1000 + micros / 1000)
    }

    pub(super) async fn set(&self, id: &str, value: &str, ttl_ms: Option<u64>) -> Result<()> {
        let key = self.keyspace.key(id);
        let mut call = scripts::SET.key(&key);
        call.arg(id)
            .arg(Stored::plain(value).raw())
            .arg(ttl_ms.map(|ms| ms.to_string()).unwrap_or_default());
        match self.script(&key, Repeat::Safe, &call).await? {
            0 => Err(another_application()),
            _ => Ok(()),
        }
    }

    pub(super) async fn raise(&self, key: &str, value: i64, ttl_ms: Option<u64>) -> Result<i64> {
        let key = self.keyspace.key(key);
        let mut call = scripts::RAISE.key(&key);
        call.arg(value).arg(ttl_ms.map(|ms| ms.to_string()).unwrap_or_default());
        self.script(&key, Repeat::Safe, &call).await
    }

    pub(super) async fn increment(&self, key: &str, ttl_ms: u64) -> Result<i64> {
        let key = self.keyspace.key(key);
        let mut call = scripts::INCREMENT.key(&key);
        call.arg(ttl_ms);
        count(
            self.script_of_many(&key, Repeat::Never, &call)
                .await?
                .pop()
                .ok_or_else(unexpected)??,
        )
    }
}

/// What one of several came to, out of what scripts/each.lua answers.
fn share(answer: Value) -> RedisResult<Value> {
    match &answer {
        Value::Array(parts) => match &parts[..] {
            [Value::BulkString(word), Value::BulkString(text)] if word == b"ERROR" => {
                // As the server would have written it, so that it is told apart as any other of its
                // errors.
                parse_redis_value(&[b"-", &text[..], b"\r\n"].concat())?.extract_error()
            }
            _ => Ok(answer),
        },
        _ => Ok(answer),
    }
}

/// Of `scripts/increment.lua`.
pub(super) fn count(answer: Value) -> Result<i64> {
    FromRedisValue::from_redis_value(answer).map_err(|_| unexpected())
}

/// The argument `create` of `scripts/check.lua`.
pub(super) fn may_create(create: Create) -> String {
    match create {
        Create::Young(created_at) => created_at.to_string(),
        Create::Always => "always".to_owned(),
        Create::Never => "never".to_owned(),
    }
}

/// The argument `how` of `scripts/end.lua`.
pub(super) fn how_to_end(may_be_session: bool) -> &'static str {
    if may_be_session { "end" } else { "delete" }
}

/// The argument `expected` of `scripts/check.lua`.
pub(super) fn expected<'p>(put: &Put<'p>) -> &'p [u8] {
    put.expected.map_or(scripts::NOTHING, |stored| stored.raw().as_bytes())
}

/// What a script left to Rust to decide: `read` and `owner` of `scripts/owner.lua`.
pub(super) struct Verdict {
    read: Vec<u8>,
    owner: String,
}

impl Verdict {
    /// Nothing was left so far.
    pub(super) fn none() -> Self {
        Verdict { read: scripts::NOTHING.to_vec(), owner: String::new() }
    }

    /// Whose session record this value of `id` is; `None`: another application's.
    pub(super) fn of(id: &str, read: Vec<u8>) -> Option<Self> {
        let Ok(stored) = Stored::from_bytes(read.clone()) else {
            return Some(Verdict { owner: String::new(), read });
        };
        if stored.is_record_of_another(id) {
            return None;
        }
        let record = Record::parse(id, stored.text());
        Some(Verdict { owner: record.map(|record| record.user_id).unwrap_or_default(), read })
    }

    pub(super) fn add_to(&self, call: &mut ScriptInvocation<'_>) {
        call.arg(self.read.as_slice()).arg(&self.owner);
    }
}

/// The one value in an array.
pub(super) fn only(array: Vec<Value>) -> Result<Vec<u8>> {
    match <[Value; 1]>::try_from(array) {
        Ok([Value::BulkString(value)]) => Ok(value),
        _ => Err(unexpected()),
    }
}

/// The argument `expires` of `scripts/clock.lua`.
pub(super) fn own_expiry(expires_at: Option<i64>) -> String {
    expires_at.map(|at| at.to_string()).unwrap_or_default()
}

/// Of a word, or of an array of it and a detail.
pub(super) fn put_outcome(id: &str, answer: Value) -> Result<PutOutcome> {
    let answer = if let Value::Array(answer) = answer { answer } else { vec![answer] };
    let mut answer = answer.into_iter();
    let word: String = answer
        .next()
        .and_then(|v| FromRedisValue::from_redis_value(v).ok())
        .ok_or_else(unexpected)?;
    let rest = answer.next().unwrap_or(Value::Nil);
    match word.as_str() {
        "CREATED" => {
            let others: Option<Vec<String>> =
                FromRedisValue::from_redis_value(rest).map_err(|_| unexpected())?;
            Ok(PutOutcome::Created { others: without(id, others.unwrap_or_default()) })
        }
        "REPLACED" => Ok(PutOutcome::Replaced),
        "REFUSED" => Ok(PutOutcome::Refused),
        "OLD" => FromRedisValue::from_redis_value(rest)
            .map(|now| PutOutcome::TooOld { now })
            .map_err(|_| unexpected()),
        "DIFFERS" => {
            let bytes = FromRedisValue::from_redis_value(rest).map_err(|_| unexpected())?;
            Stored::from_bytes(bytes).map(PutOutcome::Differs)
        }
        _ => Err(unexpected()),
    }
}

/// The other ids.
pub(super) fn without(id: &str, mut ids: Vec<String>) -> Vec<String> {
    ids.retain(|other| other != id);
    ids
}

/// The keys under a prefix that a SCAN found, without it. A key that is no text was not written by
/// this store.
pub(super) fn unprefixed(prefix: &str, found: Vec<Vec<u8>>) -> Vec<String> {
    let unprefixed = |key| String::from_utf8(key).ok()?.strip_prefix(prefix).map(str::to_owned);
    found.into_iter().filter_map(unprefixed).collect()
}

/// A SCAN for the keys under a prefix, from a cursor on.
pub(super) fn scan(prefix: &str, cursor: u64) -> Cmd {
    /// How many keys the server is asked to look at in one step.
    const COUNT: usize = 500;
    let mut scan = cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(glob(prefix)).arg("COUNT").arg(COUNT);
    scan
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

/// Of an answer to PTTL: `None` is for ever, 0 when there is nothing.
pub(super) fn life_ms(pttl: &Value) -> Option<u64> {
    match pttl {
        Value::Int(-1) => None,
        Value::Int(ms) => Some(u64::try_from(*ms).unwrap_or(0)),
        _ => Some(0),
    }
}

/// Of an answer to STRLEN; a key of another type has none.
pub(super) fn length(strlen: Value) -> usize {
    match strlen {
        Value::Int(bytes) => usize::try_from(bytes).unwrap_or(0),
        _ => 0,
    }
}

pub(super) fn unexpected() -> Error {
    Error::new(Code::Protocol, "the server answered with something that it does not return")
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
