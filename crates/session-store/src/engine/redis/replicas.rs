//! Waits for replicas to acknowledge an end (option `revoke`).
//!
//! WAIT counts the writes of its own connection, and blocks it. So it has a connection of its own,
//! on which the tombstones of all callers that wait together are written once more, followed by
//! WAIT. The first writing, on the ordinary connection, is what ends a session: no slow replica
//! delays it. The second one makes the number true also when the primary has changed in between:
//! what is acknowledged is the tombstone, not a place in a stream that may be gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::connection::connector::Connector;
use super::connection::wire::Wire;
use super::ownership::KnownOwner;
use super::{failure, scripts};
use crate::config::RevokeSettings;
use crate::events::{EventKind, Events};
use crate::metrics::RevokeMetrics;
use crate::panics::catch_panic;
use crate::sync::Mutex;

/// How many requests at most are answered by one WAIT.
const BATCH: usize = 1000;

/// What a reply to WAIT may take beyond the time for which it waits: an idle server looks at its
/// clock every 100 ms.
const REPLY_MARGIN: Duration = Duration::from_millis(250);

/// WAIT takes 0 for "for ever".
const MIN_WAIT: Duration = Duration::from_millis(1);

/// A key of Redis that was ended, and its id.
pub(super) struct EndedKey {
    pub(super) key: String,
    pub(super) id: String,
}

/// How many replicas of one server have acknowledged; `None`: unknown.
type Acked = Option<u32>;

/// A caller that waits for replicas to have the tombstones of these keys.
struct WaitRequest {
    ended: Vec<EndedKey>,
    since: Instant,
    reply: oneshot::Sender<Acked>,
}

/// The replicas of one server.
pub(crate) struct Replicas {
    setup: Arc<WaitSetup>,
    requests: OnceLock<mpsc::UnboundedSender<WaitRequest>>,
}

/// What it takes to wait for the replicas of one server.
struct WaitSetup {
    settings: RevokeSettings,
    tombstone_ms: u64,
    connector: Arc<Connector>,
    events: Events,
}

impl Replicas {
    pub(super) fn new(
        settings: &RevokeSettings,
        tombstone_ms: u64,
        connector: Arc<Connector>,
        events: Events,
    ) -> Self {
        let settings = settings.clone();
        Replicas {
            setup: Arc::new(WaitSetup { settings, tombstone_ms, connector, events }),
            requests: OnceLock::new(),
        }
    }

    /// How many of them have the tombstones of these keys within the option's time.
    pub(super) async fn acknowledge(&self, ended: Vec<EndedKey>) -> Acked {
        let (reply, acked) = oneshot::channel();
        let since = Instant::now();
        // The store bounds the operations in flight, and with them this queue.
        let requests = self.requests.get_or_init(|| {
            let (sender, mut requests) = mpsc::unbounded_channel();
            let setup = self.setup.clone();
            tokio::spawn(async move {
                while catch_panic(setup.answer_requests(&mut requests)).await.is_none() {}
            });
            sender
        });
        let _ = requests.send(WaitRequest { ended, since, reply });
        timeout_at(since + self.setup.settings.timeout + REPLY_MARGIN, acked).await.ok()?.ok()?
    }
}

impl WaitSetup {
    /// One batch after the other, until the replicas are dropped.
    async fn answer_requests(&self, requests: &mut mpsc::UnboundedReceiver<WaitRequest>) {
        let mut connection = None;
        let mut has_reported_refusal = false;
        let mut batch: Vec<WaitRequest> = Vec::new();
        while requests.recv_many(&mut batch, BATCH).await > 0 {
            batch.retain(|request| !request.reply.is_closed());
            let Some(since) = batch.first().map(|request| request.since) else { continue };
            let ended: Vec<_> = batch.iter().flat_map(|request| &request.ended).collect();
            // The first caller has waited already.
            let until = since + self.settings.timeout;
            let reply = self.wait_on(&mut connection, &ended, until);
            let reply = timeout_at(until.max(Instant::now()) + REPLY_MARGIN, reply).await;
            let acked = match reply {
                Ok(Some(WaitReply::Acked(acked))) => Some(acked),
                Ok(Some(WaitReply::Refused)) => {
                    if !std::mem::replace(&mut has_reported_refusal, true) {
                        self.report_refusal();
                    }
                    None
                }
                Ok(None) | Err(_) => None,
            };
            for request in batch.drain(..) {
                let _ = request.reply.send(acked);
            }
        }
    }

    /// Writes the tombstones and waits, on the open connection or a new one. `None`: failed.
    async fn wait_on(
        &self,
        connection: &mut Option<Wire>,
        ended: &[&EndedKey],
        until: Instant,
    ) -> Option<WaitReply> {
        loop {
            // One whose server refuses another login is about to be cut.
            let (open, is_new) = match connection.take().filter(|open| !open.is_relogin_refused()) {
                Some(open) => (open, false),
                None => (self.connector.connect_second().await.ok()?, true),
            };
            let wait_for = until.saturating_duration_since(Instant::now()).max(MIN_WAIT);
            match self.write_and_wait(open, ended, wait_for).await {
                Ok((open, reply)) => {
                    *connection = Some(open);
                    return Some(reply);
                }
                // It may have been closed long ago.
                Err(_) if !is_new => {}
                Err(_) => return None,
            }
        }
    }

    async fn write_and_wait(
        &self,
        mut connection: Wire,
        ended: &[&EndedKey],
        wait_for: Duration,
    ) -> RedisResult<(Wire, WaitReply)> {
        let mut pending: Vec<_> = ended.iter().map(|ended| (*ended, KnownOwner::none())).collect();
        let acked = loop {
            let pipeline = self.tombstones_and_wait(&pending, wait_for);
            let mut replies: Vec<Value> = pipeline.query_async(&mut connection).await?;
            let acked = replies.pop();
            let mut undecided = Vec::new();
            for ((ended, _), reply) in pending.into_iter().zip(replies) {
                if let Value::BulkString(value) = reply.extract_error()?
                    && let Some(known) = KnownOwner::read(&ended.id, value)
                {
                    undecided.push((ended, known));
                }
            }
            if undecided.is_empty() {
                break acked;
            }
            pending = undecided;
        };
        let reply = match acked.unwrap_or(Value::Nil).extract_error() {
            Ok(Value::Int(acked)) => WaitReply::Acked(u32::try_from(acked).unwrap_or(0)),
            // It has become a replica, or refuses for now.
            Err(error)
                if error.code() == Some("UNBLOCKED") || failure::is_temporary_refusal(&error) =>
            {
                return Err(error);
            }
            _ => WaitReply::Refused,
        };
        Ok((connection, reply))
    }

    fn tombstones_and_wait(
        &self,
        pending: &[(&EndedKey, KnownOwner)],
        wait_for: Duration,
    ) -> Pipeline {
        let mut pipeline = Pipeline::new();
        for (n, (ended, known)) in pending.iter().enumerate() {
            let mut call = scripts::REWRITE_TOMBSTONE.key(&ended.key);
            call.arg(&ended.id).arg(self.tombstone_ms);
            known.add_to(&mut call);
            // The first one teaches the server the script.
            pipeline.add_command(if n == 0 { call.in_full() } else { call.by_digest() });
        }
        let wait_ms = u64::try_from(wait_for.as_millis()).unwrap_or(u64::MAX).max(1);
        pipeline.cmd("WAIT").arg(self.settings.wait_replicas).arg(wait_ms);
        pipeline.ignore_errors();
        pipeline
    }

    fn report_refusal(&self) {
        let what = "the server refuses WAIT, so option revoke has no effect: allow WAIT in its ACL (docs/security.md), or remove the option";
        self.events
            .publish(EventKind::Degraded, format!("Redis at {}: {what}", self.connector.address));
    }
}

enum WaitReply {
    Acked(u32),
    /// There is no WAIT, or the user may not call it.
    Refused,
}

/// How the ends of a store were acknowledged.
pub(super) struct Acknowledgements {
    wanted: u32,
    events: Events,
    waited: AtomicU64,
    under_replicated: AtomicU64,
    last: Mutex<Acked>,
}

impl Acknowledgements {
    pub(super) fn new(settings: &RevokeSettings, events: Events) -> Self {
        Acknowledgements {
            wanted: settings.wait_replicas,
            events,
            waited: AtomicU64::new(0),
            under_replicated: AtomicU64::new(0),
            last: Mutex::default(),
        }
    }

    pub(super) fn count(&self, acked: Acked) {
        self.waited.fetch_add(1, Relaxed);
        *self.last.lock() = acked;
        if acked.is_some_and(|acked| acked >= self.wanted) {
            return;
        }
        self.under_replicated.fetch_add(1, Relaxed);
        let by = acked.map_or_else(|| "an unknown number".to_owned(), |acked| acked.to_string());
        let what = format!(
            "a session was ended, but acknowledged in time by {by} of {} replicas (docs/reliability.md)",
            self.wanted
        );
        self.events.publish(EventKind::UnderReplicated, what);
    }

    pub(super) fn metrics(&self) -> RevokeMetrics {
        RevokeMetrics {
            waited: self.waited.load(Relaxed),
            under_replicated: self.under_replicated.load(Relaxed),
            last_acked: *self.last.lock(),
        }
    }
}
