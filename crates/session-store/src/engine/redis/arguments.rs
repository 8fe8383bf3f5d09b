//! Arguments of the scripts, in the words of the tables at the top of `scripts/*.lua`.

use super::scripts::NOTHING;
use crate::engine::{Create, Put};

/// `create` of `scripts/lib/write_refusal.lua`.
pub(super) fn create(create: Create) -> String {
    match create {
        Create::Young(created_at) => created_at.to_string(),
        Create::Always => "always".to_owned(),
        Create::Never => "never".to_owned(),
    }
}

/// `expected` of `scripts/lib/write_refusal.lua`.
pub(super) fn expected<'p>(put: &Put<'p>) -> &'p [u8] {
    put.expected.map_or(NOTHING, |stored| stored.raw().as_bytes())
}

/// `how` of `scripts/lib/end_record.lua`.
pub(super) fn how_to_end(may_be_session: bool) -> &'static str {
    if may_be_session { "end" } else { "delete" }
}

/// `expires_at` of `scripts/lib/score.lua`.
pub(super) fn expires_at(expires_at: Option<i64>) -> String {
    expires_at.map(|at| at.to_string()).unwrap_or_default()
}

/// A life in ms; '' is for ever.
pub(super) fn life_ms(ttl_ms: Option<u64>) -> String {
    ttl_ms.map(|ms| ms.to_string()).unwrap_or_default()
}
