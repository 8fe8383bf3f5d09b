//! Whether time has passed that this process knows nothing of: it was frozen, its machine slept, or
//! the wall clock was set. A connection may have died meanwhile without a word.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

/// How often the clocks are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// What is no jump yet: a busy machine lets a process wait, and a clock may be corrected a little.
const JUMP: Duration = Duration::from_secs(1);

/// This machine's clocks, as they were looked at last.
pub(crate) struct Clocks {
    since: Instant,
    /// By the monotonic clock, in µs after `since`.
    looked: AtomicU64,
    /// How far the wall clock is ahead of it, in µs.
    ahead: AtomicI64,
    jumped: Notify,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        let ahead = AtomicI64::new(wall());
        Clocks { since: Instant::now(), looked: AtomicU64::new(0), ahead, jumped: Notify::new() }
    }

    /// Looks whether they have jumped. Called before each use of a connection.
    pub(crate) fn look(&self) {
        self.compare(self.since.elapsed(), wall());
    }

    fn compare(&self, monotonic: Duration, wall: i64) {
        let (now, jump) = (monotonic.as_micros() as u64, JUMP.as_micros() as u64);
        let stood =
            now.saturating_sub(self.looked.swap(now, Relaxed)) > jump + LOOK.as_micros() as u64;
        let ahead = wall - now as i64;
        let was_set = self.ahead.swap(ahead, Relaxed).abs_diff(ahead) > jump;
        if stood || was_set {
            self.jumped.notify_one();
        }
    }

    /// Until they have jumped.
    pub(crate) async fn jump(&self) {
        while timeout(LOOK, self.jumped.notified()).await.is_err() {
            self.look();
        }
    }
}

/// In µs since the epoch.
fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn has_jumped(clocks: &Clocks) -> bool {
        clocks.jumped.notified().now_or_never().is_some()
    }

    #[test]
    fn a_pause_and_a_wall_clock_that_was_set_are_jumps_and_time_that_passes_is_none() {
        let clocks = Clocks::new();
        let (mut monotonic, mut wall) = (Duration::ZERO, wall());
        let mut after = |monotonic_ms: u64, wall_ms: i64| {
            monotonic += Duration::from_millis(monotonic_ms);
            wall += wall_ms * 1000;
            clocks.compare(monotonic, wall);
            has_jumped(&clocks)
        };
        assert!(!after(1000, 1000));
        assert!(!after(1900, 1950));
        assert!(!after(0, 1));
        // SIGSTOP, or a container that was frozen.
        assert!(after(5000, 5000));
        assert!(!after(1000, 1000));
        // A machine that slept: its monotonic clock did too.
        assert!(after(10, 60_000));
        assert!(!after(1000, 1000));
        assert!(after(1000, -3_600_000));
        assert!(!after(1000, 1000));
    }
}
