//! Validation of the options a store is made with: JSON as the user wrote it in, a [`Config`] or
//! every problem out.
//!
//! `options` is the table of all options and `reader` reads one of them by its row. `location`,
//! `url`, `query`, `host` and `tls` read where the sessions lie, into the types of `server`.
//! `near_cache`, `outages` and `prefixes` read options that depend on each other.
//!
//! What must always hold:
//! - Equal settings give an equal [`Config`], however they were spelled: it is the key of the
//!   process-wide registry.
//! - No problem and no `Debug` output contains a URL, a user name, a password or TLS material.
//! - Nothing here reads the environment, opens a file or resolves a name.

mod describe;
mod host;
mod location;
mod near_cache;
mod options;
mod outages;
mod prefixes;
mod query;
mod reader;
mod server;
#[cfg(test)]
mod tests;
mod tls;
mod unknown;
mod url;

use std::num::NonZeroU32;
use std::time::Duration;

use serde_json::Value;

pub use near_cache::NearCacheSettings;
pub(crate) use outages::{OnUnavailable, ReconnectSettings, RevokeSettings};
use reader::OptionReader;
pub(crate) use server::{Address, Backend, NatMap, SentinelLogin, Server, Tls, TlsVersion};

/// Validated settings of one store. Ranges and defaults of the options: `config/options.rs`.
/// `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Where the sessions lie. From `url`, or from `host`/`port`, `path`, `sentinels` or `cluster`.
    pub backend: Backend,
    /// What a record's key begins with: `keyPrefix`. Never a prefix of `user_prefix`, nor the
    /// reverse.
    pub key_prefix: String,
    /// What the key of a user's index begins with: `userPrefix`.
    pub user_prefix: String,
    /// How long the tombstone of an ended session stays: `tombstoneSeconds`, of which the default
    /// is the right value. Below 120 s (the age up to which a session may be created) plus the
    /// clocks' skew, a session ended while young could be created again by a late writer; such
    /// values are for tests.
    pub tombstone: Duration,
    /// Largest value accepted, in bytes: `maxValueBytes`.
    pub max_value_bytes: usize,
    /// Sessions a user may have, the oldest ended first: `maxSessionsPerUser`. `None`: no limit.
    pub max_sessions_per_user: Option<NonZeroU32>,
    /// How many replicas must have an end before it is answered: `revoke`. `None`: none.
    pub revoke: Option<RevokeSettings>,
    /// What happens to Better Auth's calls while the server cannot answer: `onUnavailable`.
    pub on_unavailable: OnUnavailable,
    /// What this process keeps of what it read: `nearCache`. `None`: nothing.
    pub near_cache: Option<NearCacheSettings>,
    /// How often an idle connection must show that it is alive: `heartbeatMs`.
    pub heartbeat: Duration,
    /// Time to set up a connection: `connectTimeout`.
    pub connect_timeout: Duration,
    /// What happens while there is no connection.
    pub reconnect: ReconnectSettings,
    /// Operations in flight: `maxInFlight`. Further ones are refused.
    pub max_in_flight: usize,
    /// How long a server may be silent while an operation waits for it, or a connection be missing:
    /// `commandTimeout`.
    pub command_timeout: Duration,
    /// A slower answer gives an event: `slowMs`.
    pub slow: Duration,
}

impl Config {
    /// Whether the sessions lie on a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(&self.backend, Backend::Redis(server) if matches!(server.address, Address::Cluster { .. }))
    }

    /// Parses the JSON object of options, for example
    /// `{"url":"redis://localhost","commandTimeout":500}`.
    ///
    /// An option that is absent takes its default; an empty `username` or `password` counts as
    /// absent, as in ioredis.
    ///
    /// # Errors
    /// Every problem found, one sentence each, in the order in which the options were given (one
    /// that is missing comes first). The sentences hold no secret and may be shown and logged.
    pub fn from_json(options: &str) -> Result<Config, Vec<String>> {
        let Ok(Value::Object(given)) = serde_json::from_str(options) else {
            let what =
                "options: must be an object, for example { url: \"redis://localhost:6379\" }";
            return Err(vec![what.into()]);
        };
        let mut options = OptionReader::new(given);
        options.refuse_unknown();
        let backend = options.backend();
        let (key_prefix, user_prefix) = options.prefixes();
        let tombstone = Duration::from_secs(options.integer_or_default("tombstoneSeconds"));
        let max_value_bytes = options.integer_or_default("maxValueBytes") as usize;
        let max_sessions_per_user = options.integer("maxSessionsPerUser").and_then(NonZeroU32::new);
        let heartbeat = options.heartbeat();
        let near_cache = options.near_cache(heartbeat);
        let reconnect = options.reconnect();
        let max_in_flight = options.integer_or_default("maxInFlight") as usize;
        let connect_timeout = options.ms_or_default("connectTimeout");
        let command_timeout = options.ms_or_default("commandTimeout");
        let slow = options.ms_or_default("slowMs");
        let revoke = options.revoke(command_timeout);
        let on_unavailable = options.on_unavailable();
        match backend {
            Some(backend) if options.problem_count() == 0 => Ok(Config {
                backend,
                key_prefix,
                user_prefix,
                tombstone,
                max_value_bytes,
                max_sessions_per_user,
                revoke,
                on_unavailable,
                near_cache,
                heartbeat,
                connect_timeout,
                reconnect,
                max_in_flight,
                command_timeout,
                slow,
            }),
            _ => Err(options.sentences()),
        }
    }
}
