//! Sessions that any number of servers share, over an engine: Redis, or this process's memory.
//!
//! # Layout
//! - [`Config`]: validated settings. [`open`]: the store of some settings, one per process.
//! - [`Command`], [`Reply`], [`Error`]: the whole interface, as values; [`Sessions::run`] carries
//!   them out.
//! - `store`: the operations and their invariants. `session`: what a session record is, and how
//!   writes merge.
//! - `near_cache`: the near cache, which `engine::redis` tells of changes.
//! - `read_log`: what this process handed out, and to whom: the base of a merge. `known_sessions`:
//!   which keys were seen to be sessions.
//! - `keys`: how long keys may be, and which families of them Better Auth reserves.
//! - `events`: what happens to the connection. `credentials`: who is asked for user name and
//!   password.
//! - `metrics`: how a store stands, as one snapshot.
//! - `gate`: the session cookie of a request, and its signature.
//! - `engine`: the atomic steps, in memory and on Redis.
//!
//! Nothing here knows of Node.js.

mod api;
mod config;
mod credentials;
mod engine;
mod error;
mod events;
mod gate;
mod guarded;
mod keys;
mod known_sessions;
mod metrics;
mod near_cache;
mod read_log;
mod registry;
mod session;
mod store;
mod sync;
mod value;

pub use api::{Command, Read, Reply, Sessions, Take, Text, Values};
pub use config::{Config, NearCacheSettings};
pub use credentials::{Login, Provider, Question, Registration};
pub use engine::redis::connection::trust::trust_certificates;
pub use engine::system_clock;
pub use error::{Code, Error, Result};
pub use events::Event;
pub use gate::{CookieNames, CookieVerifier, Refusal, SessionCookie};
pub use keys::{LIST_PREFIX, MARKER_PREFIX, MAX_KEY_BYTES};
pub use near_cache::{Hit, Moment, Shared};
pub use read_log::{Seen, Serving};
pub use registry::open;
pub use store::PART_BYTES;
