//! How many operations are under way: beyond `maxInFlight`, further ones are refused.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::state::Store;
use crate::engine::Engine;
use crate::error::{Code, Error, Result};

/// Operations that are under way.
pub(super) struct InFlight<'s>(&'s AtomicUsize, usize);

impl InFlight<'_> {
    /// So many of them have ended.
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
    /// Counts operations in, or refuses them: what waits for an outage to end takes memory.
    pub(super) fn enter(&self, count: usize) -> Result<InFlight<'_>> {
        let before = self.in_flight.fetch_add(count, Relaxed);
        let entered = InFlight(&self.in_flight, count);
        // Many reads that were asked for together are one, when nothing else is under way.
        if before == 0 || before + count <= self.max_in_flight {
            return Ok(entered);
        }
        let what = format!(
            "{before} operations are under way already (option maxInFlight); try again later"
        );
        Err(Error::new(Code::Unavailable, what))
    }
}
