/** The store as Better Auth takes it: `betterAuth({ secondaryStorage: redisStorage() })`. */

import {
	checkKey,
	checkList,
	checkOptions,
	checkString,
	checkText,
	checkTtl,
	isStorable,
	LIST_PREFIX,
	REVOKED_BEFORE,
} from "./argument-checks.js";
import { Connection, Op } from "./native/native-store.js";
import { OUTAGE, type SessionStoreError } from "./error.js";
import type { StoreEvent, StoreListener } from "./native/events.js";
import { setInternals } from "./storage-internals.js";
import type { StoreMetrics } from "./metrics.js";
import type { StoreOptions } from "./options.js";
import { everySession, outageList } from "./outage-session-list.js";

/**
 * Better Auth's secondary storage, kept in Redis. Every method is a closure: it works unbound, as Better Auth calls it.
 *
 * All of them reject with a `SessionStoreError` when Redis cannot answer; `null` always means that there is no such key. (With
 * `onUnavailable: "database"` it also means that Better Auth is to look into its database. A user's list is not `null` then: it has one entry,
 * whose deletion ends every session that the user had.)
 *
 * A key is a text of 1 to 4096 bytes of UTF-8 without NUL and without half of a surrogate pair. There is nothing under any other text:
 * `get` and `getAndDelete` resolve to `null`, `delete` does nothing, `set` and `increment` reject with `INVALID_ARGUMENT`.
 */
export interface RedisStorage {
	/** The value of a key, as it was written; `null` when there is none. `active-sessions-<user>` is composed from the user's index. */
	get(key: string): Promise<string | null>;
	/**
	 * Writes a value. A session record is merged with what other writers changed meanwhile, lives until its own `expiresAt`,
	 * and stays ended once it was ended. Any other value lives for `ttl` s; 0 and less delete it, none keeps it for ever.
	 *
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` when `active-sessions-<user>` is written with anything but Better Auth's list, or a new
	 *   session has no `createdAt` or a token of more than 512 bytes; `LIMIT` when the value is too large, which ends the
	 *   session; `CONFLICT` when the token belongs to another user or the key to another application, or a clock is wrong.
	 */
	set(key: string, value: string, ttl?: number | undefined): Promise<void>;
	/** What the option of this name says. */
	readonly onUnavailable: "reject" | "database";
	/** Deletes a key; ends it if it is a session. `revoked-sessions-before-<user>` stays: it expires. */
	delete(key: string): Promise<void>;
	/** Deletes a key and resolves to the value it had. Carried out at most once. */
	getAndDelete(key: string): Promise<string | null>;
	/** Adds 1 to a counter and resolves to it. One that does not exist starts at 1 and lives for `ttl` s. Carried out at most once. */
	increment(key: string, ttl: number): Promise<number>;
	/** Every key of this store, without its prefix. Goes through the whole keyspace with SCAN. */
	listKeys(): Promise<string[]>;
	/** Ends every session and deletes every other key of this store; keys outside its prefix are left alone. */
	clear(): Promise<void>;
	/**
	 * Writes the user's row into all of the user's sessions, for a change that Better Auth does not know of, such as one by SQL. Ends the
	 * sessions of a user without a row.
	 *
	 * @returns How many sessions the user has, or, without a row, how many were ended.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` without a `sessionGate` of this storage and without `loadUser`.
	 */
	refreshUser(userId: string): Promise<number>;
	/** Resolves when Redis answers. */
	ping(): Promise<void>;
	/** How the store stands, at this moment. */
	metrics(): StoreMetrics;
	/** Listens to what happens to the connection. Returns a function that ends it. @throws `INVALID_ARGUMENT` for another event. */
	on(event: StoreEvent, listener: StoreListener): () => void;
	/**
	 * Releases this store, and resolves when every call that was made before is settled. Later calls reject with `CLOSED`; the connection ends
	 * with the last store that shares it.
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
	const connection = new Connection(checked);
	const hasDatabase = checked.onUnavailable === "database";
	const read = (key: string, isTrusted = false) => {
		const value = readNow(connection, key, isTrusted);
		if (!(value instanceof Promise)) return value;
		if (key.startsWith(LIST_PREFIX)) value.catch((error) => connection.looks.noteFailedList(key, error));
		return hasDatabase ? value.catch((error) => inOutage(key, error)) : value;
	};
	const storage: RedisStorage = {
		get: (key) => {
			try {
				// Without an `async` function's second promise: this is the path of every session check.
				const value = read(key);
				return value instanceof Promise ? value : Promise.resolve(value);
			} catch (error) {
				return Promise.reject(error);
			}
		},
		onUnavailable: hasDatabase ? "database" : "reject",
		set: async (key, value, ttl) => {
			checkText("key", key);
			checkText("value", value);
			const life = ttl === undefined || ttl === null ? undefined : checkTtl(ttl);
			// Better Auth rewrites its list of a user's sessions at every sign-in; ours is composed from the index.
			if (key.startsWith(LIST_PREFIX)) checkList(value);
			else await connection.set(key, value, life);
		},
		delete: async (key) => {
			const every = everySession(checkString("key", key));
			if (every) await connection.set(REVOKED_BEFORE + every.user, String(every.before), every.life);
			else if (isStorable(key)) await connection.call(Op.Delete, key);
		},
		getAndDelete: async (key) =>
			isStorable(checkString("key", key)) ? ((await connection.call(Op.Take, key)) as string | null) : null,
		increment: async (key, ttl) =>
			(await connection.call(Op.Increment, checkText("key", key), "", checkTtl(ttl))) as number,
		listKeys: async () => JSON.parse((await connection.call(Op.ListKeys)) as string) as string[],
		clear: async () => {
			await connection.call(Op.Clear);
		},
		refreshUser: async (userId) => connection.looks.refresh(checkKey("userId", userId)),
		ping: async () => {
			await connection.call(Op.Ping);
		},
		metrics: () => connection.metrics(),
		on: (event, listener) => connection.events.on(event, listener),
		close: () => connection.close(),
	};
	setInternals(storage, {
		readTrusted: (key) => read(key, true),
		warn: (line, everyMs) => connection.events.warn(line, everyMs),
		limitsSessions: checked.maxSessionsPerUser !== undefined,
		bind: (auth) => connection.looks.bind(auth, storage),
		expectLife: (seconds) => connection.expectLife(seconds),
	});
	return storage;
}

/** What the near cache knows is answered at once. */
function readNow(connection: Connection, key: string, isTrusted: boolean): string | null | Promise<string | null> {
	const copied = connection.copied(key);
	if (copied !== undefined) return copied;
	return isStorable(checkString("key", key)) ? connection.read(key, isTrusted) : null;
}

/** During an outage there is nothing here for Better Auth, which then looks into its database. */
function inOutage(key: string, error: SessionStoreError): string | null {
	if (!OUTAGE.includes(error.code)) throw error;
	return key.startsWith(LIST_PREFIX) ? outageList(key.slice(LIST_PREFIX.length)) : null;
}
