//! The near cache's locks, atomics and table of values: `tests/near_cache_loom.rs` puts a model
//! checker's in their place.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64};
pub(crate) use std::sync::{Mutex, MutexGuard};

pub(crate) use quick_cache::sync::Cache;

/// How many counters tell JavaScript threads of changes, in [`crate::Shared`].
pub(crate) const STRIPES: usize = 4096;
