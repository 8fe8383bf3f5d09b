//! The operations: Better Auth's key-value calls and the session store's own, made of an engine's
//! atomic steps.
//!
//! What must always hold (each has tests that try to break it):
//! 1. A live session is in its owner's index; ending all of a user's sessions ends every one that
//!    existed when it began.
//! 2. An ended session never comes back, however late a write of it arrives.
//! 3. Concurrent updates of different fields lose none; a stale writer restores nothing.
//! 4. An error is never reported as "no session".
//! 5. `increment` and `take` run at most once.
//! 6. No key without an expiry, but for what Better Auth itself stores without one.

mod admission;
mod arguments;
mod dispatch;
mod ending;
mod fetch;
mod journal;
mod limit;
mod lists;
mod maintenance;
mod not_before;
mod outage;
mod parts;
mod put;
mod reads;
mod state;
mod user_half;
mod writes;

pub use parts::PART_BYTES;
pub(crate) use state::{AppHooks, Store};
