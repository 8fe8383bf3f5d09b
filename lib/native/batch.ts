/** Sends work to the store thread: the calls and reads of one tick leave as one batch, after the tick's microtasks. */
import * as native from "#native";
import { SessionStoreError } from "../error.js";
import { failAll, instanceNumber } from "./completions.js";

/** A tick's reads of one store. They stay in JavaScript until the batch is flushed. */
export interface PendingReads {
	/** Submits the reads, once. */
	send(): void;
}

/**
 * This many calls are flushed before the tick ends: the store thread and Redis work on them while JavaScript goes on. A read of a user's
 * session list counts as a call, because Better Auth has much to do between two of them. (Other reads wait for the tick's end. They cost
 * less, the more of them leave together.)
 */
const MAX_UNFLUSHED_CALLS = 16;

/** Calls that are submitted and not flushed yet. */
let unflushedCalls = 0;
/** Whether the end of the tick will flush. */
let isScheduled = false;
/** This tick's reads, each of another store. */
let pendingReads: PendingReads[] = [];

/** Counts a submitted call. Flushes at once when there are enough, else at the tick's end. */
export function countCall(): void {
	unflushedCalls++;
	if (unflushedCalls < MAX_UNFLUSHED_CALLS) flushAtTickEnd();
	else flush();
}

/** Adds a tick's reads of one store, which are sent with the next flush. */
export function addReads(reads: PendingReads): void {
	pendingReads.push(reads);
	flushAtTickEnd();
}

/** After the tick's microtasks, so that everything that they submit leaves together. */
function flushAtTickEnd(): void {
	if (isScheduled) return;
	isScheduled = true;
	process.nextTick(endTick);
}

function endTick(): void {
	isScheduled = false;
	if (unflushedCalls > 0 || pendingReads.length > 0) flush();
}

function flush(): void {
	unflushedCalls = 0;
	for (const reads of pendingReads) reads.send();
	pendingReads = [];
	try {
		native.flush(instanceNumber());
	} catch (error) {
		// The system refuses the store thread, so no call was ever started.
		failAll(new SessionStoreError("UNAVAILABLE", (error as Error).message));
	}
}
