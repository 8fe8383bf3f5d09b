//! What a message says of a value that is wrong: never the value itself where it may be a secret.

use serde_json::{Map, Value};

/// `text` in quotes with escapes, cut after 40 characters. Never for a secret.
pub(super) fn shortened(text: &str) -> String {
    let start: String = text.chars().take(40).collect();
    let cut = if start.len() < text.len() { "…" } else { "" };
    format!("{start:?}{cut}")
}

/// What a value is, for "must be …, not …": never the value itself.
pub(super) fn kind_of(value: &Value) -> &'static str {
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
