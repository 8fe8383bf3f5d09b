//! What the replies of Redis and of the scripts mean.

use ::redis::{FromRedisValue, RedisResult, Value, parse_redis_value};

use crate::engine::PutOutcome;
use crate::error::{Code, Error, Result};
use crate::value::{KeyState, Stored};

/// A reply in the type that is expected of it.
pub(super) fn parse<T: FromRedisValue>(reply: Value) -> Result<T> {
    FromRedisValue::from_redis_value(reply).map_err(|_| unexpected())
}

/// As [`parse`], of a borrowed reply.
pub(super) fn parse_ref<T: FromRedisValue>(reply: &Value) -> Result<T> {
    FromRedisValue::from_redis_value_ref(reply).map_err(|_| unexpected())
}

pub(super) fn unexpected() -> Error {
    Error::new(Code::Protocol, "the server sent an unexpected reply")
}

/// The reply to one of the callers of a script that answers for several (scripts/lib/each.lua).
pub(super) fn reply_to_one(reply: Value) -> RedisResult<Value> {
    match &reply {
        Value::Array(parts) => match &parts[..] {
            [Value::BulkString(word), Value::BulkString(text)] if word == b"ERROR" => {
                // As the server would have written it, so that it is classified like any other of
                // its errors.
                parse_redis_value(&[b"-", &text[..], b"\r\n"].concat())?.extract_error()
            }
            _ => Ok(reply),
        },
        _ => Ok(reply),
    }
}

/// The reply of a put: a word, or an array of it and a detail.
pub(super) fn put_outcome(id: &str, reply: Value) -> Result<PutOutcome> {
    let reply = if let Value::Array(reply) = reply { reply } else { vec![reply] };
    let mut reply = reply.into_iter();
    let word: String = parse(reply.next().ok_or_else(unexpected)?)?;
    let detail = reply.next().unwrap_or(Value::Nil);
    match word.as_str() {
        "CREATED" => {
            let ids: Option<Vec<String>> = parse(detail)?;
            Ok(PutOutcome::Created { others: other_ids(ids.unwrap_or_default(), id) })
        }
        "REPLACED" => Ok(PutOutcome::Replaced),
        "REFUSED" => Ok(PutOutcome::Refused),
        "OLD" => parse(detail).map(|now| PutOutcome::TooOld { now }),
        "DIFFERS" => Stored::from_bytes(parse(detail)?).map(PutOutcome::Differs),
        _ => Err(unexpected()),
    }
}

/// The ids but for one.
pub(super) fn other_ids(mut ids: Vec<String>, id: &str) -> Vec<String> {
    ids.retain(|other| other != id);
    ids
}

/// Whether a script asks for the legacy list to be folded into the index first.
pub(super) fn asks_for_fold(reply: &Value) -> bool {
    *reply == Value::BulkString(b"FOLD".to_vec())
}

/// The value in an array of one.
pub(super) fn single_value(array: Vec<Value>) -> Result<Vec<u8>> {
    match <[Value; 1]>::try_from(array) {
        Ok([Value::BulkString(value)]) => Ok(value),
        _ => Err(unexpected()),
    }
}

/// The reply to PTTL, in ms. `None`: for ever; 0: there is no such key.
pub(super) fn life_ms(pttl: &Value) -> Option<u64> {
    match pttl {
        Value::Int(-1) => None,
        Value::Int(ms) => Some(u64::try_from(*ms).unwrap_or(0)),
        _ => Some(0),
    }
}

/// The reply to STRLEN, in bytes. 0 for a key of another type.
pub(super) fn length(strlen: &Value) -> usize {
    match strlen {
        Value::Int(bytes) => usize::try_from(*bytes).unwrap_or(0),
        _ => 0,
    }
}

/// The reply to `ZRANGE … WITHSCORES` on an index: ids with their expiries in ms since the epoch.
pub(super) fn index_entries(reply: &Value) -> Result<Vec<(String, i64)>> {
    parse_ref(reply).map(with_expiries_in_ms)
}

/// Redis answers scores as floating-point numbers.
pub(super) fn with_expiries_in_ms(entries: Vec<(String, f64)>) -> Vec<(String, i64)> {
    entries.into_iter().map(|(id, expires_at)| (id, expires_at as i64)).collect()
}

/// The reply to `SORT … GET # GET …`: ids, each followed by what its key holds. Only those whose
/// key holds a value.
pub(super) fn listed(found: Vec<Value>) -> Result<Vec<(String, Stored)>> {
    let mut values = Vec::with_capacity(found.len() / 2);
    let mut found = found.into_iter();
    while let (Some(id), Some(bytes)) = (found.next(), found.next()) {
        let (Value::BulkString(id), Value::BulkString(bytes)) = (id, bytes) else { continue };
        // An id that is no text was not written by this store.
        if let (Ok(id), KeyState::Value(stored)) =
            (String::from_utf8(id), KeyState::from_bytes(Some(bytes))?)
        {
            values.push((id, stored));
        }
    }
    Ok(values)
}
