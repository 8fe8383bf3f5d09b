// Three clocks judge a session: JavaScript's, this machine's and Redis'. What one of them alone would drop is an error that says so, and
// nothing ends by it. The embedded engine has JavaScript's clock, so that fake timers work.

import assert from "node:assert/strict";
import { describe, mock, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { fresh, fromNow, record, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

function open(t, url) {
	const storage = redisStorage({ url, logger: false });
	const store = new RedisSessionStore({ url, logger: false });
	t.after(() => Promise.all([storage.close(), store.close()]));
	return { storage, store };
}

/** Sets JavaScript's clock, for the rest of the test. */
function setClock(t, ms) {
	mock.timers.enable({ apis: ["Date"], now: Date.now() + ms });
	t.after(() => mock.timers.reset());
}

describe("JavaScript's clock against Redis", () => {
	for (const minutes of [-10, 10]) {
		test(`${minutes} minutes apart: a sign-in rejects with a CONFLICT that names three clocks`, async (t) => {
			const { storage, store } = open(t, server.url);
			setClock(t, minutes * MINUTE);
			const mine = session();
			const ahead = `${minutes > 0 ? "-" : ""}(600|599)\\.\\d s`;
			const message = new RegExp(
				`Date\\.now\\(\\): this machine's clock is ahead of it by ${ahead}, and Redis' clock by ${ahead}; set all clocks by NTP`,
			);
			await assert.rejects(signIn(storage, mine), { code: "CONFLICT", message });
			assert.equal(await storage.get(mine.token), null);
			assert.equal(storage.metrics().refusedWrites.tooOld > 0, true);
			await store.createSession({ ...session(), expiresAt: new Date(Date.now() + 24 * HOUR) });
		});
	}

	test("a record that is alive by JavaScript's clock and expired by the machine's is a CONFLICT, and ends nothing", async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session({ expiresAt: fromNow(4 * HOUR) });
		await signIn(storage, mine);
		await storage.get(mine.token);
		setClock(t, -3 * HOUR);
		const shortened = { ...mine, expiresAt: fromNow(HOUR) };
		await assert.rejects(storage.set(mine.token, record(shortened), 3600), {
			code: "CONFLICT",
			message: /this machine's clock/,
		});
		mock.timers.reset();
		assert.deepEqual(await store.getSession(mine.token), mine);
	});

	test("a session that is old by all clocks is no error", async (t) => {
		const { storage } = open(t, server.url);
		await signIn(storage, session({ createdAt: fromNow(-10 * MINUTE) }));
	});
});

describe("the clock of the embedded engine", () => {
	test("is JavaScript's: sessions, values and tombstones expire when it moves on", async (t) => {
		const { storage, store } = open(t, `memory://${fresh("clock")}`);
		mock.timers.enable({ apis: ["Date"], now: Date.now() });
		t.after(() => mock.timers.reset());
		const mine = session();
		await signIn(storage, mine);
		await storage.set("key", "value", 30);
		assert.equal(await storage.increment("counter", 30), 1);
		mock.timers.tick(29_000);
		assert.equal(await storage.get("key"), "value");
		mock.timers.tick(1001);
		assert.equal(await storage.get("key"), null);
		assert.equal(await storage.increment("counter", 30), 1);
		assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		mock.timers.tick(HOUR);
		assert.equal(await store.getSession(mine.token), null);
		assert.deepEqual(await store.getUserSessions(mine.userId), []);
		assert.equal(await storage.get(`active-sessions-${mine.userId}`), null);
	});

	test("may be set to any time", async (t) => {
		const { storage, store } = open(t, `memory://${fresh("clock")}`);
		mock.timers.enable({ apis: ["Date"], now: new Date("2030-06-01") });
		t.after(() => mock.timers.reset());
		const mine = session();
		await signIn(storage, mine);
		assert.deepEqual(await store.getSession(mine.token), mine);
		const ended = session();
		await store.createSession(ended);
		await store.deleteSession(ended.token);
		await assert.rejects(store.createSession(ended), { code: "REVOKED" });
		mock.timers.tick(301_000);
		await store.createSession({ ...ended, expiresAt: fromNow(HOUR) });
	});
});
