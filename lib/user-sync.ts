/**
 * Keeps the copy of the user in each session equal to the user's row, for any order of writes and any difference of clocks.
 *
 * Better Auth writes its copy some time after the row, so two writers can overtake each other. So after each write that created a session
 * or changed a copy, a comparison (`metrics().userLooks` calls it a look) reads the copies, then the row, and writes the row where they
 * differ (crates/session-store/src/store/user_half.rs):
 *
 * 1. The first comparison runs at once. It writes no row that is older than the copy, because a replica may lag and a transaction may be
 *    open.
 * 2. The second one runs 5 s later and writes the row as it is.
 * 3. A comparison that wrote something is followed by another second one.
 *
 * The rules are explored by crates/session-store/tests/user_half.rs.
 */
import { AsyncResource } from "node:async_hooks";
import { setImmediate, setTimeout } from "node:timers";
import { checkJson } from "./argument-checks.js";
import { invalid, SessionStoreError } from "./error.js";
import type { UserLookMetrics } from "./metrics.js";
import type { StoreEvents } from "./native/events.js";
import { OUTAGE_CODES, SESSION_LIST_PREFIX } from "./native/facts.js";
import { type NativeStore, Operation } from "./native/native-store.js";
import type { LoadUser } from "./options.js";

/** The parts of `betterAuth(…)` that are used. */
export interface AuthWithUsers {
	// biome-ignore lint/suspicious/noExplicitAny: each version of Better Auth has types of its own
	readonly $context: Promise<any>;
}

type Call = NativeStore["call"];

/** How many comparisons run at a time. */
const MAX_RUNNING = 4;
/** The largest number of users in each of the waiting lists. */
const MAX_QUEUED = 10_000;
/** From a write to the second comparison, in ms: longer than replicas lag and transactions stay open. */
const SECOND_AFTER_MS = 5000;
/** How long reading a row may take, in ms. */
const ROW_TIMEOUT_MS = 10_000;
/** How often the comparison of a user is tried while the row cannot be read. */
const MAX_ATTEMPTS = 12;
/** How often a comparison starts again because a copy changed meanwhile. */
const MAX_PASSES = 20;

/** Outside the context of a request, where Better Auth's adapter may be one of an open transaction. */
const OUTSIDE = new AsyncResource("better-auth-redis-store");

const now = performance.now.bind(performance);

/** The result of a comparison. */
interface Compared {
	sessions: number;
	hasNoRow: boolean;
}

export class UserSync {
	readonly #call: Call;
	readonly #events: StoreEvents;
	#loadUser: LoadUser | undefined;
	/** Of the gate that is bound to the storage. */
	#auth: AuthWithUsers | undefined;
	/** Whether the option `loadUser` was given. */
	readonly #isGiven: boolean;
	/** Users that wait for a comparison. `true`: a row that is older than the copy is written too. */
	readonly #queued = new Map<string, boolean>();
	readonly #running = new Set<string>();
	/** Users that wait for their second comparison, the first due first. `again`: another one follows it. */
	readonly #second = new Map<string, { due: number; again?: boolean }>();
	/** Users with a comparison that waits until Redis answers. */
	readonly #waitingForRedis = new Set<string>();
	/** How often in a row the comparison of a user has failed. */
	readonly #failures = new Map<string, number>();
	#isStarting = false;
	#hasSecondTimer = false;
	#hasRedisTimer = false;
	#isClosed = false;
	readonly #counts = { done: 0, written: 0, failed: 0, dropped: 0 };

	/** @throws {SessionStoreError} `INVALID_ARGUMENT` when `loadUser` is no function. */
	constructor(call: Call, events: StoreEvents, loadUser: LoadUser | undefined) {
		if (loadUser !== undefined && typeof loadUser !== "function") {
			throw invalid("loadUser: must be a function that resolves to the user's row, or to null");
		}
		this.#call = call;
		this.#events = events;
		this.#loadUser = loadUser;
		this.#isGiven = loadUser !== undefined;
		events.on("ready", () => this.#resume());
	}

	/**
	 * Reads rows through Better Auth from now on, unless `loadUser` was given. A second Better Auth turns this off, because it is not
	 * known which of the two has the right row.
	 */
	bind(auth: AuthWithUsers, storage: object): void {
		if (this.#isGiven || this.#auth === auth) return;
		const isFirst = this.#auth === undefined;
		this.#auth = auth;
		this.#loadUser = isFirst ? rowsOf(auth, storage, () => this.#disable()) : undefined;
	}

	#disable(): void {
		this.#loadUser = undefined;
	}

	/** Notes a write that created a session or changed its copy of the user. */
	noteWrite(user: string): void {
		if (this.#loadUser === undefined || this.#isClosed) return;
		this.#enqueue(user, false);
		this.#scheduleSecond(user);
	}

	/** Notes a write that may not have reached Redis. */
	noteFailedWrite(token: string, value: string, error: unknown): void {
		if (this.#loadUser === undefined || !isOutage(error)) return;
		const user = userOf(token, value);
		if (user !== undefined) this.#waitForRedis(user);
	}

	/** Notes that a user's sessions could not be listed: a change of the user has not reached them. */
	noteFailedList(listKey: string, error: unknown): void {
		if (this.#loadUser !== undefined && isOutage(error)) this.#waitForRedis(listKey.slice(SESSION_LIST_PREFIX.length));
	}

	/**
	 * Compares now.
	 *
	 * @returns How many sessions the user has, or, without a row, how many were ended.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` when there is no way to read a row.
	 */
	async refresh(user: string): Promise<number> {
		const { sessions, hasNoRow } = await OUTSIDE.runInAsyncScope(() => this.#compare(user, true));
		if (this.#loadUser === undefined) {
			throw invalid(
				"refreshUser: there is no way to read a user's row: make one sessionGate of this storage where Better Auth has a database, or set loadUser",
			);
		}
		if (!hasNoRow) return sessions;
		return (await this.#call(Operation.EndAll, user)) as number;
	}

	metrics(): UserLookMetrics {
		const queued = this.#queued.size + this.#running.size + this.#second.size + this.#waitingForRedis.size;
		return { ...this.#counts, queued };
	}

	/** Forgets all waiting users. A running comparison goes on. */
	close(): void {
		this.#isClosed = true;
		for (const users of [this.#queued, this.#second, this.#waitingForRedis, this.#failures]) users.clear();
	}

	/** @param asItIs Whether a row is written that is older than the copy. */
	#enqueue(user: string, asItIs: boolean): void {
		if (this.#isClosed) return;
		const queued = this.#queued.get(user);
		if (queued === undefined && this.#queued.size >= MAX_QUEUED) {
			this.#counts.dropped++;
			return;
		}
		this.#queued.set(user, asItIs || queued === true);
		if (this.#isStarting) return;
		// Later, so that all writes of this turn are one comparison.
		this.#isStarting = true;
		setImmediate(() => {
			this.#isStarting = false;
			OUTSIDE.runInAsyncScope(() => this.#start());
		});
	}

	/** Starts as many comparisons as may run. */
	#start(): void {
		for (const [user, asItIs] of this.#queued) {
			if (this.#running.size >= MAX_RUNNING) return;
			if (this.#running.has(user)) continue;
			this.#queued.delete(user);
			this.#running.add(user);
			void this.#run(user, asItIs);
		}
	}

	async #run(user: string, asItIs: boolean): Promise<void> {
		try {
			await this.#compare(user, asItIs);
			this.#counts.done++;
			this.#failures.delete(user);
		} catch (error) {
			if (isOutage(error)) this.#waitForRedis(user);
			else if (!this.#isClosed) {
				this.#counts.failed++;
				this.#tryAgain(user);
				// The message of another error may hold values of the row.
				const name = error instanceof Error && /^\w{1,40}$/.test(error.name) ? error.name : typeof error;
				const why = error instanceof SessionStoreError ? error.message : name;
				this.#events.warn(`a user's row could not be compared with the sessions: ${why}`);
			}
		}
		this.#running.delete(user);
		this.#start();
	}

	/** Schedules a comparison after a failure: the database may be down for a while. */
	#tryAgain(user: string): void {
		const failures = (this.#failures.get(user) ?? 0) + 1;
		if (failures >= MAX_ATTEMPTS || this.#second.size >= MAX_QUEUED) {
			this.#failures.delete(user);
			return;
		}
		this.#failures.set(user, failures);
		this.#scheduleSecond(user);
	}

	async #compare(user: string, asItIs: boolean): Promise<Compared> {
		for (let pass = 0; pass < MAX_PASSES; pass++) {
			const copies = (await this.#call(Operation.UserHalves, user)) as string | null;
			if (copies === null && !asItIs) return { sessions: 0, hasNoRow: false };
			const row = await this.#readRow(user);
			if (row === undefined) return { sessions: 0, hasNoRow: false };
			const sessions = copies === null ? 0 : (JSON.parse(copies) as unknown[]).length;
			if (row === null || copies === null) return { sessions, hasNoRow: row === null };
			const written = (await this.#call(Operation.InstallUser, user, row, asItIs ? 1 : 0, [copies])) as number;
			if (written === 0) return { sessions, hasNoRow: false };
			this.#counts.written += written;
			// The row that was written may have been an old one, from a replica.
			this.#scheduleSecond(user);
		}
		throw new SessionStoreError("CONFLICT", "the user's sessions keep changing");
	}

	/** The row as JSON; `null` when there is none, `undefined` when there is no way to read rows any more. */
	async #readRow(user: string): Promise<string | null | undefined> {
		const loadUser = this.#loadUser;
		if (loadUser === undefined) return undefined;
		const row = await withTimeout(Promise.resolve(loadUser(user)));
		if (this.#loadUser === undefined) return undefined;
		return row === null || row === undefined ? null : checkJson("the row that loadUser resolves to", row);
	}

	#scheduleSecond(user: string): void {
		if (this.#isClosed) return;
		const at = now();
		const scheduled = this.#second.get(user);
		if (scheduled !== undefined) scheduled.again = true;
		else if (this.#second.size >= MAX_QUEUED) this.#counts.dropped++;
		else this.#second.set(user, { due: at + SECOND_AFTER_MS });
		this.#setSecondTimer();
	}

	#setSecondTimer(): void {
		const next = this.#second.values().next();
		if (this.#hasSecondTimer || next.done) return;
		this.#hasSecondTimer = true;
		setTimeout(
			() => {
				this.#hasSecondTimer = false;
				this.#enqueueDue();
				this.#setSecondTimer();
			},
			Math.max(next.value.due - now(), 1),
		).unref();
	}

	/** Enqueues each user whose second comparison is due. */
	#enqueueDue(): void {
		const at = now();
		for (const [user, { due, again }] of this.#second) {
			if (due > at) break;
			this.#second.delete(user);
			if (again) this.#second.set(user, { due: at + SECOND_AFTER_MS });
			this.#enqueue(user, true);
		}
	}

	#waitForRedis(user: string): void {
		if (this.#isClosed) return;
		if (this.#waitingForRedis.size >= MAX_QUEUED && !this.#waitingForRedis.has(user)) {
			this.#counts.dropped++;
			return;
		}
		this.#waitingForRedis.add(user);
		if (this.#hasRedisTimer) return;
		this.#hasRedisTimer = true;
		setTimeout(() => {
			this.#hasRedisTimer = false;
			this.#resume();
		}, SECOND_AFTER_MS).unref();
	}

	/** Retries the comparisons that wait for Redis. */
	#resume(): void {
		const users = [...this.#waitingForRedis];
		this.#waitingForRedis.clear();
		for (const user of users) this.noteWrite(user);
	}
}

/** Reads rows by Better Auth's own adapter. Calls `disable` when Better Auth has no database of its own, or another storage. */
function rowsOf(auth: AuthWithUsers, storage: object, disable: () => void): LoadUser {
	return async (userId) => {
		const { adapter, options } = await auth.$context;
		if (options.database && options.secondaryStorage === storage) {
			return adapter.findOne({ model: "user", where: [{ field: "id", value: userId }] });
		}
		disable();
		return null;
	};
}

function withTimeout<T>(row: Promise<T>): Promise<T> {
	return new Promise((resolve, reject) => {
		const timeOut = () => reject(new SessionStoreError("CONFLICT", `it was not read within ${ROW_TIMEOUT_MS} ms`));
		const timer = setTimeout(timeOut, ROW_TIMEOUT_MS).unref();
		row.then(resolve, reject).finally(() => clearTimeout(timer));
	});
}

function isOutage(error: unknown): boolean {
	return error instanceof SessionStoreError && (OUTAGE_CODES.includes(error.code) || error.code === "OUT_OF_MEMORY");
}

/** The user id in the session record of `token`; `undefined` when the value is no such record. */
function userOf(token: string, value: string): string | undefined {
	try {
		const { session } = JSON.parse(value);
		return session.token === token ? String(session.userId) : undefined;
	} catch {
		return undefined;
	}
}
