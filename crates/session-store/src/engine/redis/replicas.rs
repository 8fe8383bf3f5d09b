//! Replicas that acknowledge an end (option `revoke`).
//!
//! WAIT counts the writes of its own connection, and blocks it. So there is a connection of its own
//! for it, on which the tombstones are written once more, those of all who wait together, and then
//! WAIT. The first writing, by way of the ordinary connection, is what ends a session: no slow
//! replica holds it up. The second one makes the number that is told true also when the primary has
//! changed in between: what is acknowledged is the tombstone, not a place in a stream that may be
//! gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use ::redis::{Pipeline, RedisResult, Value};
use serde::Serialize;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::connection::Connector;
use super::steps::Verdict;
use super::wire::Wire;
use super::{failure, scripts};
use crate::config::Revoke;
use crate::events::{EventKind, Events};
use crate::guarded::unless_panicked;

/// How many tombstones at most are written together.
const BATCH: usize = 1000;

/// What an answer to WAIT may take beyond the time for which it waits: an idle server looks at its
/// clock every 100 ms.
const WAY: Duration = Duration::from_millis(250);

/// WAIT takes 0 for "for ever".
const LEAST_WAIT: Duration = Duration::from_millis(1);

/// An ended key of Redis', and its id.
pub(super) type Ended = (String, String);

/// How many replicas of one server have acknowledged; `None`: nobody knows.
type Acked = Option<u32>;

struct Job {
    ended: Vec<Ended>,
    since: Instant,
    told: oneshot::Sender<Acked>,
}

/// The replicas of one server.
pub(super) struct Replicas {
    settings: Revoke,
    tombstone_ms: u64,
    connector: Arc<Connector>,
    events: Events,
    jobs: OnceLock<mpsc::UnboundedSender<Job>>,
}

impl Replicas {
    pub(super) fn new(
        settings: &Revoke,
        tombstone_ms: u64,
        connector: Arc<Connector>,
        events: Events,
    ) -> Self {
        Replicas {
            settings: settings.clone(),
            tombstone_ms,
            connector,
            events,
            jobs: OnceLock::new(),
        }
    }

    /// How many of them have the tombstones of these keys, told within the option's time.
    pub(super) async fn acknowledge(&self, ended: Vec<Ended>) -> Acked {
        let (told, acked) = oneshot::channel();
        let since = Instant::now();
        // As many as there are operations under way: the store bounds those.
        let jobs = self.jobs.get_or_init(|| {
            let (sender, mut jobs) = mpsc::unbounded_channel();
            let (settings, tombstone_ms) = (self.settings.clone(), self.tombstone_ms);
            let (connector, events) = (self.connector.clone(), self.events.clone());
            tokio::spawn(async move {
                while unless_panicked(work(&settings, tombstone_ms, &connector, &events, &mut jobs))
                    .await
                    .is_none()
                {}
            });
            sender
        });
        let _ = jobs.send(Job { ended, since, told });
        timeout_at(since + self.settings.timeout + WAY, acked).await.ok()?.ok()?
    }
}

/// One batch after the other, until nobody holds the replicas.
async fn work(
    settings: &Revoke,
    tombstone_ms: u64,
    connector: &Connector,
    events: &Events,
    jobs: &mut mpsc::UnboundedReceiver<Job>,
) {
    let mut connection = None;
    let mut is_refusal_told = false;
    let mut batch: Vec<Job> = Vec::new();
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        batch.retain(|job| !job.told.is_closed());
        let Some(since) = batch.first().map(|job| job.since) else { continue };
        let ended: Vec<_> = batch.iter().flat_map(|job| &job.ended).collect();
        // Whoever came first has waited already.
        let until = since + settings.timeout;
        let attempts = async {
            loop {
                // One whose server refuses another login is about to be cut.
                let (open, is_new) =
                    match connection.take().filter(|open: &Wire| !open.is_refused()) {
                        Some(open) => (open, false),
                        None => (connector.connect_beside().await?, true),
                    };
                let patience = until.saturating_duration_since(Instant::now()).max(LEAST_WAIT);
                match wait(open, &ended, tombstone_ms, settings.wait_replicas, patience).await {
                    Ok((open, acked)) => {
                        connection = Some(open);
                        return Ok(acked);
                    }
                    // It may have been closed long ago.
                    Err(_) if !is_new => {}
                    Err(error) => return Err(failure::error(&error, &connector.address)),
                }
            }
        };
        let acked = match timeout_at(until.max(Instant::now()) + WAY, attempts).await {
            Ok(Ok(Answer::Acked(acked))) => Some(acked),
            Ok(Ok(Answer::Refused)) => {
                if !std::mem::replace(&mut is_refusal_told, true) {
                    let what = "the server refuses WAIT: nobody knows whether replicas have an end (option revoke)";
                    events.tell(
                        EventKind::Degraded,
                        format!("Redis at {}: {what}", connector.address),
                    );
                }
                None
            }
            Ok(Err(_)) | Err(_) => None,
        };
        for job in batch.drain(..) {
            let _ = job.told.send(acked);
        }
    }
}

enum Answer {
    Acked(u32),
    /// There is no WAIT, or the user may not call it.
    Refused,
}

/// Writes the tombstones and waits.
async fn wait(
    mut connection: Wire,
    ended: &[&Ended],
    tombstone_ms: u64,
    replicas: u32,
    patience: Duration,
) -> RedisResult<(Wire, Answer)> {
    let mut pending: Vec<_> = ended.iter().map(|ended| (*ended, Verdict::none())).collect();
    let acked = loop {
        let mut pipeline = Pipeline::new();
        for (n, ((key, id), verdict)) in pending.iter().enumerate() {
            let mut call = scripts::REAFFIRM.key(key);
            call.arg(id).arg(tombstone_ms);
            verdict.add_to(&mut call);
            // The first one teaches the server the script.
            pipeline.add_command(if n == 0 { call.in_full() } else { call.by_digest() });
        }
        pipeline
            .cmd("WAIT")
            .arg(replicas)
            .arg(u64::try_from(patience.as_millis()).unwrap_or(u64::MAX).max(1));
        let mut answers: Vec<Value> = pipeline.ignore_errors().query_async(&mut connection).await?;
        let acked = answers.pop();
        let mut undecided = Vec::new();
        for ((ended, _), answer) in pending.into_iter().zip(answers) {
            if let Value::BulkString(read) = answer.extract_error()?
                && let Some(verdict) = Verdict::of(&ended.1, read)
            {
                undecided.push((ended, verdict));
            }
        }
        if undecided.is_empty() {
            break acked;
        }
        pending = undecided;
    };
    let answer = match acked.unwrap_or(Value::Nil).extract_error() {
        Ok(Value::Int(acked)) => Answer::Acked(u32::try_from(acked).unwrap_or(0)),
        // It has become a replica, or refuses for now.
        Err(error) if error.code() == Some("UNBLOCKED") || failure::is_passing(&error) => {
            return Err(error);
        }
        _ => Answer::Refused,
    };
    Ok((connection, answer))
}

/// How the ends of a store were acknowledged.
pub(super) struct Acknowledgements {
    wanted: u32,
    events: Events,
    waited: AtomicU64,
    under_replicated: AtomicU64,
    last: Mutex<Acked>,
}

/// The same, for whoever looks at it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokeMetrics {
    waited: u64,
    under_replicated: u64,
    last_acked: Acked,
}

impl Acknowledgements {
    pub(super) fn new(settings: &Revoke, events: Events) -> Self {
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
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = acked;
        if acked.is_some_and(|acked| acked >= self.wanted) {
            return;
        }
        self.under_replicated.fetch_add(1, Relaxed);
        let by =
            acked.map_or_else(|| "nobody knows how many".to_owned(), |acked| acked.to_string());
        let what =
            format!("an end is done, and acknowledged by {by} of {} replicas in time", self.wanted);
        self.events.tell(EventKind::UnderReplicated, what);
    }

    pub(super) fn metrics(&self) -> RevokeMetrics {
        RevokeMetrics {
            waited: self.waited.load(Relaxed),
            under_replicated: self.under_replicated.load(Relaxed),
            last_acked: *self.last.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }
}
