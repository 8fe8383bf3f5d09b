//! Sentinels: who the primary is, as the first of them says that can be asked. Whether it really is one is for ROLE to tell.

use std::time::Duration;

use ::redis::{FromRedisValue, RedisResult, Value};
use tokio::time::sleep;

use super::connection::Door;
use super::failure;
use super::node::Node;
use crate::config::{Address, Config, NatMap, Server};
use crate::error::{Code, Error, Result};

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often they are asked whether the primary is still the same.
const POLL: Duration = Duration::from_secs(1);

pub(super) struct Sentinels {
    /// What they call the primary.
    name: String,
    nodes: Vec<Node>,
    door: Door,
    nat_map: NatMap,
    patience: Duration,
}

impl Sentinels {
    /// `None`: the server is named without them.
    pub(super) fn new(config: &Config, server: &Server) -> Option<Self> {
        let (Address::Sentinel { name, nodes }, Some(login)) = (&server.address, &server.sentinel_login) else {
            return None;
        };
        Some(Sentinels {
            name: name.clone(),
            nodes: nodes.iter().map(|(host, port)| Node::new(host, *port)).collect(),
            door: Door::of_sentinels(config, server, login),
            nat_map: server.nat_map.clone(),
            patience: PATIENCE.min(config.connect_timeout),
        })
    }

    /// Where the primary is.
    pub(super) async fn primary(&self) -> Result<Node> {
        let (mut why, mut cause) = (None, None);
        // Another one first each time, so that a dead one does not cost every attempt its time.
        let first = fastrand::usize(..self.nodes.len());
        for node in self.nodes[first..].iter().chain(&self.nodes[..first]) {
            match self.ask(node).await {
                Ok(Some((host, port))) => return Ok(Node::reached(&self.nat_map, &host, port)),
                Ok(None) => why = Some(self.unknown()),
                // That one cannot be reached says little; that it refuses us says what is wrong with all.
                Err(error) if why.is_none() && error.code != Code::Unavailable => why = Some(error),
                Err(error) => cause = Some(error),
            }
        }
        Err(why.unwrap_or_else(|| match cause {
            Some(cause) => self.unreachable().caused_by(&cause),
            None => self.unreachable(),
        }))
    }

    /// Until they name another primary than this one.
    pub(super) async fn name_another(&self, than: &Node) {
        loop {
            sleep(POLL).await;
            if self.primary().await.is_ok_and(|primary| primary != *than) {
                return;
            }
        }
    }

    async fn ask(&self, node: &Node) -> Result<Option<(String, u16)>> {
        let at = format!("{node} (a sentinel)");
        let mut ask = ::redis::pipe();
        ask.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).ignore_errors();
        let answers: RedisResult<Vec<Value>> = self.door.ask(node, &at, self.patience, &ask).await?;
        let answer = answers.and_then(|mut answers| answers.pop().unwrap_or(Value::Nil).extract_error());
        let primary = answer.and_then(|answer| Ok(FromRedisValue::from_redis_value(answer)?));
        primary.map_err(|error| match failure::is_unknown_command(&error) {
            true => {
                let what = format!("sentinels: the server at {node} is no sentinel; give it as url or host");
                Error::new(Code::InvalidArgument, what)
            }
            false => failure::error(&error, &at),
        })
    }

    fn unknown(&self) -> Error {
        let name = &self.name;
        let what = format!("name: the sentinels know no primary {name:?}; SENTINEL MASTERS lists those that they know");
        Error::new(Code::InvalidArgument, what)
    }

    fn unreachable(&self) -> Error {
        let nodes: Vec<_> = self.nodes.iter().map(Node::to_string).collect();
        let what = format!(
            "none of the sentinels can be reached: {}; check that they run and that sentinels is right",
            nodes.join(", ")
        );
        Error::new(Code::Unavailable, what)
    }
}
