//! Detects a clock jump: the process was frozen, its machine slept, or the wall clock was set. A
//! connection may have died meanwhile without a sign.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::clock::now_us;

/// How often the clocks are compared.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Shorter differences are no jump: a busy machine lets a process wait, and a clock may be
/// corrected a little.
const MIN_JUMP: Duration = Duration::from_secs(1);

/// Compares this machine's monotonic clock and wall clock from time to time.
pub(crate) struct ClockJumpDetector {
    since: Instant,
    /// The last comparison by the monotonic clock, in µs after `since`.
    checked_us: AtomicU64,
    /// How far the wall clock was ahead of it then, in µs.
    wall_ahead_us: AtomicI64,
    jumped: Notify,
}

impl ClockJumpDetector {
    pub(crate) fn new() -> Self {
        ClockJumpDetector {
            since: Instant::now(),
            checked_us: AtomicU64::new(0),
            wall_ahead_us: AtomicI64::new(now_us()),
            jumped: Notify::new(),
        }
    }

    /// Compares the clocks. Called before each use of a connection.
    pub(crate) fn check(&self) {
        self.compare(self.since.elapsed(), now_us());
    }

    fn compare(&self, monotonic: Duration, wall_us: i64) {
        let (now, jump) = (monotonic.as_micros() as u64, MIN_JUMP.as_micros() as u64);
        let since_check = now.saturating_sub(self.checked_us.swap(now, Relaxed));
        let stood_still = since_check > jump + CHECK_EVERY.as_micros() as u64;
        let ahead = wall_us - now as i64;
        let was_set = self.wall_ahead_us.swap(ahead, Relaxed).abs_diff(ahead) > jump;
        if stood_still || was_set {
            self.jumped.notify_one();
        }
    }

    /// Waits until the clocks have jumped.
    pub(crate) async fn wait_for_jump(&self) {
        while timeout(CHECK_EVERY, self.jumped.notified()).await.is_err() {
            self.check();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn take_jump(clocks: &ClockJumpDetector) -> bool {
        clocks.jumped.notified().now_or_never().is_some()
    }

    #[test]
    fn a_pause_and_a_set_wall_clock_are_jumps() {
        let clocks = ClockJumpDetector::new();
        let (mut monotonic, mut wall_us) = (Duration::ZERO, now_us());
        let mut after = |monotonic_ms: u64, wall_ms: i64| {
            monotonic += Duration::from_millis(monotonic_ms);
            wall_us += wall_ms * 1000;
            clocks.compare(monotonic, wall_us);
            take_jump(&clocks)
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
