//! Every option is read, and each as its row in the table says.

use serde_json::{Value, json};

use std::collections::HashMap;

use super::support::*;
use crate::config::location::FOR_SENTINELS;
use crate::config::options::{Fallback, NEAR_CACHE, OPTIONS, OptionKind, OptionRow, REVOKE, TLS};
use crate::config::*;

#[test]
fn defaults() {
    let expected = Config {
        backend: Backend::Redis(Box::new(Server {
            address: tcp("localhost", 6379),
            sentinel_login: None,
            nat_map: NatMap::new(),
            username: None,
            password: None,
            asks_for_login: false,
            db: 0,
            tls: None,
            keep_alive: Some(Duration::from_secs(30)),
            connection_name: "better-auth-redis-store".into(),
        })),
        key_prefix: "session:".into(),
        user_prefix: "user-sessions:".into(),
        tombstone: Duration::from_secs(300),
        max_value_bytes: 8 * 1_048_576,
        revoke: None,
        on_unavailable: OnUnavailable::Reject,
        near_cache: Some(NEAR_CACHE_DEFAULTS),
        heartbeat: Duration::from_secs(1),
        max_sessions_per_user: None,
        reconnect: ReconnectSettings {
            fail_fast: Duration::from_millis(250),
            min: Duration::from_millis(50),
            max: Duration::from_millis(800),
        },
        max_in_flight: 50_000,
        connect_timeout: Duration::from_secs(10),
        command_timeout: Duration::from_secs(2),
        slow: Duration::from_millis(100),
    };
    assert_eq!(config(json!({ "url": "redis://localhost" })), expected);
}

#[test]
fn every_option_is_read() {
    let all = json!({
        "host": "cache", "port": 7000, "username": "app", "password": SECRET, "db": 65_535,
        "tls": { "ca": PEM, "cert": PEM, "key": PEM, "servername": "Redis.Example", "minVersion": "TLSv1.3" }, "connectTimeout": 1, "commandTimeout": 600_000, "slowMs": 250,
        "keepAlive": 60_000, "connectionName": "web-1", "keyPrefix": "s:", "userPrefix": "u:",
        "tombstoneSeconds": 1, "maxValueBytes": 1024, "maxSessionsPerUser": 5,
        "failFastMs": 1, "reconnectMinMs": 2, "reconnectMaxMs": 3, "maxInFlight": 4,
        "heartbeatMs": 10, "revoke": { "waitReplicas": 3, "timeoutMs": 7 }, "onUnavailable": "reject", "storeSessionInDatabase": false,
        "nearCache": { "maxBytes": 65536, "ttlMs": 1, "maxStalenessMs": 100, "heartbeatMs": 10 },
    });
    let pem = || Some(PEM.to_owned());
    let expected = Config {
        backend: Backend::Redis(Box::new(Server {
            address: tcp("cache", 7000),
            sentinel_login: None,
            nat_map: NatMap::new(),
            username: Some("app".into()),
            password: Some(SECRET.into()),
            asks_for_login: false,
            db: 65_535,
            tls: Some(Tls {
                ca: pem(),
                cert: pem(),
                key: pem(),
                servername: Some("redis.example".into()),
                min_version: TlsVersion::V13,
                unverified: false,
            }),
            keep_alive: Some(Duration::from_secs(60)),
            connection_name: "web-1".into(),
        })),
        key_prefix: "s:".into(),
        user_prefix: "u:".into(),
        tombstone: Duration::from_secs(1),
        max_value_bytes: 1024,
        near_cache: Some(NearCacheSettings {
            max_bytes: 65_536,
            ttl: Duration::from_millis(1),
            max_staleness: Duration::from_millis(100),
        }),
        heartbeat: Duration::from_millis(10),
        max_sessions_per_user: NonZeroU32::new(5),
        reconnect: ReconnectSettings {
            fail_fast: Duration::from_millis(1),
            min: Duration::from_millis(2),
            max: Duration::from_millis(3),
        },
        revoke: Some(RevokeSettings { wait_replicas: 3, timeout: Duration::from_millis(7) }),
        on_unavailable: OnUnavailable::Reject,
        max_in_flight: 4,
        connect_timeout: Duration::from_millis(1),
        command_timeout: Duration::from_secs(600),
        slow: Duration::from_millis(250),
    };
    let elsewhere = ["url", "path", "cluster", "natMap", "sentinels", "credentials"];
    for name in OPTIONS.iter().map(|row| row.name) {
        let is_tested = elsewhere.contains(&name) || FOR_SENTINELS.contains(&name);
        assert!(is_tested || all.get(name).is_some(), "{name} is not tested");
    }
    assert_eq!(config(all), expected);
}

#[test]
fn numbers() {
    let cases = [
        ("port", 1, 65_535),
        ("db", 0, 65_535),
        ("connectTimeout", 1, 600_000),
        ("commandTimeout", 1, 600_000),
        ("slowMs", 1, 600_000),
        ("keepAlive", 0, 32_767_000),
        ("tombstoneSeconds", 1, 86_400),
        ("maxValueBytes", 1024, 536_870_912),
        ("maxSessionsPerUser", 1, 4_294_967_295_i64),
    ];
    for (option, least, most) in cases {
        let given =
            |value: Value| Config::from_json(&json!({ "host": "h", option: value }).to_string());
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
fn strings() {
    for option in
        ["url", "host", "path", "username", "password", "connectionName", "keyPrefix", "userPrefix"]
    {
        let given = |value: Value| {
            let mut options = json!({ "host": "h", option: value });
            if ["url", "path"].contains(&option) {
                options.as_object_mut().unwrap().remove("host");
            }
            problem(options)
        };
        for (value, kind) in [
            (json!(5), "a number"),
            (json!(null), "null"),
            (json!([]), "an array"),
            (json!({}), "an object"),
        ] {
            assert_eq!(given(value), format!("{option}: must be a string, not {kind}"));
        }
        assert_eq!(given(json!("a\0b")), format!("{option}: must not contain a NUL byte"));
    }
}

#[test]
fn a_config_is_a_key() {
    let spellings = [
        json!({ "url": "redis://localhost" }),
        json!({ "url": "valkey://LOCALHOST:6379/0?db=0" }),
        json!({ "host": "localhost", "port": 6379 }),
        json!({ "tls": false, "host": "localhost", "db": 0, "keepAlive": 30_000, "password": "" }),
        json!({ "url": "redis://localhost", "keyPrefix": "session:", "maxValueBytes": 8_388_608.0 }),
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

/// docs/options.md, whose tables describe every option.
const PAGE: &str = include_str!("../../../../../docs/options.md");

#[test]
fn docs_options_md_has_each_row_of_the_table_with_its_type_and_default() {
    for row in [OPTIONS, NEAR_CACHE, REVOKE, TLS].into_iter().flatten() {
        let cells = described(row);
        let right = |at: usize, expected: &str| {
            let (name, heading) = (row.name, row.docs);
            assert_eq!(cells[at], expected, "{name} below {heading} of docs/options.md");
        };
        if let Some(kind) = kind_in_docs(&row.kind) {
            right(1, &kind);
        }
        if let Some(default) = default_in_docs(row) {
            right(2, &default);
        }
    }
}

/// The cells of an option in the table below its heading: name, type, default, what it is for.
fn described(row: &OptionRow) -> Vec<&'static str> {
    let (name, heading) = (row.name, row.docs);
    let is_heading = |line: &&str| line.starts_with('#');
    let below = PAGE.lines().skip_while(|line| line.trim_start_matches('#').trim() != heading);
    let own = below.skip(1).take_while(|line| !is_heading(line));
    let cells = own.map(|line| line.trim_matches('|').split('|').map(str::trim).collect());
    let found = cells.into_iter().find(|cells: &Vec<&str>| cells[0].trim_matches('`') == name);
    found.unwrap_or_else(|| panic!("docs/options.md has no row {name} below {heading}"))
}

fn kind_in_docs(kind: &OptionKind) -> Option<String> {
    let (unit, range) = match kind {
        OptionKind::Count(range) => ("", range),
        OptionKind::Ms(range) => (" ms,", range),
        OptionKind::Seconds(range) => (" s,", range),
        OptionKind::Bytes(range) => (" bytes,", range),
        OptionKind::Text => return Some("string".into()),
        OptionKind::TextOfBytes(range) => {
            return Some(format!("string, {} to {} bytes", range.start(), range.end()));
        }
        OptionKind::Boolean => return Some("boolean".into()),
        OptionKind::Other => return None,
    };
    Some(format!("integer,{unit} {} to {}", range.start(), range.end()))
}

fn default_in_docs(row: &OptionRow) -> Option<String> {
    const MIB: u64 = 1_048_576;
    match (&row.default, &row.kind) {
        (Fallback::Integer(bytes), OptionKind::Bytes(_)) if bytes % MIB == 0 => {
            Some(format!("{} MiB", bytes / MIB))
        }
        (Fallback::Integer(integer), _) => Some(integer.to_string()),
        (Fallback::Text(text), _) => Some(format!("`{text}`")),
        (Fallback::Boolean(boolean), _) => Some(format!("`{boolean}`")),
        (Fallback::None, _) => None,
    }
}
