//! No problem and no `Debug` output shows a secret.

use serde_json::json;

use super::support::*;

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
