// Ending all of a user's sessions, however many there are and however large: in parts, while other clients go on.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RedisCluster } from "../support/cluster.js";
import { rounds } from "../support/counts.js";
import { open, redisEngine } from "../support/engines.js";
import { fresh, fromNow, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

/** No part takes longer, in µs, on a machine that is busy with other things. */
const LONG_US = 50_000;

const WEEK_MS = 7 * 24 * 3_600_000;

const server = redisPerFile();
const cluster = new RedisCluster();
before(() => cluster.start());
after(() => cluster.stop());

const ENGINES = [
	{ engine: redisEngine("one server", () => ({ url: server.url })), servers: () => [server] },
	{ engine: redisEngine("cluster", () => ({ cluster: cluster.nodes })), servers: () => cluster.servers },
];

/** Signs a user in so often, a few thousand at a time. */
async function fill(store, userId, count, fields = {}) {
	const tokens = [];
	while (tokens.length < count) {
		const some = Math.min(count - tokens.length, fields.note ? 20 : 2000);
		const made = Array.from({ length: some }, (_, at) =>
			session({ userId, expiresAt: fromNow(3_600_000 + tokens.length + at), ...fields }),
		);
		await Promise.all(made.map((one) => store.createSession(one)));
		tokens.push(...made.map(({ token }) => token));
	}
	return tokens;
}

/** Reads all the while; resolves to how long the reads took, in ms, the longest last. */
function readMeanwhile(storage) {
	let isOver = false;
	const reading = (async () => {
		const took = [];
		while (!isOver) {
			const start = performance.now();
			await storage.get("somebody-else");
			took.push(performance.now() - start);
			await new Promise(setImmediate);
		}
		return took.sort((a, b) => a - b);
	})();
	return () => {
		isOver = true;
		return reading;
	};
}

/** The slowest command that a server has carried out since it was last asked, in µs. */
async function slowest({ cli }) {
	const entries = await cli("SLOWLOG", "GET", 128);
	await cli("SLOWLOG", "RESET");
	return Math.max(0, ...entries.filter(([, , , [name]]) => /^(eval|zrange)/i.test(name)).map(([, , took]) => took));
}

async function memory({ cli }) {
	return Number(/^used_memory_peak:(\d+)/m.exec(await cli("INFO", "memory"))[1]);
}

for (const { engine, servers } of ENGINES) {
	describe(`ending all sessions of a user on ${engine.name}`, () => {
		const each = (act) => Promise.all(servers().map((one) => act({ cli: (...args) => one.cli(...args) })));

		for (const [what, count, fields] of [
			["many sessions", rounds(5000, 100_000), {}],
			["large sessions", rounds(40, 700), { note: "x".repeat(1_000_000) }],
		]) {
			test(`a user with ${what}: the sessions are ended in short parts`, async (t) => {
				const { store } = open(t, { ...engine.empty(), commandTimeout: 120_000 });
				const other = open(t, { ...engine.empty(), nearCache: false });
				const userId = fresh("user");
				const tokens = await fill(store, userId, count, fields);
				await each(({ cli }) => cli("CONFIG", "SET", "slowlog-log-slower-than", 1000));
				await each(({ cli }) => cli("SLOWLOG", "RESET"));
				const peak = Math.max(...(await each(memory)));
				await other.storage.get("somebody-else");

				const read = readMeanwhile(other.storage);
				const start = performance.now();
				assert.equal(await store.deleteUserSessions(userId), count);
				const took = await read();
				const [p99, max] = [took[Math.floor(took.length * 0.99)], took.at(-1)];
				const slow = Math.max(...(await each(slowest)));
				t.diagnostic(
					`${count} ended in ${(performance.now() - start).toFixed()} ms; of ${took.length} reads of another client p99 ${p99.toFixed(1)} ms, max ${max.toFixed(1)} ms; slowest part ${slow / 1000} ms`,
				);
				assert.ok(slow < LONG_US, `a part took ${slow} µs`);
				assert.ok(Math.max(...(await each(memory))) - peak < 32 * 1024 * 1024, "Redis' memory has grown");
				for (const token of tokens.slice(-20)) assert.equal(await store.getSession(token), null);
				assert.deepEqual(await store.getUserSessions(userId), []);
			});
		}

		test("a not-before marker ends many older sessions in parts, and no later one", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			await fill(store, userId, 600, { createdAt: fromNow(-60_000) });
			const [later] = await fill(store, userId, 1, { createdAt: fromNow(60_000) });
			assert.equal(await storage.set(`revoked-sessions-before-${userId}`, String(Date.now()), 60), undefined);
			assert.deepEqual(
				(await store.getUserSessions(userId)).map(({ token }) => token),
				[later],
			);
		});

		test("all but one of many end; another user's record under an id stays; the call completes", async (t) => {
			const options = engine.empty();
			const { store } = open(t, options);
			const [userId, stranger] = [fresh("user"), session()];
			const tokens = await fill(store, userId, 400, { expiresAt: fromNow(3_600_000) });
			await store.createSession(stranger);
			const index = `${options.userPrefix}${userId}`;
			await (engine.name === "cluster" ? cluster : server).cli("ZADD", index, 1e15, stranger.token);
			assert.equal(await store.deleteUserSessions(userId, { except: tokens[7] }), 399);
			assert.deepEqual(
				(await store.getUserSessions(userId)).map(({ token }) => token),
				[tokens[7]],
			);
			assert.equal(await store.deleteUserSessions(userId), 1);
			assert.deepEqual(await store.getSession(stranger.token), stranger);
		});

		test("sessions that do not end within commandTimeout end later, and the error says so", async (t) => {
			const options = { ...engine.empty(), commandTimeout: 20_000 };
			const { store } = open(t, options);
			const userId = fresh("user");
			const tokens = await fill(store, userId, 20_000);
			const hasty = open(t, { ...options, commandTimeout: 60 });
			await hasty.store.ping();
			await assert.rejects(hasty.store.deleteUserSessions(userId), {
				code: "TIMEOUT",
				message: /the rest is being ended, and the older ones are refused already/,
			});
			await until("the end", async () => (await store.getUserSessions(userId)).length === 0, 10_000);
			assert.equal(await store.getSession(tokens.at(-1)), null);
		});

		test("the not-before marker lives as long as the longest session, and 7 days at least", async (t) => {
			const options = engine.empty();
			const { store } = open(t, options);
			const one = engine.name === "cluster" ? cluster : server;
			const life = (userId) => one.cli("PTTL", `${options.keyPrefix}revoked-sessions-before-${userId}`);
			const [first, long] = [session(), session({ expiresAt: fromNow(4 * WEEK_MS) })];
			await store.createSession(first);
			await store.deleteUserSessions(first.userId);
			assert.ok((await life(first.userId)) > WEEK_MS - 60_000);
			await store.createSession(long);
			await store.deleteUserSessions(first.userId);
			assert.ok((await life(first.userId)) > 4 * WEEK_MS - 60_000, "by what this store has written");
			const another = open(t, { ...options, maxValueBytes: 2_000_000 });
			await another.store.deleteUserSessions(long.userId);
			assert.ok((await life(long.userId)) > 4 * WEEK_MS - 60_000, "by the index");
		});

		test("a tombstone with further fields is a tombstone", async (t) => {
			const options = engine.empty();
			const { storage, store } = open(t, options);
			const one = engine.name === "cluster" ? cluster : server;
			const mine = session();
			await store.createSession(mine);
			const tombstone = Buffer.from("\xffended:1893456000000:admin", "latin1");
			await one.cli("SET", options.keyPrefix + mine.token, tombstone, "EX", 300);
			assert.equal(await store.getSession(mine.token), null);
			assert.equal(await storage.getAndDelete(mine.token), null);
			await assert.rejects(store.createSession(mine), { code: "REVOKED" });
			await storage.delete(`active-sessions-${mine.userId}`);
			assert.equal(await storage.get(`active-sessions-${mine.userId}`), null);
			assert.equal(await storage.increment(mine.token, 60), 1);
		});

		test("a session whose key has no expiry ends by its expiresAt, whatever its form", async (t) => {
			const options = engine.empty();
			const { store } = open(t, options);
			const one = engine.name === "cluster" ? cluster : server;
			const past = [Date.now() - 2000, fromNow(-2000).toISOString(), -1e300, "-1e300", "-271821-04-20T00:00:00.000Z"];
			for (const expiresAt of past) {
				const mine = session({ expiresAt });
				await one.cli("SET", options.keyPrefix + mine.token, JSON.stringify(mine));
				assert.equal(await store.getSession(mine.token), null, String(expiresAt));
				assert.equal(await store.getSessionWithUser(mine.token), null, String(expiresAt));
			}
			const mine = session();
			await one.cli("SET", options.keyPrefix + mine.token, JSON.stringify(mine));
			assert.deepEqual(await store.getSession(mine.token), mine);
		});
	});
}
