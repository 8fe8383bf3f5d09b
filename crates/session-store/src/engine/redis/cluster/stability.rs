//! Decides whether the slot map has to be asked for in a round of questions.
//!
//! While CLUSTER INFO stays the same, most rounds ask for nothing else.

/// After a change, so many rounds ask for the map, because servers learn of a change one after the
/// other. Later, one round of so many does.
const ROUNDS_AFTER_CHANGE: u32 = 3;
const ROUNDS_BETWEEN_MAPS: u32 = 10;

/// The lines of CLUSTER INFO in which all servers of a cluster agree. Another owner of slots, or
/// another server, changes some of them.
pub(super) fn shared_state(info: &str) -> String {
    const SHARED: [&str; 5] = [
        "cluster_state",
        "cluster_slots_",
        "cluster_known_nodes",
        "cluster_size",
        "cluster_current_epoch",
    ];
    let is_shared = |line: &&str| SHARED.iter().any(|name| line.starts_with(name));
    info.lines().filter(is_shared).map(str::trim).collect::<Vec<_>>().join(" ")
}

/// How many rounds have found no change.
#[derive(Default)]
pub(super) struct Stability {
    /// The [`shared_state`] that came with the last map.
    state: Option<String>,
    /// How many rounds there were since a change.
    rounds: u32,
}

impl Stability {
    /// Whether the next round may leave the map as it is, if the state is still the same.
    pub(super) fn can_skip_map(&self) -> bool {
        self.rounds >= ROUNDS_AFTER_CHANGE && !self.rounds.is_multiple_of(ROUNDS_BETWEEN_MAPS)
    }

    pub(super) fn is_same_state(&self, state: &str) -> bool {
        self.state.as_deref() == Some(state)
    }

    /// Counts a round that found the same state and asked for no map.
    pub(super) fn record_same_state(&mut self) {
        self.rounds += 1;
    }

    /// Counts a round that asked for the map. `is_other`: whether it is another one than before.
    pub(super) fn record_map(&mut self, state: Option<String>, is_other: bool) {
        let is_change = is_other || state.is_none() || state != self.state;
        self.rounds = if is_change { 0 } else { self.rounds + 1 };
        self.state = state;
    }

    pub(super) fn reset(&mut self) {
        self.rounds = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &str =
        "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\n";

    #[test]
    fn lines_that_differ_between_servers_are_no_change() {
        let with = |own: &str| shared_state(&format!("{INFO}{own}"));
        assert_eq!(
            with("cluster_my_epoch:1\r\ncluster_stats_messages_sent:5\r\n"),
            with("cluster_my_epoch:2\r\n")
        );
        assert_ne!(with(""), shared_state(&INFO.replace(":6", ":7")));
    }

    #[test]
    fn after_a_change_the_map_is_asked_for_in_three_rounds_and_later_in_each_tenth() {
        let mut stability = Stability::default();
        let rounds = |stability: &mut Stability| -> String {
            let round = |_| match stability.can_skip_map() {
                true => {
                    stability.record_same_state();
                    '.'
                }
                false => {
                    stability.record_map(Some(shared_state(INFO)), false);
                    'M'
                }
            };
            (0..26).map(round).collect()
        };
        assert_eq!(rounds(&mut stability), "MMMM.......M.........M....");
        stability.reset();
        assert_eq!(rounds(&mut stability), "MMM.......M.........M.....");
        // A server without CLUSTER INFO is asked for the map in each round.
        stability.record_map(None, false);
        assert!(!stability.can_skip_map());
    }
}
