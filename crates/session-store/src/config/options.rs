//! Reading the options one by one. What is wrong with one does not keep the others from being read.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Number, Value};
use strsim::normalized_damerau_levenshtein;

use super::location::canonical_host;
use super::{NearCache, OnUnavailable, Reconnect, Revoke, Tls, TlsVersion};

/// Every option there is.
#[rustfmt::skip]
pub(super) const OPTIONS: [&str; 35] = [
    "url", "host", "port", "path", "cluster", "natMap", "sentinels", "name", "sentinelUsername", "sentinelPassword", "sentinelTLS", "username", "password", "credentials", "db", "tls",
    "connectTimeout", "commandTimeout", "slowMs", "failFastMs", "reconnectMinMs", "reconnectMaxMs", "maxInFlight",
    "heartbeatMs", "keepAlive", "connectionName",
    "keyPrefix", "userPrefix", "tombstoneSeconds", "maxValueBytes", "maxSessionsPerUser", "nearCache",
    "revoke", "onUnavailable", "storeSessionInDatabase",
];

/// The members of the option `nearCache`, and what each may be.
const NEAR_CACHE: [(&str, RangeInclusive<u64>); 4] = [
    ("maxBytes", 64 * 1_024..=64 * 1_024 * 1_024 * 1_024),
    ("ttlMs", 1..=24 * 3_600_000),
    ("maxStalenessMs", 100..=180_000),
    ("heartbeatMs", HEARTBEAT_MS),
];

/// The member of the option `tls` that turns the check of certificates off.
const UNVERIFIED: &str = "dangerouslyDisableVerification";

const TLS_MEMBERS: &str = "ca, cert, key, servername, minVersion, dangerouslyDisableVerification";

/// The members of the option `revoke`, and what each may be.
const REVOKE: [(&str, RangeInclusive<u64>); 2] =
    [("waitReplicas", 1..=100), ("timeoutMs", 1..=60_000)];

/// Options of ioredis that people bring along and that have no place here, with what to do instead.
#[rustfmt::skip]
pub(super) const IOREDIS_HINTS: [(&str, &str); 8] = [
    ("nodes", "give the servers of a cluster as option cluster"),
    ("redisOptions", "there is one level of options: give its members beside cluster"),
    ("lazyConnect", "the store always connects lazily; remove the option"),
    ("enableAutoPipelining", "always on: calls made together are sent together; remove the option"),
    ("maxRetriesPerRequest", "an operation ends within commandTimeout; set that instead"),
    ("retryStrategy", "the store reconnects by its own backoff and never gives up; remove the option"),
    ("enableOfflineQueue", "there is no such queue, calls fail while Redis is down; remove the option"),
    ("family", "every address that the host name resolves to is tried; remove the option"),
];

pub(super) const PORTS: RangeInclusive<u64> = 1..=65_535;
pub(super) const DATABASES: RangeInclusive<u64> = 0..=65_535;
pub(super) const TIMEOUT_MS: RangeInclusive<u64> = 1..=600_000;
pub(super) const IN_FLIGHT: RangeInclusive<u64> = 1..=10_000_000;
pub(super) const HEARTBEAT_MS: RangeInclusive<u64> = 10..=60_000;
/// Linux refuses a keep-alive time above 32,767 seconds, and the connection with it.
pub(super) const KEEP_ALIVE_MS: RangeInclusive<u64> = 0..=32_767_000;
pub(super) const TOMBSTONE_SECONDS: RangeInclusive<u64> = 1..=86_400;
pub(super) const VALUE_BYTES: RangeInclusive<u64> = 1_024..=512 * 1_024 * 1_024;
const MAX_PREFIX_BYTES: usize = 256;
/// Least likeness (1 is equal) at which an unknown option is taken for a misspelling.
const LIKENESS: f64 = 0.65;

/// The options as given, and what was found wrong with them so far.
///
/// A reader returns `None` for an option that is absent, and also for a bad one after it noted the
/// problem: a `Config` is made only when there is no problem, so the two need not be told apart.
pub(super) struct Options {
    pub(super) given: Map<String, Value>,
    /// The option at fault, and the whole sentence.
    pub(super) problems: Vec<(String, String)>,
}

/// The option `tls`, when it is given.
pub(super) enum TlsOption {
    Off,
    On(Tls),
}

/// Noting problems.
impl Options {
    pub(super) fn problem(&mut self, option: &str, what: impl fmt::Display) {
        let sentence = format!("{option}: {what}");
        self.problems.push((option.into(), sentence));
    }

    /// Notes a problem in place of a value.
    pub(super) fn refuse<T>(&mut self, option: &str, what: impl fmt::Display) -> Option<T> {
        self.problem(option, what);
        None
    }

    pub(super) fn refuse_unknown(&mut self) {
        let unknown = |name: &&String| OPTIONS.into_iter().all(|option| option != *name);
        let names: Vec<String> = self.given.keys().filter(unknown).cloned().collect();
        for name in names {
            let sentence = unknown_option(&name);
            self.problems.push((name, sentence));
        }
    }

    /// All problems in the order of the options as given; those of options that are not there come
    /// first.
    pub(super) fn sentences(mut self) -> Vec<String> {
        let place = |option: &String| self.given.keys().position(|key| key == option);
        self.problems.sort_by_key(|(option, _)| place(option));
        self.problems.into_iter().map(|(_, sentence)| sentence).collect()
    }
}

/// Reading one option.
impl Options {
    pub(super) fn has(&self, option: &str) -> bool {
        self.given.contains_key(option)
    }

    /// Those of `options` that are given, for a sentence: `host, port`.
    pub(super) fn present(&self, options: &[&str]) -> Option<String> {
        let given: Vec<&str> = options.iter().copied().filter(|o| self.has(o)).collect();
        (!given.is_empty()).then(|| given.join(", "))
    }

    pub(super) fn string(&mut self, option: &str) -> Option<String> {
        match self.given.get(option)? {
            Value::String(text) if text.contains('\0') => {
                self.refuse(option, "must not contain a NUL byte")
            }
            Value::String(text) => Some(text.clone()),
            other => {
                let given = kind(other);
                self.refuse(option, format_args!("must be a string, not {given}"))
            }
        }
    }

    pub(super) fn integer<T: TryFrom<u64>>(
        &mut self,
        option: &str,
        range: RangeInclusive<u64>,
    ) -> Option<T> {
        match integer(self.given.get(option)?, &range) {
            Ok(integer) => T::try_from(integer).ok(),
            Err(what) => self.refuse(option, what),
        }
    }

    /// `heartbeatMs`, or the member of `nearCache` that had the name before.
    pub(super) fn heartbeat(&mut self) -> Duration {
        let named: Option<u64> = self.integer("heartbeatMs", HEARTBEAT_MS);
        // What is wrong with it is told by `near_cache`.
        let before = self
            .given
            .get("nearCache")
            .and_then(|members| integer(members.get("heartbeatMs")?, &HEARTBEAT_MS).ok());
        if let (Some(named), Some(before)) = (named, before)
            && named != before
        {
            let what = format!(
                "{named} differs from nearCache.heartbeatMs ({before}), which is its older name; give one of the two"
            );
            self.problem("heartbeatMs", what);
        }
        Duration::from_millis(named.or(before).unwrap_or(1_000))
    }

    pub(super) fn near_cache(&mut self, heartbeat: Duration) -> Option<NearCache> {
        let members = match self.given.get("nearCache") {
            None | Some(Value::Bool(true)) => Map::new(),
            Some(Value::Bool(false)) => return None,
            Some(Value::Object(members)) => members.clone(),
            Some(other) => {
                let (right, what) = (
                    "must be true, false or an object with maxBytes, ttlMs, maxStalenessMs, heartbeatMs",
                    kind(other),
                );
                return self.refuse("nearCache", format_args!("{right}, not {what}"));
            }
        };
        for name in
            members.keys().filter(|name| NEAR_CACHE.iter().all(|(member, _)| member != name))
        {
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
        read("heartbeatMs");
        let [ttl, max_staleness] =
            [("ttlMs", default.ttl), ("maxStalenessMs", default.max_staleness)]
                .map(|(name, default)| read(name).map_or(default, Duration::from_millis));
        let (bound, beat) = (max_staleness.as_millis(), heartbeat.as_millis());
        let least = (beat * 3).div_ceil(2);
        if bound < least {
            let what = format!(
                "maxStalenessMs ({bound}) must be at least 1.5 times heartbeatMs ({beat}): give maxStalenessMs: {least} or more, or nearCache: false"
            );
            self.problem("nearCache", what);
        }
        Some(NearCache { max_bytes, ttl, max_staleness })
    }

    /// `command_timeout`: of an operation in all, what it waits for replicas included.
    pub(super) fn revoke(&mut self, command_timeout: Duration) -> Option<Revoke> {
        let members = match self.given.get("revoke")? {
            Value::Object(members) => members.clone(),
            other => {
                let what = kind(other);
                return self.refuse(
                    "revoke",
                    format_args!("must be an object with waitReplicas, timeoutMs, not {what}"),
                );
            }
        };
        for name in members.keys().filter(|name| REVOKE.iter().all(|(member, _)| member != name)) {
            let name = shortened(name);
            self.problem(
                "revoke",
                format_args!("unknown member {name}: it takes waitReplicas and timeoutMs"),
            );
        }
        let mut read = |(name, range): &(&str, RangeInclusive<u64>)| match members
            .get(*name)
            .map(|v| integer(v, range))
        {
            Some(Ok(integer)) => Some(integer),
            Some(Err(what)) => {
                self.problems.push(("revoke".into(), format!("revoke.{name}: {what}")));
                None
            }
            None => None,
        };
        let [wait_replicas, timeout_ms] = REVOKE.each_ref().map(&mut read);
        let timeout = Duration::from_millis(timeout_ms.unwrap_or(500));
        if timeout >= command_timeout {
            let (timeout, bound) = (timeout.as_millis(), command_timeout.as_millis());
            self.problem(
                "revoke",
                format_args!("timeoutMs ({timeout}) must be less than commandTimeout ({bound})"),
            );
        }
        match wait_replicas {
            Some(wait_replicas) => Some(Revoke { wait_replicas: wait_replicas as u32, timeout }),
            None if members.contains_key("waitReplicas") => None,
            None => self.refuse(
                "revoke",
                "waitReplicas is missing: how many replicas are to acknowledge an end",
            ),
        }
    }

    pub(super) fn on_unavailable(&mut self) -> OnUnavailable {
        let [on, stored] = ["onUnavailable", "storeSessionInDatabase"]
            .map(|option| self.given.get(option).cloned());
        let stored = stored.unwrap_or(Value::Bool(false));
        if !stored.is_boolean() {
            let what = format!("must be true or false, not {}", kind(&stored));
            self.problem("storeSessionInDatabase", what);
        }
        if stored == Value::Bool(true) && self.given.contains_key("maxSessionsPerUser") {
            let what = "cannot stand beside storeSessionInDatabase: true: a session that the limit ends would still have \
                        its row in the database, and Better Auth would find it there; leave one of the two away";
            self.problem("maxSessionsPerUser", what);
        }
        match on.as_ref().map_or(Some("reject"), Value::as_str) {
            Some("reject") => OnUnavailable::Reject,
            Some("database") if stored == Value::Bool(false) => {
                let what = "\"database\" needs sessions that are in the database too: give Better Auth \
                            session: { storeSessionInDatabase: true }, and say so here by storeSessionInDatabase: true";
                self.problem("onUnavailable", what);
                OnUnavailable::Reject
            }
            Some("database") => OnUnavailable::Database,
            _ => {
                self.problem("onUnavailable", "must be \"reject\" or \"database\"");
                OnUnavailable::Reject
            }
        }
    }

    pub(super) fn reconnect(&mut self) -> Reconnect {
        let mut read = |option: &str, default| {
            Duration::from_millis(self.integer(option, TIMEOUT_MS).unwrap_or(default))
        };
        let (fail_fast, min) = (read("failFastMs", 250), read("reconnectMinMs", 50));
        let max = read("reconnectMaxMs", 800.max(min.as_millis() as u64));
        if max < min {
            let (max, min) = (max.as_millis(), min.as_millis());
            self.problem(
                "reconnectMaxMs",
                format_args!("must not be less than reconnectMinMs ({min}), not {max}"),
            );
        }
        Reconnect { fail_fast, min, max }
    }

    pub(super) fn host(&mut self) -> Option<String> {
        let what = "must be a host name or an IP address; a port goes into port, a URL into url";
        let host = self.string("host")?;
        canonical_host(&host).or_else(|| self.refuse("host", what))
    }

    pub(super) fn path(&mut self) -> Option<PathBuf> {
        let path = self.string("path")?;
        if path.is_empty() {
            return self.refuse("path", "must not be empty; give the path of a unix socket");
        }
        Some(path.into())
    }

    pub(super) fn keep_alive(&mut self) -> Option<Duration> {
        // The kernel counts whole seconds and refuses 0: half a second, cut down, would break the
        // connection.
        let ms: u64 = self.integer("keepAlive", KEEP_ALIVE_MS).unwrap_or(30_000);
        (ms > 0).then(|| Duration::from_secs(ms.div_ceil(1_000)))
    }

    pub(super) fn connection_name(&mut self) -> Option<String> {
        let name = self.string("connectionName")?;
        if is_connection_name(&name) {
            return Some(name);
        }
        let (right, name) = ("must be printable ASCII without spaces", shortened(&name));
        self.refuse("connectionName", format_args!("{right}, not {name}"))
    }

    pub(super) fn tls(&mut self) -> Option<TlsOption> {
        let what = match self.given.get("tls")?.clone() {
            Value::Bool(false) => return Some(TlsOption::Off),
            Value::Bool(true) => return Some(TlsOption::On(Tls::default())),
            Value::Object(members) if !is_buffer(&members) => {
                return Some(TlsOption::On(self.tls_members(members)));
            }
            other => kind(&other),
        };
        let right = format!("must be true, false or an object with {TLS_MEMBERS}");
        self.refuse("tls", format_args!("{right}, not {what}"))
    }

    pub(super) fn tls_members(&mut self, members: Map<String, Value>) -> Tls {
        let mut tls = Tls::default();
        if members.contains_key("cert") != members.contains_key("key") {
            self.problem("tls", "cert and key go together; give both or neither");
        }
        for (name, value) in members {
            let problem = match (name.as_str(), &value) {
                ("ca", _) => pem(&value).map(|text| tls.ca = Some(text)).err(),
                ("cert", _) => pem(&value).map(|text| tls.cert = Some(text)).err(),
                ("key", _) => pem(&value).map(|text| tls.key = Some(text)).err(),
                ("servername", Value::String(name)) => {
                    tls.servername = canonical_host(name);
                    let what =
                        "must be the host name or IP address that the server's certificate is for";
                    tls.servername.is_none().then(|| what.into())
                }
                ("servername", other) => Some(format!("must be a string, not {}", kind(other))),
                ("minVersion", Value::String(version)) if version == "TLSv1.2" => None,
                ("minVersion", Value::String(version)) if version == "TLSv1.3" => {
                    tls.min_version = TlsVersion::V13;
                    None
                }
                ("minVersion", _) => Some(
                    r#"must be "TLSv1.2" (the default) or "TLSv1.3"; older ones are not spoken"#
                        .into(),
                ),
                (UNVERIFIED, Value::Bool(unverified)) => {
                    tls.unverified = *unverified;
                    None
                }
                (UNVERIFIED, other) => Some(format!("must be true or false, not {}", kind(other))),
                _ => {
                    self.problem("tls", unknown_tls_member(&name));
                    continue;
                }
            };
            if let Some(what) = problem {
                self.problem("tls", format_args!("{name} {what}"));
            }
        }
        if tls.unverified && tls.ca.is_some() {
            self.problem(
                "tls",
                format_args!("ca has no use with {UNVERIFIED}: true; remove one of them"),
            );
        }
        tls
    }

    /// Whether user name and password are asked for. What asks is not here: a function is no
    /// setting.
    pub(super) fn asks_for_login(&mut self) -> bool {
        match self.given.get("credentials") {
            None => false,
            Some(Value::Bool(true)) => true,
            Some(_) => {
                self.problem(
                    "credentials",
                    "must be a function that resolves to { username?, password, expiresAt? }",
                );
                false
            }
        }
    }

    pub(super) fn prefixes(&mut self) -> (String, String) {
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

    pub(super) fn prefix(&mut self, option: &str, default: &str) -> String {
        let prefix = self.string(option).unwrap_or_else(|| default.into());
        let bytes = prefix.len();
        if !(1..=MAX_PREFIX_BYTES).contains(&bytes) {
            let right = format!("must be 1 to {MAX_PREFIX_BYTES} bytes long");
            self.problem(option, format_args!("{right}, not {bytes}"));
        }
        prefix
    }
}

/// A whole number in a range, or what the value must be instead.
pub(super) fn integer(value: &Value, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let right = format!("an integer from {} to {}", range.start(), range.end());
    match value {
        Value::Number(number) => whole(number)
            .filter(|n| range.contains(n))
            .ok_or_else(|| format!("must be {right}, not {number}")),
        // JSON has no NaN and no Infinity: JavaScript writes null for them.
        Value::Null => Err(format!("must be a finite number, {right}")),
        other => Err(format!("must be {right}, not {}", kind(other))),
    }
}

pub(super) fn unknown_option(name: &str) -> String {
    if let Some((_, hint)) = IOREDIS_HINTS.iter().find(|(option, _)| *option == name) {
        return format!("{name}: {hint}");
    }
    let advice = match nearest_option(name) {
        Some(option) => format!("did you mean \"{option}\"?"),
        None => "see docs/options.md, and docs/options-from-ioredis.md for those of other clients"
            .into(),
    };
    format!("unknown option {}: {advice}", shortened(name))
}

/// The option that `name` is most likely a misspelling of. Case does not count.
pub(super) fn nearest_option(name: &str) -> Option<&'static str> {
    let name = name.to_lowercase();
    let likeness = |o: &str| normalized_damerau_levenshtein(&name, &o.to_lowercase());
    OPTIONS
        .into_iter()
        .map(|option| (likeness(option), option))
        .filter(|(likeness, _)| *likeness >= LIKENESS)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, option)| option)
}

pub(super) fn unknown_tls_member(name: &str) -> String {
    if name == "rejectUnauthorized" {
        let what =
            "certificates are checked: give a private authority as ca, another name as servername";
        return format!(
            "rejectUnauthorized is not there, {what}; {UNVERIFIED}: true checks nothing"
        );
    }
    let name = shortened(name);
    format!("unknown member {name}: an object takes {TLS_MEMBERS}")
}

pub(super) fn is_connection_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// `text` in quotes with escapes, cut after 40 characters. Never for a secret.
pub(super) fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let cut = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{cut}")
}

/// What a value is, for "must be …, not …": never the value itself.
pub(super) fn kind(value: &Value) -> &'static str {
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

/// Whether this is what Node's `Buffer` becomes in JSON: what `readFileSync` without an encoding
/// returns.
pub(super) fn is_buffer(members: &Map<String, Value>) -> bool {
    members.get("type").and_then(Value::as_str) == Some("Buffer")
}

pub(super) fn whole(number: &Number) -> Option<u64> {
    // 6379.0 is 6379; what is too large for an exact integer is out of every range anyway.
    let integral = |n: &f64| n.fract() == 0.0 && (0.0..=9e15).contains(n);
    let float = || number.as_f64().filter(integral).map(|n| n as u64);
    number.as_u64().or_else(float)
}

pub(super) fn pem(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) if text.contains('\0') => Err("must not contain a NUL byte".into()),
        Value::String(text) if text.contains("-----BEGIN") => Ok(text.trim().replace("\r\n", "\n")),
        Value::String(_) => Err("must be PEM text, with a line -----BEGIN …; not a path".into()),
        other => Err(format!("must be a PEM string, not {}", kind(other))),
    }
}
