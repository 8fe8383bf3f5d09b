//! Sends one step to the server that its key lies on, and sends it again where that is safe.
//!
//! What must always hold:
//! - A step that must run at most once ([`Repeat::Never`]) is sent again only after the server has
//!   refused it, because then nothing of it was carried out.
//! - A step ends with `TIMEOUT` when its server has been silent for `commandTimeout`.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use ::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use fail::fail_point;
use futures_util::future::join_all;
use tokio::time::{Instant, sleep, timeout_at};

use super::connection::last_heard::LastHeard;
use super::connection::supervisor::Supervisor;
use super::degraded_answers::DegradedAnswers;
use super::failure::{self, FailureKind};
use super::replicas::{Acknowledgements, EndedKey};
use super::replies::reply_to_one;
use super::route::{Route, ServerLink};
use super::scripts::ScriptInvocation;
use crate::config::Config;
use crate::engine::Keyspace;
use crate::error::{Code, Error, Result};
use crate::events::Events;

/// The pause before a server is asked again that is not ready, or whose redirection leads back.
const NOT_READY_PAUSE: Duration = Duration::from_millis(20);

/// Whether a step may be sent again when the connection was lost before its reply came.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Repeat {
    /// Doing it twice is the same as doing it once.
    Safe,
    /// It must run at most once: never sent again.
    Never,
}

/// Sends steps to the servers that their keys lie on.
pub(super) struct Executor<R> {
    pub(super) route: R,
    pub(super) keyspace: Keyspace,
    /// How replicas acknowledged ends; `None`: the option `revoke` is off.
    pub(super) acknowledgements: Option<Acknowledgements>,
    /// How long a server may be silent before it answers, and how long a connection is waited for.
    pub(super) command_timeout: Duration,
    pub(super) degraded: DegradedAnswers,
}

/// The attempts of one step so far.
struct Attempts {
    /// Whether it may be sent again after the connection was lost.
    may_resend: bool,
    /// When the step was asked for, or the later time at which the server was last heard.
    asked_at: Instant,
    /// Until when a refused step is sent again.
    retry_until: Instant,
    redirections: u32,
    /// The server that the last refusal named.
    redirected_to: Option<ServerLink>,
    /// Since when the connection that was lost had been in doubt, and why it was lost.
    doubted: Option<(Instant, Error)>,
}

impl Attempts {
    fn new(repeat: Repeat, retry_for: Duration) -> Self {
        let asked_at = Instant::now();
        Attempts {
            may_resend: repeat == Repeat::Safe,
            asked_at,
            retry_until: asked_at + retry_for,
            redirections: 0,
            redirected_to: None,
            doubted: None,
        }
    }

    fn has_time(&self) -> bool {
        Instant::now() < self.retry_until
    }
}

impl<R: Route> Executor<R> {
    /// `events`: receives how the servers answer.
    pub(super) fn new(config: &Config, route: R, keyspace: Keyspace, events: &Events) -> Arc<Self> {
        let acknowledgements =
            config.revoke.as_ref().map(|revoke| Acknowledgements::new(revoke, events.clone()));
        let degraded = DegradedAnswers::new(config.slow, events.clone());
        Arc::new(Executor {
            route,
            keyspace,
            acknowledgements,
            command_timeout: config.command_timeout,
            degraded,
        })
    }

    /// Carries out a step. `key`: one of Redis that the step touches.
    pub(super) async fn run<T, F, Sent>(&self, key: &str, repeat: Repeat, send: F) -> Result<T>
    where
        T: Send,
        F: Fn(ServerLink) -> Sent + Send,
        Sent: Future<Output = RedisResult<T>> + Send,
    {
        let mut attempts = Attempts::new(repeat, self.retry_for());
        loop {
            let target = self.next_target(key, &mut attempts).await?;
            target.link.connection.clocks().check();
            let heard = target.link.connection.last_heard();
            let asked_at = attempts.asked_at;
            fail_point!("redis-before-send");
            let reply = heard
                .wait_unless_silent(asked_at, self.command_timeout, pin!(send(target.clone())))
                .await;
            fail_point!("redis-after-reply");
            let error = match reply.ok_or_else(|| self.doubt_connection(heard))? {
                Ok(reply) => {
                    self.degraded
                        .record_answer(heard.response_time(asked_at), target.server.address());
                    return Ok(reply);
                }
                Err(error) => error,
            };
            attempts.asked_at = heard.last_progress(asked_at);
            self.prepare_retry(&error, &target, &mut attempts).await?;
        }
    }

    /// How long a refused step is sent again.
    fn retry_for(&self) -> Duration {
        self.route.fail_fast().min(self.command_timeout)
    }

    /// The server to send the step to: the one that a refusal named, or the one of the key.
    async fn next_target(&self, key: &str, attempts: &mut Attempts) -> Result<ServerLink> {
        if let Some(target) = attempts.redirected_to.take() {
            return Ok(target);
        }
        let target = pin!(self.route.link_for(key));
        let target = self.within_timeout(attempts.asked_at, target);
        match attempts.doubted.take() {
            Some((since, why)) => {
                timeout_at(since + self.route.fail_fast(), target).await.unwrap_or(Err(why))
            }
            None => target.await,
        }
    }

    /// Prepares the next attempt of a step that failed. An error ends the step.
    async fn prepare_retry(
        &self,
        error: &RedisError,
        from: &ServerLink,
        attempts: &mut Attempts,
    ) -> Result<()> {
        let kind = failure::kind(error);
        if matches!(kind, FailureKind::Lost | FailureKind::Demoted) {
            from.server.drop_link(&from.link);
        }
        if failure::is_key_refusal(error) {
            from.server.drop_link_after_key_refusal(&from.link);
        }
        match kind {
            FailureKind::Lost if std::mem::take(&mut attempts.may_resend) => {
                let why = |since| (since, failure::error(error, from.server.address()));
                attempts.doubted = from.link.connection.silent_since().map(why);
                Ok(())
            }
            // Refused, so not carried out: it may be sent again, whatever it is.
            FailureKind::Demoted if attempts.has_time() => Ok(()),
            FailureKind::NotReady if attempts.has_time() => {
                sleep(NOT_READY_PAUSE).await;
                Ok(())
            }
            FailureKind::Elsewhere if attempts.redirections == 0 || attempts.has_time() => {
                attempts.redirections += 1;
                if attempts.redirections > 1 {
                    sleep(NOT_READY_PAUSE).await;
                }
                let target = pin!(self.route.follow_redirect(from, error));
                attempts.redirected_to = self.within_timeout(attempts.asked_at, target).await?;
                Ok(())
            }
            FailureKind::Elsewhere => Err(failure::redirect_loop_error(from.server.address())),
            _ => Err(self.caller_error(error, &from.server)),
        }
    }

    /// The error to hand to the caller. A full memory is counted.
    fn caller_error(&self, error: &RedisError, server: &Supervisor) -> Error {
        let error = failure::error(error, server.address());
        if error.code == Code::OutOfMemory {
            self.degraded.record_out_of_memory(server.address());
        }
        error
    }

    /// What is found within `commandTimeout` after `asked_at`.
    pub(super) async fn within_timeout<T>(
        &self,
        asked_at: Instant,
        found: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        timeout_at(asked_at + self.command_timeout, found)
            .await
            .unwrap_or_else(|_| Err(self.timeout_error()))
    }

    /// The server is silent: the connection may be of no more use.
    fn doubt_connection(&self, heard: &LastHeard) -> Error {
        heard.request_heartbeat();
        self.timeout_error()
    }

    fn timeout_error(&self) -> Error {
        Error::timed_out(self.command_timeout, self.route.missing_link_reason())
    }

    pub(super) async fn command<T: FromRedisValue + Send>(
        &self,
        key: &str,
        repeat: Repeat,
        command: &Cmd,
    ) -> Result<T> {
        self.run(key, repeat, |mut target| async move {
            command.query_async(&mut target.link.connection).await
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
        self.run(key, Repeat::Safe, |mut target| async move {
            let replies: Vec<Value> = pipeline.query_async(&mut target.link.connection).await?;
            match replies.iter().find_map(failure::temporary_refusal) {
                Some(refusal) => Err(refusal),
                None => Ok(FromRedisValue::from_redis_value(Value::Array(replies))?),
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
        self.run(
            key,
            repeat,
            |mut target| async move { call.invoke(&mut target.link.connection).await },
        )
        .await
    }

    /// A script that answers for several callers (scripts/lib/each.lua): the reply to each. A
    /// server that refused them has done nothing for them, and is asked again.
    pub(super) async fn script_of_many(
        &self,
        key: &str,
        repeat: Repeat,
        call: &ScriptInvocation<'_>,
    ) -> Result<Vec<Result<Value>>> {
        self.run(key, repeat, |mut target| async move {
            let replies: Vec<Value> = call.invoke(&mut target.link.connection).await?;
            let replies: Vec<_> = replies.into_iter().map(reply_to_one).collect();
            let refusals = || replies.iter().filter_map(retryable_refusal);
            // What must run at most once is sent again only if nothing of it was carried out.
            if let Some(refusal) = refusals().next()
                && (repeat == Repeat::Safe || refusals().count() == replies.len())
            {
                return Err(refusal.clone());
            }
            let failed = |error: RedisError| {
                if failure::is_key_refusal(&error) {
                    target.server.drop_link_after_key_refusal(&target.link);
                }
                self.caller_error(&error, &target.server)
            };
            Ok(replies.into_iter().map(|reply| reply.map_err(failed)).collect())
        })
        .await
    }

    /// A command to a server whichever keys it holds.
    pub(super) async fn command_at<T: FromRedisValue>(
        &self,
        server: &Supervisor,
        command: &Cmd,
    ) -> Result<T> {
        let retry_until = Instant::now() + self.retry_for();
        loop {
            let asked_at = Instant::now();
            let link = self.within_timeout(asked_at, server.wait_for_link()).await?;
            let mut connection = link.connection.clone();
            let reply = command.query_async(&mut connection);
            let heard = link.connection.last_heard();
            let reply = heard.wait_unless_silent(asked_at, self.command_timeout, reply).await;
            let error = match reply.ok_or_else(|| self.doubt_connection(heard))? {
                Ok(reply) => {
                    self.degraded.record_answer(heard.response_time(asked_at), server.address());
                    return Ok(reply);
                }
                Err(error) => error,
            };
            match failure::kind(&error) {
                FailureKind::NotReady if Instant::now() < retry_until => {
                    sleep(NOT_READY_PAUSE).await;
                    continue;
                }
                FailureKind::Lost => server.drop_link(&link),
                _ => {}
            }
            return Err(self.caller_error(&error, server));
        }
    }

    /// Waits until replicas acknowledge that these keys were ended, on each server that holds some
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
            let Ok(ServerLink { server, .. }) = self.route.link_for(&key).await else {
                return acknowledgements.count(None);
            };
            let (_, keys) =
                servers.entry(server.address().to_owned()).or_insert((server, Vec::new()));
            keys.push(EndedKey { key, id: (*id).to_owned() });
        }
        let waiting = servers
            .into_values()
            .map(async |(server, keys)| server.replicas()?.acknowledge(keys).await);
        let acked: Option<Vec<u32>> = join_all(waiting).await.into_iter().collect();
        acknowledgements.count(acked.and_then(|acked| acked.into_iter().min()));
    }
}

/// The server's refusal, if the same call may succeed later.
fn retryable_refusal(reply: &RedisResult<Value>) -> Option<&RedisError> {
    let is_final = |error: &RedisError| {
        matches!(failure::kind(error), FailureKind::Blocked | FailureKind::Other)
    };
    reply.as_ref().err().filter(|error| !is_final(error))
}
