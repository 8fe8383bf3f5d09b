//! The prefixes of keys.

use serde_json::json;

use super::support::*;

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
