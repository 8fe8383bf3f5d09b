//! A cluster's slots: where a key falls, and which primary holds which, as a server tells it.

use std::ops::RangeInclusive;

use ::redis::Value;

use crate::config::NatMap;
use crate::engine::redis::connection::node::Node;

pub(crate) const SLOTS: u16 = 16_384;

/// A cluster's keys are spread over so many slots, each on one primary.
pub(crate) fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    crc16::State::<crc16::XMODEM>::calculate(hashed.as_bytes()) % SLOTS
}

/// Who holds which slots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slots {
    pub(crate) nodes: Vec<Node>,
    /// Of each slot its primary's place in `nodes`.
    places: Vec<Option<u16>>,
}

impl Default for Slots {
    fn default() -> Self {
        Slots { nodes: Vec::new(), places: vec![None; SLOTS.into()] }
    }
}

impl Slots {
    /// Of an answer of the server `asked` to CLUSTER SLOTS. `None`: nothing is served.
    pub(crate) fn told(asked: &Node, answer: &Value, nat_map: &NatMap) -> Option<Self> {
        let range = |range: &Value| {
            let Value::Array(range) = range else { return None };
            let [Value::Int(first), Value::Int(last), Value::Array(primary), ..] = range.as_slice()
            else {
                return None;
            };
            let [host, Value::Int(port), ..] = primary.as_slice() else { return None };
            // Neither name nor address: as it was reached.
            let host = match host {
                Value::BulkString(host) if !host.is_empty() && host != b"?" => {
                    std::str::from_utf8(host).ok()?
                }
                _ => asked.host(),
            };
            let [first, last] =
                [first, last].map(|slot| u16::try_from(*slot).ok().filter(|slot| *slot < SLOTS));
            Some((first?..=last?, Node::reached(nat_map, host, u16::try_from(*port).ok()?)))
        };
        let Value::Array(ranges) = answer else { return None };
        let mut slots = Slots::default();
        ranges.iter().filter_map(range).for_each(|(range, node)| slots.give(range, node));
        (!slots.nodes.is_empty()).then(|| slots.tidy())
    }

    /// The place in `nodes` of the primary that holds a slot.
    pub(crate) fn place(&self, slot: u16) -> Option<u16> {
        self.places[usize::from(slot)]
    }

    /// The primary that holds a slot.
    pub(crate) fn owner(&self, slot: u16) -> Option<&Node> {
        self.nodes.get(usize::from(self.place(slot)?))
    }

    /// As this, but for one slot.
    pub(crate) fn moved(&self, slot: u16, to: Node) -> Self {
        let mut slots = self.clone();
        slots.give(slot..=slot, to);
        slots.tidy()
    }

    /// Gives slots to a primary.
    fn give(&mut self, slots: RangeInclusive<u16>, node: Node) {
        let place = self.nodes.iter().position(|known| *known == node).unwrap_or_else(|| {
            self.nodes.push(node);
            self.nodes.len() - 1
        });
        for slot in slots {
            self.places[usize::from(slot)] = u16::try_from(place).ok();
        }
    }

    /// Leaves out whoever holds none, and brings the others into an order that lasts: equal maps
    /// are equal.
    fn tidy(&self) -> Self {
        let mut holds = vec![false; self.nodes.len()];
        self.places.iter().flatten().for_each(|place| holds[usize::from(*place)] = true);
        let mut order: Vec<_> = (0..self.nodes.len()).filter(|place| holds[*place]).collect();
        order.sort_by_key(|place| &self.nodes[*place]);
        let mut new = vec![None; self.nodes.len()];
        order.iter().zip(0..).for_each(|(old, place)| new[*old] = Some(place));
        Slots {
            nodes: order.into_iter().map(|place| self.nodes[place].clone()).collect(),
            places: self.places.iter().map(|place| new[usize::from((*place)?)]).collect(),
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
    fn equal_maps_are_equal_however_they_were_told() {
        let node = |port| Node::new("a", port);
        let mut one = Slots::default();
        one.give(0..=9, node(1));
        one.give(10..=19, node(2));
        let mut other = Slots::default();
        other.give(10..=19, node(3));
        other.give(10..=19, node(2));
        other.give(0..=9, node(1));
        assert_ne!(one, other);
        assert_eq!(one.tidy(), other.tidy());
        assert_eq!(other.tidy().nodes, [node(1), node(2)]);
    }
}
