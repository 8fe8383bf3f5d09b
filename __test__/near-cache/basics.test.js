// The near cache as an application sees it: what is answered without asking Redis, what never is, how changes by others
// arrive, what it costs and tells, where it is off, and that all threads of a process share it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { openApp } from "../races/app.js";
import { now } from "../races/race.js";
import { rounds, seeded } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertError, assertNoSecret, SECRETS } from "../support/errors.js";
import { sentDuring } from "../support/monitor.js";
import { startProxy } from "../support/proxy.js";
import { fresh, fromNow, record, session, signIn } from "../support/records.js";
import { redisPerFile, startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";
import {
	connect,
	counters,
	hit,
	isHit,
	keyOf,
	miss,
	openCached,
	openStranger,
	readNow,
	ready,
	risen,
	seed,
	sessions,
	stored,
	turn,
	warm,
} from "./stores.js";

const server = redisPerFile();

/** What an operating cache sends by itself. */
const OWN_COMMANDS = ["CLIENT", "ROLE", "PING"];

/** A cache that sends hardly anything by itself. */
const QUIET = { heartbeatMs: 10_000, maxStalenessMs: 30_000 };

const revokedBefore = (user) => `revoked-sessions-before-${user}`;

describe("the near cache: a session that was read before", () => {
	test("is returned as a plain value, by both interfaces, and counted", async (t) => {
		const { storage, store } = await openCached(t, server);
		const mine = session();
		await signIn(storage, mine);

		const before = counters(storage);
		assert.deepEqual([before.enabled, before.reason], [true, null]);
		assert.equal(await miss(storage, mine.token), record(mine));
		for (let n = 0; n < 10; n++) assert.equal(hit(storage, mine.token), record(mine));
		assert.deepEqual(await store.getSession(mine.token), mine);

		const { hits, misses, entries, bytes, evictions } = risen(storage, before);
		assert.deepEqual({ hits, misses, entries, evictions }, { hits: 11, misses: 1, entries: 2, evictions: 0 });
		assert.ok(bytes >= record(mine).length && bytes < record(mine).length + 1500, `${bytes} bytes`);
		assert.deepEqual(counters(store), counters(storage));
	});

	test("may have been written by this store or by another client, with a user or without", async (t) => {
		const { storage, store } = await openCached(t, server);
		const stranger = openStranger(t, server);
		const mine = sessions(4);
		await signIn(storage, mine[0]);
		await store.createSession(mine[1]);
		await signIn(stranger.storage, mine[2]);
		await stranger.store.createSession(mine[3]);
		for (const { token, ...rest } of mine) {
			const first = await miss(storage, token);
			assert.equal(hit(storage, token), first);
			assert.deepEqual(await store.getSession(token), { token, ...rest });
		}
	});

	test("may have a token of any characters", async (t) => {
		const { storage } = await openCached(t, server);
		const redis = connect(t, server);
		for (const token of ["žofie 🐎", "a:b:c", "*", "é", "x".repeat(400)]) {
			const mine = session({ token: fresh(token) });
			await signIn(storage, mine);
			await miss(storage, mine.token);
			assert.equal(hit(storage, mine.token), record(mine));
			await redis.set(keyOf(mine), stored({ ...mine, changed: true }), "KEEPTTL");
			await until("the change", async () => (await storage.get(mine.token)) === record({ ...mine, changed: true }));
		}
	});

	test("may have no not-before marker, or a tombstone in its place: that is cached too", async (t) => {
		const { storage } = await openCached(t, server);
		const redis = connect(t, server);
		const key = revokedBefore(fresh("user"));
		await redis.set(`session:${key}`, Buffer.from("ff656e646564", "hex"), "EX", 60);
		assert.equal(await miss(storage, key), null);
		assert.equal(hit(storage, key), null);
		await redis.set(`session:${key}`, "5", "EX", 60);
		await until("the change", async () => (await storage.get(key)) === "5");
	});

	test("is read again after ttlMs", async (t) => {
		const ttlMs = 300;
		const { storage } = await openCached(t, server, { ttlMs });
		const mine = session();
		await signIn(storage, mine);
		const earliest = now();
		await miss(storage, mine.token);
		const latest = now();
		let lastHit = 0;
		let firstMiss;
		while (firstMiss === undefined) {
			const at = now();
			if (isHit(readNow(storage, mine.token))) lastHit = at;
			else firstMiss = at;
			await turn();
		}
		const SLACK_MS = 25;
		assert.ok(lastHit > 0 && lastHit <= latest + ttlMs + SLACK_MS, `a hit after ${lastHit - latest} ms`);
		assert.ok(firstMiss >= earliest + ttlMs - SLACK_MS, `a miss after ${firstMiss - earliest} ms`);
	});

	test("is null after its own expiry, though Redis cannot answer", async (t) => {
		const own = await startRedis();
		t.after(() => own.stop());
		const { storage, store } = await openCached(t, own, { maxStalenessMs: 5000 }, { commandTimeout: 20_000 });
		const mine = session({ expiresAt: fromNow(700) });
		await signIn(storage, mine);
		await store.getSession(mine.token);
		hit(storage, mine.token);
		await own.pause();
		const CLOCK_MS = 50; // Redis' own idea of the end is a little later, by the way of the command
		await until("its end", () => Date.now() > mine.expiresAt.getTime() + CLOCK_MS);
		const answer = readNow(storage, mine.token);
		const face = store.getSession(mine.token);
		own.resume();
		assert.equal(await answer, null);
		assert.equal(await face, null);
	});

	test("is dropped to stay within maxBytes", async (t) => {
		const maxBytes = 1024 * 1024;
		const { storage } = await openCached(t, server, { maxBytes });
		const many = sessions(5000);
		await seed(connect(t, server), many);
		for (let first = 0; first < many.length; first += 500) {
			await Promise.all(many.slice(first, first + 500).map(({ token }) => storage.get(token)));
			assert.ok(counters(storage).bytes <= maxBytes, `${counters(storage).bytes} bytes`);
		}
		const { entries, evictions, bytes } = counters(storage);
		assert.ok(entries > 100 && bytes > maxBytes / 2, `only ${entries} entries, ${bytes} bytes`);
		assert.ok(evictions >= many.length - entries, `${evictions} evictions, ${entries} entries`);
		for (const one of many.slice(0, 100)) assert.equal(await storage.get(one.token), record(one));
	});
});

describe("the near cache drops an entry after a change by another client:", () => {
	const changed = (mine) => ({ ...mine, changed: true, updatedAt: fromNow(1000) });
	const isGone = (value) => value === null;
	const isChanged = (value) => value !== null && JSON.stringify(JSON.parse(value)).includes('"changed":true');

	/** What others do to a session, and how it is known again. */
	const changes = {
		SET: [({ redis }, mine) => redis.set(keyOf(mine), stored(changed(mine)), "KEEPTTL"), isChanged],
		"SET by another kind of store": [
			({ redis }, mine) => redis.set(keyOf(mine), record(changed(mine)), "KEEPTTL"),
			isChanged,
		],
		"SET of no session": [({ redis }, mine) => redis.set(keyOf(mine), "1", "EX", 60), (value) => value === "1"],
		SETRANGE: [({ redis }, mine) => redis.setrange(keyOf(mine), 0, stored(changed(mine))), isChanged],
		"SET in a MULTI": [
			({ redis }, mine) =>
				redis
					.multi()
					.set(keyOf(mine), stored(changed(mine)), "KEEPTTL")
					.get(keyOf(mine))
					.exec(),
			isChanged,
		],
		"SET in a script": [
			({ redis }, mine) => redis.eval("redis.call('SET', KEYS[1], ARGV[1])", 1, keyOf(mine), stored(changed(mine))),
			isChanged,
		],
		DEL: [({ redis }, mine) => redis.del(keyOf(mine)), isGone],
		UNLINK: [({ redis }, mine) => redis.unlink(keyOf(mine)), isGone],
		GETDEL: [({ redis }, mine) => redis.getdel(keyOf(mine)), isGone],
		RENAME: [({ redis }, mine) => redis.rename(keyOf(mine), fresh("elsewhere")), isGone],
		MOVE: [({ redis }, mine) => redis.move(keyOf(mine), 3), isGone],
		"PEXPIRE in no time": [({ redis }, mine) => redis.pexpire(keyOf(mine), 1), isGone],
		"EXPIREAT in the past": [({ redis }, mine) => redis.expireat(keyOf(mine), 1), isGone],
		"GETEX in no time": [({ redis }, mine) => redis.call("GETEX", keyOf(mine), "PX", 1), isGone],
		"storage.set": [({ storage }, mine) => signIn(storage, changed(mine)), isChanged],
		"storage.delete": [({ storage }, mine) => storage.delete(mine.token), isGone],
		"storage.set without a life": [({ storage }, mine) => storage.set(mine.token, record(mine), 0), isGone],
		"storage.getAndDelete": [({ storage }, mine) => storage.getAndDelete(mine.token), isGone],
		"storage.set of a time of revocation": [
			({ storage }, mine) => storage.set(revokedBefore(mine.userId), String(Date.now() + 1000), 60),
			isGone,
		],
		updateSession: [({ store }, mine) => store.updateSession(mine.token, { changed: true }), isChanged],
		createSession: [({ store }, mine) => store.createSession(changed(mine)), isChanged],
		deleteSession: [({ store }, mine) => store.deleteSession(mine.token), isGone],
		deleteUserSessions: [({ store }, mine) => store.deleteUserSessions(mine.userId), isGone],
		"storage.clear": [({ storage }) => storage.clear(), isGone],
		FLUSHDB: [({ redis }) => redis.flushdb(), isGone],
		FLUSHALL: [({ redis }) => redis.flushall("ASYNC"), isGone],
	};
	for (const [name, [change, isSeen]] of Object.entries(changes)) {
		test(name, async (t) => {
			const { storage } = await openCached(t, server);
			const strangers = { ...openStranger(t, server), redis: connect(t, server) };
			const mine = session();
			await signIn(storage, mine, null);
			await warm(storage, [mine.token]);
			await change(strangers, mine);
			await until("the change", async () => isSeen(await storage.get(mine.token)), 1000);
		});
	}

	test("500 sessions at once", async (t) => {
		const { storage } = await openCached(t, server);
		const redis = connect(t, server);
		const many = sessions(500);
		await seed(redis, many);
		await warm(
			storage,
			many.map(({ token }) => token),
		);
		await redis.del(...many.map(keyOf));
		await until(
			"the end of all",
			async () => {
				const found = await Promise.all(many.map(({ token }) => storage.get(token)));
				return found.every((value) => value === null);
			},
			1000,
		);
	});
});

describe("a user's not-before marker in the near cache", () => {
	for (const [who, create] of [
		["a client", ({ redis }, key, value) => redis.set(`session:${key}`, value, "EX", 60)],
		["a stranger's store", ({ storage }, key, value) => storage.set(key, value, 60)],
	]) {
		test(`is cached as absent until ${who} sets it; then its value and each change are seen`, async (t) => {
			const { storage } = await openCached(t, server);
			const strangers = { ...openStranger(t, server), redis: connect(t, server) };
			const key = revokedBefore(fresh("user"));
			assert.equal(await miss(storage, key), null);
			for (let n = 0; n < 3; n++) assert.equal(hit(storage, key), null);
			for (const value of [Date.now(), Date.now() + 1000].map(String)) {
				await create(strangers, key, value);
				await until("it", async () => (await readNow(storage, key)) === value, 1000);
				assert.equal(hit(storage, key), value);
			}
			await strangers.redis.del(`session:${key}`);
			await until("its end", async () => (await readNow(storage, key)) === null, 1000);
			assert.equal(hit(storage, key), null);
		});
	}

	test("makes a check of Better Auth's two hits and no round trip", async (t) => {
		const app = await openApp({ url: server.url, options: { nearCache: { heartbeatMs: 1000, maxStalenessMs: 9000 } } });
		t.after(() => app.close());
		app.seedUsers(["user"]);
		await app.storage.ping();
		await ready(app.storage);
		const token = await app.signIn("user");
		await app.look(token);
		const before = counters(app.storage);
		const sent = await sentDuring(server, async () => {
			for (let n = 0; n < 10; n++) assert.equal((await app.look(token)).session.token, token);
		});
		assert.deepEqual(
			sent.filter((name) => !OWN_COMMANDS.includes(name)),
			[],
		);
		const { hits, misses } = risen(app.storage, before);
		assert.deepEqual({ hits, misses }, { hits: 20, misses: 0 });
	});
});

describe("Redis, and not the near cache, answers for", () => {
	/** Reads keys several times; fails if any of it does not go to Redis. */
	async function assertNeverKept(storage, redis, values) {
		const before = counters(storage);
		for (const [key, value] of Object.entries(values)) {
			for (let n = 0; n < 3; n++) assert.equal(await miss(storage, key), value, key);
		}
		assert.equal(risen(storage, before).hits, 0);
		// And a stranger's change is there at once.
		for (const key of Object.keys(values)) {
			await redis.set(`session:${key}`, "another", "EX", 60);
			assert.equal(await miss(storage, key), "another", key);
		}
	}

	test("a value that is neither a session nor a not-before marker", async (t) => {
		const { storage } = await openCached(t, server);
		const values = {
			"verification:someone@example.com": "code",
			"reset-password:x": JSON.stringify({ id: 1, value: "x", expiresAt: fromNow(1000) }),
			"rate-limit": JSON.stringify({ count: 1, lastRequest: 5 }),
			"somebody else's": record(session()),
			"no owner": JSON.stringify({ session: { token: "no owner" } }),
			"an API key": '{"token":"other","userId":"user"}',
			"ends in a space": "value ",
			"revoked-sessions-before": "5",
			empty: "",
		};
		for (const [key, value] of Object.entries(values)) await storage.set(key, value, 60);
		await assertNeverKept(storage, connect(t, server), values);
	});

	test("a counter", async (t) => {
		const { storage } = await openCached(t, server);
		const key = fresh("counter");
		for (let n = 1; n <= 3; n++) {
			assert.equal(await storage.increment(key, 60), n);
			assert.equal(await miss(storage, key), String(n));
			assert.equal(await miss(storage, key), String(n));
		}
	});

	test("an absent or ended session", async (t) => {
		const { storage, store } = await openCached(t, server);
		const mine = session();
		await store.createSession(mine);
		await store.deleteSession(mine.token);
		await assertNeverKept(storage, connect(t, server), {
			[fresh("nothing")]: null,
			[fresh("verification:")]: null,
			[mine.token]: null,
		});
	});

	test("a user's list", async (t) => {
		const { storage, store } = await openCached(t, server);
		const mine = session();
		const key = `active-sessions-${mine.userId}`;
		assert.equal(await miss(storage, key), null);
		assert.equal(await miss(storage, key), null);
		await store.createSession(mine);
		for (let n = 0; n < 3; n++) assert.equal(JSON.parse(await miss(storage, key)).length, 1);
	});

	test("every read with nearCache: false", async (t) => {
		const { storage, store } = openStranger(t, server);
		const mine = session();
		await signIn(storage, mine);
		for (let n = 0; n < 5; n++) {
			assert.equal(await miss(storage, mine.token), record(mine));
			assert.equal(await miss(storage, revokedBefore(mine.userId)), null);
			assert.deepEqual(await store.getSession(mine.token), mine);
		}
		const { enabled, reason, hits, entries } = counters(storage);
		assert.deepEqual({ enabled, hits, entries }, { enabled: false, hits: 0, entries: 0 });
		assert.match(reason, /nearCache/);
	});
});

describe("round trips with the near cache", () => {
	/** The commands by which clients ask for values while something runs. */
	async function readsDuring(run) {
		return (await sentDuring(server, run)).filter((name) => name === "GET" || name === "MGET");
	}

	test("10,000 reads of a session after a change of it: one GET", async (t) => {
		const reader = { commandTimeout: 20_000 };
		const { storage } = await openCached(t, server, { maxStalenessMs: 20_000 }, reader);
		const redis = connect(t, server);
		const mine = session();
		await signIn(storage, mine);
		await warm(storage, [mine.token]);
		for (const isFrozen of [true, false]) {
			const { invalidations } = counters(storage);
			const changed = { ...mine, changed: isFrozen };
			await redis.set(keyOf(mine), stored(changed), "KEEPTTL");
			await until("the invalidation", () => counters(storage).invalidations > invalidations);
			const before = counters(storage);
			const sent = await readsDuring(async () => {
				// While the server stands still the first answer cannot come before the last question.
				if (isFrozen) await server.pause();
				const answers = [];
				for (let burst = 0; burst < 10; burst++) {
					for (let n = 0; n < 1000; n++) answers.push(storage.get(mine.token));
					if (isFrozen) await turn();
				}
				server.resume();
				for (const value of await Promise.all(answers)) assert.equal(value, record(changed));
			});
			assert.deepEqual(sent, ["GET"]);
			const { hits, misses, coalesced, entries } = risen(storage, before);
			assert.deepEqual({ hits, misses, coalesced, entries }, { hits: 0, misses: 1, coalesced: 9999, entries: 1 });
		}
	});

	test("10,000 reads that wait for a failed one: no GET each", async (t) => {
		const own = await startRedis();
		t.after(() => own.stop());
		const commandTimeout = 500;
		const { storage } = await openCached(t, own, { maxStalenessMs: 20_000 }, { commandTimeout });
		const mine = session();
		await seed(connect(t, own), [mine]);
		const sent = await sentDuring(own, async () => {
			await own.pause();
			const first = assert.rejects(storage.get(mine.token), { code: "TIMEOUT" });
			await new Promise((resolve) => setTimeout(resolve, commandTimeout * 0.7));
			const others = [];
			for (let burst = 0; burst < 10; burst++) {
				for (let n = 0; n < 1000; n++) others.push(storage.get(mine.token));
				await turn();
			}
			const all = Promise.all(others);
			await first;
			own.resume();
			for (const value of await all) assert.equal(value, record(mine));
		});
		const asked = sent.filter((name) => name === "GET" || name === "MGET").length;
		assert.ok(asked <= 3, `${asked} times`);
	});

	test("100 sessions one after the other in one tick: one command, and another for their users' markers", async (t) => {
		const { storage } = await openCached(t, server);
		const many = sessions(100);
		await seed(connect(t, server), many);
		const sent = await readsDuring(() =>
			Promise.all(many.flatMap(({ token }) => [readNow(storage, token), readNow(storage, token)])),
		);
		assert.deepEqual(sent, ["MGET", "MGET"]);
		for (const one of many) assert.equal(hit(storage, one.token), record(one));
	});

	for (const [name, most, list] of [
		["get of the list", 3, async ({ storage }, user) => JSON.parse(await storage.get(`active-sessions-${user}`))],
		// How long the records are is asked for first: they are handed over together.
		["getUserSessions", 6, ({ store }, user) => store.getUserSessions(user)],
	]) {
		test(`${name} of 100 devices, and then each of them: ${most} round trips at most, and their changes are seen`, async (t) => {
			const { reader, proxy, stranger, userId, devices } = await openWithDevices(t);
			const { storage } = reader;
			assert.ok((await roundTrips(proxy, () => readListed(reader, list, userId, devices))) <= most);

			// What a list left is as true as what was read alone.
			await stranger.store.deleteSession(devices[7].token);
			await stranger.store.updateSession(devices[8].token, { changed: true });
			await until("the end", async () => (await storage.get(devices[7].token)) === null, 1000);
			await until("the change", async () => /changed/.test(await storage.get(devices[8].token)), 1000);
		});

		test(`${name} of 100 devices costs no more when some of it is in the cache, or has ended by itself`, async (t) => {
			const { reader, proxy, userId, devices } = await openWithDevices(t, { expiresAt: fromNow(1000) });
			const [first, second] = devices;
			// The first in the list is the soonest to expire.
			await warm(reader.storage, [first.token, second.token]);
			assert.ok((await roundTrips(proxy, () => readListed(reader, list, userId, devices))) <= most);

			const other = await openCached(t, proxy, QUIET, { connectionName: fresh("other") });
			await until("its end", () => Date.now() > first.expiresAt.getTime() + 50);
			const left = devices.slice(1);
			assert.ok(
				(await roundTrips(proxy, () => readListed(other, list, userId, left))) <= most,
				"with one that is over",
			);
		});
	}

	test("a list by Better Auth of 100 devices: a handful of round trips", async (t) => {
		const proxy = await startProxy(t, server);
		const user = fresh("device").toLowerCase();
		const other = await openApp({ url: server.url, options: { nearCache: false } });
		t.after(() => other.close());
		other.seedUsers([user]);
		const tokens = [];
		for (let n = 0; n < 100; n++) tokens.push(await other.signIn(user));
		for (const at of [0, 50, 99]) {
			const options = { nearCache: QUIET, connectionName: fresh("app") };
			const app = await openApp({ url: proxy.url, options });
			t.after(() => app.close());
			app.seedUsers([user]);
			await app.storage.ping();
			await ready(app.storage);
			const cost = await roundTrips(proxy, async () => assert.equal((await app.listed(tokens[at])).length, 100));
			t.diagnostic(`asked by session ${at}: ${cost} round trips`);
			assert.ok(cost <= 5);
		}
	});

	/** A reader behind a proxy, and 100 sessions of one user; the first one with these fields. */
	async function openWithDevices(t, fields) {
		const proxy = await startProxy(t, server);
		const reader = await openCached(t, proxy, QUIET);
		const stranger = openStranger(t, server);
		const userId = fresh("user");
		const devices = [session({ userId, ...fields }), ...sessions(99, { userId })];
		await Promise.all(devices.map((one) => signIn(stranger.storage, one)));
		return { reader, proxy, stranger, userId, devices };
	}

	/** What Better Auth does to list: asks for the list, and then for each of it. */
	async function readListed(reader, list, userId, devices) {
		const records = new Map(devices.map((one) => [one.token, record(one)]));
		const listed = await list(reader, userId);
		assert.equal(listed.length, devices.length);
		for (const { token } of listed) assert.equal(await reader.storage.get(token), records.get(token));
	}

	async function roundTrips(proxy, run) {
		const before = proxy.roundTrips;
		await run();
		return proxy.roundTrips - before;
	}
});

describe("without tracking everything works, and metrics give the reason:", () => {
	/** Fails unless a store of these options works, without a near cache. */
	async function assertOff(t, options, reason) {
		const { storage, store } = open(t, options);
		assert.match(counters(storage).reason, /./);
		assert.equal(counters(storage).enabled, false);
		const mine = session();
		await signIn(storage, mine);
		for (let n = 0; n < 5; n++) assert.equal(await miss(storage, mine.token), record(mine));
		assert.equal(await miss(storage, revokedBefore(mine.userId)), null);
		assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		await store.updateSession(mine.token, { changed: true });
		assert.equal((await store.getSession(mine.token)).changed, true);
		await store.deleteSession(mine.token);
		assert.equal(await miss(storage, mine.token), null);
		const { enabled, hits, entries, reason: told } = counters(store);
		assert.deepEqual({ enabled, hits, entries }, { enabled: false, hits: 0, entries: 0 });
		assert.match(told, reason);
		assertNoSecret(new Error(told));
	}

	test("a server that speaks RESP2 only", async (t) => {
		const old = await startRedis({ config: ['rename-command HELLO ""'] });
		t.after(() => old.stop());
		await assertOff(t, { url: old.url }, /RESP/);
	});

	test("Redis 6", async (t) => {
		const proxy = await startProxy(t, server);
		const info = await server.cli("INFO", "server");
		const [, version] = /valkey_version:(\S+)/.exec(info) ?? /redis_version:(\S+)/.exec(info);
		// Of the same length, so that the lengths that the frames tell stay right.
		const six = `6.2.${"1".repeat(version.length - 4)}`;
		proxy.rewrite = (frame) => Buffer.from(frame.toString("latin1").replaceAll(version, six), "latin1");
		await assertOff(t, { url: proxy.url }, /\b7\b/);
	});

	test("a user who may not call CLIENT", async (t) => {
		const rules = ["~*", "&*", "+@all", "-client"];
		await server.cli("ACL", "SETUSER", SECRETS.user, "on", `>${SECRETS.password}`, ...rules);
		const options = { url: server.url, username: SECRETS.user, password: SECRETS.password };
		await assertOff(t, options, /CLIENT|permi|ACL/i);
	});

	test("disabled CLIENT TRACKING", async (t) => {
		const own = await startRedis({ config: ['rename-command CLIENT ""'] });
		t.after(() => own.stop());
		await assertOff(t, { url: own.url }, /CLIENT|track/i);
	});

	test("pushes that do not arrive, from the start", async (t) => {
		const proxy = await startProxy(t, server);
		proxy.swallowsPushes = true;
		await assertOff(t, { url: proxy.url }, /./);
	});

	test("the embedded engine", async (t) => {
		await assertOff(t, { url: `memory://${fresh("cache")}` }, /memory|embedded/i);
	});

	test("nearCache: false", async (t) => {
		await assertOff(t, { url: server.url, nearCache: false }, /nearCache/);
	});

	test("a user with only the needed permissions, or a full memory, is no reason", async (t) => {
		const own = await startRedis({ config: ["maxmemory-policy noeviction"] });
		t.after(() => own.stop());
		const rules = ["~session:*", "~user-sessions:*", "resetchannels", "+@all", "-@admin", "-@dangerous", "+info"];
		await own.cli("ACL", "SETUSER", SECRETS.user, "on", `>${SECRETS.password}`, ...rules);
		const mine = session();
		await signIn(openStranger(t, own).storage, mine);

		const careful = open(t, { url: own.url, username: SECRETS.user, password: SECRETS.password });
		for (let n = 0; n < 5; n++) assert.equal(await careful.storage.get(mine.token), record(mine));
		const { enabled, reason } = counters(careful.storage);
		assert.equal(enabled, reason === null);
		t.diagnostic(`a careful user: ${enabled ? "on" : reason}`);

		await own.cli("CONFIG", "SET", "maxmemory", "1");
		const full = open(t, { url: own.url });
		for (let n = 0; n < 5; n++) assert.equal(await full.storage.get(mine.token), record(mine));
		const told = counters(full.storage);
		assert.equal(told.enabled, told.reason === null);
		t.diagnostic(`a full memory: ${told.enabled ? "on" : told.reason}`);
	});

	test("before the first connection", (t) => {
		const { storage, store } = open(t, { url: server.url, connectionName: fresh("unused") });
		for (const face of [storage, store]) {
			const { enabled, reason } = counters(face);
			assert.equal(enabled, false);
			assert.match(reason, /connect/i);
		}
	});
});

test("the near cache's canary key leaves nothing behind that never expires or is listed", async (t) => {
	const own = await startRedis();
	t.after(() => own.stop());
	const { storage } = await openCached(t, own, { heartbeatMs: 20, maxStalenessMs: 200 });
	assert.deepEqual(await storage.listKeys(), []);
	for (const key of await own.cli("KEYS", "*")) assert.ok((await own.cli("PTTL", key)) > 0, "a key lives for ever");
	await storage.clear();
	await ready(storage);
});

describe("options of the near cache", () => {
	/** Fails unless both faces refuse, in the constructor, and name what is wrong. */
	function assertRefused(nearCache, ...names) {
		const options = { url: "redis://localhost", nearCache };
		for (const make of [() => redisStorage(options), () => new RedisSessionStore(options)]) {
			assert.throws(make, (error) => {
				assertError(error, "INVALID_ARGUMENT", /./);
				for (const name of names) assert.ok(error.message.includes(name), `${error.message} names ${name}`);
				return true;
			});
		}
	}

	test("must be a boolean or an object", () => {
		for (const bad of [1, 0, "yes", null, [], () => true, 7n, Symbol("on"), Number.NaN])
			assertRefused(bad, "nearCache");
	});

	test("have fields that must be whole numbers in range", () => {
		for (const name of ["maxBytes", "ttlMs", "maxStalenessMs", "heartbeatMs"]) {
			for (const bad of [-1, 1.5, "1000", null, Number.NaN, Infinity, 1e300, [], {}, true, () => 5, 7n]) {
				assertRefused({ [name]: bad }, `nearCache.${name}`);
			}
		}
	});

	test("that do not exist are named, with a suggestion", () => {
		assertRefused({ maxByte: 1_000_000 }, "maxByte", "maxBytes");
		assertRefused({ ttl: 60 }, "ttl", "ttlMs");
		assertRefused({ enabled: true }, "enabled");
	});

	test("are all reported at once", () => {
		assertRefused({ maxBytes: -1, heartbeatMs: "x" }, "nearCache.maxBytes", "nearCache.heartbeatMs");
	});

	test("of true and of {} are the defaults: the same store", async (t) => {
		const url = server.url;
		const connectionName = fresh("defaults");
		const defaults = { maxBytes: 33_554_432, ttlMs: 60_000, maxStalenessMs: 3000, heartbeatMs: 1000 };
		const all = [undefined, true, {}, defaults, { ...defaults, ttlMs: undefined }].map((nearCache) =>
			open(t, nearCache === undefined ? { url, connectionName } : { url, connectionName, nearCache }),
		);
		const mine = session();
		await signIn(all[0].storage, mine);
		await ready(all[0].storage);
		await warm(all[0].storage, [mine.token]);
		for (const { storage, store } of all) {
			await storage.ping(); // a face is opened by its first call
			assert.equal(hit(storage, mine.token), record(mine));
			assert.deepEqual(counters(store), counters(all[0].storage));
		}
		const other = open(t, { url, connectionName, nearCache: { maxBytes: 1_000_000 } });
		await other.storage.ping();
		await ready(other.storage);
		assert.equal(counters(other.storage).entries, 0);
	});
});

describe("worker threads and the near cache", () => {
	/** A thread with a store of the same options. */
	function startThread(t, options) {
		const worker = new Worker(new URL("thread.js", import.meta.url), { workerData: options });
		t.after(() => worker.terminate());
		const waiting = new Map();
		let last = 0;
		worker.on("message", (message) => {
			waiting.get(message.number)(message);
			waiting.delete(message.number);
		});
		worker.on("error", (error) => {
			throw error;
		});
		const ask = (face, method, ...args) =>
			new Promise((resolve) => {
				waiting.set(++last, resolve);
				worker.postMessage({ number: last, face, method, args });
			});
		return { storage: (...args) => ask("storage", ...args), store: (...args) => ask("store", ...args) };
	}

	test("hit entries that another thread read, and count together", async (t) => {
		const options = { url: server.url, connectionName: fresh("threads") };
		const { storage } = open(t, options);
		const threads = [startThread(t, options), startThread(t, options)];
		const mine = session();
		await signIn(storage, mine);
		await ready(storage);
		await warm(storage, [mine.token]);
		const before = counters(storage);
		for (const thread of threads) {
			await thread.storage("ping");
			const { value, isHit } = await thread.storage("get", mine.token);
			assert.deepEqual({ value, isHit }, { value: record(mine), isHit: true });
		}
		const { hits, misses } = risen(storage, before);
		assert.deepEqual({ hits, misses }, { hits: 2, misses: 0 });
		assert.equal((await threads[0].storage("metrics")).value.nearCache.entries, 2);
	});

	test("read another thread's writes at once", async (t) => {
		const random = seeded("threads");
		const options = { url: server.url, connectionName: fresh("threads") };
		const { storage, store } = open(t, options);
		const main = {
			storage: async (method, ...args) => ({ value: await storage[method](...args) }),
			store: async (method, ...args) => ({ value: await store[method](...args) }),
		};
		const sides = [main, startThread(t, options), startThread(t, options)];
		let mine = session();
		await store.createSession(mine);
		for (let round = 0; round < rounds(400, 20_000); round++) {
			for (const side of sides) {
				const { value } = await side.storage("get", mine.token); // now it is in the cache, and where a thread keeps copies, there too
				assert.ok(value);
				await side.storage("get", mine.token);
			}
			const writer = random.pick(sides);
			const key = revokedBefore(mine.userId);
			for (const side of sides) await side.storage("get", key);
			if (round % 10 === 9) {
				await writer.store("deleteSession", mine.token);
				for (const side of sides) assert.equal((await side.storage("get", mine.token)).value, null, `round ${round}`);
				mine = session();
				await writer.store("createSession", mine);
			} else if (round % 10 === 4) {
				const before = String(Date.now() - 3_600_000 + round);
				await writer.storage("set", key, before, 60);
				for (const side of sides) assert.equal((await side.storage("get", key)).value, before, `round ${round}`);
			} else {
				await writer.store("updateSession", mine.token, { round });
				for (const side of sides) {
					const { value } = await side.storage("get", mine.token);
					assert.equal(JSON.parse(value).round, round);
				}
			}
		}
	});

	test("see a change by another client", async (t) => {
		const options = { url: server.url, connectionName: fresh("threads") };
		const { storage } = open(t, options);
		const thread = startThread(t, options);
		const redis = connect(t, server);
		await storage.ping();
		await ready(storage);
		for (let round = 0; round < rounds(50, 2000); round++) {
			const mine = session();
			await seed(redis, [mine]);
			await warm(storage, [mine.token]);
			await until("a hit", async () => (await thread.storage("get", mine.token)).isHit);
			await redis.del(keyOf(mine));
			await until("the end", async () => (await thread.storage("get", mine.token)).value === null, 1000);
			await until("the end", async () => (await storage.get(mine.token)) === null, 1000);
		}
	});
});
