//! The options `nearCache` and `heartbeatMs`, which bound each other.

use std::time::Duration;

use serde_json::{Map, Value};

use super::describe::kind_of;
use super::options::{NEAR_CACHE, names, row_in};
use super::reader::{OptionReader, whole_number};

/// Settings of the near cache.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct NearCacheSettings {
    /// How much it may hold, in bytes: `maxBytes`.
    pub max_bytes: u64,
    /// How long a value is answered at most without being read again: `ttlMs`.
    pub ttl: Duration,
    /// How old an answer may be when the connection freezes or is cut: `maxStalenessMs`. At least
    /// 1.5 heartbeats.
    pub max_staleness: Duration,
}

impl OptionReader {
    /// `heartbeatMs`, or the member of `nearCache` that had the name before.
    pub(super) fn heartbeat(&mut self) -> Duration {
        let given: Option<u64> = self.integer("heartbeatMs");
        // `near_cache` notes what is wrong with it.
        let older = self.value("nearCache").and_then(|members| {
            let range = row_in(NEAR_CACHE, "heartbeatMs").range();
            whole_number(members.get("heartbeatMs")?, range).ok()
        });
        if let (Some(given), Some(older)) = (given, older)
            && given != older
        {
            let what = format!(
                "{given} differs from nearCache.heartbeatMs ({older}), which is its older name; \
                 give one of the two"
            );
            self.problem("heartbeatMs", what);
        }
        match given.or(older) {
            Some(ms) => Duration::from_millis(ms),
            None => self.default_ms("heartbeatMs"),
        }
    }

    /// `None`: it is off.
    pub(super) fn near_cache(&mut self, heartbeat: Duration) -> Option<NearCacheSettings> {
        let members = match self.value("nearCache") {
            None | Some(Value::Bool(true)) => Map::new(),
            Some(Value::Bool(false)) => return None,
            Some(Value::Object(members)) => members.clone(),
            Some(other) => {
                let (right, what) = (names(NEAR_CACHE, ", "), kind_of(other));
                let what = format!("must be true, false or an object with {right}, not {what}");
                return self.refuse("nearCache", what);
            }
        };
        self.refuse_unknown_members("nearCache", NEAR_CACHE, &members);
        let [max_bytes, _, ttl_ms, max_staleness_ms] =
            ["maxBytes", "heartbeatMs", "ttlMs", "maxStalenessMs"]
                .map(|name| self.member_integer("nearCache", row_in(NEAR_CACHE, name), &members));
        let default = |name| row_in(NEAR_CACHE, name).default_integer();
        let max_bytes = max_bytes.unwrap_or_else(|| default("maxBytes"));
        let ttl = Duration::from_millis(ttl_ms.unwrap_or_else(|| default("ttlMs")));
        let max_staleness_ms = max_staleness_ms.unwrap_or_else(|| default("maxStalenessMs"));
        let max_staleness = Duration::from_millis(max_staleness_ms);
        self.check_staleness(max_staleness, heartbeat);
        Some(NearCacheSettings { max_bytes, ttl, max_staleness })
    }

    /// Answers between two heartbeats must not count as too old.
    fn check_staleness(&mut self, max_staleness: Duration, heartbeat: Duration) {
        let (bound, beat) = (max_staleness.as_millis(), heartbeat.as_millis());
        let least = (beat * 3).div_ceil(2);
        if bound < least {
            let what = format!(
                "maxStalenessMs ({bound}) must be at least 1.5 times heartbeatMs ({beat}): \
                 give maxStalenessMs: {least} or more, or nearCache: false"
            );
            self.problem("nearCache", what);
        }
    }
}
