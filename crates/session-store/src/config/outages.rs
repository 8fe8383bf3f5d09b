//! The options for what happens while the server, or enough of its replicas, cannot answer.

use std::time::Duration;

use serde_json::Value;

use super::describe::kind_of;
use super::options::{OPTIONS, REVOKE, names, row_in};
use super::reader::OptionReader;

/// How many replicas must have an end of a session before it is answered.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RevokeSettings {
    /// How many replicas are to acknowledge it: `waitReplicas`.
    pub wait_replicas: u32,
    /// How long to wait for them: `timeoutMs`. Less than `commandTimeout`.
    pub timeout: Duration,
}

/// What happens to calls while the server cannot answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OnUnavailable {
    /// They are refused.
    Reject,
    /// The caller has a database that holds the sessions too: ends, and writes of sessions, are
    /// kept and done later.
    Database,
}

/// How a lost connection is made again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ReconnectSettings {
    /// How long a caller waits at most for a connection that is down: `failFastMs`.
    pub fail_fast: Duration,
    /// The shortest pause between two attempts: `reconnectMinMs`.
    pub min: Duration,
    /// The longest one: `reconnectMaxMs`. Not less than `min`.
    pub max: Duration,
}

impl OptionReader {
    /// `command_timeout`: the bound of an operation, the wait for replicas included.
    pub(super) fn revoke(&mut self, command_timeout: Duration) -> Option<RevokeSettings> {
        let members = match self.value("revoke")? {
            Value::Object(members) => members.clone(),
            other => {
                let (right, what) = (names(REVOKE, ", "), kind_of(other));
                let what = format!("must be an object with {right}, not {what}");
                return self.refuse("revoke", what);
            }
        };
        self.refuse_unknown_members("revoke", REVOKE, &members);
        let [wait_replicas, timeout_ms] = ["waitReplicas", "timeoutMs"]
            .map(|name| self.member_integer("revoke", row_in(REVOKE, name), &members));
        let timeout = timeout_ms.unwrap_or_else(|| row_in(REVOKE, "timeoutMs").default_integer());
        let timeout = Duration::from_millis(timeout);
        if timeout >= command_timeout {
            let (timeout, bound) = (timeout.as_millis(), command_timeout.as_millis());
            let right = format!("must be less than commandTimeout ({bound})");
            self.problem("revoke", format_args!("timeoutMs ({timeout}) {right}"));
        }
        match wait_replicas {
            Some(wait_replicas) => {
                Some(RevokeSettings { wait_replicas: wait_replicas as u32, timeout })
            }
            None if members.contains_key("waitReplicas") => None,
            None => {
                let what = "waitReplicas is missing: how many replicas are to acknowledge an end";
                self.refuse("revoke", what)
            }
        }
    }

    pub(super) fn on_unavailable(&mut self) -> OnUnavailable {
        let stored_too = match self.has("storeSessionInDatabase") {
            true => self.boolean("storeSessionInDatabase", ""),
            false => Some(row_in(OPTIONS, "storeSessionInDatabase").default_boolean()),
        };
        if stored_too == Some(true) && self.has("maxSessionsPerUser") {
            let what = "cannot be combined with storeSessionInDatabase: true: a session that the limit ends would still have \
                        its row in the database, and Better Auth would find it there; remove one of the two";
            self.problem("maxSessionsPerUser", what);
        }
        let default = row_in(OPTIONS, "onUnavailable").default_text();
        match self.value("onUnavailable").map_or(Some(default), Value::as_str) {
            Some("reject") => OnUnavailable::Reject,
            Some("database") if stored_too == Some(false) => {
                let what = "\"database\" needs sessions that are in the database too: give Better Auth \
                            session: { storeSessionInDatabase: true }, and say so here by storeSessionInDatabase: true";
                self.problem("onUnavailable", what);
                OnUnavailable::Reject
            }
            Some("database") => OnUnavailable::Database,
            _ => {
                self.problem("onUnavailable", "must be \"reject\" or \"database\"");
                OnUnavailable::Reject
            }
        }
    }

    pub(super) fn reconnect(&mut self) -> ReconnectSettings {
        let fail_fast = self.ms_or_default("failFastMs");
        let min = self.ms_or_default("reconnectMinMs");
        let given: Option<u64> = self.integer("reconnectMaxMs");
        let max = match given {
            Some(ms) => Duration::from_millis(ms),
            None => self.default_ms("reconnectMaxMs").max(min),
        };
        if max < min {
            let (max, min) = (max.as_millis(), min.as_millis());
            let right = format!("must not be less than reconnectMinMs ({min})");
            self.problem("reconnectMaxMs", format_args!("{right}, not {max}"));
        }
        ReconnectSettings { fail_fast, min, max }
    }
}
