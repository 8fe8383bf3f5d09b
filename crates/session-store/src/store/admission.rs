//! How many operations are in flight: beyond `maxInFlight`, further ones are refused.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::state::Store;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};

/// Operations in flight: the counter, and how many this counts there.
pub(super) struct InFlight<'s>(&'s AtomicUsize, usize);

impl InFlight<'_> {
    /// Counts `count` of them out.
    pub(super) fn end(&mut self, count: usize) {
        self.0.fetch_sub(count, Relaxed);
        self.1 -= count;
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1, Relaxed);
    }
}

impl<E: Engine> Store<E> {
    /// Counts operations in, or refuses them: operations that wait for an outage to end take memory.
    pub(super) fn admit(&self, count: usize) -> Result<InFlight<'_>> {
        let before = self.in_flight.fetch_add(count, Relaxed);
        let admitted = InFlight(&self.in_flight, count);
        // The reads of one tick are admitted together when nothing else is in flight.
        if before == 0 || before + count <= self.max_in_flight {
            return Ok(admitted);
        }
        let what = format!(
            "{before} operations are under way already (option maxInFlight); try again later"
        );
        Err(Error::new(Code::Unavailable, what))
    }
}
