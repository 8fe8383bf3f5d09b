// What lies in the store, seen from outside: on Redis by raw commands over a connection of their own, and on both engines
// by what a reader gets.

import assert from "node:assert/strict";

const TOMBSTONE = Buffer.from("\xffended", "latin1");
const TOMBSTONE_MS = 300_000;
/** How much a request may take between setting an expiry and our looking at it. */
const SLACK_MS = 30_000;

const TOKEN = "session:";
const INDEX = "user-sessions:";

/**
 * @typedef {object} Key a key of Redis
 * @property {string} name
 * @property {string} type
 * @property {number} ttl in ms; -1: it never expires
 * @property {Buffer | undefined} value of a string
 * @property {Record<string, number> | undefined} scores of a sorted set
 */

/** Every key of a Redis server. @returns {Promise<Key[]>} */
export async function keysOf(server) {
	const names = new Set();
	let cursor = "0";
	do {
		const [next, page] = await server.cli("SCAN", cursor, "COUNT", 1000);
		for (const name of page) names.add(name);
		cursor = next;
	} while (cursor !== "0");
	const keys = await Promise.all([...names].sort().map((name) => readKey(server, name)));
	return keys.filter(({ type }) => type !== "none"); // expired since
}

async function readKey(server, name) {
	const [type, ttl] = [await server.cli("TYPE", name), await server.cli("PTTL", name)];
	const key = { name, type, ttl, value: undefined, scores: undefined };
	if (type === "string") key.value = await server.cliBuffer("GET", name);
	if (type === "zset") {
		const flat = await server.cli("ZRANGE", name, 0, -1, "WITHSCORES");
		key.scores = Object.fromEntries(flat.flatMap((id, at) => (at % 2 ? [] : [[id, Number(flat[at + 1])]])));
	}
	return key;
}

/**
 * Asserts that these and no other keys can be read. On Redis that they, and besides them tombstones only, lie there.
 * @param {import("./app.js").App} app
 * @param {import("../../support/redis.js").RedisServer | undefined} server
 * @param {string[]} expected as Better Auth names them; a user's index is `active-sessions-<user>`
 */
export async function assertKeys(app, server, expected) {
	assert.deepEqual((await app.storage.listKeys()).sort(), expected.toSorted());
	if (!server) return;
	const names = (await keysOf(server)).filter((key) => !isTombstone(key)).map(({ name }) => name);
	const raw = expected.map((key) => key.replace(/^(active-sessions-)?/, (index) => (index ? INDEX : TOKEN)));
	assert.deepEqual(names, raw.sort());
}

/**
 * Asserts what must hold of any Redis that this store wrote to, whatever was done.
 * @param {import("../../support/redis.js").RedisServer} server
 * @param {(name: string) => boolean} [immortal] keys that Better Auth itself stores for ever
 */
export async function assertSound(server, immortal = () => false) {
	const keys = await keysOf(server);
	const indexes = new Map(keys.filter(({ name }) => name.startsWith(INDEX)).map((key) => [key.name, key]));
	for (const key of keys) {
		const told = `${key.name} (${key.type}, ${key.ttl} ms)`;
		assert.ok(!key.name.startsWith(`${TOKEN}active-sessions-`), `Better Auth's own index was stored: ${told}`);
		assert.equal(key.ttl === -1, immortal(key.name), `wrong expiry: ${told}`);
		assert.ok(key.name.startsWith(TOKEN) || indexes.has(key.name), `not a key of the store: ${told}`);
		if (isTombstone(key)) assert.ok(key.ttl <= TOMBSTONE_MS, `a tombstone for too long: ${told}`);
		if (indexes.has(key.name)) assert.equal(key.type, "zset", told);
		const record = recordOf(key);
		if (!record) continue;
		const expiry = indexes.get(INDEX + record.session.userId)?.scores[record.session.token];
		assert.ok(expiry !== undefined, `a live session is not in its user's index: ${told}`);
		// Later is in order: an index never forgets an expiry that it was told.
		assert.ok(expiry - Date.now() > key.ttl - SLACK_MS, `the index tells an earlier expiry than the record: ${told}`);
		assert.ok(near(Date.parse(record.session.expiresAt) - Date.now(), key.ttl), `it does not expire on time: ${told}`);
		assert.ok(indexes.get(INDEX + record.session.userId).ttl >= key.ttl, `the index expires before ${told}`);
	}
	for (const { name, scores } of indexes.values()) {
		for (const id of Object.keys(scores)) {
			const key = keys.find((key) => key.name === TOKEN + id);
			assert.ok(!key || !isTombstone(key), `${name} still lists a session that was ended`);
		}
	}
}

/**
 * Asserts that a session was ended for good: nobody finds it, and a writer who comes late does not bring it back.
 * @param {import("./app.js").App} app
 * @param {import("../../support/redis.js").RedisServer | undefined} server
 * @param {{ token: string, json: string }} was the session, as `recall` read it while it lived
 */
export async function assertEnded(app, server, { token, json }) {
	assert.equal(await app.storage.get(token), null);
	await app.storage.set(token, json, 3600);
	assert.equal(await app.storage.get(token), null, "a late write brought an ended session back");
	assert.equal(await app.sessions.getSession(token), null);
	const listed = await app.sessions.getUserSessions(JSON.parse(json).session.userId);
	assert.ok(!listed.some((session) => session.token === token), "an ended session is listed");
	if (!server) return;
	const key = await readKey(server, TOKEN + token);
	assert.ok(key.type === "string" && isTombstone(key), "no tombstone lies there");
	assert.ok(key.ttl > TOMBSTONE_MS - SLACK_MS && key.ttl <= TOMBSTONE_MS, `a tombstone of ${key.ttl} ms`);
}

/** The session of a device, for `assertEnded` to look for later. */
export async function recall(app, device) {
	const json = await app.storage.get(device.token);
	assert.ok(json, "the device has no live session");
	return { token: device.token, json };
}

/** The expiry of a session's record on Redis, in ms from now. */
export async function ttlOf(server, token) {
	return (await readKey(server, TOKEN + token)).ttl;
}

function isTombstone({ value }) {
	return value?.equals(TOMBSTONE) ?? false;
}

function recordOf({ name, value }) {
	if (value?.[0] !== 0x7b) return undefined; // {
	const record = JSON.parse(value.toString());
	return record.session?.token === name.slice(TOKEN.length) ? record : undefined;
}

function near(a, b) {
	return Math.abs(a - b) < SLACK_MS;
}
