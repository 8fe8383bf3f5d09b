//! Asks the sentinels for the primary's address. The first that answers decides; ROLE on the
//! connection then shows whether that server is a primary.

use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::dialer::Dialer;
use super::node::Node;
use super::wire::Wire;
use crate::config::{Address, Config, NatMap, Server};
use crate::engine::redis::failure;
use crate::error::{Code, Error, Result};
use crate::sync::Mutex;

/// How long one sentinel may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The shortest pause between two questions whether the primary is still the same. With rarer
/// heartbeats, the pause is theirs.
const MIN_POLL: Duration = Duration::from_secs(1);

/// The sentinels of one primary.
pub(crate) struct Sentinels {
    /// The primary's name in their configuration.
    name: String,
    sentinels: Vec<Sentinel>,
    dialer: Dialer,
    nat_map: NatMap,
    patience: Duration,
    poll: Duration,
}

struct Sentinel {
    node: Node,
    /// The connection of the last question.
    kept: Mutex<Option<Wire>>,
}

impl Sentinel {
    fn new(node: Node) -> Self {
        Sentinel { node, kept: Mutex::default() }
    }

    fn kept(&self) -> Option<Wire> {
        self.kept.lock().clone()
    }

    fn keep(&self, wire: Option<Wire>) {
        *self.kept.lock() = wire;
    }
}

impl Sentinels {
    /// `None`: the configuration names no sentinels.
    pub(crate) fn new(config: &Config, server: &Server) -> Option<Self> {
        let (Address::Sentinel { name, nodes }, Some(login)) =
            (&server.address, &server.sentinel_login)
        else {
            return None;
        };
        Some(Sentinels {
            name: name.clone(),
            sentinels: nodes
                .iter()
                .map(|(host, port)| Sentinel::new(Node::new(host, *port)))
                .collect(),
            dialer: Dialer::for_sentinels(config, server, login),
            nat_map: server.nat_map.clone(),
            patience: ANSWER_TIMEOUT.min(config.connect_timeout),
            poll: MIN_POLL.max(config.heartbeat),
        })
    }

    /// The primary's address.
    pub(crate) async fn primary(&self) -> Result<Node> {
        let (mut why, mut cause) = (None, None);
        // Begins at a random one, so that a dead one does not delay every attempt.
        let first = fastrand::usize(..self.sentinels.len());
        for sentinel in self.sentinels[first..].iter().chain(&self.sentinels[..first]) {
            match self.ask(sentinel).await {
                Ok(Some((host, port))) => return Ok(Node::mapped(&self.nat_map, &host, port)),
                Ok(None) => why = Some(self.unknown_primary_error()),
                // That one sentinel cannot be reached says little. A refusal is probably common to
                // all of them.
                Err(error) if why.is_none() && error.code != Code::Unavailable => why = Some(error),
                Err(error) => cause = Some(error),
            }
        }
        Err(why.unwrap_or_else(|| match cause {
            Some(cause) => self.unreachable_error().caused_by(&cause),
            None => self.unreachable_error(),
        }))
    }

    /// Waits until the sentinels name another primary than `current`.
    pub(crate) async fn wait_for_another_primary(&self, current: &Node) {
        loop {
            sleep(self.poll).await;
            if self.primary().await.is_ok_and(|primary| primary != *current) {
                return;
            }
        }
    }

    async fn ask(&self, sentinel: &Sentinel) -> Result<Option<(String, u16)>> {
        let node = &sentinel.node;
        let at = format!("{node} (a sentinel)");
        let mut ask = ::redis::pipe();
        ask.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).ignore_errors();
        let answers = self.query(sentinel, &at, &ask).await?;
        let answer =
            answers.and_then(|mut answers| answers.pop().unwrap_or(Value::Nil).extract_error());
        let primary = answer.and_then(|answer| Ok(FromRedisValue::from_redis_value(answer)?));
        primary.map_err(|error| match failure::is_unknown_command(&error) {
            true => {
                let what = format!(
                    "sentinels: the server at {node} is no sentinel; give it as url or host"
                );
                Error::new(Code::InvalidArgument, what)
            }
            false => failure::error(&error, &at),
        })
    }

    /// Sends commands on the connection that was kept, or on a new one.
    async fn query(
        &self,
        sentinel: &Sentinel,
        at: &str,
        commands: &Pipeline,
    ) -> Result<RedisResult<Vec<Value>>> {
        let silent_error =
            |_| Error::new(Code::Unavailable, format!("Redis at {at} does not answer"));
        if let Some(mut wire) = sentinel.kept() {
            // It may have died without a sign, as after a change of the network.
            let answers = timeout(self.patience / 4, commands.query_async(&mut wire)).await;
            if let Ok(Ok(answers)) = answers {
                return Ok(Ok(answers));
            }
            sentinel.keep(None);
        }
        let mut wire = self.dialer.dial_for_queries(&sentinel.node, at, self.patience).await?;
        let answers =
            timeout(self.patience, commands.query_async(&mut wire)).await.map_err(silent_error)?;
        sentinel.keep(answers.is_ok().then_some(wire));
        Ok(answers)
    }

    fn unknown_primary_error(&self) -> Error {
        let name = &self.name;
        let what = format!(
            "name: the sentinels have no primary {name:?}; SENTINEL MASTERS lists their primaries"
        );
        Error::new(Code::InvalidArgument, what)
    }

    fn unreachable_error(&self) -> Error {
        let nodes: Vec<_> =
            self.sentinels.iter().map(|sentinel| sentinel.node.to_string()).collect();
        let what = format!(
            "none of the sentinels can be reached: {}; check that they run and that sentinels is right",
            nodes.join(", ")
        );
        Error::new(Code::Unavailable, what)
    }
}
