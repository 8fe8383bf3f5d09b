/** The store for Better Auth: `betterAuth({ secondaryStorage: redisStorage() })`. */

import {
	checkKey,
	checkOptions,
	checkSessionList,
	checkString,
	checkText,
	checkTtl,
	isStorable,
} from "./argument-checks.js";
import type { SessionStoreError } from "./error.js";
import type { StoreMetrics } from "./metrics.js";
import type { StoreEvent, StoreListener } from "./native/events.js";
import { NOT_BEFORE_PREFIX, OUTAGE_CODES, SESSION_LIST_PREFIX } from "./native/facts.js";
import { Operation } from "./native/native-store.js";
import type { StoreOptions } from "./options.js";
import { outageSessionList, sessionsOfOutageToken } from "./outage-session-list.js";
import { setInternals } from "./storage-internals.js";
import { SyncedStore } from "./synced-store.js";

/**
 * Better Auth's secondary storage, in Redis. Every method is a closure, so it works unbound, as Better Auth calls it.
 *
 * All methods reject with a `SessionStoreError` when Redis cannot answer. `null` always means that the key does not exist. With
 * `onUnavailable: "database"` there are two differences during an outage. `null` also means that Better Auth has to read its database. A user's
 * list has one entry, and its deletion ends every session that the user had.
 *
 * A key is a text of 1 to 4096 bytes of UTF-8, without NUL and without half of a surrogate pair. No value exists under any other text. For such
 * a text `get` and `getAndDelete` resolve to `null`, `delete` does nothing, and `set` and `increment` reject with `INVALID_ARGUMENT`.
 */
export interface RedisStorage {
	/**
	 * Reads the value of a key, as it was written. Resolves to `null` if there is none. `active-sessions-<user>` is composed from the user's
	 * index.
	 */
	get(key: string): Promise<string | null>;
	/**
	 * Writes a value. A session record is merged with changes of other writers, and lives until its own `expiresAt`. A write of an ended session
	 * resolves and changes nothing.
	 *
	 * @param ttl Lifetime in s of any other value, rounded up. 0 or less deletes the key. Without `ttl` the value does not expire.
	 * @throws {SessionStoreError}
	 *   - `INVALID_ARGUMENT`: the value of `active-sessions-<user>` is not Better Auth's list; or a new session has no `createdAt`, or a token of
	 *     more than 512 bytes.
	 *   - `LIMIT`: the value is larger than `maxValueBytes`. The live session that it was to change has ended.
	 *   - `CONFLICT`: the token belongs to another user or another application, or a clock is wrong.
	 */
	set(key: string, value: string, ttl?: number | undefined): Promise<void>;
	/** The value of the option `onUnavailable`. */
	readonly onUnavailable: "reject" | "database";
	/** Deletes a key. A session is ended and stays ended. `revoked-sessions-before-<user>` is not deleted, it expires. */
	delete(key: string): Promise<void>;
	/** Deletes a key and resolves to its value, or to `null`. Runs at most once, and is never retried. */
	getAndDelete(key: string): Promise<string | null>;
	/**
	 * Adds 1 to a counter and resolves to the sum. A new counter starts at 1 and lives for `ttl` s. Runs at most once, and is never retried.
	 *
	 * @throws {SessionStoreError} `CONFLICT`: the key holds a value that is no counter. `INVALID_ARGUMENT`: `ttl` is 0 or less.
	 */
	increment(key: string, ttl: number): Promise<number>;
	/** Lists every key of this store, without its prefix. Scans the whole keyspace (SCAN). */
	listKeys(): Promise<string[]>;
	/** Ends every session and deletes every other key under this store's own prefix. */
	clear(): Promise<void>;
	/**
	 * Writes the user's row into all of the user's sessions. Call it after a change outside Better Auth, such as one by SQL. If the user has no
	 * row, it ends the sessions.
	 *
	 * @returns The number of the user's sessions. Without a row, the number of ended sessions.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` without a `sessionGate` of this storage and without `loadUser`.
	 */
	refreshUser(userId: string): Promise<number>;
	/** Resolves when Redis answers. Rejects when it does not. */
	ping(): Promise<void>;
	/** Returns the current metrics of the store. Synchronous, without a round trip. */
	metrics(): StoreMetrics;
	/**
	 * Adds a listener of a connection event.
	 *
	 * @returns A function that removes the listener.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` for an unknown event.
	 */
	on(event: StoreEvent, listener: StoreListener): () => void;
	/**
	 * Closes this store. Resolves when all earlier calls are settled. Later calls reject with `CLOSED`. The connection ends with the last store
	 * that shares it.
	 */
	close(): Promise<void>;
}

/**
 * Makes a secondary storage for Better Auth. Opens no connection. The first call opens it. Every store with the same options shares it, in all
 * module instances and worker threads of the process.
 *
 * @param options A Redis URL, or options. Default: the environment variable `REDIS_URL`.
 * @throws {SessionStoreError} `INVALID_ARGUMENT`. Its message names every option that is wrong.
 *
 * @example
 * ```ts
 * import { betterAuth } from "better-auth";
 * import { redisStorage } from "better-auth-redis-store";
 *
 * export const auth = betterAuth({ secondaryStorage: redisStorage() });
 * ```
 */
export function redisStorage(options?: string | StoreOptions): RedisStorage {
	const checked = checkOptions(options);
	const store = new SyncedStore(checked);
	const hasDatabase = checked.onUnavailable === "database";
	const read: Read = (key, isTrusted = false) => {
		const value = readNow(store, key, isTrusted);
		if (!(value instanceof Promise)) return value;
		if (key.startsWith(SESSION_LIST_PREFIX)) value.catch((error) => store.userSync.noteFailedList(key, error));
		return hasDatabase ? value.catch((error) => valueInOutage(key, error)) : value;
	};
	const storage: RedisStorage = {
		...valueMethods(store, read),
		...storeMethods(store),
		onUnavailable: hasDatabase ? "database" : "reject",
	};
	setInternals(storage, {
		readTrusted: (key) => read(key, true),
		warn: (line, intervalMs) => store.events.warn(line, intervalMs),
		limitsSessions: checked.maxSessionsPerUser !== undefined,
		bind: (auth) => store.userSync.bind(auth, storage),
		setSessionLife: (seconds) => store.setSessionLife(seconds),
	});
	return storage;
}

type Read = (key: string, isTrusted?: boolean) => string | null | Promise<string | null>;

type ValueMethods = "get" | "set" | "delete" | "getAndDelete" | "increment" | "listKeys" | "clear";

/** The methods that Better Auth calls. */
function valueMethods(store: SyncedStore, read: Read): Pick<RedisStorage, ValueMethods> {
	return {
		get: (key) => {
			try {
				// Without an `async` function's second promise: this is the path of every session check.
				const value = read(key);
				return value instanceof Promise ? value : Promise.resolve(value);
			} catch (error) {
				return Promise.reject(error);
			}
		},
		set: async (key, value, ttl) => {
			checkText("key", key);
			checkText("value", value);
			const checkedTtl = ttl === undefined || ttl === null ? undefined : checkTtl(ttl);
			// Better Auth rewrites its list of a user's sessions at every sign-in; ours is composed from the index.
			if (key.startsWith(SESSION_LIST_PREFIX)) checkSessionList(value);
			else await store.set(key, value, checkedTtl);
		},
		delete: async (key) => {
			const sessions = sessionsOfOutageToken(checkString("key", key));
			if (sessions) await store.set(NOT_BEFORE_PREFIX + sessions.user, String(sessions.before), sessions.life);
			else if (isStorable(key)) await store.call(Operation.Delete, key);
		},
		getAndDelete: async (key) =>
			isStorable(checkString("key", key)) ? ((await store.call(Operation.Take, key)) as string | null) : null,
		increment: async (key, ttl) =>
			(await store.call(Operation.Increment, checkText("key", key), "", checkTtl(ttl))) as number,
		listKeys: async () => JSON.parse((await store.call(Operation.ListKeys)) as string) as string[],
		clear: async () => {
			await store.call(Operation.Clear);
		},
	};
}

type StoreMethods = "refreshUser" | "ping" | "metrics" | "on" | "close";

/** The methods for the application. */
function storeMethods(store: SyncedStore): Pick<RedisStorage, StoreMethods> {
	return {
		refreshUser: async (userId) => store.userSync.refresh(checkKey("userId", userId)),
		ping: async () => {
			await store.call(Operation.Ping);
		},
		metrics: () => store.metrics(),
		on: (event, listener) => store.events.on(event, listener),
		close: () => store.close(),
	};
}

/** Reads a value. Returns it without a promise if this thread or the near cache has it. */
function readNow(store: SyncedStore, key: string, isTrusted: boolean): string | null | Promise<string | null> {
	const copied = store.copied(key);
	if (copied !== undefined) return copied;
	return isStorable(checkString("key", key)) ? store.read(key, isTrusted) : null;
}

/** The result of a read during an outage: `null`, so that Better Auth reads its database, or a list with one entry that ends all sessions. */
function valueInOutage(key: string, error: SessionStoreError): string | null {
	if (!OUTAGE_CODES.includes(error.code)) throw error;
	return key.startsWith(SESSION_LIST_PREFIX) ? outageSessionList(key.slice(SESSION_LIST_PREFIX.length)) : null;
}
