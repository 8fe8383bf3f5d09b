//! Which keys, tokens and lifetimes a store accepts.

use crate::error::{Error, Result};
use crate::keys::{MAX_KEY_BYTES, MAX_TOKEN_BYTES, RESERVED};

/// The longest lifetime that an engine gets, in ms: 100 years.
const MAX_TTL_MS: u64 = 100 * 365 * 24 * 3600 * 1000;

pub(super) fn check_key(argument: &str, key: &str) -> Result<()> {
    let problem = if key.is_empty() {
        "must not be empty".to_owned()
    } else if key.len() > MAX_KEY_BYTES {
        format!("has {} bytes; at most {MAX_KEY_BYTES} are allowed", key.len())
    } else if key.contains('\0') {
        "must not hold a NUL character".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{argument}: {problem}")))
}

/// Refuses what cannot be a session's token.
pub(super) fn check_token(argument: &str, token: &str) -> Result<()> {
    check_key(argument, token)?;
    let problem = if token.len() > MAX_TOKEN_BYTES {
        format!("has {} bytes; a session's token has at most {MAX_TOKEN_BYTES}", token.len())
    } else if let Some(family) = family(token) {
        format!(
            "a session's token must not begin with \"{family}\", under which Better Auth stores other values"
        )
    } else {
        return Ok(());
    };
    Err(Error::invalid(format!("{argument}: {problem}")))
}

/// Whether a session record may be stored under a key. Only such a key gets a tombstone where
/// nothing is stored: strangers choose keys, and their ends must not fill the store.
pub(super) fn may_be_session(key: &str) -> bool {
    check_token("", key).is_ok()
}

/// The one of [`RESERVED`] that a key belongs to.
fn family(key: &str) -> Option<&'static str> {
    RESERVED.into_iter().find(|family| key.starts_with(family))
}

/// A lifetime in s, rounded up to whole s, in ms; 0 when none is left.
pub(super) fn ttl_ms(ttl: f64) -> Result<u64> {
    if !ttl.is_finite() {
        return Err(Error::invalid("ttl: must be a finite number of seconds"));
    }
    Ok(((ttl.ceil().max(0.0) * 1000.0) as u64).min(MAX_TTL_MS))
}

/// The lifetime in ms of a session record from `now` (ms since the epoch): until its own
/// `expiresAt`, else `ttl_ms`. `None`: it is over.
pub(super) fn life_ms(
    expires_at: Option<i64>,
    ttl_ms: Option<u64>,
    now: i64,
) -> Result<Option<u64>> {
    match (expires_at, ttl_ms) {
        (Some(expires_at), _) => {
            let left = u64::try_from(expires_at.saturating_sub(now)).unwrap_or(0).min(MAX_TTL_MS);
            Ok((left > 0).then_some(left))
        }
        (None, Some(ttl_ms)) => Ok(Some(ttl_ms)),
        (None, None) => {
            Err(Error::invalid("a session needs an expiresAt that is a date, or a ttl"))
        }
    }
}
