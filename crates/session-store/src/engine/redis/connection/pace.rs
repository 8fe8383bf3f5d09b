//! When the next attempt to connect is made. Callers do not hasten it: an attempt may cost a TLS
//! handshake, a question to a name server and a call of `credentials`.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::Reconnect;

/// So many attempts are made in the first [`WINDOW`] of an outage, at most. It is a little more
/// than a second, because a server may see the first of them late.
const AT_FIRST: u32 = 3;
const WINDOW: Duration = Duration::from_millis(1030);

/// The attempts of an outage.
pub(crate) struct Pace {
    settings: Reconnect,
    first: Option<Instant>,
    failures: u32,
    /// How often nothing took the connection.
    refusals: u32,
}

impl Pace {
    pub(crate) fn new(settings: &Reconnect) -> Self {
        Pace { settings: settings.clone(), first: None, failures: 0, refusals: 0 }
    }

    /// The outage is over.
    pub(crate) fn succeeded(&mut self) {
        self.first = None;
        self.failures = 0;
        self.refusals = 0;
    }

    /// Nobody heard of an attempt that began at this moment, so it counts for nothing. When the
    /// next one begins.
    pub(crate) fn refused(&mut self, began: Instant) -> Instant {
        self.first = None;
        self.failures = 0;
        self.refusals += 1;
        self.next_of(self.refusals + 2, began)
    }

    /// An attempt that began at this moment has failed.
    pub(crate) fn failed(&mut self, began: Instant) {
        self.first.get_or_insert(began);
        self.failures += 1;
    }

    /// When the next attempt begins, after one that began at this moment: later with each failure,
    /// at random, so that servers do not come back all at once.
    pub(crate) fn next(&self, began: Instant) -> Instant {
        self.next_of(self.failures, began)
    }

    fn next_of(&self, failures: u32, began: Instant) -> Instant {
        let Reconnect { min, max, .. } = self.settings;
        let most = min.saturating_mul(2_u32.saturating_pow(failures)).min(max);
        let delay = most.mul_f64(0.5 + fastrand::f64() / 2.0).max(min);
        (began + delay).max(self.earliest(began))
    }

    /// When the next attempt may begin, whatever speaks for it.
    pub(crate) fn earliest(&self, began: Instant) -> Instant {
        let after_window = self.first.filter(|_| self.failures >= AT_FIRST);
        let after_window =
            after_window.map(|first| first + WINDOW.min(self.settings.max * AT_FIRST));
        after_window.unwrap_or(began).max(began + self.settings.min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(min: u64, max: u64, until: Duration) -> Vec<Duration> {
        let [min, max, fail_fast] = [min, max, 250].map(Duration::from_millis);
        let mut pace = Pace::new(&Reconnect { fail_fast, min, max });
        let start = Instant::now();
        let mut began = vec![start];
        while let Some(&last) = began.last()
            && last < start + until
        {
            pace.failed(last);
            began.push(pace.next(last));
        }
        began.into_iter().map(|at| at - start).collect()
    }

    #[test]
    fn there_are_three_attempts_in_the_first_second_and_then_one_in_each_longest_pause() {
        for _ in 0..100 {
            let at = attempts(50, 800, Duration::from_secs(30));
            assert!(at.iter().filter(|at| **at < WINDOW).count() <= 3, "{at:?}");
            let pauses = at.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(pauses.clone().all(|pause| pause <= Duration::from_millis(900)), "{at:?}");
            assert!(pauses.skip(3).all(|pause| pause >= Duration::from_millis(400)), "{at:?}");
        }
    }

    #[test]
    fn what_nobody_takes_is_tried_as_seldom_and_counts_for_nothing() {
        let [min, max, fail_fast] = [50, 60_000, 250].map(Duration::from_millis);
        for _ in 0..100 {
            let mut pace = Pace::new(&Reconnect { fail_fast, min, max });
            let start = Instant::now();
            let mut at = vec![start];
            for _ in 0..5 {
                let last = *at.last().unwrap();
                pace.failed(last);
                at.push(pace.refused(last));
            }
            assert!(at.iter().filter(|at| **at < start + WINDOW).count() <= 3);
            assert!(
                at[2] < start + Duration::from_millis(1500),
                "the pauses grow from the first one"
            );
            assert_eq!(pace.earliest(start), start + min);
        }
    }

    #[test]
    fn pauses_are_as_long_as_the_options_say() {
        for (min, max) in [(10, 100), (5000, 5000), (50, 60_000)] {
            let at = attempts(min, max, Duration::from_secs(100));
            let bounds = Duration::from_millis(min)..=Duration::from_millis(max).max(WINDOW);
            assert!(at.windows(2).all(|pair| bounds.contains(&(pair[1] - pair[0]))), "{at:?}");
        }
    }
}
