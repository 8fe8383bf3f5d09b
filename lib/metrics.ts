/** How a store stands and what it has done, as `metrics()` tells it. Numbers count since the store was opened. */

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
	/** Keys that Redis told were changed. */
	invalidations: number;
	/** How often everything was forgotten, by reason. */
	flushes: {
		/** The connection was lost, or another one took over from it. */
		disconnected: number;
		/** FLUSHALL or FLUSHDB. */
		flushed: number;
		/** The server became a replica. */
		demoted: number;
		/** The server gave no sign of life within `maxStalenessMs`. */
		silent: number;
		/** Changes are not told, though the connection works. */
		canary: number;
		/** Ending all sessions of a user was not answered, so what it ended is not known. */
		uncertain: number;
		/** Of a cluster, keys lie on other servers now. */
		topology: number;
	};
	/** Values that made room for others. */
	evictions: number;
	/** What it holds, in bytes. */
	bytes: number;
	/** How many values it holds. */
	entries: number;
}

/** Ends that replicas were waited for (option `revoke`). */
export interface RevokeMetrics {
	/** How many. An end of several sessions is one. */
	waited: number;
	/** Of these, those that fewer than `waitReplicas` acknowledged in time. */
	underReplicated: number;
	/** How many replicas acknowledged the last one; `null` when nobody knows, or before the first. */
	lastAcked: number | null;
}

/** What Redis does not know yet (option `onUnavailable: "database"`). */
export interface JournalMetrics {
	/** Ends of sessions, or of all of a user's, that are still to be done. */
	ends: number;
	/** Sessions that are still to be written. */
	puts: number;
	/** What they take, in bytes. */
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
	/** Looks that came to an end. */
	done: number;
	/** Copies of the user that a look has written, or that changed while it read. */
	written: number;
	/** Looks that failed: the row could not be read. */
	failed: number;
	/** Looks that were not made, because 10,000 users waited. */
	dropped: number;
	/** Users who wait for a look now. */
	queued: number;
}

/** How a store stands. */
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

/** Of a store that is not open. */
export function metricsOfNone(reason: string): Omit<StoreMetrics, "userLooks"> {
	const flushes = { disconnected: 0, flushed: 0, demoted: 0, silent: 0, canary: 0, uncertain: 0, topology: 0 };
	const counts = { hits: 0, misses: 0, coalesced: 0, insertsRefused: 0, invalidations: 0, evictions: 0 };
	const nearCache = { enabled: false, reason, ...counts, flushes, bytes: 0, entries: 0 };
	const refusedWrites = { ended: 0, tooOld: 0, tooLarge: 0, conflict: 0 };
	return { nearCache, revoke: null, journal: null, refusedWrites, degraded: { slowAnswers: 0, outOfMemory: 0 } };
}
