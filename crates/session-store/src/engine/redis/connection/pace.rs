//! Backoff: when the next attempt to connect begins.
//!
//! Callers do not make it earlier, because an attempt may cost a TLS handshake, a DNS lookup and a
//! call of `credentials`.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::ReconnectSettings;

/// At most so many attempts begin in the first [`FIRST_WINDOW`] of an outage. The window is a
/// little longer than a second, because a server may see the first attempt late.
const ATTEMPTS_IN_FIRST_WINDOW: u32 = 3;
const FIRST_WINDOW: Duration = Duration::from_millis(1030);

/// The pace of attempts during an outage.
pub(crate) struct ReconnectPace {
    settings: ReconnectSettings,
    /// When the first attempt began that counts.
    first: Option<Instant>,
    failures: u32,
    /// How often nothing accepted the connection.
    refusals: u32,
}

impl ReconnectPace {
    pub(crate) fn new(settings: &ReconnectSettings) -> Self {
        ReconnectPace { settings: settings.clone(), first: None, failures: 0, refusals: 0 }
    }

    /// Starts anew: the outage is over.
    pub(crate) fn record_success(&mut self) {
        self.first = None;
        self.failures = 0;
        self.refusals = 0;
    }

    /// Takes back the count of an attempt that began at this moment, because nothing accepted its
    /// connection. Returns when the next one begins.
    pub(crate) fn record_refusal(&mut self, began: Instant) -> Instant {
        self.first = None;
        self.failures = 0;
        self.refusals += 1;
        self.attempt_after(self.refusals + 2, began)
    }

    /// Counts an attempt that began at this moment and failed.
    pub(crate) fn record_failure(&mut self, began: Instant) {
        self.first.get_or_insert(began);
        self.failures += 1;
    }

    /// When the next attempt begins, after one that began at this moment. The pause grows with each
    /// failure and is random, so that many processes do not reconnect all at once.
    pub(crate) fn next_attempt(&self, began: Instant) -> Instant {
        self.attempt_after(self.failures, began)
    }

    fn attempt_after(&self, failures: u32, began: Instant) -> Instant {
        let ReconnectSettings { min, max, .. } = self.settings;
        let most = min.saturating_mul(2_u32.saturating_pow(failures)).min(max);
        let delay = most.mul_f64(0.5 + fastrand::f64() / 2.0).max(min);
        (began + delay).max(self.earliest_attempt(began))
    }

    /// The earliest moment at which the next attempt may begin.
    pub(crate) fn earliest_attempt(&self, began: Instant) -> Instant {
        let after_window = self.first.filter(|_| self.failures >= ATTEMPTS_IN_FIRST_WINDOW);
        let after_window = after_window
            .map(|first| first + FIRST_WINDOW.min(self.settings.max * ATTEMPTS_IN_FIRST_WINDOW));
        after_window.unwrap_or(began).max(began + self.settings.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(min: u64, max: u64, until: Duration) -> Vec<Duration> {
        let [min, max, fail_fast] = [min, max, 250].map(Duration::from_millis);
        let mut pace = ReconnectPace::new(&ReconnectSettings { fail_fast, min, max });
        let start = Instant::now();
        let mut began = vec![start];
        while let Some(&last) = began.last()
            && last < start + until
        {
            pace.record_failure(last);
            began.push(pace.next_attempt(last));
        }
        began.into_iter().map(|at| at - start).collect()
    }

    #[test]
    fn there_are_three_attempts_in_the_first_second_and_then_one_in_each_longest_pause() {
        for _ in 0..100 {
            let at = attempts(50, 800, Duration::from_secs(30));
            assert!(at.iter().filter(|at| **at < FIRST_WINDOW).count() <= 3, "{at:?}");
            let pauses = at.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(pauses.clone().all(|pause| pause <= Duration::from_millis(900)), "{at:?}");
            assert!(pauses.skip(3).all(|pause| pause >= Duration::from_millis(400)), "{at:?}");
        }
    }

    #[test]
    fn attempts_that_nothing_accepts_are_as_rare_and_do_not_count() {
        let [min, max, fail_fast] = [50, 60_000, 250].map(Duration::from_millis);
        for _ in 0..100 {
            let mut pace = ReconnectPace::new(&ReconnectSettings { fail_fast, min, max });
            let start = Instant::now();
            let mut at = vec![start];
            for _ in 0..5 {
                let last = *at.last().unwrap();
                pace.record_failure(last);
                at.push(pace.record_refusal(last));
            }
            assert!(at.iter().filter(|at| **at < start + FIRST_WINDOW).count() <= 3);
            assert!(
                at[2] < start + Duration::from_millis(1500),
                "the pauses grow from the first one"
            );
            assert_eq!(pace.earliest_attempt(start), start + min);
        }
    }

    #[test]
    fn pauses_are_as_long_as_the_options_say() {
        for (min, max) in [(10, 100), (5000, 5000), (50, 60_000)] {
            let at = attempts(min, max, Duration::from_secs(100));
            let bounds = Duration::from_millis(min)..=Duration::from_millis(max).max(FIRST_WINDOW);
            assert!(at.windows(2).all(|pair| bounds.contains(&(pair[1] - pair[0]))), "{at:?}");
        }
    }
}
