//! Refuses a server that is older than Redis 6.2.
//!
//! The version that a server reports does not decide: some report an old one and can do what Redis
//! 6.2 can. A server that reports an older version, or none, is tested with a command of Redis 6.2.

use ::redis::{FromRedisValue, RedisResult, Value, pipe};

use super::wire::Wire;
use crate::error::{Code, Error};

/// The first version that has what sessions need.
const OLDEST: (u32, u32) = (6, 2);

/// The error for a server that is too old; `None`: it is not. `reported`: the version in its answer
/// to HELLO; `key`: of an index, which need not exist.
pub(crate) async fn too_old_error(
    wire: &mut Wire,
    reported: Option<String>,
    key: &str,
    at: &str,
) -> RedisResult<Option<Error>> {
    if reported.as_deref().and_then(number).is_some_and(|version| version >= OLDEST) {
        return Ok(None);
    }
    let mut ask = pipe();
    // Changes nothing: XX updates existing members only.
    ask.cmd("ZADD").arg(key).arg("XX").arg("GT").arg(0).arg("none").cmd("INFO").arg("server");
    let answers: Vec<Value> = ask.ignore_errors().query_async(wire).await?;
    let lacks = matches!(answers.first(), Some(Value::ServerError(error)) if error.details().is_some_and(|what| what.contains("syntax error")));
    Ok(lacks.then(|| {
        error(
            reported
                .or_else(|| version_in_info(answers.get(1)?))
                .as_deref()
                .filter(|version| number(version).is_some()),
            at,
        )
    }))
}

fn error(version: Option<&str>, at: &str) -> Error {
    let is = match version {
        Some(version) => format!("has version {version}, which is too old"),
        None => "is too old".to_owned(),
    };
    Error::new(
        Code::Protocol,
        format!("Redis at {at} {is}: the store needs Redis 6.2 or later, or Valkey"),
    )
}

fn version_in_info(info: &Value) -> Option<String> {
    let info = String::from_redis_value_ref(info).ok()?;
    info.lines()
        .find_map(|line| line.strip_prefix("redis_version:"))
        .map(|version| version.trim().to_owned())
}

/// Major and minor number. `None`: the text is no version.
fn number(version: &str) -> Option<(u32, u32)> {
    let is_version =
        version.len() < 20 && version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let mut parts = version.split('.').filter(|_| is_version);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, expected) in [
            ("5.0.14", Some((5, 0))),
            ("6.2", Some((6, 2))),
            ("255.255.255", Some((255, 255))),
            ("", None),
            ("7", None),
            ("6.2.1-secret", None),
            ("1.1.1.1.1.1.1.1.1.1.1.1", None),
        ] {
            assert_eq!(number(text), expected, "{text}");
        }
    }
}
