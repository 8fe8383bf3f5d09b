//! A server's replication role: primary, replica or sentinel.

use ::redis::{FromRedisValue, RedisResult, Value, cmd};

use super::wire::Wire;
use crate::engine::redis::failure::{self, FailureKind};

/// What a server reports to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Primary,
    Replica,
    Sentinel,
    /// It reports no role: the user may call neither ROLE nor INFO, or the server lacks them.
    Unknown,
}

impl Role {
    /// Sends ROLE.
    pub(crate) async fn query(connection: &mut Wire) -> RedisResult<Self> {
        let answer: Vec<Value> =
            ::redis::pipe().cmd("ROLE").ignore_errors().query_async(connection).await?;
        Role::from_answer(answer.first(), connection).await
    }

    /// Reads the answer to ROLE; where the server refuses ROLE, sends INFO. A temporary refusal is
    /// an error, because it shows nothing of the server's role.
    pub(crate) async fn from_answer(
        role: Option<&Value>,
        connection: &mut Wire,
    ) -> RedisResult<Self> {
        if let Some(Value::Array(role)) = role {
            let name = role.first().and_then(|name| String::from_redis_value_ref(name).ok());
            return Ok(Role::named(name.as_deref()));
        }
        if let Some(refusal) = role.and_then(failure::temporary_refusal) {
            return Err(refusal);
        }
        let info: RedisResult<String> =
            cmd("INFO").arg("replication").query_async(connection).await;
        match info {
            Ok(info) => Ok(Role::named(
                info.lines().find_map(|line| line.strip_prefix("role:")).map(str::trim),
            )),
            Err(error)
                if failure::kind(&error) == FailureKind::Lost
                    || failure::is_temporary_refusal(&error) =>
            {
                Err(error)
            }
            Err(_) => Ok(Role::Unknown),
        }
    }

    fn named(name: Option<&str>) -> Self {
        match name {
            Some("master") => Role::Primary,
            Some("slave") => Role::Replica,
            Some("sentinel") => Role::Sentinel,
            _ => Role::Unknown,
        }
    }
}
