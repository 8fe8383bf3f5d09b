// Sessions as applications and Better Auth write them, each under names that no other test uses.

import assert from "node:assert/strict";

const HOUR_MS = 3600 * 1000;

let last = 0;

/**
 * A name that nothing else in this process has: for a token, a user or a key.
 * @param {string} kind what it is for, so that it is known again in a keyspace
 */
export function fresh(kind) {
	return `${kind}${process.pid.toString(36)}x${(++last).toString(36)}`;
}

/**
 * A moment this far from now, whole ms.
 * @param {number} ms
 */
export function fromNow(ms) {
	return new Date(Date.now() + ms);
}

/**
 * A session that lives for an hour, made now.
 * @param {Record<string, unknown>} [fields] over the usual ones
 */
export function session(fields) {
	const now = new Date();
	return {
		token: fresh("token"),
		userId: fresh("user"),
		expiresAt: fromNow(HOUR_MS),
		createdAt: now,
		updatedAt: now,
		ipAddress: "203.0.113.7",
		userAgent: "Mozilla/5.0 (X11; Linux x86_64)",
		...fields,
	};
}

/**
 * What Better Auth stores for a session: it and its user, as JSON.
 * @param {ReturnType<typeof session>} session
 * @param {Record<string, unknown> | null} [user] fields over the usual ones; null for no user
 */
export function record(session, user = {}) {
	const { userId: id, createdAt, updatedAt } = session;
	const whole = user && { id, name: "Ada", email: "ada@example.com", createdAt, updatedAt, ...user };
	return JSON.stringify({ session, user: whole });
}

/**
 * Stores a session the way Better Auth does: key, record and the seconds that are left.
 * @param {import("better-auth-redis-store").RedisStorage} storage
 * @param {ReturnType<typeof session>} session
 * @param {Record<string, unknown> | null} [user] as for `record`
 */
export function signIn(storage, session, user) {
	const ttl = Math.floor((session.expiresAt.getTime() - Date.now()) / 1000);
	return storage.set(session.token, record(session, user), Math.max(ttl, 1));
}

/**
 * What Better Auth does to change a session: reads it, changes its copy, and has that written later.
 * @param {import("better-auth-redis-store").RedisStorage} storage
 * @param {string} token
 * @returns {Promise<(change: (record: { session: any, user: any }) => void) => Promise<void>>} writes the changed copy back
 */
export async function startUpdate(storage, token) {
	const copy = JSON.parse(await storage.get(token));
	return async (change) => {
		change(copy);
		await storage.set(token, JSON.stringify(copy), 3600);
	};
}

/**
 * The session half of what lies under a token.
 * @param {import("better-auth-redis-store").RedisStorage} storage
 * @param {string} token
 */
export async function stored(storage, token) {
	return JSON.parse(await storage.get(token)).session;
}

/**
 * Checks Better Auth's view of a user's sessions. Its times are the index's: by Redis' clock, to the millisecond or two.
 * @param {{ token: string, expiresAt: number }[]} view
 * @param {{ token: string, expiresAt: Date }[]} sessions in the order that is expected
 */
export function assertView(view, sessions) {
	assert.deepEqual(
		view.map(({ token }) => token),
		sessions.map(({ token }) => token),
	);
	for (const [at, { expiresAt }] of sessions.entries()) {
		const apart = Math.abs(view[at].expiresAt - expiresAt.getTime());
		assert.ok(apart < 1000, `${apart} ms apart`);
	}
}
