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
 * Better Auth's secondary storage, kept in Redis. Every method is a closure: it works unbound, as Better Auth calls it.
 *
 * All of them reject with a `SessionStoreError` when Redis cannot answer; `null` always means that the key does not exist. (With
 * `onUnavailable: "database"` it can also mean that Better Auth has to read its database. A user's list is not `null` then: it has one entry,
 * whose deletion ends every session that the user had.)
 *
 * A key is a text of 1 to 4096 bytes of UTF-8 without NUL and without half of a surrogate pair. No value exists under any other text:
 * `get` and `getAndDelete` resolve to `null`, `delete` does nothing, `set` and `increment` reject with `INVALID_ARGUMENT`.
 */
export interface RedisStorage {
	/** Reads the value of a key, as it was written; `null` when there is none. `active-sessions-<user>` is composed from the user's index. */
	get(key: string): Promise<string | null>;
	/**
	 * Writes a value. A session record is merged with what other writers changed meanwhile and lives until its own `expiresAt`; an ended session
	 * stays ended. Any other value lives for `ttl` s: 0 or less deletes it, without `ttl` it does not expire.
	 *
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` when `active-sessions-<user>` is written with anything but Better Auth's list, or a new
	 *   session has no `createdAt` or a token of more than 512 bytes; `LIMIT` when the value is too large, which ends the
	 *   session; `CONFLICT` when the token belongs to another user or the key to another application, or a clock is wrong.
	 */
	set(key: string, value: string, ttl?: number | undefined): Promise<void>;
	/** The value of the option of this name. */
	readonly onUnavailable: "reject" | "database";
	/** Deletes a key; ends it if it is a session. `revoked-sessions-before-<user>` stays: it expires. */
	delete(key: string): Promise<void>;
	/** Deletes a key and resolves to its value. Carried out at most once, never retried. */
	getAndDelete(key: string): Promise<string | null>;
	/** Adds 1 to a counter and resolves to it. A new counter starts at 1 and lives for `ttl` s. Carried out at most once, never retried. */
	increment(key: string, ttl: number): Promise<number>;
	/** Lists every key of this store, without its prefix. Scans the whole keyspace (SCAN). */
	listKeys(): Promise<string[]>;
	/** Ends every session and deletes every other key of this store; keys outside its prefix are left alone. */
	clear(): Promise<void>;
	/**
	 * Writes the user's row into all of the user's sessions, after a change that Better Auth does not know of, such as one by SQL. Ends the
	 * sessions of a user without a row.
	 *
	 * @returns How many sessions the user has, or, without a row, how many were ended.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` without a `sessionGate` of this storage and without `loadUser`.
	 */
	refreshUser(userId: string): Promise<number>;
	/** Resolves when Redis answers. */
	ping(): Promise<void>;
	/** The metrics of the store, at this moment. */
	metrics(): StoreMetrics;
	/** Adds a listener of a connection event. Returns a function that removes it. @throws `INVALID_ARGUMENT` for an unknown event. */
	on(event: StoreEvent, listener: StoreListener): () => void;
	/**
	 * Closes this store, and resolves when every call that was made before is settled. Later calls reject with `CLOSED`. The connection ends with
	 * the last store that shares it.
	 */
	close(): Promise<void>;
}

/**
 * Makes a secondary storage for Better Auth. Opens no connection: the first call does, and every store with the same
 * options shares it, in all module instances and worker threads of the process.
 *
 * @param options A Redis URL, or options. Default: the environment variable `REDIS_URL`.
 * @throws {SessionStoreError} `INVALID_ARGUMENT`, naming every option that is wrong.
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

/** Reads a value, without a promise when this thread or the near cache holds it. */
function readNow(store: SyncedStore, key: string, isTrusted: boolean): string | null | Promise<string | null> {
	const copied = store.copied(key);
	if (copied !== undefined) return copied;
	return isStorable(checkString("key", key)) ? store.read(key, isTrusted) : null;
}

/** What a read resolves to during an outage: nothing, so that Better Auth reads its database, or a list that it can end. */
function valueInOutage(key: string, error: SessionStoreError): string | null {
	if (!OUTAGE_CODES.includes(error.code)) throw error;
	return key.startsWith(SESSION_LIST_PREFIX) ? outageSessionList(key.slice(SESSION_LIST_PREFIX.length)) : null;
}
