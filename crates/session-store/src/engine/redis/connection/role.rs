//! Whether a server is a primary.

use ::redis::{FromRedisValue, RedisResult, Value, cmd};

use super::wire::Wire;
use crate::engine::redis::failure::{self, FailureKind};

/// What a server says that it is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Role {
    Primary,
    Replica,
    /// It watches over servers, and is none.
    Sentinel,
    /// It does not say: the user may call neither ROLE nor INFO, or there are none.
    Unknown,
}

impl Role {
    /// Asks for it.
    pub(crate) async fn ask(connection: &mut Wire) -> RedisResult<Self> {
        let answer: Vec<Value> =
            ::redis::pipe().cmd("ROLE").ignore_errors().query_async(connection).await?;
        Role::from_answer(answer.first(), connection).await
    }

    /// Takes the answer to ROLE, else asks in another way. A refusal that will pass is an error: it
    /// says nothing of the server.
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
