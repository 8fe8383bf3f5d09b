//! Reads are numbered, so that a write can say which of them its writer has the answers of.

use std::sync::atomic::{AtomicU64, Ordering};

/// The number of a read of this process: the later its answer, the higher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadNumber(u64);

static LAST_READ: AtomicU64 = AtomicU64::new(0);

impl ReadNumber {
    pub(super) const MAX: ReadNumber = ReadNumber(u64::MAX);

    pub(crate) fn next() -> Self {
        ReadNumber(LAST_READ.fetch_add(1, Ordering::Relaxed) + 1)
    }

    pub(super) fn last() -> Self {
        ReadNumber(LAST_READ.load(Ordering::Relaxed))
    }
}

/// The reads whose answers a writer has when it writes, by [`crate::Values::read_number`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadWindow {
    /// The answers that the writer is working on have higher numbers than this one …
    pub after: ReadNumber,
    /// … up to this one. It does not have later answers yet.
    pub up_to: ReadNumber,
}

impl ReadWindow {
    pub(super) fn contains(&self, read: ReadNumber) -> bool {
        read > self.after && read <= self.up_to
    }
}
