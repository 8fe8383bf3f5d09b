//! This machine's clocks.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The wall clock, in ms since the epoch.
pub fn now_ms() -> i64 {
    since_epoch().as_millis() as i64
}

/// The wall clock, in µs since the epoch.
pub(crate) fn now_us() -> i64 {
    since_epoch().as_micros() as i64
}

/// Zero where the clock is set to a time before the epoch.
fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A moment by both clocks. A suspended machine stops one of them, and a corrected clock moves the
/// other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoClockTime {
    /// In ms since this process first asked for it.
    pub monotonic_ms: f64,
    /// In ms since the epoch.
    pub wall_ms: f64,
}

impl TwoClockTime {
    /// Before every other moment.
    pub(crate) const NEVER: TwoClockTime =
        TwoClockTime { monotonic_ms: f64::NEG_INFINITY, wall_ms: f64::NEG_INFINITY };

    /// After every other moment.
    pub(crate) const FOREVER: TwoClockTime =
        TwoClockTime { monotonic_ms: f64::INFINITY, wall_ms: f64::INFINITY };

    /// The earlier one by each clock.
    pub(crate) fn min(self, other: TwoClockTime) -> Self {
        TwoClockTime {
            monotonic_ms: self.monotonic_ms.min(other.monotonic_ms),
            wall_ms: self.wall_ms.min(other.wall_ms),
        }
    }

    /// Now.
    pub fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        TwoClockTime {
            monotonic_ms: START.elapsed().as_secs_f64() * 1e3,
            wall_ms: since_epoch().as_secs_f64() * 1e3,
        }
    }
}
