/**
 * The types of `metrics()`. Counters start when the store is opened. crates/session-store/src/metrics.rs has the same fields, except
 * `userLooks`. __test__/types/core-facts.test.js compares the two.
 */

/** The near cache. */
export interface NearCacheMetrics {
	/** Whether it answers reads. */
	enabled: boolean;
	/** The reason why it does not answer reads, in words; `null` when it does. */
	reason: string | null;
	/** Reads answered without Redis. */
	hits: number;
	/** Reads that went to Redis. */
	misses: number;
	/** Reads that waited for another read of the same key. */
	coalesced: number;
	/** Answers of Redis that were not kept, because the key changed while the read was in flight. */
	insertsRefused: number;
	/** Keys that Redis reported as changed. */
	invalidations: number;
	/** How often the whole near cache was emptied, by reason. */
	flushes: {
		/** The connection was lost or replaced. */
		disconnected: number;
		/** FLUSHALL or FLUSHDB. */
		flushed: number;
		/** The server became a replica. */
		demoted: number;
		/** The server was silent for `maxStalenessMs`. */
		silent: number;
		/** The server did not report a change, although the connection works. */
		canary: number;
		/** An end of all sessions of a user was not answered, so the ended sessions are not known. */
		uncertain: number;
		/** Keys of a cluster moved to other servers. */
		topology: number;
	};
	/** Values that were removed to make room for others. */
	evictions: number;
	/** Its size, in bytes. */
	bytes: number;
	/** Number of its values. */
	entries: number;
}

/** Ends of sessions that waited for replicas (option `revoke`). */
export interface RevokeMetrics {
	/** Ends that waited. An end of several sessions counts once. */
	waited: number;
	/** Ends that fewer than `waitReplicas` replicas acknowledged in time. */
	underReplicated: number;
	/** Number of replicas that acknowledged the last end; `null` if it is not known, or before the first end. */
	lastAcked: number | null;
}

/** Changes that wait for Redis (option `onUnavailable: "database"`). */
export interface JournalMetrics {
	/** Pending ends of sessions, or of all of a user's sessions. */
	ends: number;
	/** Pending writes of sessions. */
	puts: number;
	/** Size of all pending changes, in bytes. */
	bytes: number;
	/** Sessions that will not be written, because there was no room for them. They are in the database only. */
	droppedPuts: number;
}

/** Writes of session records that were dropped, by reason. */
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

/** Slow answers of Redis, and a full memory. */
export interface DegradedMetrics {
	/** Answers that took longer than `slowMs`. */
	slowAnswers: number;
	/** Writes that Redis refused, because its memory was full. */
	outOfMemory: number;
}

/** Comparisons of the user in the sessions with the user's row, by this storage or store only. */
export interface UserLookMetrics {
	/** Comparisons that succeeded. */
	done: number;
	/** Copies of the user that the comparison wrote, or that changed meanwhile. */
	written: number;
	/** Comparisons that failed, for example because the row could not be read. */
	failed: number;
	/** Comparisons that were dropped, because 10,000 users waited already. */
	dropped: number;
	/** Users that wait for a comparison now. */
	queued: number;
}

/** The metrics of a store. */
export interface StoreMetrics {
	/** The near cache. */
	nearCache: NearCacheMetrics;
	/** Ends that waited for replicas; `null` without the option `revoke`. */
	revoke: RevokeMetrics | null;
	/** Changes that wait for Redis; `null` without `onUnavailable: "database"`. */
	journal: JournalMetrics | null;
	/** Writes of session records that were dropped. */
	refusedWrites: RefusedWritesMetrics;
	/** Slow answers of Redis, and a full memory. */
	degraded: DegradedMetrics;
	/** Comparisons of the user in the sessions with the user's row. */
	userLooks: UserLookMetrics;
}
