//! How much a script may touch on a server. On Redis and Valkey by themselves: whatever it likes.
//! Behind a proxy that spreads keys over shards (Redis Enterprise, Azure's EnterpriseCluster
//! policy) the keys of a script must fall into one slot. Dragonfly and Kvrocks refuse keys that a
//! script did not declare.
//!
//! A server is asked by a script that touches one key, with the key declared, with another one
//! declared, and with three in several slots. Words and codes of a refusal differ from server to
//! server; that only the declared key alone is permitted does not.

use ::redis::{Pipeline, Value};

use crate::config::Config;

/// It changes nothing.
const TOUCH: &str = "return redis.call('EXISTS', ARGV[1])";

/// The keys that a server is asked about. Nothing lies there.
pub(crate) struct Probe {
    key: String,
    other_key: String,
    index: String,
}

impl Probe {
    pub(crate) fn new(config: &Config) -> Self {
        Probe::of(&config.key_prefix, &config.user_prefix)
    }

    /// Keys that fall into one slot if all keys of the store do, because their prefixes have the
    /// same tag in braces.
    fn of(key_prefix: &str, user_prefix: &str) -> Self {
        Probe {
            key: [key_prefix, "probe-a"].concat(),
            other_key: [key_prefix, "probe-b"].concat(),
            index: [user_prefix, "probe-c"].concat(),
        }
    }

    /// Adds the questions to others.
    pub(crate) fn ask(&self, questions: &mut Pipeline) {
        let Probe { key, other_key, index } = self;
        questions.cmd("EVAL").arg(TOUCH).arg(1).arg(key).arg(key);
        questions.cmd("EVAL").arg(TOUCH).arg(1).arg(key).arg(other_key);
        questions.cmd("EVAL").arg(TOUCH).arg(3).arg(key).arg(other_key).arg(index).arg(key);
    }
}

/// Of the answers to [`Probe::ask`]: whether scripts may touch one key only. `None`: they do not
/// tell, as while the server is busy.
pub(crate) fn is_one_key(answers: &[Value]) -> Option<bool> {
    match answers {
        [Value::Int(_), undeclared, several, ..]
            if is_refusal(undeclared) || is_refusal(several) =>
        {
            Some(true)
        }
        [Value::Int(_), Value::Int(_), Value::Int(_), ..] => Some(false),
        _ => None,
    }
}

/// Any other code says how the server stands, or what the user may do.
fn is_refusal(answer: &Value) -> bool {
    matches!(answer, Value::ServerError(error) if matches!(error.code(), "ERR" | "CROSSSLOT"))
}

#[cfg(test)]
mod tests {
    use ::redis::parse_redis_value;

    use super::*;
    use crate::engine::redis::cluster::slots::slot;

    fn decision(answers: [&str; 3]) -> Option<bool> {
        let answers =
            answers.map(|answer| parse_redis_value(format!("{answer}\r\n").as_bytes()).unwrap());
        is_one_key(&answers)
    }

    #[test]
    fn a_refusal_of_other_keys_is_told_from_the_state_of_the_server() {
        let crossslot = "-CROSSSLOT Keys in request don't hash to the same slot";
        let local = "-ERR Script attempted to access keys that do not hash to the same slot script: 1f, on @user_script:1.";
        let undeclared = "-ERR Error running script (call to f_1f): @user_script:1: script tried accessing undeclared key";
        assert_eq!(decision([":0", ":0", ":0"]), Some(false));
        assert_eq!(decision([":0", ":0", crossslot]), Some(true));
        assert_eq!(decision([":0", local, crossslot]), Some(true));
        assert_eq!(decision([":0", undeclared, ":0"]), Some(true));
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
                assert_eq!(decision(answers), None, "{answers:?}");
            }
        }
        assert_eq!(decision(["-ERR unknown command 'EVAL'"; 3]), None);
        assert_eq!(is_one_key(&[]), None);
    }

    #[test]
    fn the_keys_lie_in_several_slots_unless_all_keys_of_the_store_lie_in_one() {
        let slots = |key_prefix: &str, user_prefix: &str| {
            let Probe { key, other_key, index } = Probe::of(key_prefix, user_prefix);
            [slot(&key), slot(&other_key), slot(&index)]
        };
        let [key, other_key, index] = slots("session:", "user-sessions:");
        assert!(key != other_key && key != index && other_key != index);
        let [key, other_key, index] = slots("{app}session:", "{app}user-sessions:");
        assert!(key == other_key && key == index);
    }
}
