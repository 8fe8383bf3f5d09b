//! The primaries of a cluster with a supervisor for each, by the slots that they hold.

use std::sync::Arc;

use super::slots::SlotOwners;
use crate::engine::redis::connection::node::Node;
use crate::engine::redis::connection::supervisor::Supervisor;
use crate::error::Error;

/// A primary, and what keeps the connection to it.
#[derive(Clone)]
pub(super) struct Primary {
    pub(super) node: Node,
    pub(super) server: Supervisor,
}

/// Which primary holds each slot.
#[derive(Clone, Default)]
pub(super) struct SlotMap {
    pub(super) slots: SlotOwners,
    /// In the order of `slots.nodes`.
    pub(super) servers: Vec<Supervisor>,
}

impl SlotMap {
    pub(super) fn owner(&self, slot: u16) -> Option<Primary> {
        let index = usize::from(self.slots.owner_index(slot)?);
        Some(Primary { node: self.slots.nodes[index].clone(), server: self.servers[index].clone() })
    }

    pub(super) fn server(&self, node: &Node) -> Option<&Supervisor> {
        let index = self.slots.nodes.iter().position(|known| known == node)?;
        self.servers.get(index)
    }

    pub(super) fn primaries(&self) -> Vec<Primary> {
        let both = self.slots.nodes.iter().zip(&self.servers);
        both.map(|(node, server)| Primary { node: node.clone(), server: server.clone() }).collect()
    }
}

/// What is known of a cluster.
#[derive(Clone, Default)]
pub(super) struct KnownCluster {
    pub(super) map: Arc<SlotMap>,
    /// How many rounds of questions there were.
    pub(super) rounds: u64,
    /// Why the last round found no map.
    pub(super) why: Option<Error>,
}
