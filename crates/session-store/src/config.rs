//! Validation of the options a store is made with: JSON as the user wrote it in, a [`Config`] or
//! every problem out.
//!
//! What must always hold:
//! - Equal settings give an equal [`Config`], however they were spelled: it is the key of the
//!   process-wide registry.
//! - No problem and no `Debug` output contains a URL, a user name, a password or TLS material.
//! - Nothing here reads the environment, opens a file or resolves a name.

mod location;
mod options;
mod query;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use options::{IN_FLIGHT, Options, TIMEOUT_MS, TOMBSTONE_SECONDS, VALUE_BYTES};

/// Validated settings of one store. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Where the sessions lie. From `url`, or from `host`/`port`, or from `path`.
    pub target: Target,
    /// What a record's key begins with: `keyPrefix`, default `session:`. Never a prefix of
    /// `user_prefix`, nor the reverse.
    pub key_prefix: String,
    /// What the key of a user's index begins with: `userPrefix`, default `user-sessions:`.
    pub user_prefix: String,
    /// How long the mark of an ended session stays: `tombstoneSeconds`, default 300 s, which is the
    /// right value. Below 120 s (the age up to which a session may be created) plus the clocks'
    /// skew, a session ended while young could be created again by a late writer; such values are
    /// for tests.
    pub tombstone: Duration,
    /// Largest value accepted, in bytes: `maxValueBytes`, default 1 MiB.
    pub max_value_bytes: usize,
    /// Sessions a user may have, the oldest ended first: `maxSessionsPerUser`, default no limit.
    pub max_sessions_per_user: Option<NonZeroU32>,
    /// How far an end must have been copied before it is told: `revoke`, default not at all.
    pub revoke: Option<Revoke>,
    /// What becomes of Better Auth's calls while the server cannot answer: `onUnavailable`, default
    /// `reject`.
    pub on_unavailable: OnUnavailable,
    /// What is read again is answered from this process's memory: `nearCache`, default on; `None`:
    /// off.
    pub near_cache: Option<NearCache>,
    /// How often an idle connection must show that it is alive: `heartbeatMs`, default 1 s.
    pub heartbeat: Duration,
    /// Time to set up a connection: `connectTimeout` in ms, default 10 s.
    pub connect_timeout: Duration,
    /// What happens while there is no connection.
    pub reconnect: Reconnect,
    /// Operations that may be under way: `maxInFlight`, default 50,000. Further ones are refused.
    pub max_in_flight: usize,
    /// How long a server may be silent that an operation waits for, or a connection be missing:
    /// `commandTimeout` in ms, default 2 s.
    pub command_timeout: Duration,
    /// An answer that takes longer is slow, which an event tells: `slowMs`, default 100 ms.
    pub slow: Duration,
}

/// How far an end must have been copied.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Revoke {
    /// How many replicas are to acknowledge it: `waitReplicas`.
    pub wait_replicas: u32,
    /// For how long they are waited for: `timeoutMs`, default 500 ms. Less than `commandTimeout`.
    pub timeout: Duration,
}

/// What becomes of calls while the server cannot answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnUnavailable {
    /// They are refused.
    Reject,
    /// The caller has a database that holds the sessions too: ends, and writes of sessions, are
    /// kept and done later.
    Database,
}

/// Settings of the near cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NearCache {
    /// How much it may hold, in bytes: `maxBytes`, default 32 MiB.
    pub max_bytes: u64,
    /// How long a value is answered at most without being read anew: `ttlMs`, default 60 s.
    pub ttl: Duration,
    /// How old an answer may be when the connection freezes or is cut: `maxStalenessMs`, default 3
    /// s. At least 1.5 heartbeats.
    pub max_staleness: Duration,
}

/// How a lost connection is dealt with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reconnect {
    /// How long a caller waits at most for a connection that is down: `failFastMs`, default 250 ms.
    pub fail_fast: Duration,
    /// The shortest wait between two attempts: `reconnectMinMs`, default 50 ms.
    pub min: Duration,
    /// The longest one: `reconnectMaxMs`, default 800 ms. Not less than `min`.
    pub max: Duration,
}

impl Default for NearCache {
    fn default() -> Self {
        NearCache {
            max_bytes: 32 * 1_024 * 1_024,
            ttl: Duration::from_secs(60),
            max_staleness: Duration::from_secs(3),
        }
    }
}

/// Where the sessions lie.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Target {
    /// The embedded engine of this process: `memory://` or `memory://NAME`.
    Memory {
        /// Tells stores apart; empty for `memory://`.
        name: String,
    },
    /// One Redis or Valkey server, or the primary of several.
    Redis(Box<Server>),
}

/// From a host and its port to where it is reached.
pub type NatMap = BTreeMap<(String, u16), (String, u16)>;

/// How to reach one server. `Debug` shows neither user name nor password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The address to connect to.
    pub address: Address,
    /// How the sentinels are asked; `None`: there are none.
    pub sentinel_login: Option<SentinelLogin>,
    /// By host and port as sentinels or a cluster's servers tell them, where these are reached from
    /// here: `natMap`.
    pub nat_map: NatMap,
    /// ACL user, never empty; `None`: the server's default user.
    pub username: Option<String>,
    /// Password, never empty; `None`: no authentication.
    pub password: Option<String>,
    /// Whether the application is asked for user name and password at each connection:
    /// `credentials`. The function is no setting.
    pub asks_for_login: bool,
    /// Database to select, default 0.
    pub db: u32,
    /// `None`: not encrypted. Always `None` on a unix socket.
    pub tls: Option<Tls>,
    /// Idle time before TCP probes, in whole seconds (the kernel's unit; `keepAlive` is in ms and
    /// is rounded up), default 30 s. `None`: off. Always `None` on a unix socket.
    pub keep_alive: Option<Duration>,
    /// Name in the server's `CLIENT LIST`: `connectionName`, default `better-auth-redis-store`.
    pub connection_name: String,
}

/// A server's address.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Address {
    /// A host and its TCP port.
    Tcp {
        /// Lower-case ASCII name, or an IP address in its canonical form; IPv6 without brackets.
        host: String,
        /// 1 to 65535, default 6379.
        port: u16,
    },
    /// A unix socket.
    Unix(PathBuf),
    /// The servers of a cluster.
    Cluster {
        /// Host and port of some of them, default port 6379, from which the others are found. At
        /// least one.
        nodes: Vec<(String, u16)>,
    },
    /// The primary that sentinels tell.
    Sentinel {
        /// What the sentinels call it: `name`, default `mymaster`.
        name: String,
        /// Host and port of each sentinel, default port 26379. At least one.
        nodes: Vec<(String, u16)>,
    },
}

/// How to log in to sentinels, which have users of their own. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct SentinelLogin {
    /// `sentinelUsername`, never empty.
    pub username: Option<String>,
    /// `sentinelPassword`, never empty.
    pub password: Option<String>,
    /// Whether they speak TLS, with the server's settings: `sentinelTLS`, default as the servers.
    pub tls: bool,
}

impl fmt::Debug for SentinelLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let SentinelLogin { username, password, tls } = self;
        f.debug_struct("SentinelLogin")
            .field("username", &redacted(username))
            .field("password", &redacted(password))
            .field("tls", tls)
            .finish()
    }
}

/// TLS settings. A PEM text has no surrounding white space, and `\n` line ends. `Debug` shows none.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Tls {
    /// Certificate authorities to trust; `None`: the system's and the bundled ones.
    pub ca: Option<String>,
    /// The client's certificate chain; set exactly when `key` is.
    pub cert: Option<String>,
    /// The client's private key; set exactly when `cert` is.
    pub key: Option<String>,
    /// The name that the server's certificate must be for, in its canonical form; `None`: the host
    /// that is connected to.
    pub servername: Option<String>,
    /// The oldest version that is spoken: `minVersion`.
    pub min_version: TlsVersion,
    /// Whether any certificate is accepted: `dangerouslyDisableVerification`, default no. Never
    /// beside `ca`.
    pub unverified: bool,
}

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TlsVersion {
    /// `TLSv1.2`, the default of `minVersion`.
    #[default]
    V12,
    /// `TLSv1.3`
    V13,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("sentinel_login", &self.sentinel_login)
            .field("nat_map", &self.nat_map)
            .field("username", &redacted(&self.username))
            .field("password", &redacted(&self.password))
            .field("asks_for_login", &self.asks_for_login)
            .field("db", &self.db)
            .field("tls", &self.tls)
            .field("keep_alive", &self.keep_alive)
            .field("connection_name", &self.connection_name)
            .finish()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("ca", &redacted(&self.ca))
            .field("cert", &redacted(&self.cert))
            .field("key", &redacted(&self.key))
            .field("servername", &self.servername)
            .field("min_version", &self.min_version)
            .field("unverified", &self.unverified)
            .finish()
    }
}

fn redacted(secret: &Option<String>) -> Option<&'static str> {
    secret.as_ref().map(|_| "<redacted>")
}

impl Config {
    /// Whether the sessions lie on a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(&self.target, Target::Redis(server) if matches!(server.address, Address::Cluster { .. }))
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
        let problems = Vec::new();
        let mut options = Options { given, problems };
        options.refuse_unknown();
        let target = options.target();
        let (key_prefix, user_prefix) = options.prefixes();
        let tombstone = options.integer("tombstoneSeconds", TOMBSTONE_SECONDS);
        let max_value_bytes = options.integer("maxValueBytes", VALUE_BYTES);
        let max_sessions = options.integer::<u32>("maxSessionsPerUser", 1..=u32::MAX.into());
        let heartbeat = options.heartbeat();
        let near_cache = options.near_cache(heartbeat);
        let reconnect = options.reconnect();
        let max_in_flight = options.integer("maxInFlight", IN_FLIGHT);
        let connect_timeout = options.integer("connectTimeout", TIMEOUT_MS);
        let command_timeout =
            Duration::from_millis(options.integer("commandTimeout", TIMEOUT_MS).unwrap_or(2_000));
        let slow = Duration::from_millis(options.integer("slowMs", TIMEOUT_MS).unwrap_or(100));
        let revoke = options.revoke(command_timeout);
        let on_unavailable = options.on_unavailable();
        match target {
            Some(target) if options.problems.is_empty() => Ok(Config {
                target,
                key_prefix,
                user_prefix,
                tombstone: Duration::from_secs(tombstone.unwrap_or(300)),
                max_value_bytes: max_value_bytes.unwrap_or(8 * 1_024 * 1_024),
                max_sessions_per_user: max_sessions.and_then(NonZeroU32::new),
                revoke,
                on_unavailable,
                near_cache,
                heartbeat,
                reconnect,
                max_in_flight: max_in_flight.unwrap_or(50_000),
                connect_timeout: Duration::from_millis(connect_timeout.unwrap_or(10_000)),
                command_timeout,
                slow,
            }),
            _ => Err(options.sentences()),
        }
    }
}
