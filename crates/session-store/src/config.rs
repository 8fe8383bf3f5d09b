//! Validation of the options a store is made with: JSON as the user wrote it in, a [`Config`] or every problem out.
//!
//! What must always hold:
//! - Equal settings give an equal [`Config`], however they were spelled: it is the key of the process-wide registry.
//! - No problem and no `Debug` output contains a URL, a user name, a password or TLS material.
//! - Nothing here reads the environment, opens a file or resolves a name.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Number, Value};
use strsim::normalized_damerau_levenshtein;
use url::{Host, ParseError, Position, Url};

/// Every option there is.
#[rustfmt::skip]
const OPTIONS: [&str; 27] = [
    "url", "host", "port", "path", "sentinels", "name", "sentinelUsername", "sentinelPassword", "sentinelTLS", "username", "password", "db", "tls",
    "connectTimeout", "commandTimeout", "failFastMs", "reconnectMinMs", "reconnectMaxMs", "maxInFlight",
    "keepAlive", "connectionName",
    "keyPrefix", "userPrefix", "tombstoneSeconds", "maxValueBytes", "maxSessionsPerUser", "nearCache",
];

/// The members of the option `nearCache`, and what each may be.
const NEAR_CACHE: [(&str, RangeInclusive<u64>); 4] = [
    ("maxBytes", 64 * 1_024..=64 * 1_024 * 1_024 * 1_024),
    ("ttlMs", 1..=24 * 3_600_000),
    ("maxStalenessMs", 100..=60_000),
    ("heartbeatMs", 10..=60_000),
];

/// Options that mean something beside sentinels only.
const FOR_SENTINELS: [&str; 4] = ["name", "sentinelUsername", "sentinelPassword", "sentinelTLS"];

/// Options of ioredis that people bring along and that have no place here, with what to do instead.
#[rustfmt::skip]
const IOREDIS_HINTS: [(&str, &str); 8] = [
    ("cluster", "Redis Cluster is not supported yet"),
    ("nodes", "Redis Cluster is not supported yet"),
    ("lazyConnect", "the store always connects lazily; remove the option"),
    ("enableAutoPipelining", "always on: calls made together are sent together; remove the option"),
    ("maxRetriesPerRequest", "an operation ends within commandTimeout; set that instead"),
    ("retryStrategy", "the store reconnects by its own backoff and never gives up; remove the option"),
    ("enableOfflineQueue", "there is no such queue, calls fail while Redis is down; remove the option"),
    ("family", "every address that the host name resolves to is tried; remove the option"),
];

const URL_NOT_SET: &str = "not set; give a Redis URL (for example redis://localhost:6379), \
    set the environment variable REDIS_URL, or choose the embedded engine with url: \"memory://\"";
const EXAMPLE: &str = "for example redis://localhost:6379";
const ENCODE: &str = "a user name or password in it must have # / ? @ percent-encoded \
    (%23 %2F %3F %40), or be given as the options username and password";

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;
const DEFAULT_PRIMARY: &str = "mymaster";
const PORTS: RangeInclusive<u64> = 1..=65_535;
const DATABASES: RangeInclusive<u64> = 0..=65_535;
const TIMEOUT_MS: RangeInclusive<u64> = 1..=600_000;
const IN_FLIGHT: RangeInclusive<u64> = 1..=10_000_000;
/// Linux refuses a keep-alive time above 32,767 seconds, and the connection with it.
const KEEP_ALIVE_MS: RangeInclusive<u64> = 0..=32_767_000;
const TOMBSTONE_SECONDS: RangeInclusive<u64> = 1..=86_400;
const VALUE_BYTES: RangeInclusive<u64> = 1_024..=512 * 1_024 * 1_024;
const MAX_PREFIX_BYTES: usize = 256;
/// Least likeness (1 is equal) at which an unknown option is taken for a misspelling.
const LIKENESS: f64 = 0.65;

/// Validated settings of one store. `Debug` shows no secret.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Config {
    /// Where the sessions lie. From `url`, or from `host`/`port`, or from `path`.
    pub target: Target,
    /// What a record's key begins with: `keyPrefix`, default `session:`. Never a prefix of `user_prefix`, nor the reverse.
    pub key_prefix: String,
    /// What the key of a user's index begins with: `userPrefix`, default `user-sessions:`.
    pub user_prefix: String,
    /// How long the mark of an ended session stays: `tombstoneSeconds`, default 300 s, which is the right value.
    /// Below 120 s (the age up to which a session may be created) plus the clocks' skew, a session ended while young
    /// could be created again by a late writer; such values are for tests.
    pub tombstone: Duration,
    /// Largest value accepted, in bytes: `maxValueBytes`, default 1 MiB.
    pub max_value_bytes: usize,
    /// Sessions a user may have, the oldest ended first: `maxSessionsPerUser`, default no limit.
    pub max_sessions_per_user: Option<NonZeroU32>,
    /// What is read again is answered from this process's memory: `nearCache`, default on; `None`: off.
    pub near_cache: Option<NearCache>,
    /// Time to set up a connection: `connectTimeout` in ms, default 10 s.
    pub connect_timeout: Duration,
    /// What happens while there is no connection.
    pub reconnect: Reconnect,
    /// Operations that may be under way: `maxInFlight`, default 50,000. Further ones are refused.
    pub max_in_flight: usize,
    /// Time for one operation, any wait for a connection included: `commandTimeout` in ms, default 2 s.
    pub command_timeout: Duration,
}

/// Settings of the near cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NearCache {
    /// How much it may hold, in bytes: `maxBytes`, default 32 MiB.
    pub max_bytes: u64,
    /// How long a value is answered at most without being read anew: `ttlMs`, default 60 s.
    pub ttl: Duration,
    /// How old an answer may be when the connection freezes or is cut: `maxStalenessMs`, default 3 s.
    pub max_staleness: Duration,
    /// How often the server is asked for a sign of life: `heartbeatMs`, default 1 s. Less than `max_staleness`.
    pub heartbeat: Duration,
}

/// How a lost connection is dealt with.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Reconnect {
    /// How long a caller waits at most for a connection that is down: `failFastMs`, default 250 ms.
    pub fail_fast: Duration,
    /// The shortest wait between two attempts: `reconnectMinMs`, default 50 ms.
    pub min: Duration,
    /// The longest one: `reconnectMaxMs`, default 2 s. Not less than `min`.
    pub max: Duration,
}

impl Default for NearCache {
    fn default() -> Self {
        NearCache {
            max_bytes: 32 * 1_024 * 1_024,
            ttl: Duration::from_secs(60),
            max_staleness: Duration::from_secs(3),
            heartbeat: Duration::from_secs(1),
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

/// How to reach one server. `Debug` shows neither user name nor password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The address to connect to.
    pub address: Address,
    /// How the sentinels are asked; `None`: there are none.
    pub sentinel_login: Option<SentinelLogin>,
    /// ACL user, never empty; `None`: the server's default user.
    pub username: Option<String>,
    /// Password, never empty; `None`: no authentication.
    pub password: Option<String>,
    /// Database to select, default 0.
    pub db: u32,
    /// `None`: not encrypted. Always `None` on a unix socket.
    pub tls: Option<Tls>,
    /// Idle time before TCP probes, in whole seconds (the kernel's unit; `keepAlive` is in ms and is rounded up), default
    /// 30 s. `None`: off. Always `None` on a unix socket.
    pub keep_alive: Option<Duration>,
    /// Name in the server's `CLIENT LIST`, default none.
    pub connection_name: Option<String>,
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

/// TLS settings, each a PEM text without surrounding white space and with `\n` line ends. `Debug` shows none of them.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Tls {
    /// Certificate authorities to trust; `None`: the system's and the bundled ones.
    pub ca: Option<String>,
    /// The client's certificate chain; set exactly when `key` is.
    pub cert: Option<String>,
    /// The client's private key; set exactly when `cert` is.
    pub key: Option<String>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .field("sentinel_login", &self.sentinel_login)
            .field("username", &redacted(&self.username))
            .field("password", &redacted(&self.password))
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
            .finish()
    }
}

fn redacted(secret: &Option<String>) -> Option<&'static str> {
    secret.as_ref().map(|_| "<redacted>")
}

impl Config {
    /// Parses the JSON object of options, for example `{"url":"redis://localhost","commandTimeout":500}`.
    ///
    /// An option that is absent takes its default; an empty `username` or `password` counts as absent, as in ioredis.
    ///
    /// # Errors
    /// Every problem found, one sentence each, in the order in which the options were given (one that is missing comes
    /// first). The sentences hold no secret and may be shown and logged.
    pub fn from_json(options: &str) -> Result<Config, Vec<String>> {
        let Ok(Value::Object(given)) = serde_json::from_str(options) else {
            let what = "options: must be an object, for example { url: \"redis://localhost:6379\" }";
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
        let near_cache = options.near_cache();
        let reconnect = options.reconnect();
        let max_in_flight = options.integer("maxInFlight", IN_FLIGHT);
        let connect_timeout = options.integer("connectTimeout", TIMEOUT_MS);
        let command_timeout = options.integer("commandTimeout", TIMEOUT_MS);
        match target {
            Some(target) if options.problems.is_empty() => Ok(Config {
                target,
                key_prefix,
                user_prefix,
                tombstone: Duration::from_secs(tombstone.unwrap_or(300)),
                max_value_bytes: max_value_bytes.unwrap_or(1_024 * 1_024),
                max_sessions_per_user: max_sessions.and_then(NonZeroU32::new),
                near_cache,
                reconnect,
                max_in_flight: max_in_flight.unwrap_or(50_000),
                connect_timeout: Duration::from_millis(connect_timeout.unwrap_or(10_000)),
                command_timeout: Duration::from_millis(command_timeout.unwrap_or(2_000)),
            }),
            _ => Err(options.sentences()),
        }
    }
}

/// The options as given, and what was found wrong with them so far.
///
/// A reader returns `None` for an option that is absent, and also for a bad one after it noted the problem: a `Config`
/// is made only when there is no problem, so the two need not be told apart.
struct Options {
    given: Map<String, Value>,
    /// The option at fault, and the whole sentence.
    problems: Vec<(String, String)>,
}

enum Location {
    Memory(String),
    Server(Address, UrlParts),
}

/// What a URL says beside the address.
#[derive(Default)]
struct UrlParts {
    /// Whether the scheme asks for TLS; `None` where only the option can tell.
    tls: Option<bool>,
    username: Option<String>,
    password: Option<String>,
    db: Option<u32>,
}

/// The options for sentinels.
struct SentinelOptions {
    username: Option<String>,
    password: Option<String>,
    tls: Option<bool>,
}

/// The option `tls`, when it is given.
enum TlsOption {
    Off,
    On(Tls),
}

/// Noting problems.
impl Options {
    fn problem(&mut self, option: &str, what: impl fmt::Display) {
        let sentence = format!("{option}: {what}");
        self.problems.push((option.into(), sentence));
    }

    /// Notes a problem in place of a value.
    fn refuse<T>(&mut self, option: &str, what: impl fmt::Display) -> Option<T> {
        self.problem(option, what);
        None
    }

    fn refuse_unknown(&mut self) {
        let unknown = |name: &&String| OPTIONS.into_iter().all(|option| option != *name);
        let names: Vec<String> = self.given.keys().filter(unknown).cloned().collect();
        for name in names {
            let sentence = unknown_option(&name);
            self.problems.push((name, sentence));
        }
    }

    /// All problems in the order of the options as given; those of options that are not there come first.
    fn sentences(mut self) -> Vec<String> {
        let place = |option: &String| self.given.keys().position(|key| key == option);
        self.problems.sort_by_key(|(option, _)| place(option));
        self.problems.into_iter().map(|(_, sentence)| sentence).collect()
    }
}

/// Reading one option.
impl Options {
    fn has(&self, option: &str) -> bool {
        self.given.contains_key(option)
    }

    /// Those of `options` that are given, for a sentence: `host, port`.
    fn present(&self, options: &[&str]) -> Option<String> {
        let given: Vec<&str> = options.iter().copied().filter(|o| self.has(o)).collect();
        (!given.is_empty()).then(|| given.join(", "))
    }

    fn string(&mut self, option: &str) -> Option<String> {
        match self.given.get(option)? {
            Value::String(text) if text.contains('\0') => self.refuse(option, "must not contain a NUL byte"),
            Value::String(text) => Some(text.clone()),
            other => {
                let given = kind(other);
                self.refuse(option, format_args!("must be a string, not {given}"))
            }
        }
    }

    fn integer<T: TryFrom<u64>>(&mut self, option: &str, range: RangeInclusive<u64>) -> Option<T> {
        match integer(self.given.get(option)?, &range) {
            Ok(integer) => T::try_from(integer).ok(),
            Err(what) => self.refuse(option, what),
        }
    }

    fn near_cache(&mut self) -> Option<NearCache> {
        let members = match self.given.get("nearCache") {
            None | Some(Value::Bool(true)) => return Some(NearCache::default()),
            Some(Value::Bool(false)) => return None,
            Some(Value::Object(members)) => members.clone(),
            Some(other) => {
                let (right, what) =
                    ("must be true, false or an object with maxBytes, ttlMs, maxStalenessMs, heartbeatMs", kind(other));
                return self.refuse("nearCache", format_args!("{right}, not {what}"));
            }
        };
        for name in members.keys().filter(|name| NEAR_CACHE.iter().all(|(member, _)| member != name)) {
            self.problem(
                "nearCache",
                format_args!(
                    "unknown member {}: it takes maxBytes, ttlMs, maxStalenessMs and heartbeatMs",
                    shortened(name)
                ),
            );
        }
        let mut read = |name: &str| {
            let (_, range) = NEAR_CACHE.iter().find(|(member, _)| *member == name)?;
            match integer(members.get(name)?, range) {
                Ok(integer) => Some(integer),
                Err(what) => {
                    let sentence = format!("nearCache.{name}: {what}");
                    self.problems.push(("nearCache".into(), sentence));
                    None
                }
            }
        };
        let default = NearCache::default();
        let max_bytes = read("maxBytes").unwrap_or(default.max_bytes);
        let [ttl, max_staleness, heartbeat] =
            [("ttlMs", default.ttl), ("maxStalenessMs", default.max_staleness), ("heartbeatMs", default.heartbeat)]
                .map(|(name, default)| read(name).map_or(default, Duration::from_millis));
        if heartbeat >= max_staleness {
            let (beat, bound) = (heartbeat.as_millis(), max_staleness.as_millis());
            let what = format!("heartbeatMs ({beat}) must be less than maxStalenessMs ({bound})");
            self.problem("nearCache", what);
        }
        Some(NearCache { max_bytes, ttl, max_staleness, heartbeat })
    }

    fn reconnect(&mut self) -> Reconnect {
        let mut read =
            |option: &str, default| Duration::from_millis(self.integer(option, TIMEOUT_MS).unwrap_or(default));
        let (fail_fast, min) = (read("failFastMs", 250), read("reconnectMinMs", 50));
        let max = read("reconnectMaxMs", 2_000.max(min.as_millis() as u64));
        if max < min {
            let (max, min) = (max.as_millis(), min.as_millis());
            self.problem("reconnectMaxMs", format_args!("must not be less than reconnectMinMs ({min}), not {max}"));
        }
        Reconnect { fail_fast, min, max }
    }

    fn host(&mut self) -> Option<String> {
        let what = "must be a host name or an IP address; a port goes into port, a URL into url";
        let host = self.string("host")?;
        canonical_host(&host).or_else(|| self.refuse("host", what))
    }

    fn path(&mut self) -> Option<PathBuf> {
        let path = self.string("path")?;
        if path.is_empty() {
            return self.refuse("path", "must not be empty; give the path of a unix socket");
        }
        Some(path.into())
    }

    fn keep_alive(&mut self) -> Option<Duration> {
        // The kernel counts whole seconds and refuses 0: half a second, cut down, would break the connection.
        let ms: u64 = self.integer("keepAlive", KEEP_ALIVE_MS).unwrap_or(30_000);
        (ms > 0).then(|| Duration::from_secs(ms.div_ceil(1_000)))
    }

    fn connection_name(&mut self) -> Option<String> {
        let name = self.string("connectionName")?;
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Some(name);
        }
        let (right, name) = ("must be printable ASCII without spaces", shortened(&name));
        self.refuse("connectionName", format_args!("{right}, not {name}"))
    }

    fn tls(&mut self) -> Option<TlsOption> {
        let what = match self.given.get("tls")?.clone() {
            Value::Bool(false) => return Some(TlsOption::Off),
            Value::Bool(true) => return Some(TlsOption::On(Tls::default())),
            Value::Object(members) if !is_buffer(&members) => {
                return Some(TlsOption::On(self.tls_members(members)));
            }
            other => kind(&other),
        };
        let right = "must be true, false or an object with ca, cert, key";
        self.refuse("tls", format_args!("{right}, not {what}"))
    }

    fn tls_members(&mut self, members: Map<String, Value>) -> Tls {
        let mut tls = Tls::default();
        if members.contains_key("cert") != members.contains_key("key") {
            self.problem("tls", "cert and key go together; give both or neither");
        }
        for (name, value) in members {
            let member = match name.as_str() {
                "ca" => &mut tls.ca,
                "cert" => &mut tls.cert,
                "key" => &mut tls.key,
                _ => {
                    self.problem("tls", unknown_tls_member(&name));
                    continue;
                }
            };
            match pem(&value) {
                Ok(text) => *member = Some(text),
                Err(what) => self.problem("tls", format_args!("{name} {what}")),
            }
        }
        tls
    }

    fn prefixes(&mut self) -> (String, String) {
        let problems_before = self.problems.len();
        let key = self.prefix("keyPrefix", "session:");
        let user = self.prefix("userPrefix", "user-sessions:");
        let overlap = key.starts_with(&user) || user.starts_with(&key);
        if overlap && self.problems.len() == problems_before {
            let given = ["keyPrefix", "userPrefix"].into_iter().find(|o| self.has(o));
            let (key, user) = (shortened(&key), shortened(&user));
            let what = format!(
                "sessions and indexes would share keys; neither of keyPrefix {key} and \
                 userPrefix {user} may be a prefix of the other"
            );
            self.problem(given.unwrap_or("keyPrefix"), what);
        }
        (key, user)
    }

    fn prefix(&mut self, option: &str, default: &str) -> String {
        let prefix = self.string(option).unwrap_or_else(|| default.into());
        let bytes = prefix.len();
        if !(1..=MAX_PREFIX_BYTES).contains(&bytes) {
            let right = format!("must be 1 to {MAX_PREFIX_BYTES} bytes long");
            self.problem(option, format_args!("{right}, not {bytes}"));
        }
        prefix
    }
}

/// Where the sessions lie: the connection options and the URL, each read whatever is wrong with the others.
impl Options {
    fn target(&mut self) -> Option<Target> {
        let username = self.string("username").filter(|name| !name.is_empty());
        let password = self.string("password").filter(|word| !word.is_empty());
        let db = self.integer("db", DATABASES);
        let tls = self.tls();
        let keep_alive = self.keep_alive();
        let connection_name = self.connection_name();
        let sentinel = self.sentinel();
        let (address, url) = match self.location()? {
            Location::Memory(name) => return Some(Target::Memory { name }),
            Location::Server(address, url) => (address, url),
        };
        let tcp = !matches!(address, Address::Unix(_));
        let tls = self.agreed_tls(tcp, url.tls, tls);
        let sentinel_login = self.sentinel_login(&address, sentinel, tls.is_some());
        Some(Target::Redis(Box::new(Server {
            address,
            sentinel_login,
            username: self.agreed("username", url.username, username),
            password: self.agreed("password", url.password, password),
            db: self.agreed("db", url.db, db).unwrap_or(0),
            tls,
            keep_alive: keep_alive.filter(|_| tcp),
            connection_name,
        })))
    }

    fn location(&mut self) -> Option<Location> {
        let host = self.host();
        let port = self.integer("port", PORTS);
        let path = self.path();
        if self.has("url") {
            return self.location_of_url();
        }
        let address = if self.has("sentinels") {
            self.refuse_beside("sentinels", &["host", "port", "path"]);
            let name = self.string("name").unwrap_or_else(|| DEFAULT_PRIMARY.to_owned());
            Address::Sentinel { name, nodes: self.sentinels()? }
        } else if self.has("path") {
            self.refuse_beside("path", &["host", "port"]);
            Address::Unix(path?)
        } else if self.has("host") {
            let (host, port) = (host?, port.unwrap_or(DEFAULT_PORT));
            Address::Tcp { host, port }
        } else {
            return self.refuse("url", URL_NOT_SET);
        };
        Some(Location::Server(address, UrlParts::default()))
    }

    fn location_of_url(&mut self) -> Option<Location> {
        let text = self.string("url");
        let location = text.and_then(|text| self.parse_url(text.trim()));
        self.refuse_beside("url", &["host", "port", "path", "sentinels", "name"]);
        location
    }

    fn sentinel(&mut self) -> SentinelOptions {
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        let tls = match self.given.get("sentinelTLS") {
            None => None,
            Some(Value::Bool(tls)) => Some(*tls),
            Some(other) => {
                let what = kind(other);
                self.refuse(
                    "sentinelTLS",
                    format_args!("must be true or false, not {what}; its certificates are those of tls"),
                )
            }
        };
        SentinelOptions {
            username: text(self.string("sentinelUsername")),
            password: text(self.string("sentinelPassword")),
            tls,
        }
    }

    fn sentinel_login(&mut self, address: &Address, options: SentinelOptions, tls: bool) -> Option<SentinelLogin> {
        if !matches!(address, Address::Sentinel { .. }) {
            for option in FOR_SENTINELS {
                if self.has(option) {
                    self.problem(
                        option,
                        "is for sentinels, and none are given; give sentinels or a redis-sentinel:// URL",
                    );
                }
            }
            return None;
        }
        if options.tls == Some(true) && !tls {
            self.problem("sentinelTLS", "needs the option tls, whose settings it uses");
        }
        Some(SentinelLogin { username: options.username, password: options.password, tls: options.tls.unwrap_or(tls) })
    }

    fn sentinels(&mut self) -> Option<Vec<(String, u16)>> {
        let right = "must be a list of { host, port }, for example [{ host: \"10.0.0.1\", port: 26379 }]";
        let nodes = match self.given.get("sentinels") {
            Some(Value::Array(nodes)) if !nodes.is_empty() => nodes.clone(),
            _ => return self.refuse("sentinels", right),
        };
        let node = |node: &Value| {
            let Value::Object(members) = node else { return None };
            if members.keys().any(|name| name != "host" && name != "port") {
                return None;
            }
            let host = canonical_host(members.get("host")?.as_str()?)?;
            let port =
                members.get("port").map_or(Ok(DEFAULT_SENTINEL_PORT.into()), |port| integer(port, &PORTS)).ok()?;
            Some((host, u16::try_from(port).ok()?))
        };
        let read: Option<Vec<_>> = nodes.iter().map(node).collect();
        if read.is_none() {
            self.problem("sentinels", right);
        }
        read
    }

    fn refuse_beside(&mut self, option: &str, others: &[&str]) {
        if let Some(names) = self.present(others) {
            let what = format!("given together with {names}; give one or the other");
            self.problem(option, what);
        }
    }

    /// The value of an option that the URL can carry as well: both may be given only when they are equal.
    fn agreed<T: PartialEq>(&mut self, option: &str, url: Option<T>, own: Option<T>) -> Option<T> {
        if url.is_some() && own.is_some() && url != own {
            let what = format!("differs from the {option} in url; give it in one place");
            self.problem(option, what);
        }
        url.or(own)
    }

    fn agreed_tls(&mut self, tcp: bool, url: Option<bool>, own: Option<TlsOption>) -> Option<Tls> {
        let what = match (own, url) {
            (Some(TlsOption::On(_)), _) if !tcp => "a unix socket has no TLS; remove the option",
            (Some(TlsOption::On(_)), Some(false)) => {
                "the url begins with redis: (or valkey:); for TLS use rediss: (or valkeys:)"
            }
            (Some(TlsOption::Off), Some(true)) => {
                "false contradicts the url, which begins with rediss: (or valkeys:); change one"
            }
            (Some(TlsOption::On(tls)), _) => return Some(tls),
            (Some(TlsOption::Off), _) => return None,
            (None, url) => return (url == Some(true)).then(Tls::default),
        };
        self.refuse("tls", what)
    }

    fn parse_url(&mut self, text: &str) -> Option<Location> {
        if text.chars().any(char::is_control) {
            return self.refuse("url", "must not contain a control character");
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return self.refuse("url", wrong_start(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "memory" => self.memory_url(rest),
            "redis" | "valkey" => self.tcp_url(text, false),
            "rediss" | "valkeys" => self.tcp_url(text, true),
            "unix" | "redis+unix" | "valkey+unix" => self.unix_url(text),
            "redis-sentinel" | "redis+sentinel" | "valkey-sentinel" | "valkey+sentinel" => {
                self.sentinel_url(rest, None)
            }
            "rediss-sentinel" | "rediss+sentinel" | "valkeys-sentinel" | "valkeys+sentinel" => {
                self.sentinel_url(rest, Some(true))
            }
            other => self.refuse("url", wrong_scheme(other)),
        }
    }

    fn memory_url(&mut self, name: &str) -> Option<Location> {
        let what = "memory:// takes a name of letters, digits, - _ . only, such as memory://tests";
        if name.bytes().all(is_name_byte) {
            return Some(Location::Memory(name.into()));
        }
        self.refuse("url", what)
    }

    fn tcp_url(&mut self, text: &str, tls: bool) -> Option<Location> {
        let url = match Url::parse(text) {
            Ok(url) => url,
            Err(error) => return self.refuse("url", unreadable(text, error)),
        };
        // A # / or ? in a password ends the host early: what follows it must not be taken for a database, or shown.
        if url.fragment().is_some() || url[Position::BeforePath..].contains('@') {
            return self.refuse("url", ENCODE);
        }
        if url.port() == Some(0) {
            self.problem("url", "has port 0, must be 1 to 65535");
        }
        let in_path = url.path().strip_prefix('/').filter(|path| !path.is_empty());
        let db = self.database(&url, in_path);
        let username = self.decoded(url.username(), "user name");
        let password = self.decoded(url.password().unwrap_or(""), "password");
        let Some(host) = url.host_str().and_then(canonical_host) else {
            return self.refuse("url", format_args!("has no valid host, {EXAMPLE}"));
        };
        let port = url.port().unwrap_or(DEFAULT_PORT);
        let tls = Some(tls);
        let parts = UrlParts { tls, username, password, db };
        Some(Location::Server(Address::Tcp { host, port }, parts))
    }

    /// `redis-sentinel://[user:password@]host[:port],host[:port]…[/name][/database]`; `name` and `db` may be in the query as well.
    fn sentinel_url(&mut self, rest: &str, tls: Option<bool>) -> Option<Location> {
        let example = "for example redis-sentinel://10.0.0.1:26379,10.0.0.2:26379/mymaster/0";
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let (login, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
        if tail.contains(['@', '#']) {
            return self.refuse("url", ENCODE);
        }
        let node = |host: &str| {
            let url = Url::parse(&format!("redis://{host}")).ok()?;
            let is_address = url.path().is_empty() && url.username().is_empty() && url.port() != Some(0);
            let host = url.host_str().and_then(canonical_host).filter(|_| is_address)?;
            Some((host, url.port().unwrap_or(DEFAULT_SENTINEL_PORT)))
        };
        let nodes: Option<Vec<_>> = hosts.split(',').map(node).collect();
        let url = Url::parse(&format!("redis://{login}{}sentinel{tail}", if login.is_empty() { "" } else { "@" })).ok();
        let (Some(nodes), Some(mut url)) = (nodes, url) else {
            return self.refuse("url", format_args!("has no valid list of sentinels, {example}"));
        };
        let path = url.path().trim_matches('/').to_owned();
        let (in_path, db) = match path.split_once('/') {
            Some((name, db)) => (Some(name), Some(db)),
            None if database_number(&path).is_some() => (None, Some(path.as_str())),
            None => (Some(path.as_str()).filter(|path| !path.is_empty()), None),
        };
        let mut names: Vec<String> = Vec::new();
        if let Some(name) = in_path {
            names.extend(self.decoded(name, "name of the primary"));
        }
        let is_name = |name: &str| matches!(name, "name" | "sentinelMasterId");
        names.extend(url.query_pairs().filter(|(name, _)| is_name(name)).map(|(_, value)| value.into_owned()));
        if names.windows(2).any(|pair| pair[0] != pair[1]) {
            self.problem("url", "names two primaries; give one");
        }
        let others: Vec<_> = url.query_pairs().into_owned().filter(|(name, _)| !is_name(name)).collect();
        url.query_pairs_mut().clear().extend_pairs(others);
        let parts = UrlParts {
            tls,
            username: self.decoded(url.username(), "user name"),
            password: self.decoded(url.password().unwrap_or(""), "password"),
            db: self.database(&url, db),
        };
        let name = names.into_iter().next().unwrap_or_else(|| DEFAULT_PRIMARY.to_owned());
        Some(Location::Server(Address::Sentinel { name, nodes }, parts))
    }

    fn unix_url(&mut self, text: &str) -> Option<Location> {
        let is_path = |url: &Url| {
            let cut_short = url.fragment().is_some() || url.query().is_some_and(|q| q.contains('@'));
            !url.has_host() && url.path().len() > 1 && !cut_short
        };
        let Some(url) = Url::parse(text).ok().filter(is_path) else {
            let what = "must be unix:// and the absolute path of a socket, for example \
                unix:///run/redis.sock?db=2; username and password go into the options";
            return self.refuse("url", what);
        };
        let db = self.database(&url, None);
        let path = self.decoded(url.path(), "path")?;
        let parts = UrlParts { db, ..UrlParts::default() };
        Some(Location::Server(Address::Unix(path.into()), parts))
    }

    /// The database of a URL, from its path and its query, which may both name it when they agree.
    fn database(&mut self, url: &Url, in_path: Option<&str>) -> Option<u32> {
        let mut named: Vec<String> = in_path.map(str::to_owned).into_iter().collect();
        for (name, value) in url.query_pairs() {
            if name == "db" {
                named.push(value.into_owned());
            } else {
                let name = shortened(&name);
                let what = format!("unknown query parameter {name}: db is the only one");
                self.problem("url", what);
            }
        }
        let numbers: Option<Vec<u32>> = named.iter().map(|text| database_number(text)).collect();
        let Some(numbers) = numbers else {
            let what = "the database must be an integer from 0 to 65535";
            return self.refuse("url", format_args!("{what}, {EXAMPLE}/2"));
        };
        if numbers.windows(2).any(|pair| pair[0] != pair[1]) {
            self.problem("url", "names two databases; give one");
        }
        numbers.first().copied()
    }

    /// A percent-decoded part of the URL, `None` when empty.
    fn decoded(&mut self, part: &str, name: &str) -> Option<String> {
        let what = match percent_decode_str(part).decode_utf8() {
            Ok(text) if text.contains('\0') => "must not contain a NUL byte (%00)",
            Ok(text) => return Some(text.into_owned()).filter(|text| !text.is_empty()),
            Err(_) => "must be UTF-8 after percent-decoding",
        };
        self.refuse("url", format_args!("the {name} {what}"))
    }
}

/// A whole number in a range, or what the value must be instead.
fn integer(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let right = format!("an integer from {} to {}", range.start(), range.end());
    match value {
        Value::Number(number) => {
            whole(number).filter(|n| range.contains(n)).ok_or_else(|| format!("must be {right}, not {number}"))
        }
        // JSON has no NaN and no Infinity: JavaScript writes null for them.
        Value::Null => Err(format!("must be a finite number, {right}")),
        other => Err(format!("must be {right}, not {}", kind(other))),
    }
}

fn unknown_option(name: &str) -> String {
    if let Some((_, hint)) = IOREDIS_HINTS.iter().find(|(option, _)| *option == name) {
        return format!("{name}: {hint}");
    }
    let advice = match nearest_option(name) {
        Some(option) => format!("did you mean \"{option}\"?"),
        None => "see the README for the options".into(),
    };
    format!("unknown option {}: {advice}", shortened(name))
}

/// The option that `name` is most likely a misspelling of. Case does not count.
fn nearest_option(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let likeness = |o: &str| normalized_damerau_levenshtein(&name, &o.to_lowercase());
    OPTIONS
        .into_iter()
        .map(|option| (likeness(option), option))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, option)| option)
}

fn unknown_tls_member(name: &str) -> String {
    if name == "rejectUnauthorized" {
        let what = "certificates are always checked; remove rejectUnauthorized";
        return format!("{what}, and give a private CA as ca");
    }
    let name = shortened(name);
    format!("unknown member {name}: an object takes ca, cert and key")
}

/// `text` in quotes with escapes, cut after 40 characters. Never for a secret.
fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let cut = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{cut}")
}

/// What a value is, for "must be …, not …": never the value itself.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(members) if is_buffer(members) => "a Buffer (read the file as \"utf8\")",
        Value::Object(_) => "an object",
    }
}

/// Whether this is what Node's `Buffer` becomes in JSON: what `readFileSync` without an encoding returns.
fn is_buffer(members: &Map<String, Value>) -> bool {
    members.get("type").and_then(Value::as_str) == Some("Buffer")
}

fn whole(number: &Number) -> Option<u64> {
    // 6379.0 is 6379; what is too large for an exact integer is out of every range anyway.
    let integral = |n: &f64| n.fract() == 0.0 && (0.0..=9e15).contains(n);
    let float = || number.as_f64().filter(integral).map(|n| n as u64);
    number.as_u64().or_else(float)
}

fn pem(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\0') => Err("must not contain a NUL byte".into()),
        Value::String(text) if text.contains("-----BEGIN") => Ok(text.trim().replace("\r\n", "\n")),
        Value::String(_) => Err("must be PEM text, with a line -----BEGIN …; not a path".into()),
        other => Err(format!("must be a PEM string, not {}", kind(other))),
    }
}

/// One spelling for each host: lower case, ASCII (IDNA), canonical IP addresses, no brackets. `None`: not a host.
fn canonical_host(host: &str) -> Option<String> {
    if let Ok(address) = host.parse::<Ipv6Addr>() {
        return Some(address.to_string());
    }
    match Host::parse(host).ok()? {
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(address.to_string()),
        Host::Domain(name) => name.bytes().all(is_name_byte).then_some(name),
    }
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)
}

fn database_number(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = text.parse().ok().filter(|_| digits)?;
    DATABASES.contains(&number.into()).then_some(number)
}

fn wrong_start(text: &str) -> String {
    if text.is_empty() {
        return format!("is empty; give a Redis URL, {EXAMPLE}");
    }
    format!("must begin with a scheme and ://, {EXAMPLE}")
}

fn wrong_scheme(scheme: &str) -> String {
    let ours = scheme.starts_with("redis") || scheme.starts_with("valkey");
    match scheme {
        _ if ours && scheme.contains("cluster") => "Redis Cluster is not supported yet".into(),
        "http" | "https" => format!("is an HTTP address; give a Redis URL, {EXAMPLE}"),
        _ => format!("must begin with redis://, rediss://, unix:// or memory://, {EXAMPLE}"),
    }
}

fn unreadable(text: &str, error: ParseError) -> String {
    let what = match error {
        ParseError::EmptyHost => "has no host",
        ParseError::InvalidPort => "has a port that is not an integer from 1 to 65535",
        _ => "is not a valid URL",
    };
    match text.contains('@') {
        true => format!("{what}, {EXAMPLE}; {ENCODE}"),
        false => format!("{what}, {EXAMPLE}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::json;

    use super::*;

    const SECRET: &str = "hunter2-secret";
    const PEM: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";

    fn config(options: Value) -> Config {
        Config::from_json(&options.to_string()).unwrap()
    }

    fn server(options: Value) -> Server {
        match config(options).target {
            Target::Redis(server) => *server,
            Target::Memory { .. } => panic!("not a server"),
        }
    }

    fn url(url: &str) -> Server {
        server(json!({ "url": url }))
    }

    fn problems(options: Value) -> Vec<String> {
        Config::from_json(&options.to_string()).unwrap_err()
    }

    /// The one problem of the options.
    fn problem(options: Value) -> String {
        let found = problems(options);
        assert_eq!(found.len(), 1, "{found:?}");
        found.into_iter().next().unwrap()
    }

    /// The one problem of a local server with one more option.
    fn problem_with(option: &str, value: Value) -> String {
        problem(json!({ "url": "redis://localhost", option: value }))
    }

    fn config_with(option: &str, value: Value) -> Config {
        config(json!({ "url": "redis://localhost", option: value }))
    }

    fn tcp(host: &str, port: u16) -> Address {
        let host = host.into();
        Address::Tcp { host, port }
    }

    #[test]
    fn defaults() {
        let expected = Config {
            target: Target::Redis(Box::new(Server {
                address: tcp("localhost", 6379),
                sentinel_login: None,
                username: None,
                password: None,
                db: 0,
                tls: None,
                keep_alive: Some(Duration::from_secs(30)),
                connection_name: None,
            })),
            key_prefix: "session:".into(),
            user_prefix: "user-sessions:".into(),
            tombstone: Duration::from_secs(300),
            max_value_bytes: 1_048_576,
            near_cache: Some(NearCache::default()),
            max_sessions_per_user: None,
            reconnect: Reconnect {
                fail_fast: Duration::from_millis(250),
                min: Duration::from_millis(50),
                max: Duration::from_secs(2),
            },
            max_in_flight: 50_000,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(2),
        };
        assert_eq!(config(json!({ "url": "redis://localhost" })), expected);
    }

    #[test]
    fn the_near_cache_is_on_off_or_set() {
        let near_cache = |value| config(json!({ "url": "redis://a", "nearCache": value })).near_cache;
        assert_eq!(near_cache(json!(true)), Some(NearCache::default()));
        assert_eq!(near_cache(json!({})), Some(NearCache::default()));
        assert_eq!(near_cache(json!(false)), None);
        for (value, problem) in [
            (json!(1), "nearCache: must be true, false or an object"),
            (json!({ "ttl": 5 }), "nearCache: unknown member \"ttl\""),
            (json!({ "maxBytes": 1 }), "nearCache.maxBytes: must be an integer from 65536"),
            (json!({ "ttlMs": "5" }), "nearCache.ttlMs: must be an integer from 1"),
            (json!({ "maxStalenessMs": 200, "heartbeatMs": 200 }), "nearCache: heartbeatMs (200) must be less than"),
        ] {
            let problems =
                Config::from_json(&json!({ "url": "redis://a", "nearCache": value }).to_string()).unwrap_err();
            assert!(problems[0].starts_with(problem), "{problems:?}");
        }
    }

    #[test]
    fn the_longest_wait_is_not_the_shorter_one() {
        let reconnect = |options| config(options).reconnect;
        assert_eq!(reconnect(json!({ "url": "redis://a", "reconnectMinMs": 5000 })).max, Duration::from_secs(5));
        let wrong = json!({ "url": "redis://a", "reconnectMinMs": 50, "reconnectMaxMs": 20 });
        let problems = Config::from_json(&wrong.to_string()).unwrap_err();
        assert_eq!(problems, ["reconnectMaxMs: must not be less than reconnectMinMs (50), not 20"]);
    }

    #[test]
    fn sentinels_are_named_in_a_url_or_in_options() {
        let expected = |nodes: &[(&str, u16)], name: &str, tls| {
            let nodes = nodes.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
            let login = SentinelLogin { username: None, password: None, tls };
            (Address::Sentinel { name: name.into(), nodes }, Some(login))
        };
        let of = |server: Server| (server.address, server.sentinel_login);
        let two = [("a", 26_379), ("b", 7_000)];
        for text in [
            "redis-sentinel://a,b:7000",
            "redis+sentinel://a:26379,b:7000/mymaster",
            "valkey-sentinel://A,B:7000/?name=mymaster",
            "redis-sentinel://a,b:7000/0?sentinelMasterId=mymaster",
        ] {
            assert_eq!(of(url(text)), expected(&two, "mymaster", false), "{text}");
        }
        let full = url("rediss-sentinel://app:p%40ss@[::1],b:7000/cache/5");
        assert_eq!((full.username.as_deref(), full.password.as_deref(), full.db), (Some("app"), Some("p@ss"), 5));
        assert!(full.tls.is_some());
        assert_eq!(of(full), expected(&[("::1", 26_379), ("b", 7_000)], "cache", true));

        let options = json!({
            "sentinels": [{ "host": "a" }, { "host": "b", "port": 7000 }], "name": "cache", "tls": true,
            "sentinelUsername": "watch", "sentinelPassword": SECRET, "sentinelTLS": false,
        });
        let server = server(options);
        assert!(!format!("{server:?}").contains(SECRET));
        let login = SentinelLogin { username: Some("watch".into()), password: Some(SECRET.into()), tls: false };
        assert_eq!(of(server), (expected(&two, "cache", false).0, Some(login)));
    }

    #[test]
    fn wrong_sentinels_are_told() {
        let list = "sentinels: must be a list of { host, port }";
        for (options, start) in [
            (json!({ "sentinels": [] }), list),
            (json!({ "sentinels": "a:1" }), list),
            (json!({ "sentinels": [{ "host": "a", "port": 0 }] }), list),
            (json!({ "sentinels": [{ "host": "a", "prot": 1 }] }), list),
            (json!({ "sentinels": [{ "host": "a" }], "host": "b" }), "sentinels: given together with host"),
            (json!({ "url": "redis://a", "name": "b" }), "url: given together with name"),
            (json!({ "host": "a", "sentinelPassword": SECRET }), "sentinelPassword: is for sentinels"),
            (json!({ "sentinels": [{ "host": "a" }], "sentinelTLS": true }), "sentinelTLS: needs the option tls"),
            (json!({ "sentinels": [{ "host": "a" }], "sentinelTLS": {} }), "sentinelTLS: must be true or false"),
            (json!({ "url": "redis-sentinel://" }), "url: has no valid list of sentinels"),
            (json!({ "url": "redis-sentinel://a,,b" }), "url: has no valid list of sentinels"),
            (json!({ "url": "redis-sentinel://a/x?name=y" }), "url: names two primaries"),
            (json!({ "url": format!("redis-sentinel://u:{SECRET}#@a/x") }), "url: a user name or password"),
            (json!({ "url": "redis-sentinel://a/x/y" }), "url: the database must be an integer"),
        ] {
            let found = problems(options);
            assert!(found[0].starts_with(start), "{found:?}");
            assert!(found.iter().all(|problem| !problem.contains(SECRET)), "{found:?}");
        }
    }

    #[test]
    fn every_option_is_read() {
        let all = json!({
            "host": "cache", "port": 7000, "username": "app", "password": SECRET, "db": 65_535,
            "tls": { "ca": PEM, "cert": PEM, "key": PEM }, "connectTimeout": 1, "commandTimeout": 600_000,
            "keepAlive": 60_000, "connectionName": "web-1", "keyPrefix": "s:", "userPrefix": "u:",
            "tombstoneSeconds": 1, "maxValueBytes": 1024, "maxSessionsPerUser": 5,
            "failFastMs": 1, "reconnectMinMs": 2, "reconnectMaxMs": 3, "maxInFlight": 4,
            "nearCache": { "maxBytes": 65536, "ttlMs": 1, "maxStalenessMs": 100, "heartbeatMs": 10 },
        });
        let pem = || Some(PEM.to_owned());
        let expected = Config {
            target: Target::Redis(Box::new(Server {
                address: tcp("cache", 7000),
                sentinel_login: None,
                username: Some("app".into()),
                password: Some(SECRET.into()),
                db: 65_535,
                tls: Some(Tls { ca: pem(), cert: pem(), key: pem() }),
                keep_alive: Some(Duration::from_secs(60)),
                connection_name: Some("web-1".into()),
            })),
            key_prefix: "s:".into(),
            user_prefix: "u:".into(),
            tombstone: Duration::from_secs(1),
            max_value_bytes: 1024,
            near_cache: Some(NearCache {
                max_bytes: 65_536,
                ttl: Duration::from_millis(1),
                max_staleness: Duration::from_millis(100),
                heartbeat: Duration::from_millis(10),
            }),
            max_sessions_per_user: NonZeroU32::new(5),
            reconnect: Reconnect {
                fail_fast: Duration::from_millis(1),
                min: Duration::from_millis(2),
                max: Duration::from_millis(3),
            },
            max_in_flight: 4,
            connect_timeout: Duration::from_millis(1),
            command_timeout: Duration::from_secs(600),
        };
        let names: Vec<&str> = OPTIONS
            .into_iter()
            .filter(|o| !["url", "path", "sentinels"].contains(o) && !FOR_SENTINELS.contains(o))
            .collect();
        assert!(names.iter().all(|name| all.get(name).is_some()), "an option is not tested");
        assert_eq!(config(all), expected);
    }

    #[test]
    fn urls_of_a_host() {
        let plain = url("redis://localhost");
        assert_eq!(url("valkey://localhost:6379/0"), plain);
        assert_eq!(url(" REDIS://LocalHost:/?\n"), plain);
        assert_eq!(url("rediss://h:1").tls, Some(Tls::default()));
        assert_eq!(url("valkeys://h:1"), url("rediss://h:1"));
        assert_eq!(url("redis://[::1]:7000").address, tcp("::1", 7000));
        assert_eq!(url("redis://[2001:DB8:0::1]").address, tcp("2001:db8::1", 6379));
        assert_eq!(url("redis://127.0.0.1:65535").address, tcp("127.0.0.1", 65_535));
        assert_eq!(url("redis://my_redis-0.svc").address, tcp("my_redis-0.svc", 6379));
        assert_eq!(url("redis://bücher.example").address, tcp("xn--bcher-kva.example", 6379));
    }

    #[test]
    fn credentials_in_a_url() {
        let upstash = url("rediss://:PASSWORD@eu1.upstash.io:6380");
        assert_eq!((upstash.username, upstash.password), (None, Some("PASSWORD".into())));
        assert_eq!((upstash.address, upstash.tls), (tcp("eu1.upstash.io", 6380), Some(Tls::default())));
        let coded = url("redis://us%40er:p%23%2F%3F%25%C3%A4@h");
        assert_eq!((coded.username, coded.password), (Some("us@er".into()), Some("p#/?%ä".into())));
        assert_eq!(url("redis://:a@b@h").password, Some("a@b".into()));
        assert_eq!(url("redis://name@h").username, Some("name".into()));
        assert_eq!(url("redis://:@h"), url("redis://h"));
        for bad in ["redis://:%00@h", "redis://%00:x@h", "redis://h%00", "unix:///a%00"] {
            problem(json!({ "url": bad }));
        }
        let bytes = problem(json!({ "url": "redis://:%ff@h" }));
        assert_eq!(bytes, "url: the password must be UTF-8 after percent-decoding");
    }

    #[test]
    fn a_password_that_is_not_encoded_is_never_taken_for_something_else() {
        for bad in ["redis://u:12#x@h", "redis://u:12/3@h", "redis://u:12?db=1@h", "redis://:a/b@h", "redis://:a#b@h"] {
            let text = problem(json!({ "url": bad }));
            assert!(text.contains("percent-encoded") && !text.contains("x@h"), "{text}");
        }
        problem(json!({ "url": "redis://localhost#1" }));
    }

    #[test]
    fn database_in_a_url() {
        assert_eq!(url("redis://h/2").db, 2);
        assert_eq!(url("redis://h?db=3").db, 3);
        assert_eq!(url("redis://h/3?db=3").db, 3);
        assert_eq!(url("unix:///s?db=4").db, 4);
        for bad in ["/65536", "/-1", "/+1", "/x", "/1/", "//1", "/1/2", "?db=", "?db=1.5", "?db=99999999999"] {
            let text = problem(json!({ "url": format!("redis://h{bad}") }));
            assert_eq!(
                text,
                "url: the database must be an integer from 0 to 65535, for example redis://localhost:6379/2"
            );
        }
        for two in ["redis://h/1?db=2", "redis://h/0?db=1", "unix:///s?db=1&db=2"] {
            assert_eq!(problem(json!({ "url": two })), "url: names two databases; give one");
        }
    }

    #[test]
    fn other_query_parameters_are_named() {
        let text = problem(json!({ "url": format!("redis://h?db=1&password={SECRET}") }));
        assert_eq!(text, "url: unknown query parameter \"password\": db is the only one");
        let two = problems(json!({ "url": "redis://h:0/x?family=6&protocol=resp3" }));
        assert_eq!(two.len(), 4, "{two:?}");
        assert!(two[2].contains("\"protocol\""));
    }

    #[test]
    fn unix_sockets() {
        let socket = url("unix:///run/redis.sock?db=2");
        assert_eq!(socket.address, Address::Unix("/run/redis.sock".into()));
        assert_eq!((socket.db, &socket.tls, socket.keep_alive), (2, &None, None));
        assert_eq!(url("redis+unix:///run/redis.sock?db=2"), socket);
        assert_eq!(url("valkey+unix:///run/redis.sock?db=2"), socket);
        assert_eq!(server(json!({ "path": "/run/redis.sock", "db": 2, "keepAlive": 5 })), socket);
        assert_eq!(url("unix:///a%20b").address, Address::Unix("/a b".into()));
        let own = server(json!({ "url": "unix:///s", "username": "u", "password": SECRET }));
        assert_eq!((own.username, own.password), (Some("u".into()), Some(SECRET.into())));
        for bad in ["unix://", "unix:///", "unix://run/redis.sock", "unix://u:p@/s", "unix:///s#1", "unix:///s?db=1@x"]
        {
            assert!(problem(json!({ "url": bad })).contains("unix:///run/redis.sock"), "{bad}");
        }
        problem(json!({ "path": "" }));
        assert!(problem(json!({ "path": "/s", "tls": true })).starts_with("tls: a unix socket has no TLS"));
        assert!(problem(json!({ "url": "unix:///s", "tls": {} })).starts_with("tls: a unix socket"));
        config(json!({ "path": "/s", "tls": false }));
    }

    #[test]
    fn memory_has_a_name_and_needs_no_connection_options() {
        let name = |url: &str| config(json!({ "url": url })).target;
        assert_eq!(name("memory://"), Target::Memory { name: String::new() });
        assert_eq!(name("memory://Tests_1.a-b"), Target::Memory { name: "Tests_1.a-b".into() });
        for bad in ["memory:", "memory:///", "memory://a/b", "memory://a?db=1", "memory://:p@h", "memory://a b"] {
            assert!(problem(json!({ "url": bad })).starts_with("url: "), "{bad}");
        }
        // Development without REDIS_URL runs with the options that production has.
        config(json!({ "url": "memory://", "password": SECRET, "db": 1, "commandTimeout": 5 }));
        assert!(problem(json!({ "url": "memory://", "host": "h" })).starts_with("url: given together with host"));
    }

    #[test]
    fn a_wrong_url_gets_an_example() {
        let text = |url: &str| problem(json!({ "url": url }));
        for bad in [
            "",
            "  ",
            "localhost",
            "localhost:6379",
            "127.0.0.1:6379",
            "//localhost",
            "redis:localhost",
            "redis:/localhost",
            "http://h",
            "https://h",
            "postgres://h",
            "redis://",
            "redis:///0",
            "redis://:6379",
            "redis://h:70000",
            "redis://h:port",
            "redis://:p@",
            "redis://a b",
            "redis://h1,h2",
            "redis://h1:1,h2:2",
            "redis://[::1",
            "redis://[1]",
            "user:pw@host://x",
        ] {
            assert!(text(bad).contains("for example redis://localhost:6379"), "{bad}: {}", text(bad));
        }
        assert!(text("").starts_with("url: is empty;"));
        assert!(text("localhost:6379").starts_with("url: must begin with a scheme and ://"));
        assert!(text("https://eu1.upstash.io").contains("HTTP"));
        assert!(text("redis://:6379").starts_with("url: has no host"));
        assert!(text("redis://").starts_with("url: has no valid host"));
        assert!(text("redis://h:70000").contains("port"));
        assert!(text("redis://h:0").contains("port"));
        assert!(text("redis://ho\nst").contains("control character"));
        assert!(text("redis://h\0").contains("NUL"));
    }

    #[test]
    fn cluster_is_not_there_yet() {
        let found = problem(json!({ "url": "redis-cluster://h1:1,h2:2" }));
        assert_eq!(found, "url: Redis Cluster is not supported yet");
    }

    #[test]
    fn nothing_to_connect_to() {
        let expected = "url: not set; give a Redis URL (for example redis://localhost:6379), set the environment \
            variable REDIS_URL, or choose the embedded engine with url: \"memory://\"";
        assert_eq!(problem(json!({})), expected);
        assert_eq!(problem(json!({ "port": 6379, "password": SECRET })), expected);
    }

    #[test]
    fn hosts() {
        let host = |host: &str| server(json!({ "host": host })).address;
        assert_eq!(host("::1"), host("[::1]"));
        assert_eq!(host("0:0:0:0:0:0:0:1"), tcp("::1", 6379));
        assert_eq!(host("LOCALHOST"), tcp("localhost", 6379));
        for bad in ["", " ", "a b", "localhost:6379", "redis://h", "u@h", "h/1", "h1,h2", "1.2.3.400"] {
            assert!(problem(json!({ "host": bad })).starts_with("host: must be a host name"), "{bad}");
        }
    }

    #[test]
    fn url_and_options_must_not_contradict() {
        let text = |extra: Value| {
            let mut options = json!({ "url": format!("redis://me:{SECRET}@localhost:6379/1") });
            options.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            problem(options)
        };
        assert_eq!(text(json!({ "host": "localhost" })), "url: given together with host; give one or the other");
        assert_eq!(text(json!({ "port": 6379 })), "url: given together with port; give one or the other");
        assert_eq!(
            text(json!({ "path": "/s", "host": "h", "port": 1 })),
            "url: given together with host, port, path; give one or the other"
        );
        assert_eq!(
            text(json!({ "password": "x" })),
            "password: differs from the password in url; give it in one place"
        );
        assert_eq!(
            text(json!({ "username": "x" })),
            "username: differs from the username in url; give it in one place"
        );
        assert_eq!(text(json!({ "db": 0 })), "db: differs from the db in url; give it in one place");
        assert_eq!(
            problem(json!({ "host": "h", "path": "/s", "port": 1 })),
            "path: given together with host, port; give one or the other"
        );
        assert_eq!(problems(json!({ "url": 5, "host": "h" })).len(), 2);
        assert!(problem_with("password", json!(5)).starts_with("password: must be a string"));
    }

    #[test]
    fn options_complete_a_url() {
        let whole = url("redis://me:pw@h/1");
        assert_eq!(server(json!({ "url": "redis://h", "username": "me", "password": "pw", "db": 1 })), whole);
        assert_eq!(server(json!({ "url": "redis://me@h/1", "password": "pw" })), whole);
        let same = json!({ "url": "redis://me:pw@h/1", "username": "me", "password": "pw", "db": 1 });
        assert_eq!(server(same), whole);
        assert_eq!(server(json!({ "host": "h", "username": "", "password": "" })), url("redis://h"));
    }

    #[test]
    fn tls_and_the_scheme() {
        let with = |url: &str, tls: Value| json!({ "url": url, "tls": tls });
        for on in [json!(true), json!({}), json!({ "ca": PEM })] {
            let text = problem(with("redis://h", on.clone()));
            assert!(text.starts_with("tls: ") && text.contains("rediss:"), "{text}");
            assert!(server(with("rediss://h", on.clone())).tls.is_some());
            assert!(server(json!({ "host": "h", "tls": on })).tls.is_some());
        }
        assert!(problem(with("rediss://h", json!(false))).starts_with("tls: false contradicts the url"));
        assert_eq!(server(with("redis://h", json!(false))), url("redis://h"));
        assert_eq!(server(with("rediss://h", json!(true))), url("rediss://h"));
        assert_eq!(server(json!({ "host": "h", "tls": {} })), url("rediss://h"));
        assert_eq!(server(json!({ "host": "h", "tls": false })), url("redis://h"));
    }

    #[test]
    fn tls_members() {
        let text = |tls: Value| problem(json!({ "host": "h", "tls": tls }));
        assert_eq!(text(json!({ "cert": PEM })), "tls: cert and key go together; give both or neither");
        assert_eq!(text(json!({ "key": PEM })), "tls: cert and key go together; give both or neither");
        assert_eq!(text(json!({ "caFile": "x" })), "tls: unknown member \"caFile\": an object takes ca, cert and key");
        assert!(text(json!({ "rejectUnauthorized": false })).contains("always checked"));
        assert!(text(json!({ "ca": "/etc/ca.pem" })).starts_with("tls: ca must be PEM text"));
        assert!(text(json!({ "ca": format!("{PEM}\0") })).contains("NUL"));
        assert!(text(json!({ "ca": [PEM] })).contains("not an array"));
        assert!(text(json!({ "ca": { "type": "Buffer", "data": [1] } })).contains("a Buffer"));
        assert!(text(json!({ "type": "Buffer", "data": [1] })).contains("a Buffer"));
        assert!(text(json!("yes")).ends_with("not a string"));
        assert!(text(json!(null)).ends_with("not null"));
        let windows = format!("\r\n{}\r\n", PEM.replace('\n', "\r\n"));
        let spelled = |pem: &str| server(json!({ "host": "h", "tls": { "ca": pem } }));
        assert_eq!(spelled(&windows), spelled(PEM));
    }

    #[test]
    fn numbers() {
        let cases = [
            ("port", 1, 65_535),
            ("db", 0, 65_535),
            ("connectTimeout", 1, 600_000),
            ("commandTimeout", 1, 600_000),
            ("keepAlive", 0, 32_767_000),
            ("tombstoneSeconds", 1, 86_400),
            ("maxValueBytes", 1024, 536_870_912),
            ("maxSessionsPerUser", 1, 4_294_967_295_i64),
        ];
        for (option, least, most) in cases {
            let given = |value: Value| Config::from_json(&json!({ "host": "h", option: value }).to_string());
            let text = |value: Value| given(value).unwrap_err().join("|");
            let right = format!("an integer from {least} to {most}");
            assert!(given(json!(least)).is_ok() && given(json!(most)).is_ok(), "{option}");
            assert_eq!(given(json!(2048.0)), given(json!(2048)));
            assert_eq!(text(json!(least - 1)), format!("{option}: must be {right}, not {}", least - 1));
            assert_eq!(text(json!(most + 1)), format!("{option}: must be {right}, not {}", most + 1));
            assert_eq!(text(json!(2048.5)), format!("{option}: must be {right}, not 2048.5"));
            assert_eq!(text(json!("2048")), format!("{option}: must be {right}, not a string"));
            assert_eq!(text(json!(true)), format!("{option}: must be {right}, not a boolean"));
            assert_eq!(text(json!(null)), format!("{option}: must be a finite number, {right}"));
            assert!(text(json!(1e21)).contains("1e+21"), "{}", text(json!(1e21)));
        }
    }

    #[test]
    fn keep_alive_is_off_or_whole_seconds() {
        let keep_alive = |ms: u64| server(json!({ "host": "h", "keepAlive": ms })).keep_alive;
        assert_eq!(keep_alive(0), None);
        assert_eq!(keep_alive(1), Some(Duration::from_secs(1)));
        assert_eq!(keep_alive(1_001), Some(Duration::from_secs(2)));
    }

    #[test]
    fn strings() {
        for option in ["url", "host", "path", "username", "password", "connectionName", "keyPrefix", "userPrefix"] {
            let given = |value: Value| {
                let mut options = json!({ "host": "h", option: value });
                if ["url", "path"].contains(&option) {
                    options.as_object_mut().unwrap().remove("host");
                }
                problem(options)
            };
            for (value, kind) in
                [(json!(5), "a number"), (json!(null), "null"), (json!([]), "an array"), (json!({}), "an object")]
            {
                assert_eq!(given(value), format!("{option}: must be a string, not {kind}"));
            }
            assert_eq!(given(json!("a\0b")), format!("{option}: must not contain a NUL byte"));
        }
    }

    #[test]
    fn connection_names() {
        for bad in ["", "my app", "café", "a\n"] {
            let text = problem_with("connectionName", json!(bad));
            assert_eq!(text, format!("connectionName: must be printable ASCII without spaces, not {bad:?}"));
        }
        let long = problem_with("connectionName", json!(format!("{} ", "a".repeat(99))));
        assert!(long.ends_with("a\"…"), "{long}");
    }

    #[test]
    fn prefixes() {
        for option in ["keyPrefix", "userPrefix"] {
            assert_eq!(problem_with(option, json!("")), format!("{option}: must be 1 to 256 bytes long, not 0"));
            let long = "é".repeat(129);
            assert_eq!(problem_with(option, json!(long)), format!("{option}: must be 1 to 256 bytes long, not 258"));
            config_with(option, json!("é".repeat(128)));
        }
        let overlap = "sessions and indexes would share keys; neither of keyPrefix \"user-\" and userPrefix \
            \"user-sessions:\" may be a prefix of the other";
        assert_eq!(problem_with("keyPrefix", json!("user-")), format!("keyPrefix: {overlap}"));
        for (option, value) in [("keyPrefix", "user-sessions:x"), ("userPrefix", "session:"), ("userPrefix", "s")] {
            assert!(problem_with(option, json!(value)).starts_with(&format!("{option}: sessions and indexes")));
        }
        assert_eq!(problems(json!({ "host": "h", "keyPrefix": "a", "userPrefix": "a" })).len(), 1);
        assert_eq!(config_with("keyPrefix", json!("better-auth:")).key_prefix, "better-auth:");
    }

    #[test]
    fn unknown_options() {
        let text = |name: &str| problem_with(name, json!(SECRET));
        for (given, meant) in [
            ("comandTimeout", "commandTimeout"),
            ("connectionTimeout", "connectTimeout"),
            ("pasword", "password"),
            ("uri", "url"),
            ("keyprefix", "keyPrefix"),
            ("prefix", "keyPrefix"),
            ("hosts", "host"),
            ("maxSessionPerUser", "maxSessionsPerUser"),
        ] {
            let sentence = format!("unknown option \"{given}\": did you mean \"{meant}\"?");
            assert_eq!(text(given), sentence);
        }
        for far in ["debug", "ttl", "retry", "tombstoneMs", "0", ""] {
            assert_eq!(text(far), format!("unknown option {far:?}: see the README for the options"));
        }
    }

    #[test]
    fn options_of_ioredis_get_a_hint() {
        for (option, hint) in IOREDIS_HINTS {
            assert_eq!(problem_with(option, json!(1)), format!("{option}: {hint}"));
            assert!(OPTIONS.into_iter().all(|known| known != option));
        }
    }

    #[test]
    fn all_problems_at_once_in_the_order_given() {
        let options = r#"{"tombstoneSeconds":0,"comandTimeout":1,"keyPrefix":"","db":"1","lazyConnect":true,"connectTimeout":null}"#;
        let found = Config::from_json(options).unwrap_err();
        let starts = [
            "url: not set",
            "tombstoneSeconds: ",
            "unknown option \"comandTimeout\"",
            "keyPrefix: ",
            "db: ",
            "lazyConnect: ",
            "connectTimeout: ",
        ];
        assert_eq!(found.len(), starts.len(), "{found:?}");
        for (sentence, start) in found.iter().zip(starts) {
            assert!(sentence.starts_with(start), "{sentence}");
        }
        let several = problems(
            json!({ "url": "redis://:a@h/1", "password": "b", "db": 2, "tls": { "ca": 1, "x": 1, "key": PEM } }),
        );
        assert_eq!(several.len(), 6, "{several:?}");
    }

    #[test]
    fn options_that_are_no_object() {
        for bad in ["", "{", "null", "[]", "\"redis://localhost\"", "5", "{\"url\":}"] {
            let found = Config::from_json(bad).unwrap_err();
            assert_eq!(found, ["options: must be an object, for example { url: \"redis://localhost:6379\" }"]);
        }
    }

    #[test]
    fn no_secret_in_a_problem() {
        let pem = format!("-----BEGIN {SECRET}");
        let mut bad = vec![
            json!({ "url": { "password": SECRET } }),
            json!({ "url": [SECRET] }),
            json!(SECRET),
            json!({ "host": format!("redis://:{SECRET}@h") }),
            json!({ "host": format!("{SECRET}@h") }),
            json!({ "host": "h", "port": SECRET, "db": SECRET, "keepAlive": SECRET, "connectTimeout": [SECRET] }),
            json!({ "host": "h", "password": [SECRET], "username": { "a": SECRET } }),
            json!({ "host": "h", "password": format!("{SECRET}\0"), "username": format!("{SECRET}\0") }),
            json!({ "path": format!("/{SECRET}\0") }),
            json!({ "path": "/s", "host": SECRET }),
            json!({ "host": "h", "tls": SECRET }),
            json!({ "host": "h", "tls": [SECRET] }),
            json!({ "host": "h", "tls": { "ca": SECRET, "cert": [pem], "other": pem } }),
            json!({ "host": "h", "tls": { "key": pem } }),
            json!({ "url": "redis://h", "tls": { "ca": pem } }),
            json!({ "url": "redis://a:b@h", "username": SECRET, "password": SECRET }),
            json!({ "url": "memory://", "host": SECRET, "password": SECRET }),
            json!({ "pasword": SECRET, "auth": SECRET, "credentials": { "password": SECRET }, "nodes": [SECRET] }),
            json!({ "password": SECRET, "username": SECRET }),
            json!({ "password": SECRET, "path": 1 }),
        ];
        let urls = [
            "redis://:S",
            "redis://u:S",
            "redis://:S@",
            "redis://:S@h:70000",
            "redis://:S@h:S",
            "redis://:S@h/S",
            "redis://:S@h?password=S",
            "redis://:S@h?db=S",
            "redis://:S@h#S",
            "redis://:S/x@h",
            "redis://:S#x@h",
            "redis://:S?x@h",
            "redis://:1?S@h",
            "redis://:1/S@h",
            "redis://:1#S@h",
            "redis://u:1?S@h",
            "redis://u:1?a&S&b@h",
            "redis://u:1/S@h",
            "redis://:S%ff@h",
            "redis://:S%00@h",
            "redis://:S@a b",
            "redis://:S@[::1",
            "redis://:S@h1,h2",
            "redis://:S\n@h",
            "redis://:S\0@h",
            "S",
            "S://h",
            "u:S@h",
            "u:S@h:6379",
            "//u:S@h",
            "http://u:S@h",
            "redis:u:S@h",
            "redis-sentinel://:S@h,/x",
            "redis-cluster://:S@h",
            "memory://:S@h",
            "memory://h?S",
            "unix://u:S@/s",
            "unix:///s?password=S",
            "unix:///s?1@x&S",
            "unix:///s#S",
            "unix://S/s",
            "unix:///S%00",
            "rediss+sentinel://u:S@h:0",
            "u:S@redis://h",
        ];
        bad.extend(urls.map(|url| json!({ "url": url.replace('S', SECRET) })));
        for options in bad {
            let found = problems(options.clone());
            assert!(!found.is_empty(), "no sentence for {options}");
            assert!(!format!("{found:?}").contains(SECRET), "{options}: {found:?}");
        }
    }

    #[test]
    fn no_secret_in_debug() {
        let pem = format!("-----BEGIN {SECRET}");
        let tls = json!({ "ca": pem, "cert": pem, "key": pem });
        for options in [
            json!({ "host": "h", "username": SECRET, "password": SECRET, "tls": tls }),
            json!({ "url": format!("rediss://{SECRET}:{SECRET}@h"), "tls": tls }),
        ] {
            let config = config(options);
            let text = format!("{config:?} {config:#?}");
            assert!(!text.contains(SECRET) && text.contains("<redacted>"), "{text}");
        }
    }

    #[test]
    fn a_config_is_a_key() {
        let spellings = [
            json!({ "url": "redis://localhost" }),
            json!({ "url": "valkey://LOCALHOST:6379/0?db=0" }),
            json!({ "host": "localhost", "port": 6379 }),
            json!({ "tls": false, "host": "localhost", "db": 0, "keepAlive": 30_000, "password": "" }),
            json!({ "url": "redis://localhost", "keyPrefix": "session:", "maxValueBytes": 1_048_576.0 }),
        ];
        let mut registry = HashMap::new();
        for options in spellings {
            *registry.entry(config(options)).or_insert(0) += 1;
        }
        assert_eq!(registry.values().collect::<Vec<_>>(), [&5]);
        registry.insert(config(json!({ "url": "redis://localhost/1" })), 1);
        registry.insert(config(json!({ "url": "redis://:p@localhost" })), 1);
        assert_eq!(registry.len(), 3);
    }
}
