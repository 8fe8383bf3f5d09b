//! What one server reports of the cluster: which primary holds each slot, and whether the server
//! sees the others.

use std::future::Future;

use ::redis::{FromRedisValue, Pipeline, RedisError, RedisResult, Value};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::slots::SlotOwners;
use super::stability::shared_state;
use crate::config::NatMap;
use crate::engine::redis::connection::node::Node;
use crate::engine::redis::failure;
use crate::error::{Code, Error};

/// A server's report.
pub(super) struct ClusterView {
    pub(super) slots: SlotOwners,
    /// Whether the server sees the others. One that has lost sight of them serves nothing, and its
    /// map may be an old one.
    pub(super) is_well: bool,
    /// The [`shared_state`] of its CLUSTER INFO, if it answers that.
    pub(super) state: Option<String>,
}

/// A report, or why there is none. `None`: the server did not answer.
pub(super) type ViewResult = Result<ClusterView, Option<Error>>;

impl ClusterView {
    /// The commands whose answers make a report.
    pub(super) fn commands() -> Pipeline {
        let mut commands = Pipeline::new();
        commands.cmd("CLUSTER").arg("INFO").cmd("CLUSTER").arg("SLOTS").ignore_errors();
        commands
    }

    /// Reads the answers of `node` to [`ClusterView::commands`].
    pub(super) fn from_answers(
        node: &Node,
        answers: RedisResult<Vec<Value>>,
        nat_map: &NatMap,
    ) -> ViewResult {
        let refusal = |error: RedisError| {
            let other = || failure::error(&error, &node.to_string());
            Some(not_in_cluster_error(&error, node).unwrap_or_else(other))
        };
        let mut answers = answers.map_err(refusal)?;
        let slots = answers.pop().unwrap_or(Value::Nil).extract_error().map_err(refusal)?;
        let slots =
            SlotOwners::from_answer(node, &slots, nat_map).ok_or_else(|| Some(unserved_error()))?;
        let info = answers.pop().and_then(|info| String::from_redis_value(info).ok());
        let is_well = !info.as_ref().is_some_and(|info| info.contains("cluster_state:fail"));
        Ok(ClusterView { slots, is_well, state: info.map(|info| shared_state(&info)) })
    }
}

/// The first view of a server that is well; else any view, or the first reason why there is none. A
/// server's refusal says more than that one cannot be reached: it is probably common to all.
pub(super) async fn first_well<Asked>(asked: impl Iterator<Item = Asked>) -> ViewResult
where
    Asked: Future<Output = ViewResult>,
{
    let mut asked: FuturesUnordered<_> = asked.collect();
    let mut best = Err(None);
    while let Some(view) = asked.next().await {
        match &view {
            Ok(ClusterView { is_well: true, .. }) => return view,
            Ok(_) => best = view,
            Err(Some(error)) => match &best {
                Err(None) => best = view,
                Err(Some(earlier))
                    if earlier.code == Code::Unavailable && error.code != Code::Unavailable =>
                {
                    best = view
                }
                _ => {}
            },
            Err(None) => {}
        }
    }
    best
}

/// No server holds a slot.
pub(super) fn unserved_error() -> Error {
    let what = "no server of the cluster holds this key now: CLUSTER INFO and CLUSTER SLOTS tell what is wrong";
    Error::new(Code::Unavailable, what)
}

fn not_in_cluster_error(error: &RedisError, node: &Node) -> Option<Error> {
    let is_none = error.detail().is_some_and(|answer| answer.contains("cluster support disabled"));
    let what =
        format!("cluster: the server at {node} is part of no cluster; give it as url or host");
    is_none.then(|| Error::new(Code::InvalidArgument, what))
}
