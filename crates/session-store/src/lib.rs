//! Sessions that any number of servers share, over an engine: Redis, or this process's memory.
//!
//! # Layout
//! - [`Config`]: validated settings. [`open`]: the store of some settings, one per process.
//! - `api`: the whole interface: [`Sessions`], [`Command`], [`Reply`]. [`Error`]: the one error.
//! - `store`: the operations and their invariants. `session`: what a session record is, and how
//!   writes merge.
//! - `near_cache`: what was read, while it holds; `engine::redis::tracking` feeds it.
//! - `read_log`: the versions that were read, which a merge needs. `known_sessions`: which keys were
//!   seen to be sessions.
//! - `keys`: how long keys may be, and which families of them Better Auth reserves.
//! - `events`: events of the connection. `credentials`: user name and password from the
//!   application.
//! - `metrics`: a store's state and counters, as one snapshot.
//! - `gate`: the session cookie of a request, and its signature.
//! - `engine`: the atomic steps, in memory and on Redis. `value`: what is stored under a key.
//! - `clock`, `sync`, `panics`: this machine's clocks, the mutex, tasks that survive a panic.
//!
//! Nothing here knows of Node.js.

mod api;
mod clock;
mod config;
mod credentials;
mod engine;
mod error;
mod events;
mod gate;
mod keys;
mod known_sessions;
mod metrics;
mod near_cache;
mod panics;
mod read_log;
mod registry;
mod session;
mod store;
mod sync;
mod value;

pub use api::{Command, DeliverPart, Reply, Sessions, Text, Values, WriterContext};
pub use clock::{TwoClockTime, now_ms};
pub use config::{Config, NearCacheSettings};
pub use credentials::{CredentialsProvider, CredentialsRequest, Login, ProviderRegistration};
pub use engine::YOUNG_MS;
pub use engine::redis::connection::trust::trust_certificates;
pub use error::{Code, Error, Result};
pub use events::{Event, EventKind};
pub use gate::{CookieNames, CookieVerifier, Refusal, SessionCookie};
pub use keys::{MAX_KEY_BYTES, NOT_BEFORE_PREFIX, SESSION_LIST_PREFIX};
pub use metrics::metrics_of_unopened_store;
pub use near_cache::{CopyFreshness, Hit};
pub use read_log::{ReadNumber, ReadWindow};
pub use registry::open;
pub use store::PART_BYTES;
pub use sync::{Mutex, STRIPES};
