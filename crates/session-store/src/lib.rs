//! Sessions that any number of servers share, over an engine: Redis, or this process's memory.
//!
//! # Layout
//! - [`Config`]: validated settings. [`open`]: the store of some settings, one per process.
//! - [`Command`], [`Reply`], [`Error`]: the whole interface, as values; [`Sessions::run`] carries
//!   them out.
//! - `store`: the operations and their invariants. `session`: what a session record is, and how
//!   writes merge.
//! - `cache`: the near cache, which `engine::redis` tells of changes.
//! - `read_log`: what this process handed out, and to whom: the base of a merge. `known_sessions`:
//!   which keys were seen to be sessions.
//! - `events`: what happens to the connection. `credentials`: who is asked for user name and
//!   password.
//! - `journal`: ends and writes that wait for Redis, where a database has the sessions meanwhile.
//! - `gate`: the session cookie of a request, and its signature.
//! - `engine`: the atomic steps, in memory and on Redis.
//!
//! Nothing here knows of Node.js.

mod cache;
mod command;
mod config;
mod credentials;
mod engine;
mod error;
mod events;
mod gate;
mod guarded;
mod journal;
mod known_sessions;
mod read_log;
mod registry;
mod session;
mod store;
mod sync;
mod value;

pub use cache::{Hit, Moment, Shared};
pub use command::{Command, Read, Reply, Text, Values};
pub use config::{
    Address, Config, NatMap, NearCache, OnUnavailable, Reconnect, Revoke, SentinelLogin, Server,
    Target, Tls, TlsVersion,
};
pub use credentials::{Credentials, Login, Provider, Question, Registration};
pub use engine::redis::connection::trust::trust_certificates;
pub use engine::system_clock;
pub use error::{Code, Error, Result};
pub use events::{Event, EventKind, Listener};
pub use gate::{CookieNames, CookieVerifier, Refusal, SessionCookie};
pub use read_log::{Seen, Serving};
pub use registry::{Running, Sessions, Take, open};
pub use store::PART_BYTES;
