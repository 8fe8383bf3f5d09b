//! Sentinels: who the primary is, as the first of them says that can be asked. Whether it really is
//! one is for ROLE to tell.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ::redis::{FromRedisValue, Pipeline, RedisResult, Value};
use tokio::time::{sleep, timeout};

use super::connector::Door;
use super::node::Node;
use super::wire::Wire;
use crate::config::{Address, Config, NatMap, Server};
use crate::engine::redis::failure;
use crate::error::{Code, Error, Result};

/// How long one of them may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often they are asked at most whether the primary is still the same; as often as there are
/// heartbeats, if these are rarer.
const LEAST_POLL: Duration = Duration::from_secs(1);

pub(crate) struct Sentinels {
    /// What they call the primary.
    name: String,
    sentinels: Vec<Sentinel>,
    door: Door,
    nat_map: NatMap,
    patience: Duration,
    poll: Duration,
}

/// One of them.
struct Sentinel {
    node: Node,
    /// The connection on which it was asked last.
    kept: Mutex<Option<Wire>>,
}

impl Sentinel {
    fn new(node: Node) -> Self {
        Sentinel { node, kept: Mutex::default() }
    }

    fn kept(&self) -> Option<Wire> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn keep(&self, wire: Option<Wire>) {
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = wire;
    }
}

impl Sentinels {
    /// `None`: the server is named without them.
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
            door: Door::of_sentinels(config, server, login),
            nat_map: server.nat_map.clone(),
            patience: PATIENCE.min(config.connect_timeout),
            poll: LEAST_POLL.max(config.heartbeat),
        })
    }

    /// Where the primary is.
    pub(crate) async fn primary(&self) -> Result<Node> {
        let (mut why, mut cause) = (None, None);
        // Another one first each time, so that a dead one does not cost every attempt its time.
        let first = fastrand::usize(..self.sentinels.len());
        for sentinel in self.sentinels[first..].iter().chain(&self.sentinels[..first]) {
            match self.ask(sentinel).await {
                Ok(Some((host, port))) => return Ok(Node::reached(&self.nat_map, &host, port)),
                Ok(None) => why = Some(self.unknown()),
                // That one cannot be reached says little; that it refuses us says what is wrong
                // with all.
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
    pub(crate) async fn name_another(&self, than: &Node) {
        loop {
            sleep(self.poll).await;
            if self.primary().await.is_ok_and(|primary| primary != *than) {
                return;
            }
        }
    }

    async fn ask(&self, sentinel: &Sentinel) -> Result<Option<(String, u16)>> {
        let node = &sentinel.node;
        let at = format!("{node} (a sentinel)");
        let mut ask = ::redis::pipe();
        ask.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(&self.name).ignore_errors();
        let answers = self.answers(sentinel, &at, &ask).await?;
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

    /// On the connection that was kept, unless it is of no more use.
    async fn answers(
        &self,
        sentinel: &Sentinel,
        at: &str,
        question: &Pipeline,
    ) -> Result<RedisResult<Vec<Value>>> {
        let silent = |_| Error::new(Code::Unavailable, format!("Redis at {at} does not answer"));
        if let Some(mut wire) = sentinel.kept() {
            // It may have died without a word, as after a change of the network.
            let answers = timeout(self.patience / 4, question.query_async(&mut wire)).await;
            if let Ok(Ok(answers)) = answers {
                return Ok(Ok(answers));
            }
            sentinel.keep(None);
        }
        let mut wire = self.door.enter(&sentinel.node, at, self.patience).await?;
        let answers =
            timeout(self.patience, question.query_async(&mut wire)).await.map_err(silent)?;
        sentinel.keep(answers.is_ok().then_some(wire));
        Ok(answers)
    }

    fn unknown(&self) -> Error {
        let name = &self.name;
        let what = format!(
            "name: the sentinels know no primary {name:?}; SENTINEL MASTERS lists those that they know"
        );
        Error::new(Code::InvalidArgument, what)
    }

    fn unreachable(&self) -> Error {
        let nodes: Vec<_> =
            self.sentinels.iter().map(|sentinel| sentinel.node.to_string()).collect();
        let what = format!(
            "none of the sentinels can be reached: {}; check that they run and that sentinels is right",
            nodes.join(", ")
        );
        Error::new(Code::Unavailable, what)
    }
}
