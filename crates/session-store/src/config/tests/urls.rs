//! Each form of URL, and its query.

use serde_json::json;

use super::support::*;
use crate::config::*;

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
    let name = |url: &str| config(json!({ "url": url })).backend;
    assert_eq!(name("memory://"), Backend::Memory { name: String::new() });
    assert_eq!(name("memory://Tests_1.a-b"), Backend::Memory { name: "Tests_1.a-b".into() });
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
