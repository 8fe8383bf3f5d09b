//! Decides on a new connection whether its server can be used: a primary, with scripts, not too
//! old, and not part of a cluster unless one was configured.

use ::redis::{FromRedisValue, ProtocolVersion, RedisResult, Value, pipe};

use super::role::Role;
use super::script_reach::{ReachProbe, ScriptReach, reach_in_answers};
use super::server_version;
use super::wire::Wire;
use crate::config::{Config, Server};
use crate::engine::redis::failure;
use crate::error::{Error, Result};

/// No script has this digest.
const NO_SCRIPT: &str = "0000000000000000000000000000000000000000";

/// What a new connection is asked.
pub(crate) struct ServerCheck {
    connection_name: String,
    /// `None`: the server is to be part of a cluster.
    probe: Option<ReachProbe>,
    /// A key of a user's index, of no user.
    index_key: String,
}

/// Answers to the first commands on a connection.
struct FirstAnswers(Vec<Value>);

impl ServerCheck {
    pub(crate) fn new(config: &Config, server: &Server) -> Self {
        ServerCheck {
            connection_name: server.connection_name.clone(),
            probe: (!config.is_cluster()).then(|| ReachProbe::new(config)),
            index_key: config.user_prefix.clone(),
        }
    }

    /// Whether a server is asked which keys scripts may touch.
    pub(crate) fn has_reach_probe(&self) -> bool {
        self.probe.is_some()
    }

    /// Names the connection, and checks its server. Outer error: the connection failed. Inner
    /// error: the server cannot be used. `Some`: which keys its scripts may touch, where it showed
    /// that.
    pub(crate) async fn run(
        &self,
        wire: &mut Wire,
        protocol: ProtocolVersion,
        at: &str,
    ) -> RedisResult<Result<Option<ScriptReach>>> {
        self.set_connection_name(wire).await?;
        let answers = self.first_answers(wire, protocol).await?;
        if let Some(error) = self.refuse_mode(&answers, at) {
            return Ok(Err(error));
        }
        // A replica may lag behind, or have been cut off without knowing it: what it holds proves
        // nothing.
        match Role::from_answer(answers.role(), wire).await? {
            Role::Replica => return Ok(Err(failure::read_only_error(&format!("Redis at {at}")))),
            Role::Sentinel => return Ok(Err(failure::sentinel_error(at))),
            Role::Primary | Role::Unknown => {}
        }
        let without_scripts = |answer| failure::missing_scripts_error(answer, at);
        if let Some(error) = answers.scripts().iter().find_map(without_scripts) {
            return Ok(Err(error));
        }
        let version = answers.hello_field("version");
        let too_old = server_version::too_old_error(wire, version, &self.index_key, at).await?;
        if let Some(error) = too_old {
            return Ok(Err(error));
        }
        Ok(Ok(self.probe.as_ref().and_then(|_| reach_in_answers(answers.probe()))))
    }

    /// A name is a convenience: a server that refuses it is used without.
    async fn set_connection_name(&self, wire: &mut Wire) -> RedisResult<()> {
        let mut set_name = pipe();
        set_name.cmd("CLIENT").arg("SETNAME").arg(&self.connection_name).ignore_errors();
        set_name.query_async::<Vec<Value>>(wire).await.map(drop)
    }

    async fn first_answers(
        &self,
        wire: &mut Wire,
        protocol: ProtocolVersion,
    ) -> RedisResult<FirstAnswers> {
        let mut ask = pipe();
        ask.cmd("ROLE").cmd("EVALSHA").arg(NO_SCRIPT).arg(0).cmd("EVAL").arg("return 1").arg(0);
        if let Some(probe) = &self.probe {
            probe.add_to(&mut ask);
        }
        if protocol == ProtocolVersion::RESP3 {
            ask.cmd("HELLO");
        }
        ask.ignore_errors().query_async(wire).await.map(FirstAnswers)
    }

    fn refuse_mode(&self, answers: &FirstAnswers, at: &str) -> Option<Error> {
        match answers.hello_field("mode").as_deref() {
            Some("cluster") if self.probe.is_some() => Some(failure::cluster_node_error(at)),
            Some("sentinel") => Some(failure::sentinel_error(at)),
            _ => None,
        }
    }
}

impl FirstAnswers {
    fn role(&self) -> Option<&Value> {
        self.0.first()
    }

    /// The answers to EVALSHA and EVAL.
    fn scripts(&self) -> &[Value] {
        &self.0[1..3]
    }

    /// The answers to the probe, and what came after them.
    fn probe(&self) -> &[Value] {
        &self.0[3..]
    }

    /// A field of the answer to HELLO: `mode` (`standalone`, `cluster` or `sentinel`), `version`.
    fn hello_field(&self, name: &str) -> Option<String> {
        let Value::Map(fields) = self.0.last()? else { return None };
        let is_field =
            |field: &Value| String::from_redis_value_ref(field).is_ok_and(|field| field == name);
        let (_, value) = fields.iter().find(|(field, _)| is_field(field))?;
        String::from_redis_value_ref(value).ok()
    }
}
