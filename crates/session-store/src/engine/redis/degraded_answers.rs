//! Counts slow answers and writes that a full memory refused. An event reports each kind, at most
//! every 30 s.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use std::time::Duration;

use tokio::time::Instant;

use crate::events::{EventKind, Events};
use crate::metrics::DegradedMetrics;
use crate::sync::Mutex;

/// The shortest time between two events of one kind.
const REPORT_EVERY: Duration = Duration::from_secs(30);

/// The degraded answers of a store's servers.
pub(super) struct DegradedAnswers {
    /// A longer answer is slow.
    slow: Duration,
    events: Events,
    slow_answers: DegradedCount,
    out_of_memory: DegradedCount,
}

impl DegradedAnswers {
    /// `slow`: the option `slowMs`.
    pub(super) fn new(slow: Duration, events: Events) -> Self {
        DegradedAnswers {
            slow,
            events,
            slow_answers: DegradedCount::default(),
            out_of_memory: DegradedCount::default(),
        }
    }

    /// Records that the server at `address` has answered, after `took`.
    pub(super) fn record_answer(&self, took: Duration, address: &str) {
        if took > self.slow && self.slow_answers.record(Instant::now()) {
            let (took, slow) = (took.as_millis(), self.slow.as_millis());
            let what = format!(
                "Redis at {address} is slow: an answer took {took} ms (option slowMs: {slow})"
            );
            self.events.publish(EventKind::Degraded, what);
        }
    }

    /// Records that the server at `address` has refused a write because its memory is full.
    pub(super) fn record_out_of_memory(&self, address: &str) {
        if self.out_of_memory.record(Instant::now()) {
            let what = "refuses writes because it has reached maxmemory (OOM): raise maxmemory, or end sessions";
            self.events.publish(EventKind::Degraded, format!("Redis at {address} {what}"));
        }
    }

    pub(super) fn metrics(&self) -> DegradedMetrics {
        let DegradedAnswers { slow_answers, out_of_memory, .. } = self;
        DegradedMetrics {
            slow_answers: slow_answers.total.load(Relaxed),
            out_of_memory: out_of_memory.total.load(Relaxed),
        }
    }
}

/// How often something happened, and when it was last reported.
#[derive(Default)]
struct DegradedCount {
    total: AtomicU64,
    reported_at: Mutex<Option<Instant>>,
}

impl DegradedCount {
    /// Counts one. Returns whether it is to be reported.
    fn record(&self, now: Instant) -> bool {
        self.total.fetch_add(1, Relaxed);
        let mut reported_at = self.reported_at.lock();
        let is_due = reported_at.is_none_or(|reported_at| now - reported_at >= REPORT_EVERY);
        if is_due {
            *reported_at = Some(now);
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_counted_and_one_in_30_s_is_reported() {
        let count = DegradedCount::default();
        let first = Instant::now();
        let at = |passed| count.record(first + passed);
        let reported = [
            Duration::ZERO,
            REPORT_EVERY / 2,
            REPORT_EVERY,
            REPORT_EVERY * 3 / 2,
            REPORT_EVERY * 2,
        ]
        .map(at);
        assert_eq!(reported, [true, false, true, false, true]);
        assert_eq!(count.total.load(Relaxed), 5);
    }

    #[tokio::test]
    async fn each_kind_is_reported_by_itself() {
        let events = Events::new();
        let mut listener = events.subscribe();
        let degraded = DegradedAnswers::new(Duration::from_millis(100), events);
        for _ in 0..3 {
            degraded.record_answer(Duration::from_millis(100), "a server");
            degraded.record_answer(Duration::from_millis(200), "a server");
            degraded.record_out_of_memory("a server");
        }
        assert_eq!(degraded.metrics(), DegradedMetrics { slow_answers: 3, out_of_memory: 3 });
        drop(degraded);
        let mut reported = Vec::new();
        while let Some(event) = listener.next().await {
            reported.push(event.reason);
        }
        assert_eq!(
            reported,
            [
                "Redis at a server is slow: an answer took 200 ms (option slowMs: 100)",
                "Redis at a server refuses writes because it has reached maxmemory (OOM): raise maxmemory, or end sessions",
            ]
        );
    }
}
