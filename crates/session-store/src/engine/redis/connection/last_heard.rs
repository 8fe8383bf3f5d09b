//! When something last came from a server on a connection. A server answers a connection in order,
//! so whatever it sends shows that it works on what it was asked.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a server may be silent after a heartbeat was sent.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(3);

/// The moment at which something last came on one connection.
#[derive(Clone)]
pub(crate) struct LastHeard(Arc<LastMoment>);

struct LastMoment {
    opened: Instant,
    /// In µs after `opened`.
    last: AtomicU64,
    /// A call has waited for an answer in vain.
    heartbeat_requested: Notify,
}

impl LastHeard {
    pub(crate) fn new() -> Self {
        LastHeard(Arc::new(LastMoment {
            opened: Instant::now(),
            last: AtomicU64::new(0),
            heartbeat_requested: Notify::new(),
        }))
    }

    /// Records that something came at this moment.
    pub(crate) fn record_now(&self) {
        self.0.last.store(self.0.opened.elapsed().as_micros() as u64, Relaxed);
    }

    /// Makes the next heartbeat due at once, because a call has waited in vain.
    pub(crate) fn request_heartbeat(&self) {
        self.0.heartbeat_requested.notify_one();
    }

    /// Waits until the next heartbeat is due: for `heartbeat`, or until one is requested.
    pub(crate) async fn wait_for_heartbeat_due(&self, heartbeat: Duration) {
        let _ = timeout(heartbeat, self.0.heartbeat_requested.notified()).await;
    }

    /// The later one of two moments: when something last came, and `asked`.
    pub(crate) fn last_progress(&self, asked: Instant) -> Instant {
        asked.max(self.0.opened + Duration::from_micros(self.0.last.load(Relaxed)))
    }

    /// How long after `asked` something last came. The time before the connection was opened does
    /// not count.
    pub(crate) fn response_time(&self, asked: Instant) -> Duration {
        self.last_progress(asked).duration_since(asked.max(self.0.opened))
    }

    /// Waits for `answer` while anything comes. `None`: the server was silent for `patience` after
    /// `asked`.
    pub(crate) async fn wait_unless_silent<T>(
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
            let heard = self.last_progress(asked);
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
    async fn an_answer_is_waited_for_while_anything_comes() {
        let last_heard = LastHeard::new();
        let asked = Instant::now();
        let silent = last_heard.wait_unless_silent(asked, PATIENCE, pending::<()>());
        let noted = async {
            for _ in 0..10 {
                sleep(PATIENCE / 4).await;
                last_heard.record_now();
            }
            Instant::now()
        };
        let (answer, last) = tokio::join!(silent, noted);
        assert_eq!(answer, None);
        assert!(last.elapsed() < PATIENCE * 2 && last - asked > PATIENCE * 2);
    }

    #[test]
    fn the_response_time_begins_with_the_question_or_the_connection() {
        let opened = Instant::now() + PATIENCE;
        let last_heard = LastHeard(Arc::new(LastMoment {
            opened,
            last: AtomicU64::new(250_000),
            heartbeat_requested: Notify::new(),
        }));
        assert_eq!(
            last_heard.response_time(opened + Duration::from_millis(50)),
            Duration::from_millis(200)
        );
        assert_eq!(last_heard.response_time(opened - PATIENCE), Duration::from_millis(250));
        assert_eq!(last_heard.response_time(opened + Duration::from_millis(300)), Duration::ZERO);
    }

    #[tokio::test]
    async fn what_came_before_the_question_does_not_prolong_the_wait() {
        let last_heard = LastHeard::new();
        last_heard.record_now();
        let asked = Instant::now();
        let silent = last_heard.wait_unless_silent(asked, PATIENCE, pending::<()>());
        assert_eq!(timeout(PATIENCE * 10, silent).await, Ok(None));
        assert!(asked.elapsed() >= PATIENCE);
    }
}
