//! The N-API surface of the session store: conversions and the queue of completions, nothing else.
//!
//! A call costs one crossing; the calls of one tick leave as one batch, and whatever has completed
//! comes back in one wake-up. The public interface is TypeScript (`lib/`); these functions are its
//! private border.

pub mod border;
mod completions;
pub mod gate;
mod packed;
mod runtime;
mod waker;

// Much is allocated on one thread and freed on the other, which the system's allocators are slow
// at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
