//! How a store stands and what it has done, as one snapshot. `lib/metrics.ts` mirrors it, field by
//! field, under the same names in camel case: that is where each number is explained to users.
//!
//! Numbers count since the store was opened, sizes are in bytes. Each group is filled by the part
//! of the store that counts it, the snapshot by `Store::metrics`.

use serde::Serialize;

/// A store at one moment. Its JSON is what JavaScript's `metrics()` answers, but for `userLooks`,
/// which are made there.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoreMetrics {
    pub(crate) near_cache: NearCacheMetrics,
    /// `None` without the option `revoke`.
    pub(crate) revoke: Option<RevokeMetrics>,
    /// `None` without `onUnavailable: "database"`.
    pub(crate) journal: Option<JournalMetrics>,
    pub(crate) refused_writes: RefusedWritesMetrics,
    pub(crate) degraded: DegradedMetrics,
}

/// The near cache.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NearCacheMetrics {
    /// Whether it answers reads.
    pub(crate) enabled: bool,
    /// Why it does not; `None` when it does.
    pub(crate) reason: Option<String>,
    /// Reads answered without the server.
    pub(crate) hits: u64,
    /// Reads that went to the server.
    pub(crate) misses: u64,
    /// Reads that waited for another read of the same key.
    pub(crate) coalesced: u64,
    /// Answers that were not kept, because the key changed while they were on their way.
    pub(crate) inserts_refused: u64,
    /// Keys that the server reported as changed.
    pub(crate) invalidations: u64,
    /// How often the whole cache was emptied, by reason.
    pub(crate) flushes: FlushCounts,
    /// Values that made room for others.
    pub(crate) evictions: u64,
    /// What it holds.
    pub(crate) bytes: u64,
    /// How many values it holds.
    pub(crate) entries: u64,
}

/// How often the near cache was emptied, by reason.
#[derive(Debug, Default, Serialize)]
pub(crate) struct FlushCounts {
    /// The connection was lost, or another one took over from it.
    pub(crate) disconnected: u64,
    /// FLUSHALL or FLUSHDB.
    pub(crate) flushed: u64,
    /// The server became a replica.
    pub(crate) demoted: u64,
    /// The server gave no sign of life within `maxStalenessMs`.
    pub(crate) silent: u64,
    /// The canary's change was not reported, though the connection works.
    pub(crate) canary: u64,
    /// An end of all sessions of a user was not answered, so what it ended is not known.
    pub(crate) uncertain: u64,
    /// Keys of a cluster moved to other servers.
    pub(crate) topology: u64,
}

/// Of a store that cannot be opened for `reason`, or that is closed: the JSON of [`StoreMetrics`],
/// with nothing counted.
pub fn metrics_of_unopened_store(reason: String) -> String {
    StoreMetrics {
        near_cache: NearCacheMetrics { reason: Some(reason), ..Default::default() },
        revoke: None,
        journal: None,
        refused_writes: RefusedWritesMetrics::default(),
        degraded: DegradedMetrics::default(),
    }
    .to_json()
}

impl StoreMetrics {
    /// As JavaScript reads it.
    pub(crate) fn to_json(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

impl NearCacheMetrics {
    /// Of a store that has no near cache.
    pub(crate) fn none() -> Self {
        let reason = "option nearCache is false, or the store uses the embedded engine";
        NearCacheMetrics { reason: Some(reason.to_owned()), ..Default::default() }
    }
}

/// Ends that replicas were waited for (option `revoke`).
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RevokeMetrics {
    /// How many. An end of several sessions is one.
    pub(crate) waited: u64,
    /// Of these, those that fewer than `waitReplicas` acknowledged in time.
    pub(crate) under_replicated: u64,
    /// How many replicas acknowledged the last one; `None` when that is not known, or before the
    /// first.
    pub(crate) last_acked: Option<u32>,
}

/// What the server does not know yet (option `onUnavailable: "database"`).
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JournalMetrics {
    /// Ends of sessions, or of all of a user's, that are still to be done.
    pub(crate) ends: usize,
    /// Sessions that are still to be written.
    pub(crate) puts: usize,
    /// What they take.
    pub(crate) bytes: usize,
    /// Sessions that will not be written, because there was no room for them: they are in the
    /// database only.
    pub(crate) dropped_puts: u64,
}

/// Writes of session records that were dropped, by reason.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RefusedWritesMetrics {
    /// The session had ended.
    pub(crate) ended: u64,
    /// There was no such session, and it was too old to be created.
    pub(crate) too_old: u64,
    /// The record was larger than `maxValueBytes`; a live session of its token has ended.
    pub(crate) too_large: u64,
    /// The token belongs to another user, or a clock is wrong.
    pub(crate) conflict: u64,
}

/// Answers that were late, and writes that found no memory.
#[derive(Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DegradedMetrics {
    /// Answers that took longer than `slowMs`.
    pub(crate) slow_answers: u64,
    /// Writes that a full memory refused.
    pub(crate) out_of_memory: u64,
}
