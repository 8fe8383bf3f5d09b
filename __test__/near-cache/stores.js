// Stores with a near cache, and strangers to them: clients of the same server that share nothing else with them.

import assert from "node:assert/strict";
import { Redis } from "ioredis";
import { open } from "../support/engines.js";
import { fresh, record, session } from "../support/records.js";
import { until } from "../support/wait.js";

/**
 * Both faces of a store whose near cache is ready.
 * @param {import("node:test").TestContext} t
 * @param {{ url: string }} server or what stands before it
 * @param {import("better-auth-redis-store").NearCacheOptions} [nearCache]
 * @param {import("better-auth-redis-store").StoreOptions} [options] further ones
 */
export async function openCached(t, { url }, nearCache = {}, options = {}) {
	const doors = open(t, { url, connectionName: fresh("reader"), nearCache, ...options });
	await doors.storage.ping();
	await ready(doors.storage);
	return doors;
}

/** Waits until a store's near cache is on. */
export function ready(storage) {
	return until("the near cache", () => counters(storage).enabled);
}

/**
 * Both faces of a store without a near cache, on a connection of its own: another server's, to those that have one.
 * @param {import("node:test").TestContext} t
 * @param {{ url: string }} server
 * @param {import("better-auth-redis-store").StoreOptions} [options] further ones
 */
export function openStranger(t, { url }, options = {}) {
	return open(t, { url, connectionName: fresh("stranger"), nearCache: false, ...options });
}

/**
 * A client that is no store. It goes on trying while the server is away.
 * @param {import("node:test").TestContext} t
 * @param {{ url: string }} server
 */
export function connect(t, { url }) {
	const redis = new Redis(url, { retryStrategy: () => 20, maxRetriesPerRequest: null });
	redis.on("error", () => {}); // those of calls reject; of the connection, the test knows
	t.after(() => redis.disconnect());
	return redis;
}

/**
 * What a store tells of its near cache.
 * @param {{ metrics(): { nearCache: Record<string, any> } }} store
 */
export function counters(store) {
	return store.metrics().nearCache;
}

/** How far the counters of a store have risen since `before`. */
export function risen(store, before) {
	const now = counters(store);
	return Object.fromEntries(
		Object.keys(now)
			.filter((name) => typeof now[name] === "number")
			.map((name) => [name, now[name] - before[name]]),
	);
}

/** Reads as a gate does: what the near cache knows is answered at once, without a promise. */
export function readNow(storage, key) {
	return storage[Symbol.for("better-auth-redis-store.internals")].readTrusted(key);
}

/** Whether what `readNow` answered came from the near cache. */
export function isHit(answer) {
	return !(answer instanceof Promise);
}

/**
 * The value of a key that must be in the near cache.
 * @param {import("better-auth-redis-store").RedisStorage} storage
 * @param {string} key
 */
export function hit(storage, key) {
	const answer = readNow(storage, key);
	if (isHit(answer)) return answer;
	answer.catch(() => {}); // the test fails for another reason
	return assert.fail("it was not in the near cache");
}

/** Fails unless a key's value has to be asked for, and resolves to it. */
export function miss(storage, key) {
	const answer = readNow(storage, key);
	assert.ok(!isHit(answer), "it was in the near cache");
	return answer;
}

/** Reads keys until each is in the near cache. */
export async function warm(storage, keys) {
	await until("all in the near cache", async () => {
		const answers = keys.map((key) => readNow(storage, key));
		await Promise.all(answers);
		return answers.every(isHit);
	});
}

/** The text that this package's store keeps in Redis for a session: the record, and the space that says whose it is. */
export function stored(session, user) {
	return `${record(session, user)} `;
}

/**
 * Puts sessions into Redis past every store.
 * @param {Redis} redis
 * @param {ReturnType<typeof session>[]} sessions
 */
export async function seed(redis, sessions) {
	for (let first = 0; first < sessions.length; first += 1000) {
		const pipeline = redis.pipeline();
		for (const one of sessions.slice(first, first + 1000)) {
			pipeline.set(keyOf(one), stored(one), "PX", one.expiresAt.getTime() - Date.now());
		}
		for (const [error] of await pipeline.exec()) if (error) throw error;
	}
}

/** Where a session lies in Redis. */
export function keyOf({ token }) {
	return `session:${token}`;
}

/** @returns {ReturnType<typeof session>[]} */
export function sessions(count, fields) {
	return Array.from({ length: count }, () => session(fields));
}

/** The next turn of the event loop. */
export function turn() {
	return new Promise(setImmediate);
}
