//! Each option and each form of URL: what it is taken for, and what is said when it is wrong.

use std::collections::HashMap;

use serde_json::json;

use super::location::FOR_SENTINELS;
use super::options::{IOREDIS_HINTS, OPTIONS};
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
        near_cache: Some(NearCache::default()),
        heartbeat: Duration::from_secs(1),
        max_sessions_per_user: None,
        reconnect: Reconnect {
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
        (
            json!({ "maxStalenessMs": 200, "heartbeatMs": 200 }),
            "nearCache: maxStalenessMs (200) must be at least 1.5 times heartbeatMs (200): give maxStalenessMs: 300 or more",
        ),
        (json!({ "heartbeatMs": 9 }), "nearCache.heartbeatMs: must be an integer from 10 to 60000"),
    ] {
        let problems =
            Config::from_json(&json!({ "url": "redis://a", "nearCache": value }).to_string())
                .unwrap_err();
        assert!(problems[0].starts_with(problem), "{problems:?}");
    }
}

#[test]
fn the_heartbeat_is_an_option_of_its_own_and_has_an_older_name() {
    let options = |heartbeat, near_cache| {
        Config::from_json(
            &json!({ "url": "redis://a", "heartbeatMs": heartbeat, "nearCache": near_cache })
                .to_string(),
        )
    };
    let lasts = |options: Result<Config, _>| options.unwrap().heartbeat.as_millis();
    assert_eq!(lasts(options(json!(60_000), json!(false))), 60_000);
    assert_eq!(lasts(options(json!(60_000), json!({ "maxStalenessMs": 180_000 }))), 60_000);
    assert_eq!(lasts(options(json!(50), json!({ "heartbeatMs": 50, "maxStalenessMs": 100 }))), 50);
    assert_eq!(
        config(json!({ "url": "redis://a", "nearCache": { "heartbeatMs": 50 } }))
            .heartbeat
            .as_millis(),
        50
    );
    let problems = |heartbeat, near_cache| options(heartbeat, near_cache).unwrap_err();
    assert_eq!(
        problems(json!(50), json!({ "heartbeatMs": 60 })),
        [
            "heartbeatMs: 50 differs from nearCache.heartbeatMs (60), which is its older name; give one of the two"
        ]
    );
    assert_eq!(
        problems(json!(9), json!(true)),
        ["heartbeatMs: must be an integer from 10 to 60000, not 9"]
    );
    for near_cache in [json!(true), json!({})] {
        assert_eq!(
            problems(json!(5_000), near_cache),
            [
                "nearCache: maxStalenessMs (3000) must be at least 1.5 times heartbeatMs (5000): give maxStalenessMs: 7500 or more, or nearCache: false"
            ]
        );
    }
    for (heartbeat, staleness, least) in
        [(2_001, 3_000, 3_002), (60_000, 89_999, 90_000), (67, 100, 101)]
    {
        let problems = problems(json!(heartbeat), json!({ "maxStalenessMs": staleness }));
        assert!(
            problems[0]
                .ends_with(&format!("give maxStalenessMs: {least} or more, or nearCache: false"))
        );
        lasts(options(json!(heartbeat), json!({ "maxStalenessMs": least })));
    }
}

#[test]
fn an_end_is_waited_for_by_a_number_of_replicas() {
    let revoke = |value| config_with("revoke", value).revoke.unwrap();
    let of = |wait_replicas, ms| Revoke { wait_replicas, timeout: Duration::from_millis(ms) };
    assert_eq!(revoke(json!({ "waitReplicas": 2 })), of(2, 500));
    assert_eq!(revoke(json!({ "waitReplicas": 1, "timeoutMs": 20 })), of(1, 20));
    for (value, expected) in [
        (json!(true), "revoke: must be an object with waitReplicas, timeoutMs, not a boolean"),
        (json!({}), "revoke: waitReplicas is missing: how many replicas are to acknowledge an end"),
        (
            json!({ "waitReplicas": 0 }),
            "revoke.waitReplicas: must be an integer from 1 to 100, not 0",
        ),
        (
            json!({ "waitReplicas": 1, "replicas": 1 }),
            "revoke: unknown member \"replicas\": it takes waitReplicas and timeoutMs",
        ),
        (
            json!({ "waitReplicas": 1, "timeoutMs": 2000 }),
            "revoke: timeoutMs (2000) must be less than commandTimeout (2000)",
        ),
    ] {
        assert_eq!(problem_with("revoke", value), expected);
    }
}

#[test]
fn the_database_is_resorted_to_only_where_sessions_are_in_it() {
    let both = |on: Value, stored: Value| {
        let options =
            json!({ "url": "redis://a", "onUnavailable": on, "storeSessionInDatabase": stored });
        Config::from_json(&options.to_string()).map(|config| config.on_unavailable)
    };
    assert_eq!(both(json!("database"), json!(true)), Ok(OnUnavailable::Database));
    assert_eq!(both(json!("reject"), json!(true)), Ok(OnUnavailable::Reject));
    let without = both(json!("database"), json!(false)).unwrap_err();
    assert!(
        without[0]
            .starts_with("onUnavailable: \"database\" needs sessions that are in the database too")
    );
    assert_eq!(problem_with("onUnavailable", json!("database")), without[0]);
    assert_eq!(
        problem_with("onUnavailable", json!(1)),
        "onUnavailable: must be \"reject\" or \"database\""
    );
    assert_eq!(
        problem_with("storeSessionInDatabase", json!(1)),
        "storeSessionInDatabase: must be true or false, not a number"
    );
}

#[test]
fn a_limit_is_refused_where_sessions_are_in_the_database_too() {
    let with = |stored: bool| {
        let options = json!({ "url": "redis://a", "maxSessionsPerUser": 3, "storeSessionInDatabase": stored });
        Config::from_json(&options.to_string())
    };
    assert_eq!(with(false).unwrap().max_sessions_per_user.map(NonZeroU32::get), Some(3));
    let refused = with(true).unwrap_err();
    assert_eq!(refused.len(), 1);
    assert!(
        refused[0]
            .starts_with("maxSessionsPerUser: cannot stand beside storeSessionInDatabase: true"),
        "{refused:?}"
    );
}

#[test]
fn the_longest_wait_is_not_the_shorter_one() {
    let reconnect = |options| config(options).reconnect;
    assert_eq!(
        reconnect(json!({ "url": "redis://a", "reconnectMinMs": 5000 })).max,
        Duration::from_secs(5)
    );
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
    assert_eq!(
        (full.username.as_deref(), full.password.as_deref(), full.db),
        (Some("app"), Some("p@ss"), 5)
    );
    assert!(full.tls.is_some());
    assert_eq!(of(full), expected(&[("::1", 26_379), ("b", 7_000)], "cache", true));

    let options = json!({
        "sentinels": [{ "host": "a" }, { "host": "b", "port": 7000 }], "name": "cache", "tls": true,
        "sentinelUsername": "watch", "sentinelPassword": SECRET, "sentinelTLS": false,
    });
    let server = server(options);
    assert!(!format!("{server:?}").contains(SECRET));
    let login =
        SentinelLogin { username: Some("watch".into()), password: Some(SECRET.into()), tls: false };
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
        (
            json!({ "sentinels": [{ "host": "a" }], "host": "b" }),
            "sentinels: given together with host",
        ),
        (json!({ "url": "redis://a", "name": "b" }), "url: given together with name"),
        (json!({ "host": "a", "sentinelPassword": SECRET }), "sentinelPassword: is for sentinels"),
        (
            json!({ "sentinels": [{ "host": "a" }], "sentinelTLS": true }),
            "sentinelTLS: needs the option tls",
        ),
        (
            json!({ "sentinels": [{ "host": "a" }], "sentinelTLS": {} }),
            "sentinelTLS: must be true or false",
        ),
        (json!({ "url": "redis-sentinel://" }), "url: has no valid list of hosts"),
        (json!({ "url": "redis-sentinel://a,,b" }), "url: has no valid list of hosts"),
        (json!({ "url": "redis-sentinel://a/x?name=y" }), "url: names two primaries"),
        (
            json!({ "url": format!("redis-sentinel://u:{SECRET}#@a/x") }),
            "url: a user name or password",
        ),
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
        "tls": { "ca": PEM, "cert": PEM, "key": PEM, "servername": "Redis.Example", "minVersion": "TLSv1.3" }, "connectTimeout": 1, "commandTimeout": 600_000, "slowMs": 250,
        "keepAlive": 60_000, "connectionName": "web-1", "keyPrefix": "s:", "userPrefix": "u:",
        "tombstoneSeconds": 1, "maxValueBytes": 1024, "maxSessionsPerUser": 5,
        "failFastMs": 1, "reconnectMinMs": 2, "reconnectMaxMs": 3, "maxInFlight": 4,
        "heartbeatMs": 10, "revoke": { "waitReplicas": 3, "timeoutMs": 7 }, "onUnavailable": "reject", "storeSessionInDatabase": false,
        "nearCache": { "maxBytes": 65536, "ttlMs": 1, "maxStalenessMs": 100, "heartbeatMs": 10 },
    });
    let pem = || Some(PEM.to_owned());
    let expected = Config {
        target: Target::Redis(Box::new(Server {
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
        near_cache: Some(NearCache {
            max_bytes: 65_536,
            ttl: Duration::from_millis(1),
            max_staleness: Duration::from_millis(100),
        }),
        heartbeat: Duration::from_millis(10),
        max_sessions_per_user: NonZeroU32::new(5),
        reconnect: Reconnect {
            fail_fast: Duration::from_millis(1),
            min: Duration::from_millis(2),
            max: Duration::from_millis(3),
        },
        revoke: Some(Revoke { wait_replicas: 3, timeout: Duration::from_millis(7) }),
        on_unavailable: OnUnavailable::Reject,
        max_in_flight: 4,
        connect_timeout: Duration::from_millis(1),
        command_timeout: Duration::from_secs(600),
        slow: Duration::from_millis(250),
    };
    let names: Vec<&str> = OPTIONS
        .into_iter()
        .filter(|o| {
            !["url", "path", "cluster", "natMap", "sentinels", "credentials"].contains(o)
                && !FOR_SENTINELS.contains(o)
        })
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
    for bad in [
        "redis://u:12#x@h",
        "redis://u:12/3@h",
        "redis://u:12?db=1@h",
        "redis://:a/b@h",
        "redis://:a#b@h",
    ] {
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
    for bad in
        ["/65536", "/-1", "/+1", "/x", "/1/", "//1", "/1/2", "?db=", "?db=1.5", "?db=99999999999"]
    {
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
fn query_parameters_of_other_clients_that_mean_the_same_are_taken() {
    let (plain, tls) = (url("redis://h"), url("rediss://h"));
    for text in [
        "redis://h?family=0",
        "redis://h/0?family=0&protocol=3&database=0",
        "redis://h?protocol=resp3&decode_responses=True",
        "redis-cluster://h?family=0",
        "unix:///s?protocol=3",
    ] {
        let taken = url(text);
        assert_eq!((taken.db, taken.tls), (0, None), "{text}");
    }
    assert_eq!(url("redis://h?family=0&protocol=3"), plain);
    for text in [
        "rediss://h?ssl_cert_reqs=required",
        "rediss://h?ssl_cert_reqs=CERT_REQUIRED&ssl_check_hostname=true",
        "redis+tls://h?ssl_cert_reqs=optional&skip_verify=false",
    ] {
        assert_eq!(url(text), tls, "{text}");
    }
    for name in ["connectionName", "client_name", "clientName"] {
        assert_eq!(url(&format!("redis://h?{name}=web-1")).connection_name, "web-1");
    }
    let differs = json!({ "url": "redis://h?client_name=a", "connectionName": "b" });
    assert_eq!(
        problem(differs),
        "connectionName: differs from the connectionName in url; give it in one place"
    );
}

#[test]
fn other_query_parameters_are_named() {
    let text = |query: &str| problem(json!({ "url": format!("redis://h?{query}") }));
    assert!(text("db=1&ttl=5").starts_with("url: unknown query parameter \"ttl\": remove it"));
    for (query, expected) in [
        (
            "family=4",
            "family must be 0: every address that the host name resolves to is tried; remove it",
        ),
        (
            "protocol=2",
            "protocol must be 3: RESP3 is spoken where the server has it, RESP2 elsewhere; remove it",
        ),
        ("client_name=a b", "client_name must be printable ASCII without spaces"),
        ("socket_timeout=5", "socket_timeout is not read; give option commandTimeout, in ms"),
        ("keyPrefix=app:", "keyPrefix is not read; give it as option keyPrefix"),
        (
            "lazyConnect=true",
            "lazyConnect is not read: the store always connects lazily; remove the option",
        ),
        (
            "password=hunter2-secret",
            "password is not read; put it before the host (redis://user:password@host) or give option password",
        ),
    ] {
        assert_eq!(text(query), format!("url: query parameter {expected}"));
    }
    let several = problems(json!({ "url": "redis://h:0/x?family=6&protocol=2" }));
    assert_eq!(several.len(), 4, "{several:?}");
    assert!(several[2].contains(" protocol "));
}

#[test]
fn a_url_turns_the_check_of_certificates_off_with_the_option_only() {
    for query in [
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=CERT_NONE",
        "skip_verify=true",
        "ssl_cert_reqs=required&ssl_cert_reqs=none",
    ] {
        let at = |tls: Value| json!({ "url": format!("rediss://h?{query}"), "tls": tls });
        for tls in [json!(true), json!({ "ca": PEM })] {
            let text = problem(at(tls));
            assert!(
                text.starts_with("url: query parameter s") && text.contains("option tls.ca"),
                "{text}"
            );
        }
        assert!(
            server(at(json!({ "dangerouslyDisableVerification": true }))).tls.unwrap().unverified
        );
    }
    let unverified = json!({ "dangerouslyDisableVerification": true });
    let both = json!({ "url": "rediss://h?ssl_cert_reqs=required", "tls": unverified });
    assert!(problem(both).starts_with("url: query parameter ssl_cert_reqs=required contradicts"));
    let without_tls = "url: query parameter ssl_cert_reqs=required is about TLS, which is off";
    assert!(problem(json!({ "url": "redis://h?ssl_cert_reqs=required" })).starts_with(without_tls));
    for unclear in ["ssl_cert_reqs=maybe", "ssl_check_hostname=false", "skip_verify=2"] {
        let name = unclear.split('=').next().unwrap();
        let text = problem(json!({ "url": format!("rediss://h?{unclear}") }));
        assert!(text.starts_with(&format!("url: query parameter {name} must be ")), "{text}");
    }
}

#[test]
fn quotes_round_a_url_are_no_part_of_it() {
    let plain = url("redis://:a%22b@h/2");
    for text in ["\"redis://:a%22b@h/2\"", "'redis://:a%22b@h/2'", " \" redis://:a%22b@h/2 \" "] {
        assert_eq!(url(text), plain, "{text}");
    }
    for text in ["\"redis://h", "'redis://h\"", "\""] {
        assert!(
            problem(json!({ "url": text })).starts_with("url: begins with a quotation mark"),
            "{text}"
        );
    }
    assert!(problem(json!({ "url": "\"\"" })).starts_with("url: is empty"));
}

#[test]
fn unix_sockets() {
    let socket = url("unix:///run/redis.sock?db=2");
    assert_eq!(socket.address, Address::Unix("/run/redis.sock".into()));
    assert_eq!((socket.db, &socket.tls, socket.keep_alive), (2, &None, None));
    assert_eq!(url("redis+unix:///run/redis.sock?db=2"), socket);
    assert_eq!(url("valkey+unix:///run/redis.sock?db=2"), socket);
    assert_eq!(url("redis-socket:///run/redis.sock?database=2"), socket);
    assert_eq!(server(json!({ "path": "/run/redis.sock", "db": 2, "keepAlive": 5 })), socket);
    assert_eq!(url("unix:///a%20b").address, Address::Unix("/a b".into()));
    let own = server(json!({ "url": "unix:///s", "username": "u", "password": SECRET }));
    assert_eq!((own.username, own.password), (Some("u".into()), Some(SECRET.into())));
    for bad in [
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
        "unix://u:p@/s",
        "unix:///s#1",
        "unix:///s?db=1@x",
    ] {
        assert!(problem(json!({ "url": bad })).contains("unix:///run/redis.sock"), "{bad}");
    }
    problem(json!({ "path": "" }));
    assert!(
        problem(json!({ "path": "/s", "tls": true })).starts_with("tls: a unix socket has no TLS")
    );
    assert!(problem(json!({ "url": "unix:///s", "tls": {} })).starts_with("tls: a unix socket"));
    config(json!({ "path": "/s", "tls": false }));
}

#[test]
fn memory_has_a_name_and_needs_no_connection_options() {
    let name = |url: &str| config(json!({ "url": url })).target;
    assert_eq!(name("memory://"), Target::Memory { name: String::new() });
    assert_eq!(name("memory://Tests_1.a-b"), Target::Memory { name: "Tests_1.a-b".into() });
    for bad in [
        "memory:",
        "memory:///",
        "memory://a/b",
        "memory://a?db=1",
        "memory://:p@h",
        "memory://a b",
    ] {
        assert!(problem(json!({ "url": bad })).starts_with("url: "), "{bad}");
    }
    // Development without REDIS_URL runs with the options that production has.
    config(json!({ "url": "memory://", "password": SECRET, "db": 1, "commandTimeout": 5 }));
    assert!(
        problem(json!({ "url": "memory://", "host": "h" }))
            .starts_with("url: given together with host")
    );
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
fn a_cluster_is_named_in_a_url_or_in_options() {
    let nodes = |nodes: &[(&str, u16)]| {
        let nodes = nodes.iter().map(|(host, port)| ((*host).to_owned(), *port)).collect();
        Address::Cluster { nodes }
    };
    let expected = nodes(&[("10.0.0.1", 7000), ("b.example", 6379)]);
    for options in [
        json!({ "url": "redis-cluster://10.0.0.1:7000,B.example" }),
        json!({ "url": "redis+cluster://10.0.0.1:7000,b.example/0" }),
        json!({ "url": "valkey-cluster://10.0.0.1:7000,b.example:6379?db=0" }),
        json!({ "cluster": [{ "host": "10.0.0.1", "port": 7000 }, { "host": "b.example" }] }),
    ] {
        assert_eq!(server(options.clone()).address, expected, "{options}");
        assert_eq!(server(options).tls, None);
    }
    let full = url("rediss-cluster://ann:p%40ss@[::1]:7000");
    assert_eq!(full.address, nodes(&[("::1", 7000)]));
    assert_eq!((full.username.as_deref(), full.password.as_deref()), (Some("ann"), Some("p@ss")));
    assert_eq!(full.tls, Some(Tls::default()));
    assert_eq!((full.db, url("redis-cluster://a/2").db), (0, 2));
}

#[test]
fn what_a_cluster_cannot_be_is_told() {
    for (options, expected) in [
        (json!({ "cluster": [] }), "cluster: must be a list of { host, port }"),
        (json!({ "cluster": ["a:1"] }), "cluster: must be a list of { host, port }"),
        (json!({ "cluster": [{ "host": "a" }], "host": "a" }), "cluster: given together with host"),
        (
            json!({ "cluster": [{ "host": "a" }], "sentinels": [{ "host": "b" }] }),
            "sentinels: given together with cluster",
        ),
        (
            json!({ "url": "redis://a", "cluster": [{ "host": "a" }] }),
            "url: given together with cluster",
        ),
        (json!({ "url": "redis-cluster://a,b:0" }), "url: has no valid list of hosts"),
        (json!({ "url": "redis-cluster://a,,b" }), "url: has no valid list of hosts"),
        (
            json!({ "url": "redis-cluster://u:hunter2-secret#@a" }),
            "url: a user name or password in it",
        ),
    ] {
        let found = problem(options);
        assert!(found.starts_with(expected), "{found}");
        assert!(!found.contains(SECRET), "{found}");
    }
}

#[test]
fn servers_may_be_reached_elsewhere_than_they_say() {
    let map = json!({ "10.0.0.1:6379": { "host": "redis.example", "port": 7001 }, "[::1]:6380": { "host": "b" } });
    let options = json!({ "cluster": [{ "host": "a" }], "natMap": map });
    let of = |host: &str, port| (host.to_owned(), port);
    let expected = NatMap::from([
        (of("10.0.0.1", 6379), of("redis.example", 7001)),
        (of("::1", 6380), of("b", 6379)),
    ]);
    assert_eq!(server(options).nat_map, expected);
    for map in [
        json!(1),
        json!({ "a": { "host": "b" } }),
        json!({ "a:1": "b:2" }),
        json!({ "a:1": { "port": 2 } }),
    ] {
        let found = problem(json!({ "cluster": [{ "host": "a" }], "natMap": map }));
        assert!(found.starts_with("natMap: must map \"host:port\" to { host, port }"), "{found}");
    }
    let found = problem_with("natMap", json!({}));
    assert_eq!(
        found,
        "natMap: is for the servers that sentinels or a cluster name; remove the option"
    );
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
    assert_eq!(
        text(json!({ "host": "localhost" })),
        "url: given together with host; give one or the other"
    );
    assert_eq!(
        text(json!({ "port": 6379 })),
        "url: given together with port; give one or the other"
    );
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
    assert_eq!(
        server(json!({ "url": "redis://h", "username": "me", "password": "pw", "db": 1 })),
        whole
    );
    assert_eq!(server(json!({ "url": "redis://me@h/1", "password": "pw" })), whole);
    let same = json!({ "url": "redis://me:pw@h/1", "username": "me", "password": "pw", "db": 1 });
    assert_eq!(server(same), whole);
    assert_eq!(server(json!({ "host": "h", "username": "", "password": "" })), url("redis://h"));
}

#[test]
fn credentials_are_asked_for_or_given() {
    assert!(server(json!({ "host": "h", "username": "me", "credentials": true })).asks_for_login);
    for (options, start) in [
        (json!({ "host": "h", "credentials": {} }), "credentials: must be a function"),
        (
            json!({ "host": "h", "credentials": true, "password": SECRET }),
            "credentials: given together with a password",
        ),
        (
            json!({ "url": format!("redis://:{SECRET}@h"), "credentials": true }),
            "credentials: given together with a",
        ),
    ] {
        let text = problem(options);
        assert!(text.starts_with(start) && !text.contains(SECRET), "{text}");
    }
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
    assert!(
        problem(with("rediss://h", json!(false))).starts_with("tls: false contradicts the url")
    );
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
    assert_eq!(
        text(json!({ "caFile": "x" })),
        "tls: unknown member \"caFile\": an object takes ca, cert, key, servername, minVersion, dangerouslyDisableVerification"
    );
    let refused = text(json!({ "rejectUnauthorized": false }));
    assert!(refused.starts_with("tls: rejectUnauthorized is not there"), "{refused}");
    assert!(refused.contains("dangerouslyDisableVerification"), "{refused}");
    for version in [json!("TLSv1.1"), json!(1.3), json!("1.3")] {
        assert!(text(json!({ "minVersion": version })).contains("minVersion must be \"TLSv1.2\""));
    }
    assert!(text(json!({ "servername": "" })).starts_with("tls: servername must be the host name"));
    assert!(text(json!({ "servername": 1 })).ends_with("must be a string, not a number"));
    assert!(
        text(json!({ "dangerouslyDisableVerification": 1 }))
            .ends_with("must be true or false, not a number")
    );
    let both = json!({ "dangerouslyDisableVerification": true, "ca": PEM });
    assert!(text(both).starts_with("tls: ca has no use with dangerouslyDisableVerification"));
    let of = |tls: Value| server(json!({ "host": "h", "tls": tls })).tls.unwrap();
    assert_eq!(of(json!({ "minVersion": "TLSv1.2" })), Tls::default());
    assert_eq!(of(json!({ "minVersion": "TLSv1.3" })).min_version, TlsVersion::V13);
    assert_eq!(of(json!({ "servername": "[::1]" })).servername.as_deref(), Some("::1"));
    assert!(of(json!({ "dangerouslyDisableVerification": true })).unverified);
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
fn keep_alive_is_off_or_whole_seconds() {
    let keep_alive = |ms: u64| server(json!({ "host": "h", "keepAlive": ms })).keep_alive;
    assert_eq!(keep_alive(0), None);
    assert_eq!(keep_alive(1), Some(Duration::from_secs(1)));
    assert_eq!(keep_alive(1_001), Some(Duration::from_secs(2)));
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
fn connection_names() {
    for bad in ["", "my app", "café", "a\n"] {
        let text = problem_with("connectionName", json!(bad));
        assert_eq!(
            text,
            format!("connectionName: must be printable ASCII without spaces, not {bad:?}")
        );
    }
    let long = problem_with("connectionName", json!(format!("{} ", "a".repeat(99))));
    assert!(long.ends_with("a\"…"), "{long}");
}

#[test]
fn prefixes() {
    for option in ["keyPrefix", "userPrefix"] {
        assert_eq!(
            problem_with(option, json!("")),
            format!("{option}: must be 1 to 256 bytes long, not 0")
        );
        let long = "é".repeat(129);
        assert_eq!(
            problem_with(option, json!(long)),
            format!("{option}: must be 1 to 256 bytes long, not 258")
        );
        config_with(option, json!("é".repeat(128)));
    }
    let overlap = "sessions and indexes would share keys; neither of keyPrefix \"user-\" and userPrefix \
        \"user-sessions:\" may be a prefix of the other";
    assert_eq!(problem_with("keyPrefix", json!("user-")), format!("keyPrefix: {overlap}"));
    for (option, value) in
        [("keyPrefix", "user-sessions:x"), ("userPrefix", "session:"), ("userPrefix", "s")]
    {
        assert!(
            problem_with(option, json!(value))
                .starts_with(&format!("{option}: sessions and indexes"))
        );
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
        assert_eq!(
            text(far),
            format!(
                "unknown option {far:?}: see docs/options.md, and docs/options-from-ioredis.md for those of other clients"
            )
        );
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
        assert_eq!(
            found,
            ["options: must be an object, for example { url: \"redis://localhost:6379\" }"]
        );
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
        "redis://:S@h?family=S&protocol=S&client_name=S%20&ssl_cert_reqs=S",
        "\"redis://:S@h",
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
        "redis-cluster://:S@h/x",
        "redis-cluster://:S@h:0,S",
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
