//! What is said of options that do not exist, and of several problems together.

use serde_json::json;

use super::support::*;
use crate::config::options::is_option;
use crate::config::unknown::IOREDIS_HINTS;
use crate::config::*;

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
        assert!(!is_option(option));
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
