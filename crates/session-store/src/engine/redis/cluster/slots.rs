//! The slots of a cluster: the slot of a key, and the primary that holds each slot.

use std::ops::RangeInclusive;

use ::redis::Value;

use crate::config::NatMap;
use crate::engine::redis::connection::node::Node;

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % SLOTS
}

/// Which primary holds each slot.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SlotOwners {
    /// The primaries, in order.
    pub(crate) nodes: Vec<Node>,
    /// For each slot the index of its primary in `nodes`.
    owners: Vec<Option<u16>>,
}

impl Default for SlotOwners {
    fn default() -> Self {
        SlotOwners { nodes: Vec::new(), owners: vec![None; SLOTS.into()] }
    }
}

impl SlotOwners {
    /// Reads the answer of the server `asked` to CLUSTER SLOTS. `None`: no slot has a primary.
    pub(crate) fn from_answer(asked: &Node, answer: &Value, nat_map: &NatMap) -> Option<Self> {
        let range = |range: &Value| {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice()
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
            // The server names no host: use the one that it was reached at.
            let host = match host {
                Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                    std::str::from_utf8(host).ok()?
                }
                _ => asked.host(),
            };
            let [first, last] =
                [first, last].map(|slot| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS));
            Some((first?..=last?, Node::mapped(nat_map, host, u16::try_from(*port).ok()?)))
        };
        let Value::Array(ranges) = answer else { return None };
        let mut slots = SlotOwners::default();
        ranges.iter().filter_map(range).for_each(|(range, node)| slots.assign(range, node));
        (!slots.nodes.is_empty()).then(|| slots.normalized())
    }

    /// The index in `nodes` of the primary that holds a slot.
    pub(crate) fn owner_index(&self, slot: u16) -> Option<u16> {
        self.owners[usize::from(slot)]
    }

    /// The primary that holds a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Node> {
        self.nodes.get(usize::from(self.owner_index(slot)?))
    }

    /// A copy in which one slot has another primary.
    pub(crate) fn with_moved_slot(&self, slot: u16, to: Node) -> Self {
        let mut slots = self.clone();
        slots.assign(slot..=slot, to);
        slots.normalized()
    }

    fn assign(&mut self, slots: RangeInclusive<u16>, node: Node) {
        let index = self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        for slot in slots {
            self.owners[usize::from(slot)] = u16::try_from(index).ok();
        }
    }

    /// Leaves out nodes without slots and sorts the others, so that two maps with the same owners
    /// compare equal.
    fn normalized(&self) -> Self {
        let mut holds = vec![false; self.nodes.len()];
        self.owners.iter().flatten().for_each(|index| holds[usize::from(*index)] = true);
        let mut order: Vec<_> = (0..self.nodes.len()).filter(|index| holds[*index]).collect();
        order.sort_by_key(|index| &self.nodes[*index]);
        let mut new = vec![None; self.nodes.len()];
        order.iter().zip(0..).for_each(|(old, index)| new[*old] = Some(index));
        SlotOwners {
            nodes: order.into_iter().map(|index| self.nodes[index].clone()).collect(),
            owners: self.owners.iter().map(|index| new[usize::from((*index)?)]).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_in_braces_decides_the_slot() {
        // The specification's own example, and the rules of its empty and doubled braces.
        assert_eq!(slot("123456789"), 0x31C3);
        assert_eq!(slot("{user1000}.following"), slot("user1000"));
        assert_ne!(slot("foo{}{bar}"), slot("bar"));
        assert_eq!(slot("foo{{bar}}zap"), slot("{bar"));
        assert_eq!(slot("foo{bar}{zap}"), slot("bar"));
    }

    #[test]
    fn maps_with_the_same_owners_are_equal() {
        let node = |port| Node::new("a", port);
        let mut one = SlotOwners::default();
        one.assign(0..=9, node(1));
        one.assign(10..=19, node(2));
        let mut other = SlotOwners::default();
        other.assign(10..=19, node(3));
        other.assign(10..=19, node(2));
        other.assign(0..=9, node(1));
        assert_ne!(one, other);
        assert_eq!(one.normalized(), other.normalized());
        assert_eq!(other.normalized().nodes, [node(1), node(2)]);
    }
}
