//! Where the sessions lie, by options, and by options beside a URL.

use serde_json::{Value, json};

use super::support::*;
use crate::config::*;

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
    assert_eq!(found, "natMap: applies only to sentinels and clusters; remove the option");
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
fn keep_alive_is_off_or_whole_seconds() {
    let keep_alive = |ms: u64| server(json!({ "host": "h", "keepAlive": ms })).keep_alive;
    assert_eq!(keep_alive(0), None);
    assert_eq!(keep_alive(1), Some(Duration::from_secs(1)));
    assert_eq!(keep_alive(1_001), Some(Duration::from_secs(2)));
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
