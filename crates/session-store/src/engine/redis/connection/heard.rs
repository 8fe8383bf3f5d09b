//! When a server was heard last. It answers a connection in order, so whatever it sends shows that
//! it gets on with what it was asked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server may be silent that was asked for a sign of life.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);

/// The moment at which something came from a server on one connection.
#[derive(Clone)]
pub(crate) struct Heard(Arc<Last>);

struct Last {
    opened: Instant,
    /// In µs after `opened`.
    last: AtomicU64,
    /// A call has waited for an answer in vain.
    doubted: Notify,
}

impl Heard {
    pub(crate) fn new() -> Self {
        Heard(Arc::new(Last {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            doubted: Notify::new(),
        }))
    }

    /// Something comes at this moment.
    pub(crate) fn note(&self) {
        self.0.last.store(self.0.opened.elapsed().as_micros() as u64, Relaxed);
    }

    /// Has the server asked for a sign of life at once, as a call has waited in vain.
    pub(crate) fn doubt(&self) {
        self.0.doubted.notify_one();
    }

    /// Until the next sign of life is due: after `heartbeat`, or as soon as there is doubt.
    pub(crate) async fn beat_is_due(&self, heartbeat: Duration) {
        let _ = timeout(heartbeat, self.0.doubted.notified()).await;
    }

    /// The later one of two moments: when something came last, and `asked`.
    pub(crate) fn since(&self, asked: Instant) -> Instant {
        asked.max(self.0.opened + Duration::from_micros(self.0.last.load(Relaxed)))
    }

    /// How long after `asked` something came last. What passed before there was a connection does
    /// not count.
    pub(crate) fn took(&self, asked: Instant) -> Duration {
        self.since(asked).duration_since(asked.max(self.0.opened))
    }

    /// What `answer` comes to. `None`: the server has been silent for `patience`, after it was
    /// asked.
    pub(crate) async fn unless_silent<T>(
        &self,
        asked: Instant,
        patience: Duration,
        answer: impl Future<Output = T>,
    ) -> Option<T> {
        let mut answer = pin!(answer);
        let mut since = asked;
        loop {
            if let Ok(answer) = timeout_at(since + patience, &mut answer).await {
                return Some(answer);
            }
            let heard = self.since(asked);
            if heard <= since {
                return None;
            }
            since = heard;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{sleep, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn an_answer_is_waited_for_while_anything_comes_and_no_longer() {
        let heard = Heard::new();
        let asked = Instant::now();
        let silent = heard.unless_silent(asked, PATIENCE, pending::<()>());
        let noted = async {
            for _ in 0..10 {
                sleep(PATIENCE / 4).await;
                heard.note();
            }
            Instant::now()
        };
        let (answer, last) = tokio::join!(silent, noted);
        assert_eq!(answer, None);
        assert!(last.elapsed() < PATIENCE * 2 && last - asked > PATIENCE * 2);
    }

    #[test]
    fn what_an_answer_took_is_counted_from_the_question_or_from_the_connection() {
        let opened = Instant::now() + PATIENCE;
        let heard =
            Heard(Arc::new(Last { opened, last: AtomicU64::new(250_000), doubted: Notify::new() }));
        assert_eq!(heard.took(opened + Duration::from_millis(50)), Duration::from_millis(200));
        assert_eq!(heard.took(opened - PATIENCE), Duration::from_millis(250));
        assert_eq!(heard.took(opened + Duration::from_millis(300)), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_came_before_it_was_asked_prolongs_nothing() {
        let heard = Heard::new();
        heard.note();
        let asked = Instant::now();
        let silent = heard.unless_silent(asked, PATIENCE, pending::<()>());
        assert_eq!(timeout(PATIENCE * 10, silent).await, Ok(None));
        assert!(asked.elapsed() >= PATIENCE);
    }
}
