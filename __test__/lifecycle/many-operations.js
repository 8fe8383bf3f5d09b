// A process (memory.test.js) that makes calls of every kind and tells its resident memory as it goes along.
//   node --expose-gc many-operations.js <url> <how many operations>
// On a fixed number of keys and users, and with tombstones of one second, so that what is stored does not grow.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";

const AT_ONCE = 64;
const KEYS = 500;
const USERS = 50;
const SAMPLES = 60;

const [url, count] = [process.argv[2], Number(process.argv[3])];
const options = { url, tombstoneSeconds: 1 };
const storage = redisStorage(options);
const store = new RedisSessionStore(options);
let operations = 0;
let sessions = 0;

/** One session's life beside values and counters: 10 operations. */
async function round(lane) {
	const key = `key ${operations % KEYS}`;
	const userId = `user ${operations % USERS}`;
	const token = `token ${++sessions}`;
	const session = { token, userId, createdAt: new Date(), expiresAt: new Date(Date.now() + 60_000), lane };
	operations += 10;
	await store.createSession(session);
	await storage.set(key, `value ${operations}`, 60);
	await storage.get(key);
	await storage.get(token);
	await store.getUserSessions(userId);
	await store.updateSession(token, { note: operations });
	await storage.set(token, JSON.stringify({ ...session, note: 0, updatedAt: new Date() }), 60);
	await storage.increment(`counter ${operations % KEYS}`, 60);
	await storage.increment(key, 60).catch(({ code }) => assert.equal(code, "CONFLICT"));
	await store.deleteSession(token);
}

async function memory() {
	await sleep(5); // lets the addon's thread put away what it has just answered
	globalThis.gc();
	globalThis.gc();
	return process.memoryUsage.rss();
}

const samples = [];
for (let sample = 1; sample <= SAMPLES; sample++) {
	const target = (count * sample) / SAMPLES;
	const lane = async (number) => {
		while (operations < target) await round(number);
	};
	await Promise.all(Array.from({ length: AT_ONCE }, (_, number) => lane(number)));
	samples.push({ operations, rss: await memory() });
}
console.log(JSON.stringify(samples));
