/**
 * Keeps the copy of the user in each session equal to the user's row, whatever order writes arrive in and whatever clocks say.
 *
 * Better Auth writes its copy some time after the row, so that two writers can overtake each other. After each write that created a
 * session or changed a copy, this handle therefore looks: it reads the copies, then the row, and writes the row where they differ
 * (crates/session-store/src/store/user_half.rs). The look at once writes no row that is older than the copy, because a replica may lag
 * and a transaction may be open. A second look follows, which writes the row as it is. A look that wrote something is itself followed
 * by one. The rules are explored by crates/session-store/tests/user_half.rs.
 */
import { AsyncResource } from "node:async_hooks";
import { setImmediate, setTimeout } from "node:timers";
import * as native from "#native";
import { checkJson, LIST_PREFIX } from "./argument-checks.js";
import { invalid, OUTAGE, SessionStoreError } from "./error.js";
import type { StoreEvents } from "./native/events.js";
import type { UserLookMetrics } from "./metrics.js";

/** Reads the row of a user, as Better Auth's adapter returns it; `null` when there is none. */
export type LoadUser = (userId: string) => object | null | undefined | Promise<object | null | undefined>;

/** The parts of `betterAuth(…)` that are used. */
export interface AuthWithUsers {
	// biome-ignore lint/suspicious/noExplicitAny: each version of Better Auth has types of its own
	readonly $context: Promise<any>;
}

type Call = (op: native.Op, a: string, b?: string, n?: number, handed?: string[]) => Promise<string | number | null>;

/** How many looks go on at a time. */
const AT_ONCE = 4;
/** How many users wait for a look, and how many for their second one. */
const MAX_QUEUED = 10_000;
/** From a write to the second look, in ms: longer than replicas lag and transactions stay open. */
const SECOND_LOOK_MS = 5000;
/** How long a row is waited for, in ms. */
const ROW_MS = 10_000;
/** How often a look is repeated that could not read the row. */
const ATTEMPTS = 12;
/** How often a look begins again because a copy changed meanwhile. */
const PASSES = 20;

/** Not in the context of a request: there Better Auth's adapter may be one of an open transaction. */
const OUTSIDE = new AsyncResource("better-auth-redis-store");

const now = performance.now.bind(performance);

/** What a look found. */
interface Found {
	sessions: number;
	/** Whether there is no row. */
	isGone: boolean;
}

export class UserLooks {
	readonly #call: Call;
	readonly #events: StoreEvents;
	#loadUser: LoadUser | undefined;
	/** Of the gate that is bound to the storage. */
	#auth: AuthWithUsers | undefined;
	readonly #isGiven: boolean;
	/** Users who wait for a look, and whether an older row is written, too. */
	readonly #queued = new Map<string, boolean>();
	readonly #running = new Set<string>();
	/** Users who wait for their second look, the soonest first: when it is due, and whether another one is wanted after it. */
	readonly #second = new Map<string, { due: number; again?: boolean }>();
	/** Users whose look has to wait until Redis answers. */
	readonly #stalled = new Set<string>();
	/** How often in a row the looks at a user have failed. */
	readonly #failures = new Map<string, number>();
	#isStarting = false;
	#secondTimer = false;
	#stalledTimer = false;
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

	/** Reads rows by way of Better Auth from now on, unless `loadUser` was given. With two of them nobody knows whose row it is. */
	bind(auth: AuthWithUsers, storage: object): void {
		if (this.#isGiven || this.#auth === auth) return;
		const isFirst = this.#auth === undefined;
		this.#auth = auth;
		this.#loadUser = isFirst ? rowsOf(auth, storage, () => this.#disable()) : undefined;
	}

	#disable(): void {
		this.#loadUser = undefined;
	}

	/** After a write that created a session or changed its copy of the user. */
	noteWrite(user: string): void {
		if (this.#loadUser === undefined || this.#isClosed) return;
		this.#enqueue(user, false);
		this.#expectSecond(user);
	}

	/** After a write that may not have reached Redis. */
	noteFailedWrite(token: string, value: string, error: unknown): void {
		if (this.#loadUser === undefined || !isOutage(error)) return;
		const user = userIn(token, value);
		if (user !== undefined) this.#stall(user);
	}

	/** After a user's sessions could not be listed: a change of the user has not reached them. */
	noteFailedList(listKey: string, error: unknown): void {
		if (this.#loadUser !== undefined && isOutage(error)) this.#stall(listKey.slice(LIST_PREFIX.length));
	}

	/**
	 * Looks now.
	 *
	 * @returns How many sessions the user has, or, without a row, how many were ended.
	 */
	async refresh(user: string): Promise<number> {
		const { sessions, isGone } = await OUTSIDE.runInAsyncScope(() => this.#look(user, true));
		if (this.#loadUser === undefined) {
			throw invalid(
				"refreshUser: there is no way to read a user's row: make one sessionGate of this storage where Better Auth has a database, or set loadUser",
			);
		}
		if (!isGone) return sessions;
		return (await this.#call(native.Op.EndAll, user)) as number;
	}

	metrics(): UserLookMetrics {
		return { ...this.#counts, queued: this.#queued.size + this.#running.size + this.#second.size + this.#stalled.size };
	}

	close(): void {
		this.#isClosed = true;
		for (const users of [this.#queued, this.#second, this.#stalled, this.#failures]) users.clear();
	}

	#enqueue(user: string, asItIs: boolean): void {
		if (this.#isClosed) return;
		const queued = this.#queued.get(user);
		if (queued === undefined && this.#queued.size >= MAX_QUEUED) {
			this.#counts.dropped++;
			return;
		}
		this.#queued.set(user, asItIs || queued === true);
		if (this.#isStarting) return;
		// Later, so that all writes of this turn are one look.
		this.#isStarting = true;
		setImmediate(() => {
			this.#isStarting = false;
			OUTSIDE.runInAsyncScope(() => this.#start());
		});
	}

	#start(): void {
		for (const [user, asItIs] of this.#queued) {
			if (this.#running.size >= AT_ONCE) return;
			if (this.#running.has(user)) continue;
			this.#queued.delete(user);
			this.#running.add(user);
			void this.#run(user, asItIs);
		}
	}

	async #run(user: string, asItIs: boolean): Promise<void> {
		try {
			await this.#look(user, asItIs);
			this.#counts.done++;
			this.#failures.delete(user);
		} catch (error) {
			if (isOutage(error)) this.#stall(user);
			else if (!this.#isClosed) {
				this.#counts.failed++;
				this.#tryAgain(user);
				// What it says may hold values of the row.
				const name = error instanceof Error && /^\w{1,40}$/.test(error.name) ? error.name : typeof error;
				const why = error instanceof SessionStoreError ? error.message : name;
				this.#events.warn(`a user's row could not be compared with the sessions: ${why}`);
			}
		}
		this.#running.delete(user);
		this.#start();
	}

	/** The database may be away for a while. */
	#tryAgain(user: string): void {
		const failures = (this.#failures.get(user) ?? 0) + 1;
		if (failures >= ATTEMPTS || this.#second.size >= MAX_QUEUED) {
			this.#failures.delete(user);
			return;
		}
		this.#failures.set(user, failures);
		this.#expectSecond(user);
	}

	async #look(user: string, asItIs: boolean): Promise<Found> {
		for (let pass = 0; pass < PASSES; pass++) {
			const halves = (await this.#call(native.Op.UserHalves, user)) as string | null;
			if (halves === null && !asItIs) return { sessions: 0, isGone: false };
			const row = await this.#row(user);
			if (row === undefined) return { sessions: 0, isGone: false };
			const sessions = halves === null ? 0 : (JSON.parse(halves) as unknown[]).length;
			if (row === null || halves === null) return { sessions, isGone: row === null };
			const left = (await this.#call(native.Op.InstallUser, user, row, asItIs ? 1 : 0, [halves])) as number;
			if (left === 0) return { sessions, isGone: false };
			this.#counts.written += left;
			// What was written may have been an old row, of a replica.
			this.#expectSecond(user);
		}
		throw new SessionStoreError("CONFLICT", "the user's sessions keep changing");
	}

	/** The row as JSON; `null` when there is none, `undefined` when nobody can be asked any more. */
	async #row(user: string): Promise<string | null | undefined> {
		const loadUser = this.#loadUser;
		if (loadUser === undefined) return undefined;
		const row = await withDeadline(Promise.resolve(loadUser(user)));
		if (this.#loadUser === undefined) return undefined;
		return row === null || row === undefined ? null : checkJson("the row that loadUser resolves to", row);
	}

	#expectSecond(user: string): void {
		if (this.#isClosed) return;
		const at = now();
		const expected = this.#second.get(user);
		if (expected !== undefined) expected.again = true;
		else if (this.#second.size >= MAX_QUEUED) this.#counts.dropped++;
		else this.#second.set(user, { due: at + SECOND_LOOK_MS });
		this.#waitForSecond();
	}

	#waitForSecond(): void {
		const next = this.#second.values().next();
		if (this.#secondTimer || next.done) return;
		this.#secondTimer = true;
		setTimeout(
			() => {
				this.#secondTimer = false;
				const at = now();
				for (const [user, { due, again }] of this.#second) {
					if (due > at) break;
					this.#second.delete(user);
					if (again) this.#second.set(user, { due: at + SECOND_LOOK_MS });
					this.#enqueue(user, true);
				}
				this.#waitForSecond();
			},
			Math.max(next.value.due - now(), 1),
		).unref();
	}

	#stall(user: string): void {
		if (this.#isClosed) return;
		if (this.#stalled.size >= MAX_QUEUED && !this.#stalled.has(user)) {
			this.#counts.dropped++;
			return;
		}
		this.#stalled.add(user);
		if (this.#stalledTimer) return;
		this.#stalledTimer = true;
		setTimeout(() => {
			this.#stalledTimer = false;
			this.#resume();
		}, SECOND_LOOK_MS).unref();
	}

	/** Tries again what Redis did not answer. */
	#resume(): void {
		const users = [...this.#stalled];
		this.#stalled.clear();
		for (const user of users) this.noteWrite(user);
	}
}

/** Rows by Better Auth's own adapter. Without a database of its own it has none: then `disable` is called. */
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

function withDeadline<T>(row: Promise<T>): Promise<T> {
	return new Promise((resolve, reject) => {
		const late = () => reject(new SessionStoreError("CONFLICT", `it was not read within ${ROW_MS} ms`));
		const timer = setTimeout(late, ROW_MS).unref();
		row.then(resolve, reject).finally(() => clearTimeout(timer));
	});
}

function isOutage(error: unknown): boolean {
	return error instanceof SessionStoreError && (OUTAGE.includes(error.code) || error.code === "OUT_OF_MEMORY");
}

/** Whose session record this is; `undefined` when it is none. */
function userIn(token: string, value: string): string | undefined {
	try {
		const { session } = JSON.parse(value);
		return session.token === token ? String(session.userId) : undefined;
	} catch {
		return undefined;
	}
}
