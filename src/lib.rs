//! The N-API surface of the session store. It converts values and queues completions; everything
//! about sessions is in `session-store`.
//!
//! The public interface is TypeScript (`lib/`). These functions are private to `lib/native/` and
//! the gate. `src/` and `lib/native/` are the two halves of the native boundary.
//!
//! # Layout
//! - [`handles`]: numbers by which JavaScript names module instances and open stores.
//! - [`calls`]: operations and reads on their way to the store thread.
//! - [`drain`]: completions on their way to JavaScript. `packed`: many values as one string.
//! - [`near_cache`]: synchronous reads of the near cache.
//! - [`credentials`]: the application's function for user name and password.
//! - [`events`]: events of a store's connection.
//! - [`facts`]: limits, key families, error codes and event names for JavaScript.
//! - [`gate`]: the session cookie.
//! - `completions`: the queue between the threads. `runtime`: the store thread. `waker`: wakes a
//!   JavaScript thread. `text`: strings in and out.
//!
//! # Threads
//! A JavaScript thread calls every exported function and owns the tables in [`handles`]. One store
//! thread for the whole process carries out the work. They meet in two queues only: the task queue
//! in `runtime`, and one completion queue for each module instance. Both read the near cache's
//! memory at any time. They share nothing else.
//!
//! A call costs one crossing. The calls of one tick leave as one batch. All completed calls come
//! back in one wake-up.

pub mod calls;
mod completions;
pub mod credentials;
pub mod drain;
pub mod events;
pub mod facts;
pub mod gate;
pub mod handles;
pub mod near_cache;
mod packed;
mod runtime;
mod text;
mod waker;

// Much memory is allocated on one thread and freed on the other. The system's allocators are slow
// at that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
