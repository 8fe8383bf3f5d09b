/**
 * What `metrics()` returns. Counters start when the store is opened. crates/session-store/src/metrics.rs has the same fields, but for
 * `userLooks`; __test__/types/core-facts.test.js compares the two.
 */

/** The near cache. */
export interface NearCacheMetrics {
	/** Whether it answers reads. */
	enabled: boolean;
	/** Why it does not, in words; `null` when it does. */
	reason: string | null;
	/** Reads answered without Redis. */
	hits: number;
	/** Reads that went to Redis. */
	misses: number;
	/** Reads that waited for another read of the same key. */
	coalesced: number;
	/** Answers of Redis that were not kept, because the key changed while they were on their way. */
	insertsRefused: number;
	/** Keys that Redis reported as changed. */
	invalidations: number;
	/** How often the whole near cache was emptied, by reason. */
	flushes: {
		/** The connection was lost, or another one took over from it. */
		disconnected: number;
		/** FLUSHALL or FLUSHDB. */
		flushed: number;
		/** The server became a replica. */
		demoted: number;
		/** The server gave no sign of life within `maxStalenessMs`. */
		silent: number;
		/** Changes are not reported, though the connection works. */
		canary: number;
		/** An end of all sessions of a user was not answered, so what it ended is not known. */
		uncertain: number;
		/** Keys of a cluster moved to other servers. */
		topology: number;
	};
	/** Values that made room for others. */
	evictions: number;
	/** What it holds, in bytes. */
	bytes: number;
	/** How many values it holds. */
	entries: number;
}

/** Ends of sessions that waited for replicas (option `revoke`). */
export interface RevokeMetrics {
	/** How many ends waited. An end of several sessions counts once. */
	waited: number;
	/** Of these, those that fewer than `waitReplicas` acknowledged in time. */
	underReplicated: number;
	/** How many replicas acknowledged the last one; `null` when that is not known, or before the first. */
	lastAcked: number | null;
}

/** What still has to be written to Redis (option `onUnavailable: "database"`). */
export interface JournalMetrics {
	/** Pending ends of sessions, or of all of a user's sessions. */
	ends: number;
	/** Pending writes of sessions. */
	puts: number;
	/** Size of all that is pending, in bytes. */
	bytes: number;
	/** Sessions that will not be written, because there was no room for them: they are in the database only. */
	droppedPuts: number;
}

/** Writes of session records that were dropped. */
export interface RefusedWritesMetrics {
	/** The session had ended. */
	ended: number;
	/** There was no such session, and it was older than 120 s. */
	tooOld: number;
	/** The record was larger than `maxValueBytes`; a live session of its token has ended. */
	tooLarge: number;
	/** The token belongs to another user, or a clock is wrong. */
	conflict: number;
}

/** Answers of Redis that were late or short of memory. */
export interface DegradedMetrics {
	/** Answers that took longer than `slowMs`. */
	slowAnswers: number;
	/** Writes that a full memory refused. */
	outOfMemory: number;
}

/** Comparisons of the user in the sessions with the user's row. Of this handle only. */
export interface UserLookMetrics {
	/** Comparisons (looks) that succeeded. */
	done: number;
	/** Copies of the user that were written, or that changed during a comparison. */
	written: number;
	/** Comparisons that failed: the row could not be read. */
	failed: number;
	/** Comparisons that were dropped, because 10,000 users waited. */
	dropped: number;
	/** Users who wait for a comparison now. */
	queued: number;
}

/** The metrics of a store. */
export interface StoreMetrics {
	nearCache: NearCacheMetrics;
	/** `null` without the option `revoke`. */
	revoke: RevokeMetrics | null;
	/** `null` without `onUnavailable: "database"`. */
	journal: JournalMetrics | null;
	refusedWrites: RefusedWritesMetrics;
	degraded: DegradedMetrics;
	userLooks: UserLookMetrics;
}
