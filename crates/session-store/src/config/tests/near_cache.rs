//! The options `nearCache` and `heartbeatMs`.

use serde_json::json;

use super::support::*;
use crate::config::*;

#[test]
fn the_near_cache_is_on_off_or_set() {
    let near_cache = |value| config(json!({ "url": "redis://a", "nearCache": value })).near_cache;
    assert_eq!(near_cache(json!(true)), Some(NEAR_CACHE_DEFAULTS));
    assert_eq!(near_cache(json!({})), Some(NEAR_CACHE_DEFAULTS));
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
