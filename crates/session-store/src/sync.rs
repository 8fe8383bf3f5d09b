//! The core's mutex, and the atomics and the table of values that the near cache shares between
//! threads. `tests/near_cache_loom.rs` puts a model checker's in their place.

use std::sync::{MutexGuard, PoisonError};

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};

pub(crate) use quick_cache::sync::Cache;

/// How many counters tell JavaScript threads of changes, in [`crate::CopyFreshness`].
pub const STRIPES: usize = 4096;

/// A mutex that a panic does not poison: a panic is a defect, and must not stop the store for
/// everybody else.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Mutex(std::sync::Mutex::new(value))
    }

    /// Waits for the lock.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
