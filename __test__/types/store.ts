// The package's own types, as its users see them. Checked by tsc; never run.

import {
	RedisSessionStore,
	type RedisStorage,
	redisSessionStore,
	redisStorage,
	type Session,
	SessionStoreError,
	type SessionStoreErrorCode,
	type SessionWithUser,
	type StoreOptions,
} from "better-auth-redis-store";

/** `true` when both are the very same type. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function assertType<_Holds extends true>(): void {}

interface MySession extends Session {
	theme: "light" | "dark";
	organization?: { id: string };
}
interface MyUser {
	id: string;
	email: string;
}

declare const token: string;
declare const userId: string;
declare const session: MySession;

const store = new RedisSessionStore<MySession>();

// ---- A store gives back what it was given ----

export async function reading(): Promise<void> {
	const found = await store.getSession(token);
	assertType<Same<typeof found, MySession | null>>();
	// @ts-expect-error It may be null.
	found.theme;
	if (!found) return;
	assertType<Same<typeof found.expiresAt, Date>>();
	assertType<Same<typeof found.createdAt, Date | undefined>>();
	assertType<Same<typeof found.theme, "light" | "dark">>();

	const listed = await store.getUserSessions(userId);
	assertType<Same<typeof listed, MySession[]>>();

	const both = await store.getSessionWithUser<MyUser>(token);
	assertType<Same<typeof both, SessionWithUser<MySession, MyUser> | null>>();
	if (!both) return;
	assertType<Same<typeof both.session.expiresAt, Date>>();
	assertType<Same<typeof both.user, MyUser | null>>();

	const plain = await redisSessionStore.getSession(token);
	assertType<Same<typeof plain, Session | null>>();
	const withUser = await redisSessionStore.getSessionWithUser(token);
	assertType<Same<typeof withUser, SessionWithUser | null>>();
}

export async function writing(): Promise<void> {
	assertType<Same<ReturnType<typeof store.createSession>, Promise<void>>>();
	await store.createSession(session);
	// @ts-expect-error The application's own field is missing.
	await store.createSession({ userId, token, expiresAt: new Date() });
	// @ts-expect-error A text is no date.
	await store.createSession({ ...session, expiresAt: "2030-01-01" });
	// @ts-expect-error The token is missing.
	await redisSessionStore.createSession({ userId, expiresAt: new Date() });
	await redisSessionStore.createSession({ userId, token, expiresAt: new Date(), anything: 1 });

	const updated = await store.updateSession(token, { theme: "dark", expiresAt: new Date() });
	assertType<Same<typeof updated, MySession>>();
	// @ts-expect-error Not one of the themes.
	await store.updateSession(token, { theme: "blue" });
}

export async function ending(): Promise<void> {
	assertType<Same<ReturnType<typeof store.deleteSession>, Promise<void>>>();
	const ended = await store.deleteUserSessions(userId, { except: token });
	assertType<Same<typeof ended, number>>();
	await store.deleteUserSessions(userId);
	// @ts-expect-error It is named, so that nobody passes it for the user's id.
	await store.deleteUserSessions(userId, token);
	assertType<Same<ReturnType<typeof store.cleanupExpiredSessions>, Promise<number>>>();
	assertType<Same<ReturnType<typeof store.ping>, Promise<void>>>();
	assertType<Same<ReturnType<typeof store.close>, Promise<void>>>();
}

// ---- A session type has a token, a user and an expiry ----

interface Smallest {
	userId: string;
	token: string;
	expiresAt: Date;
}
export type Fits = RedisSessionStore<Smallest>;
// @ts-expect-error No expiry.
export type NoExpiry = RedisSessionStore<{ userId: string; token: string }>;
// @ts-expect-error An expiry that is no Date.
export type NoDate = RedisSessionStore<{ userId: string; token: string; expiresAt: string }>;

// ---- Options ----

export const stores = [
	new RedisSessionStore(),
	new RedisSessionStore("redis://localhost"),
	new RedisSessionStore({ url: undefined, tombstoneSeconds: 60, maxSessionsPerUser: 5 }),
	new RedisSessionStore({ host: "localhost", tls: { ca: "-----BEGIN CERTIFICATE-----" } }),
];
export const options: StoreOptions = { path: "/run/redis.sock", db: 1, username: "u", password: "p" };

// @ts-expect-error A port is a number.
export const wrongPort = redisStorage({ port: "6379" });
// @ts-expect-error No such option.
export const unknownOption = redisStorage({ prefix: "session:" });
// @ts-expect-error The lifetime of a connection attempt is in ms.
export const wrongTimeout = new RedisSessionStore({ connectTimeout: "10s" });
// @ts-expect-error Neither a URL nor options.
export const wrongArgument = redisStorage(6379);

// ---- The storage by itself ----

export async function storing(storage: RedisStorage): Promise<void> {
	assertType<Same<ReturnType<typeof redisStorage>, RedisStorage>>();
	const { get, set, getAndDelete, increment } = storage; // closures: they work unbound
	assertType<Same<Awaited<ReturnType<typeof get>>, string | null>>();
	assertType<Same<Awaited<ReturnType<typeof getAndDelete>>, string | null>>();
	assertType<Same<Awaited<ReturnType<typeof increment>>, number>>();
	assertType<Same<Awaited<ReturnType<typeof storage.listKeys>>, string[]>>();
	await set("key", "value");
	await set("key", "value", 60);
	// @ts-expect-error A value is a text.
	await set("key", { value: 1 });
	// @ts-expect-error A counter needs a life.
	await increment("key");
}

// ---- Errors ----

export function explain(error: unknown): SessionStoreErrorCode | undefined {
	if (!(error instanceof SessionStoreError)) return undefined;
	assertType<Same<typeof error.code, SessionStoreErrorCode>>();
	// @ts-expect-error No such code.
	if (error.code === "GONE") return undefined;
	return error.code;
}
