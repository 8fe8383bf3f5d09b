// What lies in Redis: keys and lives as redis-cli shows them, what is sent to get there, and what is done about entries and
// records that should not be there.

import assert from "node:assert/strict";
import { beforeEach, describe, test } from "node:test";
import { runText } from "../support/child.js";
import { open } from "../support/engines.js";
import { endMadeUpKeys } from "../support/made-up.js";
import { sentDuring } from "../support/monitor.js";
import { fresh, fromNow, record, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

const MARGIN_MS = 60_000;
const server = redisPerFile();

beforeEach(() => server.cli("FLUSHALL"));

/** Fails unless `ms` is `expected`, less what has passed since it was true, at most 3 s. */
function assertLife(ms, expected) {
	assert.ok(ms <= expected && ms > expected - 3000, `${ms} ms, not about ${expected} ms`);
}

/** The scores of an index by id, as numbers. */
async function scores(user) {
	const flat = await server.cli("ZRANGE", `user-sessions:${user}`, 0, -1, "WITHSCORES");
	return Object.fromEntries(flat.flatMap((id, at) => (at % 2 ? [] : [[id, Number(flat[at + 1])]])));
}

/** Every key with its PTTL. */
async function lives() {
	const keys = (await server.cli("KEYS", "*")).sort();
	return Promise.all(keys.map(async (key) => [key, await server.cli("PTTL", key)]));
}

describe("keys in Redis", () => {
	test("are those of the guide, and hold JSON", async (t) => {
		const { storage, store } = open(t, server.url);
		const [mine, theirs] = [session(), session()];
		await store.createSession(mine);
		await signIn(storage, theirs);
		await storage.set("verification", "value", 60);
		await storage.increment("counter", 60);
		const names = [mine, theirs].flatMap(({ token, userId }) => [`session:${token}`, `user-sessions:${userId}`]);
		const expected = [...names, "session:verification", "session:counter"].sort();
		assert.deepEqual((await server.cli("KEYS", "*")).sort(), expected);
		assert.deepEqual(JSON.parse(await server.cli("GET", `session:${mine.token}`)), JSON.parse(JSON.stringify(mine)));
		assert.equal((await server.cli("GET", `session:${theirs.token}`)).trimEnd(), record(theirs));
		assert.equal(await server.cli("GET", "session:verification"), "value");
		assert.equal(await server.cli("GET", "session:counter"), "1");
		assert.deepEqual(await server.cli("ZRANGE", `user-sessions:${mine.userId}`, 0, -1), [mine.token]);
	});

	test("of plain values stay out of deleteUserSessions, also in an index and with a token and userId inside", async (t) => {
		const { storage, store } = open(t, server.url);
		const [key, userId] = [fresh("key"), fresh("user")];
		const value = JSON.stringify({ about: { token: key, userId } });
		await storage.set(key, value, 60);
		await server.cli("ZADD", `user-sessions:${userId}`, Date.now() + 60_000, key);
		assert.equal(await store.deleteUserSessions(userId), 0);
		assert.equal(await storage.get(key), value);
		await storage.delete(key);
		assert.equal(await server.cli("EXISTS", `session:${key}`), 0, "no tombstone");
	});

	test("have the configured prefixes, in the configured database", async (t) => {
		const { store } = open(t, { url: `${server.url}/3`, keyPrefix: "k:", userPrefix: "u:" });
		const mine = session();
		await store.createSession(mine);
		assert.deepEqual(await server.cli("KEYS", "*"), []);
		const found = await server.cli("EVAL", "redis.call('SELECT', 3) return redis.call('KEYS', '*')", 0);
		assert.deepEqual(found.sort(), [`k:${mine.token}`, `u:${mine.userId}`]);
	});
});

describe("expiries in Redis", () => {
	test("follow a session's expiresAt, and for an index the furthest one with a margin", async (t) => {
		const { storage, store } = open(t, server.url);
		const userId = fresh("user");
		const [long, short] = [session({ userId, expiresAt: fromNow(7_200_000) }), session({ userId })];
		await store.createSession(long);
		await storage.set(short.token, record(short), 5);
		assertLife(await server.cli("PTTL", `session:${long.token}`), 7_200_000);
		assertLife(await server.cli("PTTL", `session:${short.token}`), 3_600_000);
		assertLife(await server.cli("PTTL", `user-sessions:${userId}`), 7_200_000 + MARGIN_MS);
		const now = Date.now();
		const { [long.token]: longScore, [short.token]: shortScore } = await scores(userId);
		assertLife(longScore - now, 7_200_000);
		assertLife(shortScore - now, 3_600_000);
	});

	test("of an index are never shortened by a shorter session: the longer one stays listed", async (t) => {
		const { storage, store } = open(t, server.url);
		for (const create of [(one) => store.createSession(one), (one) => signIn(storage, one)]) {
			const userId = fresh("user");
			const [long, short] = [session({ userId }), session({ userId, expiresAt: fromNow(1500) })];
			await create(long);
			await create(short);
			assertLife(await server.cli("PTTL", `user-sessions:${userId}`), 3_600_000 + MARGIN_MS);
			await until("its end", async () => (await server.cli("EXISTS", `session:${short.token}`)) === 0);
			assert.deepEqual(await store.getUserSessions(userId), [long]);
			assert.equal(await store.deleteUserSessions(userId), 1);
		}
	});

	test("of a session follow its expiresAt, and scores only rise", async (t) => {
		const { store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		await store.updateSession(mine.token, { expiresAt: fromNow(7_200_000) });
		assertLife(await server.cli("PTTL", `session:${mine.token}`), 7_200_000);
		assertLife((await scores(mine.userId))[mine.token] - Date.now(), 7_200_000);
		await store.updateSession(mine.token, { expiresAt: fromNow(60_000) });
		assertLife(await server.cli("PTTL", `session:${mine.token}`), 60_000);
		assertLife((await scores(mine.userId))[mine.token] - Date.now(), 7_200_000);
		assertLife(await server.cli("PTTL", `user-sessions:${mine.userId}`), 7_200_000 + MARGIN_MS);
	});

	test("of a tombstone are tombstoneSeconds, 300 by default", async (t) => {
		const [usual, brief] = [open(t, server.url), open(t, { url: server.url, tombstoneSeconds: 7 })];
		for (const [{ storage, store }, ms] of [
			[usual, 300_000],
			[brief, 7000],
		]) {
			const mine = Array.from({ length: 4 }, () => session());
			for (const one of mine) await store.createSession(one);
			await store.deleteSession(mine[0].token);
			await storage.getAndDelete(mine[1].token);
			await store.deleteUserSessions(mine[2].userId);
			await storage.delete(mine[3].token);
			for (const { token, userId } of mine) {
				assertLife(await server.cli("PTTL", `session:${token}`), ms);
				assert.equal(await server.cli("EXISTS", `user-sessions:${userId}`), 0);
			}
			await storage.delete(mine[0].token); // again: an old tombstone is not prolonged for ever
			assertLife(await server.cli("PTTL", `session:${mine[0].token}`), ms);
		}
	});

	test("of other values are whole seconds, rounded up", async (t) => {
		const { storage } = open(t, server.url);
		for (const [ttl, ms] of [
			[10, 10_000],
			[4.0001, 5000],
			[3.999, 4000],
			[1e300, 100 * 365 * 86_400_000],
		]) {
			await storage.set("key", "value", ttl);
			assertLife(await server.cli("PTTL", "session:key"), ms);
			await storage.delete("key");
			await storage.increment("key", ttl);
			assertLife(await server.cli("PTTL", "session:key"), ms);
		}
		await storage.set("key", "value");
		assert.equal(await server.cli("PTTL", "session:key"), -1);
		await storage.set("key", "value", 10);
		assertLife(await server.cli("PTTL", "session:key"), 10_000);
	});

	test("of a counter are set once; one that had none gets one", async (t) => {
		const { storage } = open(t, server.url);
		await storage.increment("counter", 100);
		await storage.increment("counter", 5000);
		assertLife(await server.cli("PTTL", "session:counter"), 100_000);
		await storage.set("counter", "41");
		assert.equal(await storage.increment("counter", 10), 42);
		assertLife(await server.cli("PTTL", "session:counter"), 10_000);
	});

	test("of a not-before marker are never shortened", async (t) => {
		const { storage } = open(t, server.url);
		const key = `revoked-sessions-before-${fresh("user")}`;
		await storage.set(key, "5", 100);
		await storage.set(key, "6", 10);
		assertLife(await server.cli("PTTL", `session:${key}`), 100_000);
		await storage.set(key, "4", 1000);
		assert.equal(await storage.get(key), "6");
		assertLife(await server.cli("PTTL", `session:${key}`), 1_000_000);
		await storage.set(key, "4");
		assert.equal(await server.cli("PTTL", `session:${key}`), -1);
	});

	test("exist for everything but a value that was set without a ttl", async (t) => {
		const { storage, store } = open(t, { url: server.url, maxSessionsPerUser: 2 });
		const userId = fresh("user");
		const mine = Array.from({ length: 5 }, () => session({ userId }));
		for (const one of mine) await signIn(storage, one);
		await store.updateSession(mine[4].token, { note: 1 });
		await store.deleteSession(mine[3].token);
		await store.createSession(session({ userId }));
		await storage.getAndDelete("nothing");
		await storage.delete("nothing either");
		await storage.increment("counter", 5);
		await storage.set(`revoked-sessions-before-${userId}`, "1", 5);
		await storage.set(`active-sessions-${userId}`, "[]");
		await storage.delete(`active-sessions-${userId}`);
		await store.cleanupExpiredSessions();
		await store.deleteUserSessions(userId, { except: mine[4].token });
		await storage.set("for ever", "value");
		for (const [key, ms] of await lives()) assert.ok(key === "session:for ever" ? ms === -1 : ms > 0, `${key}: ${ms}`);
		await storage.clear();
		for (const [key, ms] of await lives()) assert.ok(ms > 0, `${key}: ${ms}`);
	});
});

describe("a made-up key", () => {
	test("leaves nothing, but for the tombstone of a token that a sign-in may be about to write", async (t) => {
		const { storage, store } = open(t, server.url);
		await endMadeUpKeys({ storage, store });
		assert.deepEqual(await lives(), []);
		await storage.delete("a token");
		const [[key, ms]] = await lives();
		assert.equal(key, "session:a token");
		assertLife(ms, 300_000);
	});

	test("leaves nothing where ends wait for replicas", async (t) => {
		const { storage, store } = open(t, { url: server.url, revoke: { waitReplicas: 1, timeoutMs: 10 } });
		await endMadeUpKeys({ storage, store });
		assert.deepEqual(await lives(), []);
	});

	test("that is a long token: a session that another version left there is ended for good", async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session({ token: "x".repeat(600) });
		await server.cli("SET", `session:${mine.token}`, `${record(mine)} `, "PX", 60_000);
		assert.equal((await store.getSession(mine.token)).token, mine.token);
		await storage.delete(mine.token);
		assert.deepEqual(
			(await lives()).map(([key]) => key),
			[`session:${mine.token}`],
		);
		assert.equal(await storage.get(mine.token), null);
	});
});

describe("round trips", () => {
	test("a list of 50 devices is one pipeline, and no call reads records one by one", async (t) => {
		const { storage, store } = open(t, { url: server.url, nearCache: false });
		const userId = fresh("user");
		const mine = Array.from({ length: 50 }, () => session({ userId }));
		await Promise.all(mine.map((one) => signIn(storage, one)));
		const [{ token }] = mine;
		const calls = {
			getUserSessions: [() => store.getUserSessions(userId), "GET", "EXISTS", "TYPE", "SORT"],
			"active-sessions": [() => storage.get(`active-sessions-${userId}`), "EXISTS", "ZRANGE"],
			getSession: [() => store.getSession(token), "MGET"],
			get: [() => storage.get(token), "MGET"],
			"set of a session": [() => signIn(storage, session()), "EVALSHA"],
			"set of a value": [() => storage.set("key", "value", 60), "EVALSHA"],
			createSession: [() => store.createSession(session()), "EVALSHA"],
			increment: [() => storage.increment("counter", 60), "EVALSHA"],
			getAndDelete: [() => storage.getAndDelete("key"), "EVALSHA"],
			delete: [() => storage.delete("key"), "EVALSHA"],
			deleteSession: [() => store.deleteSession(token), "EVALSHA"],
			deleteUserSessions: [() => store.deleteUserSessions(userId), "EVALSHA"],
			ping: [() => storage.ping(), "PING"],
		};
		const warm = session(); // a script is loaded by its first use
		await store.createSession(warm);
		await store.getUserSessions(warm.userId);
		await store.deleteUserSessions(warm.userId);
		await storage.set("warm", "", 60);
		await storage.increment("warm counter", 60);
		await storage.delete("warm");
		for (const [name, [call, ...commands]] of Object.entries(calls)) {
			assert.deepEqual(await sentDuring(server, call), commands, name);
		}
	});

	test("an update reads once and writes once", async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session();
		await signIn(storage, mine);
		const sent = await sentDuring(server, () => store.updateSession(mine.token, { note: 1 }));
		assert.deepEqual(sent, ["MGET", "EVALSHA"]);
	});

	test("scripts are sent again to a server that no longer has them", async (t) => {
		const { store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		await server.cli("SCRIPT", "FLUSH");
		assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		assert.equal(await store.deleteUserSessions(mine.userId), 1);
	});
});

describe("entries of an index", () => {
	test("that are past their time by more than the margin are removed, younger ones are not", async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		const add = (ms, id) => server.cli("ZADD", `user-sessions:${mine.userId}`, Date.now() + ms, id);
		await add(-MARGIN_MS - 1000, "long dead");
		await add(-MARGIN_MS + 30_000, "just dead");
		assert.equal(await store.cleanupExpiredSessions(), 1);
		assert.deepEqual(Object.keys(await scores(mine.userId)), ["just dead", mine.token]);

		await add(-MARGIN_MS - 1000, "long dead");
		await storage.delete(`active-sessions-${mine.userId}`);
		assert.deepEqual(Object.keys(await scores(mine.userId)), ["just dead", mine.token]);

		await add(-MARGIN_MS - 1000, "long dead");
		const second = session({ userId: mine.userId });
		await store.createSession(second);
		assert.deepEqual(Object.keys(await scores(mine.userId)).sort(), ["just dead", mine.token, second.token].sort());
	});

	test("of users that have nothing else are removed with the index", async (t) => {
		const { store } = open(t, server.url);
		await server.cli("ZADD", "user-sessions:gone", 1, "a", 2, "b", 3, "c");
		assert.equal(await store.cleanupExpiredSessions(), 3);
		assert.deepEqual(await server.cli("KEYS", "*"), []);
	});

	test("without a record stay until no sign-in can be in flight", async (t) => {
		const { store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		await server.cli("DEL", `session:${mine.token}`);
		assert.deepEqual(await store.getUserSessions(mine.userId), []);
		assert.equal(await store.cleanupExpiredSessions(), 0);
		assert.equal(await store.cleanupExpiredSessions(), 0);
		assert.deepEqual(Object.keys(await scores(mine.userId)), [mine.token]);
		assert.equal(await server.cli("EXISTS", `session:${mine.token}`), 0);
		await store.deleteSession(mine.token); // now it is sure
		assert.equal(await store.cleanupExpiredSessions(), 1);
		assert.equal(await server.cli("EXISTS", `user-sessions:${mine.userId}`), 0);
	});

	test("without a record for a minute are claimed: a late write is refused", {
		skip: !process.env.TEST_LONG,
	}, async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		await server.cli("DEL", `session:${mine.token}`);
		const start = performance.now();
		await until("the claim", async () => (await store.cleanupExpiredSessions()) === 1, 90_000);
		assert.ok(performance.now() - start >= 60_000);
		assert.deepEqual(await scores(mine.userId), {});
		await signIn(storage, mine);
		assert.equal(await storage.get(mine.token), null);
	});

	test("without a record do not count towards the limit", async (t) => {
		const { store } = open(t, { url: server.url, maxSessionsPerUser: 2 });
		const userId = fresh("user");
		const mine = [0, 1, 2].map((at) => session({ userId, createdAt: fromNow(at - 1000) }));
		await store.createSession(mine[0]);
		await store.createSession(mine[1]);
		await server.cli("DEL", `session:${mine[1].token}`);
		await store.createSession(mine[2]);
		const tokens = (await store.getUserSessions(userId)).map(({ token }) => token).sort();
		assert.deepEqual(tokens, [mine[0].token, mine[2].token].sort());
		assert.deepEqual(Object.keys(await scores(userId)).sort(), tokens);
	});

	test("of another user's session do not give it away", async (t) => {
		const { store } = open(t, server.url);
		const [mine, theirs] = [session(), session()];
		await store.createSession(mine);
		await store.createSession(theirs);
		await server.cli("ZADD", `user-sessions:${mine.userId}`, Date.now() + 60_000, theirs.token);
		assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		assert.equal(await store.deleteUserSessions(mine.userId), 1);
		assert.deepEqual(await store.getSession(theirs.token), theirs);
	});
});

describe("a corrupt record", () => {
	/** What a fault or another program may leave under a session's key. */
	const corrupt = ({ token, userId }) => [
		"",
		"{",
		`{"session":{"token":"${token}","userId":"${userId}"`,
		`{"token":"${token}","userId":"${userId}"}}`,
		`{"token":"${token}","userId":"${userId}",}`,
		`{"token":["${token}"],"userId":"${userId}"}`,
		`{"session":"${token}","user":"${userId}"}`,
		`["${token}","${userId}"]`,
		`"${token}"`,
		"0",
		"true",
		`${"[".repeat(5000)}"${token}"`,
	];

	test("is no session, fails no call and can be ended", async (t) => {
		const { storage, store } = open(t, server.url);
		const [mine, well] = [session(), session()];
		well.userId = mine.userId;
		await store.createSession(well);
		for (const text of [...corrupt(mine), ...corrupt(mine).map((text) => `${text} `)]) {
			await server.cli("SET", `session:${mine.token}`, text, "EX", 60);
			await server.cli("ZADD", `user-sessions:${mine.userId}`, Date.now() + 60_000, mine.token);
			assert.equal(await store.getSession(mine.token), null, text);
			assert.equal(await store.getSessionWithUser(mine.token), null, text);
			assert.deepEqual(await store.getUserSessions(mine.userId), [well], text);
			await assert.rejects(store.updateSession(mine.token, { note: 1 }), { code: "NOT_FOUND" }, text);
			await storage.delete(mine.token);
			assert.equal(await storage.get(mine.token), null, text);
			assert.deepEqual(await store.getUserSessions(mine.userId), [well], text);
		}
	});

	test("whose userId is no id is no session", async (t) => {
		const { storage, store } = open(t, server.url);
		const { token } = session();
		for (const userId of ["", null, ["user"], {}, true, 1.5]) {
			for (const value of [
				{ token, userId },
				{ session: { token, userId }, user: {} },
			]) {
				await storage.set(token, JSON.stringify(value), 60);
				assert.equal(await store.getSession(token), null, JSON.stringify(value));
			}
		}
	});

	test("does not outlive the end of all of the user's sessions, nor stop it", async (t) => {
		const { store } = open(t, server.url);
		for (const at of corrupt(session()).keys()) {
			const [mine, well] = [session(), session()];
			well.userId = mine.userId;
			await store.createSession(well);
			await server.cli("SET", `session:${mine.token}`, corrupt(mine)[at], "EX", 60);
			await server.cli("ZADD", `user-sessions:${mine.userId}`, Date.now() + 60_000, mine.token);
			assert.equal(await store.deleteUserSessions(mine.userId), 1);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		}
	});

	test("of invalid UTF-8 is an error, and not a missing session", async (t) => {
		const { storage, store } = open(t, server.url);
		await server.cli("SET", "session:bytes", Buffer.from([0xff, 0xfe, 0x00]), "EX", 60);
		await assert.rejects(storage.get("bytes"), { code: "PROTOCOL" });
		await assert.rejects(store.getSession("bytes"), { code: "PROTOCOL" });
		await storage.delete("bytes");
		assert.equal(await storage.get("bytes"), null);
	});

	test("is never printed", async () => {
		const mine = session();
		const texts = corrupt(mine);
		for (const [at, text] of texts.entries()) {
			await server.cli("SET", `session:${mine.token}`, text, "EX", 60);
			await server.cli("SET", `session:copy${at}`, text, "EX", 60);
		}
		const source = `
			import { RedisSessionStore } from "better-auth-redis-store";
			const store = new RedisSessionStore(process.env.REDIS_URL);
			for (const token of [process.env.TOKEN, ...Array.from({ length: ${texts.length} }, (_, at) => "copy" + at)]) {
				if ((await store.getSession(token)) !== null) throw new Error("it is a session");
				await store.updateSession(token, { note: 1 }).then(() => process.exit(1), () => {});
				await store.getUserSessions(process.env.USER_ID);
				await store.cleanupExpiredSessions();
			}
			console.log("done");`;
		const env = { REDIS_URL: server.url, TOKEN: mine.token, USER_ID: mine.userId };
		const { stdout, stderr, code } = await runText(source, { env });
		assert.deepEqual({ stdout, stderr, code }, { stdout: "done\n", stderr: "", code: 0 });
	});
});
