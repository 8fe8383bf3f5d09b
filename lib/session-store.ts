/** Methods for sessions, beside Better Auth or without it, on the same data as `redisStorage`. */

import { checkDate, checkJson, checkKey, checkOptions, checkString, isStorable } from "./argument-checks.js";
import { invalid, SessionStoreError } from "./error.js";
import type { StoreMetrics } from "./metrics.js";
import type { StoreEvent, StoreListener } from "./native/events.js";
import { Operation } from "./native/native-store.js";
import type { StoreOptions } from "./options.js";
import { SyncedStore } from "./synced-store.js";

/** A session. Further fields are stored as JSON. */
export interface Session {
	/** Id of the session's user. Never changes. */
	userId: string;
	/** The session's key, and the secret in its cookie. At most 512 bytes. Never changes. */
	token: string;
	/** When the session expires. */
	expiresAt: Date;
	/** When the session was created. Default: the time of `createSession`. */
	createdAt?: Date | undefined;
	/** When the session was last written. */
	updatedAt?: Date | undefined;
	/** The IP address at the sign-in. */
	ipAddress?: string | null | undefined;
	/** The User-Agent header at the sign-in. */
	userAgent?: string | null | undefined;
	// biome-ignore lint/suspicious/noExplicitAny: the guide's type; applications read their own fields from it
	[key: string]: any;
}

/** A session with the user that Better Auth stored with it. */
export interface SessionWithUser<S extends Session = Session, U = Record<string, unknown>> {
	/** The session. */
	session: S;
	/** The user; `null` for a session that `createSession` wrote. */
	user: U | null;
}

const DATES = ["expiresAt", "createdAt", "updatedAt"];

/**
 * Sessions in Redis: created, read, changed, listed and ended by token and by user.
 *
 * It shares its data with `redisStorage` of the same options. So it also lists and ends sessions that Better Auth created.
 *
 * All methods reject with a `SessionStoreError` when Redis cannot answer (`UNAVAILABLE`, `TIMEOUT` and others). Bad input rejects with
 * `INVALID_ARGUMENT` and writes nothing. Methods that read or end a session also accept a token that no session can have, such as an empty
 * one. They find no session.
 *
 * @typeParam S The application's own session type.
 *
 * @example
 * ```ts
 * const store = new RedisSessionStore({ url: "redis://localhost:6379" });
 * const sessions = await store.getUserSessions(userId);
 * const ended = await store.deleteUserSessions(userId, { except: token });
 * ```
 */
export class RedisSessionStore<S extends Session = Session> {
	readonly #store: SyncedStore;

	/**
	 * Opens no connection. The first call opens it.
	 *
	 * @param options A Redis URL, or options. Default: the environment variable `REDIS_URL`.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT`. Its message names every option that is wrong.
	 */
	constructor(options?: string | StoreOptions) {
		this.#store = new SyncedStore(checkOptions(options));
	}

	/**
	 * Writes a new session. It lives until its `expiresAt`. A live session of the same token and user is replaced.
	 *
	 * @throws {SessionStoreError}
	 *   - `INVALID_ARGUMENT`: the session has expired already; or its token has more than 512 bytes, or begins with a name that Better Auth
	 *     reserves (`active-sessions-`, `revoked-sessions-before-`, `verification:`, `api-key:`, `dpop-proof:`).
	 *   - `REVOKED`: a session of this token was ended less than `tombstoneSeconds` ago.
	 *   - `CONFLICT`: the token belongs to another user or another application.
	 *   - `LIMIT`: the session is larger than `maxValueBytes`.
	 */
	async createSession(session: S): Promise<void> {
		const json = checkJson("session", session);
		checkKey("session.token", session.token);
		checkKey("session.userId", session.userId);
		if (session.expiresAt === undefined) throw invalid("session.expiresAt: must be a date in the future");
		checkDates("session", session, "must be a date in the future");
		// A session of unknown age would count as older than the end of all its user's sessions.
		const dated =
			session.createdAt === undefined ? JSON.stringify({ createdAt: new Date(), ...JSON.parse(json) }) : json;
		this.#store.warnOfSize(session.token, dated);
		await this.#store.call(Operation.Create, session.token, dated);
	}

	/** Reads the live session of a token. Resolves to `null` if there is none. */
	async getSession(token: string): Promise<S | null> {
		return (await this.getSessionWithUser(token))?.session ?? null;
	}

	/** Reads the live session of a token, with the user that Better Auth stored with it. Resolves to `null` if there is no session. */
	async getSessionWithUser<U = Record<string, unknown>>(token: string): Promise<SessionWithUser<S, U> | null> {
		const json =
			this.#store.copied(token) ?? (isStorable(checkString("token", token)) ? await this.#store.read(token) : null);
		return json === null ? null : readRecord<S, U>(token, json);
	}

	/**
	 * Sets fields of a session. It keeps the other fields, also if another writer changes them at the same time.
	 *
	 * @param updates The fields to set. A field with the value `undefined` is not changed. `token` and `userId` cannot change.
	 * @returns The session after the update.
	 * @throws {SessionStoreError}
	 *   - `NOT_FOUND`: there is no live session of this token.
	 *   - `INVALID_ARGUMENT`: `expiresAt` is not in the future, or `token` or `userId` would change.
	 *   - `LIMIT`: the session would be larger than `maxValueBytes`. It has ended.
	 */
	async updateSession(token: string, updates: Partial<S>): Promise<S> {
		checkString("token", token);
		const json = checkJson("updates", updates);
		checkDates("updates", updates, "must be a date in the future; deleteSession ends a session");
		if (!isStorable(token)) throw new SessionStoreError("NOT_FOUND", "there is no live session with this token");
		const updated = (await this.#store.call(Operation.Update, token, json)) as string;
		return (readRecord<S>(token, updated) as SessionWithUser<S>).session;
	}

	/** Ends a session. It stays ended, even if another writer writes it at the same time. */
	async deleteSession(token: string): Promise<void> {
		if (isStorable(checkString("token", token))) await this.#store.call(Operation.Delete, token);
	}

	/**
	 * Ends every session that the user has when the call begins. Without `except`, all sessions from before the call are refused at once, even
	 * if Redis has evicted the user's index.
	 *
	 * @param options `except`: the token of a session that stays.
	 * @returns The number of live sessions that were ended.
	 * @throws {SessionStoreError} `TIMEOUT` if not all were ended within `commandTimeout`. The others are still ended in the background.
	 */
	async deleteUserSessions(userId: string, options: { except?: string | undefined } = {}): Promise<number> {
		if (typeof options !== "object" || options === null) throw invalid("options: must be an object");
		const except = options.except === undefined ? "" : checkKey("options.except", options.except);
		return (await this.#store.call(Operation.EndAll, checkKey("userId", userId), except)) as number;
	}

	/** Reads the user's live sessions, the first to expire first. Usually in one round trip. */
	async getUserSessions(userId: string): Promise<S[]> {
		const json = (await this.#store.call(Operation.List, checkKey("userId", userId))) as string;
		return (JSON.parse(json) as S[]).map(reviveDates);
	}

	/**
	 * Removes dead entries from every user's index. This is optional housekeeping, once a day at most. Redis expires sessions by itself, and
	 * indexes are cleaned during use.
	 *
	 * @returns The number of index entries that were removed.
	 */
	async cleanupExpiredSessions(): Promise<number> {
		return (await this.#store.call(Operation.Cleanup)) as number;
	}

	/**
	 * Writes the user's row into all of the user's sessions that Better Auth created. Call it after a change outside Better Auth, such as one by
	 * SQL. If the user has no row, it ends the sessions.
	 *
	 * @returns The number of the user's sessions. Without a row, the number of ended sessions.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` without the option `loadUser`.
	 */
	async refreshUser(userId: string): Promise<number> {
		return this.#store.userSync.refresh(checkKey("userId", userId));
	}

	/** Resolves when Redis answers. Rejects when it does not. */
	async ping(): Promise<void> {
		await this.#store.call(Operation.Ping);
	}

	/** Returns the current metrics of the store. Synchronous, without a round trip. */
	metrics(): StoreMetrics {
		return this.#store.metrics();
	}

	/**
	 * Adds a listener of a connection event.
	 *
	 * @returns A function that removes the listener.
	 * @throws {SessionStoreError} `INVALID_ARGUMENT` for an unknown event.
	 */
	on(event: StoreEvent, listener: StoreListener): () => void {
		return this.#store.events.on(event, listener);
	}

	/**
	 * Closes this store. Resolves when all earlier calls are settled. Later calls reject with `CLOSED`. The connection ends with the last store
	 * that shares it.
	 */
	close(): Promise<void> {
		return this.#store.close();
	}
}

/** The store of the server in `REDIS_URL`. Its first call opens the connection. */
export const redisSessionStore = new RedisSessionStore();

/** `{ session, user }`, as Better Auth writes it, or the session itself. */
type StoredRecord<S, U = unknown> = S | { session: S; user?: U };

/** Whether it is `{ session, user }`. A flat session may have a field called `session`, so the place of the token decides. */
function isBetterAuthRecord<S extends Session, U>(record: StoredRecord<S, U>): record is { session: S; user?: U } {
	return (record as Partial<S>).token === undefined;
}

/** Parses the live record of `token`; `null` for anything else, because Better Auth's other values have the same key prefix. */
function readRecord<S extends Session, U = unknown>(token: string, json: string): SessionWithUser<S, U> | null {
	let record: StoredRecord<S, U> | null;
	try {
		record = JSON.parse(json);
	} catch {
		return null;
	}
	if (typeof record !== "object" || record === null) return null;
	const [session, user] = isBetterAuthRecord(record) ? [record.session, record.user] : [record, undefined];
	if (session?.token !== token || !isId(session.userId) || isExpired(session.expiresAt)) return null;
	return { session: reviveDates(session), user: user ?? null };
}

/** Whether this is a user id: a text, or the number of a database with serial ids. */
function isId(id: unknown): boolean {
	return typeof id === "string" ? id !== "" : Number.isInteger(id);
}

/** How far JavaScript's clock may be ahead of Redis' clock, in ms, before a session that Redis holds counts as expired. */
const MAX_CLOCK_DIFFERENCE_MS = 1000;

/** Whether a session has expired: a key without an expiry (by PERSIST, or an import) outlives its session. */
function isExpired(expiresAt: unknown): boolean {
	if (typeof expiresAt !== "string" && typeof expiresAt !== "number") return false;
	const ms = new Date(expiresAt).getTime();
	// A number that no Date can hold is before or after every date.
	return ms <= Date.now() - MAX_CLOCK_DIFFERENCE_MS || (Number.isNaN(ms) && Number(expiresAt) < 0);
}

function checkDates(argument: string, fields: Partial<Session>, future: string): void {
	for (const name of DATES) {
		if (fields[name] === undefined) continue;
		const ms = checkDate(`${argument}.${name}`, fields[name]);
		if (name === "expiresAt" && ms <= Date.now()) throw invalid(`${argument}.${name}: ${future}`);
	}
}

function reviveDates<S extends Session>(session: S): S {
	for (const name of DATES) {
		const value: unknown = session[name];
		if (typeof value === "string" || typeof value === "number") (session as Session)[name] = new Date(value);
	}
	return session;
}
