// What many callers ask at once goes to the server in few scripts. Each gets the answer to what it asked, as if it had been alone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { open, redisEngine } from "../support/engines.js";
import { startProxy } from "../support/proxy.js";
import { record, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

const server = redisPerFile();
const MANY = 200;

function times(count, make) {
	return Array.from({ length: count }, (_, n) => make(n));
}

/** How often a command was called. */
async function calls(command) {
	const line = (await server.cli("INFO", "commandstats")).match(new RegExp(`cmdstat_${command}:calls=(\\d+)`));
	return Number(line?.[1] ?? 0);
}

function opened(t, more) {
	const options = { ...redisEngine("redis", () => ({ url: server.url })).empty(), ...more };
	return { ...open(t, options), options };
}

/** The tokens in the index of a session's owner. */
function indexOf({ userId }, { userPrefix }) {
	return server.cli("ZRANGE", userPrefix + userId, 0, -1);
}

for (const more of [{}, { maxSessionsPerUser: 5 }]) {
	test(`${MANY} sign-ins of one tick are few scripts, ${JSON.stringify(more)}`, async (t) => {
		const { storage, store } = opened(t, more);
		await storage.ping();
		const sessions = times(MANY, () => session());
		const before = await calls("evalsha");
		await Promise.all(sessions.map((one) => storage.set(one.token, record(one), 3600)));
		assert.ok((await calls("evalsha")) - before <= MANY / 4);
		for (const { token, userId } of sessions) {
			assert.equal((await store.getSession(token)).userId, userId);
			assert.deepEqual(
				(await store.getUserSessions(userId)).map((listed) => listed.token),
				[token],
			);
		}
	});
}

test("a user's list that is requested many times in one tick is read once", async (t) => {
	const { storage, store } = opened(t, { nearCache: false });
	const [one, another] = [session(), session()];
	for (const each of [one, another]) await store.createSession(each);
	const before = await calls("zrange");
	const looks = times(MANY, () => [one, another].map(({ userId }) => storage.get(`active-sessions-${userId}`)));
	for (const [ones, others] of await Promise.all(looks.map((both) => Promise.all(both)))) {
		assert.deepEqual(tokensOf(ones), [one.token]);
		assert.deepEqual(tokensOf(others), [another.token]);
	}
	const reads = (await calls("zrange")) - before;
	assert.ok(reads <= MANY / 10, `${reads} reads`);
});

function tokensOf(list) {
	return JSON.parse(list).map(({ token }) => token);
}

test("an error of one call in a batch rejects that call only", async (t) => {
	const { storage, store, options } = opened(t);
	const [ended, live, foreign] = times(3, () => session());
	for (const one of [ended, live]) await store.createSession(one);
	await store.deleteSession(ended.token);
	await server.cli("LPUSH", `${options.userPrefix}${foreign.userId}`, "of another program");
	const late = { ...session(), createdAt: new Date(Date.now() - 600_000) };
	const others = times(MANY, () => session());

	const calls = [ended, foreign, ...others, { ...live, ipAddress: "198.51.100.1" }];
	const outcomes = await Promise.allSettled([
		...calls.map((one) => store.createSession(one)),
		storage.set(late.token, record(late), 3600),
	]);
	const codes = outcomes.map(({ reason }) => reason?.code);
	assert.deepEqual(codes, ["REVOKED", "PROTOCOL", ...times(MANY + 2, () => undefined)]);
	assert.equal(await store.getSession(ended.token), null);
	assert.deepEqual(await indexOf(ended, options), [], "an ended session is in its owner's index");
	assert.equal(await store.getSession(foreign.token), null, "a record without an index entry was left");
	assert.equal(await store.getSession(late.token), null);
	assert.equal((await store.getSession(live.token)).ipAddress, "198.51.100.1");
	for (const { token } of others) assert.ok(await store.getSession(token));
});

test("a sign-in under the token of a live session leaves that session in the index at every moment", async (t) => {
	const proxy = await startProxy(t, server);
	const { store, options } = opened(t, { url: proxy.url });
	const mine = session();
	await store.createSession(mine);
	let isHeld = false;
	proxy.rewrite = (answer) => {
		if (answer.includes("DIFFERS")) {
			proxy.freeze(); // what it asks next waits
			isHeld = true;
		}
		return answer;
	};
	const second = store.createSession({ ...mine, ipAddress: "198.51.100.1" });
	await until("the answer", () => isHeld);
	assert.deepEqual(await indexOf(mine, options), [mine.token]);
	proxy.thaw();
	await second;
	assert.equal((await store.getSession(mine.token)).ipAddress, "198.51.100.1");
});

test("counters incremented in one tick count each call once, and fail independently", async (t) => {
	const { storage, options } = opened(t);
	await storage.set("text", "no number", 60);
	await storage.delete("again"); // there was none: that leaves a tombstone
	const keys = times(MANY, (n) => ["one", "other", "again", "text"][n % 4]);
	const outcomes = await Promise.allSettled(keys.map((key) => storage.increment(key, 30)));
	for (const name of ["one", "other", "again"]) {
		const counts = outcomes.filter((_, n) => keys[n] === name).map(({ value }) => value);
		assert.deepEqual(
			counts.sort((a, b) => a - b),
			times(MANY / 4, (n) => n + 1),
		);
		const life = await server.cli("PTTL", options.keyPrefix + name);
		assert.ok(life > 0 && life <= 30_000);
	}
	const refused = outcomes.filter((_, n) => keys[n] === "text").map(({ reason }) => reason?.code);
	assert.deepEqual(
		refused,
		times(MANY / 4, () => "CONFLICT"),
	);
});

test("increment gives a counter without an expiry one, and never extends an expiry", async (t) => {
	const { storage, options } = opened(t);
	const lifeOf = (name) => server.cli("PTTL", options.keyPrefix + name);
	await server.cli("SET", `${options.keyPrefix}immortal`, "7");
	await server.cli("SET", `${options.keyPrefix}zero`, "0", "PX", "20000");
	await storage.delete("ended"); // there was none: that leaves a tombstone
	const counts = ["immortal", "zero", "ended"].map((name) => storage.increment(name, 30));
	assert.deepEqual(await Promise.all(counts), [8, 1, 1]);
	assert.ok((await lifeOf("immortal")) > 20_000);
	assert.ok((await lifeOf("zero")) <= 20_000);
	const life = await lifeOf("ended");
	assert.ok(life > 20_000 && life <= 30_000, `${life} ms`);
});

test("a script that the server no longer has is loaded again for every call that waits", async (t) => {
	const { storage, store } = opened(t);
	await storage.increment("counter", 60);
	await server.cli("SCRIPT", "FLUSH");
	const sessions = times(MANY, () => session());
	const counts = times(MANY, () => storage.increment("counter", 60));
	await Promise.all(sessions.map((one) => store.createSession(one)));
	assert.deepEqual(
		(await Promise.all(counts)).sort((a, b) => a - b),
		times(MANY, (n) => n + 2),
	);
	for (const { token } of sessions) assert.ok(await store.getSession(token));
});

test("an index expires with its longest session, however many writes come at once", async (t) => {
	const { store, options } = opened(t);
	const user = session().userId;
	const lives = times(MANY, (n) => (n * 37) % MANY);
	const sessions = lives.map((life) => session({ userId: user, expiresAt: new Date(Date.now() + (life + 60) * 1000) }));
	await Promise.all(sessions.map((one) => store.createSession(one)));
	const left = Number(await server.cli("PTTL", options.userPrefix + user));
	assert.ok(left >= (MANY - 1 + 60) * 1000 && left <= (MANY + 60 + 60) * 1000, `${left} ms`);
});
