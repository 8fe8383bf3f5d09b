//! Which keys a script may touch on a server. On Redis and Valkey by themselves: any. Behind a
//! proxy that spreads keys over shards (Redis Enterprise, Azure's EnterpriseCluster policy) the
//! keys of a script must fall into one slot. Dragonfly and Kvrocks refuse keys that a script did
//! not declare.
//!
//! The probe is a script that touches one key: with that key declared, with another one declared,
//! and with three declared that lie in several slots. The text and code of a refusal differ from
//! server to server. That only the declared key alone is permitted does not.

use ::redis::{Pipeline, Value};

use crate::config::Config;

/// Changes nothing.
const TOUCH: &str = "return redis.call('EXISTS', ARGV[1])";

/// Which keys a script may touch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum ScriptReach {
    /// One key, which it declares.
    OneKey,
    AnyKeys,
}

/// The keys that the probe touches. Nothing lies there.
pub(crate) struct ReachProbe {
    key: String,
    other_key: String,
    index: String,
}

impl ReachProbe {
    pub(crate) fn new(config: &Config) -> Self {
        ReachProbe::with_prefixes(&config.key_prefix, &config.user_prefix)
    }

    /// The keys fall into one slot if all keys of the store do, because their prefixes have the
    /// same tag in braces.
    fn with_prefixes(key_prefix: &str, user_prefix: &str) -> Self {
        ReachProbe {
            key: [key_prefix, "probe-a"].concat(),
            other_key: [key_prefix, "probe-b"].concat(),
            index: [user_prefix, "probe-c"].concat(),
        }
    }

    /// Adds the probe's scripts to a pipeline.
    pub(crate) fn add_to(&self, pipeline: &mut Pipeline) {
        let ReachProbe { key, other_key, index } = self;
        pipeline.cmd("EVAL").arg(TOUCH).arg(1).arg(key).arg(key);
        pipeline.cmd("EVAL").arg(TOUCH).arg(1).arg(key).arg(other_key);
        pipeline.cmd("EVAL").arg(TOUCH).arg(3).arg(key).arg(other_key).arg(index).arg(key);
    }
}

/// What the answers to [`ReachProbe::add_to`] show. `None`: they show nothing, for example while
/// the server is busy.
pub(crate) fn reach_in_answers(answers: &[Value]) -> Option<ScriptReach> {
    match answers {
        [Value::Int(_), undeclared, several, ..]
            if is_refusal(undeclared) || is_refusal(several) =>
        {
            Some(ScriptReach::OneKey)
        }
        [Value::Int(_), Value::Int(_), Value::Int(_), ..] => Some(ScriptReach::AnyKeys),
        _ => None,
    }
}

/// Whether the script was refused for its keys. Any other code is about the server's state or the
/// user's rights.
fn is_refusal(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if matches!(error.code(), "ERR" | "CROSSSLOT"))
}

#[cfg(test)]
mod tests {
    use ::redis::parse_redis_value;

    use super::*;
    use crate::engine::redis::cluster::slots::slot;

    fn reach(answers: [&str; 3]) -> Option<ScriptReach> {
        let answers =
            answers.map(|answer| parse_redis_value(format!("{answer}\r\n").as_bytes()).unwrap());
        reach_in_answers(&answers)
    }

    #[test]
    fn a_refusal_of_other_keys_is_told_from_the_state_of_the_server() {
        let crossslot = "-CROSSSLOT Keys in request don't hash to the same slot";
        let local = "-ERR Script attempted to access keys that do not hash to the same slot script: 1f, on @user_script:1.";
        let undeclared = "-ERR Error running script (call to f_1f): @user_script:1: script tried accessing undeclared key";
        assert_eq!(reach([":0", ":0", ":0"]), Some(ScriptReach::AnyKeys));
        assert_eq!(reach([":0", ":0", crossslot]), Some(ScriptReach::OneKey));
        assert_eq!(reach([":0", local, crossslot]), Some(ScriptReach::OneKey));
        assert_eq!(reach([":0", undeclared, ":0"]), Some(ScriptReach::OneKey));
        for state in [
            "-BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            "-LOADING Redis is loading the dataset in memory",
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "-NOPERM this user has no permissions to access one of the keys used as arguments",
            "-OOM command not allowed when used memory > 'maxmemory'.",
        ] {
            for answers in [
                [":0", ":0", state],
                [":0", state, ":0"],
                [state, state, state],
                [state, ":0", ":0"],
            ] {
                assert_eq!(reach(answers), None, "{answers:?}");
            }
        }
        assert_eq!(reach(["-ERR unknown command 'EVAL'"; 3]), None);
        assert_eq!(reach_in_answers(&[]), None);
    }

    #[test]
    fn the_keys_lie_in_several_slots_unless_all_keys_of_the_store_lie_in_one() {
        let slots = |key_prefix: &str, user_prefix: &str| {
            let ReachProbe { key, other_key, index } =
                ReachProbe::with_prefixes(key_prefix, user_prefix);
            [slot(&key), slot(&other_key), slot(&index)]
        };
        let [key, other_key, index] = slots("session:", "user-sessions:");
        assert!(key != other_key && key != index && other_key != index);
        let [key, other_key, index] = slots("{app}session:", "{app}user-sessions:");
        assert!(key == other_key && key == index);
    }
}
