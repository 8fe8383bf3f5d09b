//! Traces of a server that answers, and not well: slow answers, and writes that a full memory
//! refused. Each is counted, and told by an event now and then.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::engine::DegradedMetrics;
use crate::events::{EventKind, Events};

/// How often the same is told at most.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// How a store's servers answer.
pub(super) struct Degraded {
    /// A longer answer is slow.
    slow: Duration,
    events: Events,
    slow_answers: Trace,
    out_of_memory: Trace,
}

impl Degraded {
    /// `slow`: the option `slowMs`.
    pub(super) fn new(slow: Duration, events: Events) -> Self {
        Degraded { slow, events, slow_answers: Trace::default(), out_of_memory: Trace::default() }
    }

    /// The server at `address` has answered, after `took`.
    pub(super) fn answered(&self, took: Duration, address: &str) {
        if took > self.slow && self.slow_answers.count(Instant::now()) {
            let (took, slow) = (took.as_millis(), self.slow.as_millis());
            let what = format!(
                "Redis at {address} is slow: an answer took {took} ms (option slowMs: {slow})"
            );
            self.events.tell(EventKind::Degraded, what);
        }
    }

    /// The server at `address` has refused a write because its memory is full.
    pub(super) fn out_of_memory_at(&self, address: &str) {
        if self.out_of_memory.count(Instant::now()) {
            let what = "refuses writes: it is at maxmemory (OOM); give it more, or end sessions";
            self.events.tell(EventKind::Degraded, format!("Redis at {address} {what}"));
        }
    }

    pub(super) fn metrics(&self) -> DegradedMetrics {
        let Degraded { slow_answers, out_of_memory, .. } = self;
        DegradedMetrics {
            slow_answers: slow_answers.seen.load(Relaxed),
            out_of_memory: out_of_memory.seen.load(Relaxed),
        }
    }
}

/// How often something was seen, and when it was told last.
#[derive(Default)]
struct Trace {
    seen: AtomicU64,
    told: Mutex<Option<Instant>>,
}

impl Trace {
    /// Counts it; whether it is to be told.
    fn count(&self, now: Instant) -> bool {
        self.seen.fetch_add(1, Relaxed);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = told.is_none_or(|told| now - told >= TOLD_EVERY);
        if is_news {
            *told = Some(now);
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_counted_each_time_and_told_once_in_so_long() {
        let trace = Trace::default();
        let first = Instant::now();
        let at = |passed| trace.count(first + passed);
        let told = [Duration::ZERO, TOLD_EVERY / 2, TOLD_EVERY, TOLD_EVERY * 3 / 2, TOLD_EVERY * 2]
            .map(at);
        assert_eq!(told, [true, false, true, false, true]);
        assert_eq!(trace.seen.load(Relaxed), 5);
    }

    #[tokio::test]
    async fn each_reason_is_told_by_itself() {
        let events = Events::new();
        let mut listener = events.listen();
        let degraded = Degraded::new(Duration::from_millis(100), events);
        for _ in 0..3 {
            degraded.answered(Duration::from_millis(100), "a server");
            degraded.answered(Duration::from_millis(200), "a server");
            degraded.out_of_memory_at("a server");
        }
        assert_eq!(degraded.metrics(), DegradedMetrics { slow_answers: 3, out_of_memory: 3 });
        drop(degraded);
        let mut told = Vec::new();
        while let Some(event) = listener.next().await {
            told.push(event.reason);
        }
        assert_eq!(
            told,
            [
                "Redis at a server is slow: an answer took 200 ms (option slowMs: 100)",
                "Redis at a server refuses writes: it is at maxmemory (OOM); give it more, or end sessions",
            ]
        );
    }
}
