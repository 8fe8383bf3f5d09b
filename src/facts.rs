//! Constants of the core for `lib/`, so that each fact stands in one place: limits, key families,
//! error codes, event names. `lib/native/facts.ts` reads them once, when the addon is loaded.

use napi_derive::napi;
use session_store::{
    Code, EventKind, MAX_KEY_BYTES, NOT_BEFORE_PREFIX, SESSION_LIST_PREFIX, STRIPES, YOUNG_MS,
};

/// See the constants of these names in the core.
#[napi(object, object_from_js = false)]
pub struct Facts {
    /// The longest key, token or user id, in bytes of UTF-8.
    pub max_key_bytes: u32,
    /// What the keys of Better Auth's own lists of a user's sessions begin with.
    pub session_list_prefix: String,
    /// What the keys of users' not-before markers begin with.
    pub not_before_prefix: String,
    /// How far from its `createdAt` a session may be created by a write, in s.
    pub young_seconds: f64,
    /// How many counters the memory of a near cache has.
    pub stripes: u32,
    /// Every code of an error.
    pub error_codes: Vec<String>,
    /// Those that say that Redis cannot answer.
    pub outage_codes: Vec<String>,
    /// The name of every event.
    pub event_names: Vec<String>,
}

/// The same at each call.
#[napi(catch_unwind)]
pub fn facts() -> Facts {
    let names = |codes: &mut dyn Iterator<Item = Code>| {
        codes.map(|code| code.as_str().to_owned()).collect()
    };
    Facts {
        max_key_bytes: MAX_KEY_BYTES as u32,
        session_list_prefix: SESSION_LIST_PREFIX.to_owned(),
        not_before_prefix: NOT_BEFORE_PREFIX.to_owned(),
        young_seconds: YOUNG_MS as f64 / 1000.0,
        stripes: STRIPES as u32,
        error_codes: names(&mut Code::ALL.into_iter()),
        outage_codes: names(&mut Code::ALL.into_iter().filter(|code| code.is_outage())),
        event_names: EventKind::ALL.map(|kind| kind.as_str().to_owned()).into(),
    }
}

/// The metrics of a store that is not open, as JSON.
#[napi(catch_unwind)]
pub fn metrics_of_unopened_store(reason: String) -> String {
    session_store::metrics_of_unopened_store(reason)
}
