//! Options for what happens while the server or its replicas cannot answer.

use serde_json::{Value, json};

use super::support::*;
use crate::config::*;

#[test]
fn an_end_is_waited_for_by_a_number_of_replicas() {
    let revoke = |value| config_with("revoke", value).revoke.unwrap();
    let of =
        |wait_replicas, ms| RevokeSettings { wait_replicas, timeout: Duration::from_millis(ms) };
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
        refused[0].starts_with(
            "maxSessionsPerUser: cannot be combined with storeSessionInDatabase: true"
        ),
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
