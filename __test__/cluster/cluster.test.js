// Redis Cluster: found from any of its servers, followed through failovers and moving slots, and what the near cache answers meanwhile.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { counters, hit, ready, warm } from "../near-cache/stores.js";
import { RedisCluster } from "../support/cluster.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { failsOver } from "../support/failover.js";
import { load } from "../support/load.js";
import { endMadeUpKeys } from "../support/made-up.js";
import { startProxy } from "../support/proxy.js";
import { fresh, session, signIn } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

/** For a process to be scheduled on a busy machine. */
const SLACK_MS = 500;
/** How old an answer of the near cache may be when a connection breaks. */
const MAX_STALENESS_MS = 3000;

describe("Redis Cluster", () => {
	const cluster = new RedisCluster();
	before(() => cluster.start());
	after(() => cluster.stop());

	/** Another server's store, without a near cache. */
	const openStranger = (t) => open(t, { cluster: cluster.nodes, nearCache: false, connectionName: fresh("stranger") });

	test("made-up keys leave nothing in Redis", async (t) => {
		const size = async () => {
			const sizes = (await cluster.primaries()).map((server) => server.cli("DBSIZE"));
			return (await Promise.all(sizes)).reduce((sum, keys) => sum + keys, 0);
		};
		const { storage, store } = open(t, { cluster: cluster.nodes });
		const before = await size();
		await endMadeUpKeys({ storage, store });
		assert.equal(await size(), before);
		await storage.delete(fresh("token"));
		assert.equal(await size(), before + 1);
	});

	test("is reached by a URL and by options, through any of its servers, replicas too", async (t) => {
		const hosts = cluster.nodes.map(({ host, port }) => `${host}:${port}`);
		for (const options of [
			`redis-cluster://${hosts.join(",")}`,
			...hosts.map((host) => `redis+cluster://${host}`),
			{ cluster: cluster.nodes },
			{ cluster: [...[1, 2].map((port) => ({ host: "127.0.0.1", port })), cluster.nodes[5]] },
		]) {
			const { storage } = open(t, options);
			const keys = Array.from({ length: 20 }, () => fresh("key"));
			await Promise.all(keys.map((key) => storage.set(key, key, 60)));
			assert.deepEqual(await Promise.all(keys.map((key) => storage.get(key))), keys);
			assert.equal(await cluster.cli("GET", `session:${keys[0]}`), keys[0]);
		}
	});

	test("that cannot be reached, and a server outside any cluster, reject with the reason", async (t) => {
		const nobody = [1, 2].map((port) => ({ host: "127.0.0.1", port }));
		const none = /none of the cluster's servers can be reached: 127\.0\.0\.1:1, 127\.0\.0\.1:2/;
		await assertRejects(() => open(t, { cluster: nobody }).storage.ping(), "UNAVAILABLE", none);
		const single = await startRedis();
		t.after(() => single.stop());
		const alone = /^cluster: the server at 127\.0\.0\.1:\d+ is part of no cluster; give it as url or host$/;
		await assertRejects(
			() => open(t, { cluster: [{ host: single.host, port: single.port }] }).storage.ping(),
			"INVALID_ARGUMENT",
			alone,
		);
		const [one] = cluster.nodes;
		const part = /is part of a cluster: give its servers as option cluster, or as a redis-cluster:\/\/ URL/;
		const { storage } = open(t, { ...one, nearCache: false });
		const keys = Array.from({ length: 20 }, (_, n) => `key ${n}`);
		await assertRejects(() => Promise.all(keys.map((key) => storage.set(key, "x", 60))), ["PROTOCOL", "READONLY"], /./);
		const primary = (await cluster.primaries())[0];
		const direct = open(t, { host: primary.host, port: primary.port, nearCache: false });
		await assertRejects(() => Promise.all(keys.map((key) => direct.storage.set(key, "x", 60))), "PROTOCOL", part);
	});

	test("works behind addresses that only natMap knows", async (t) => {
		const proxies = await Promise.all(cluster.servers.map((server) => startProxy(t, server)));
		const at = proxies.map(({ url }) => ({ host: "127.0.0.1", port: Number(new URL(url).port) }));
		const natMap = Object.fromEntries(cluster.servers.map(({ host, port }, n) => [`${host}:${port}`, at[n]]));
		const { storage } = open(t, { cluster: [at[0]], natMap, nearCache: false });
		const keys = Array.from({ length: 20 }, () => fresh("key"));
		await Promise.all(keys.map((key) => storage.set(key, key, 60)));
		assert.ok(proxies.filter(({ roundTrips }) => roundTrips > 1).length >= 3, "all primaries are reached by way of it");
	});

	test("a key of another type is no session, and does not fail the keys read with it", async (t) => {
		const { storage } = open(t, { cluster: cluster.nodes });
		const keys = Array.from({ length: 10 }, () => fresh("key"));
		await Promise.all(keys.map((key) => storage.set(key, key, 60)));
		await cluster.cli("DEL", `session:${keys[0]}`);
		await cluster.cli("RPUSH", `session:${keys[0]}`, "x");
		for (let at = 1; at < keys.length; at++) {
			assert.deepEqual(await Promise.all([storage.get(keys[0]), storage.get(keys[at])]), [null, keys[at]]);
		}
	});

	test("a session ends, whether or not the server of its owner's index can be reached", async (t) => {
		const { storage, store } = open(t, { cluster: cluster.nodes, nearCache: false });
		const [lost] = await cluster.primaries();
		const mine = [];
		while (mine.length < 10) {
			const one = session();
			const { userId, token } = one;
			const keys = [`user-sessions:${userId}`, `session:${token}`, `session:revoked-sessions-before-${userId}`];
			const [index, record, marker] = await Promise.all(keys.map((key) => holds(lost, key)));
			if (index && !record && !marker) mine.push(one);
		}
		await Promise.all(mine.map((one) => store.createSession(one)));
		await lost.kill("SIGKILL");
		const endings = mine.map(({ token }, at) => (at % 2 ? store.deleteSession(token) : storage.getAndDelete(token)));
		await Promise.allSettled(endings);
		await lost.restart();
		await cluster.settles();
		await Promise.all(endings);
		for (const { token } of mine) assert.equal(await store.getSession(token), null);
	});

	test("a sign-in that died between its two steps does not count towards the limit", async (t) => {
		const { store } = open(t, { cluster: cluster.nodes, nearCache: false, maxSessionsPerUser: 2 });
		const userId = fresh("user");
		const [first, second, dead] = [0, 1, 2].map((at) => session({ userId, createdAt: new Date(Date.now() + at) }));
		await store.createSession(first);
		await cluster.cli("ZADD", `user-sessions:${userId}`, Date.now() + 3_600_000, dead.token);
		await store.createSession(second);
		assert.deepEqual(tokens(await store.getUserSessions(userId)), tokens([first, second]));
		assert.deepEqual((await cluster.cli("ZRANGE", `user-sessions:${userId}`, 0, -1)).sort(), tokens([first, second]));
		await assertRejects(() => store.createSession(dead), "REVOKED", /./);
	});

	test("with two factors the limit is enforced 5 s after a sign-in whose session still lives", async (t) => {
		const { storage, store } = open(t, { cluster: cluster.nodes, nearCache: false, maxSessionsPerUser: 2 });
		const twoFactorEnabled = true;
		const [ada, bob] = [fresh("user"), fresh("user")];
		const byPassword = session({ userId: bob, createdAt: new Date(Date.now() + 2) });
		const [first, ...others] = [0, 1, 2].map((at) => session({ userId: ada, createdAt: new Date(Date.now() + at) }));
		const ofBob = [0, 1].map((at) => session({ userId: bob, createdAt: new Date(Date.now() + at) }));
		for (const one of [...ofBob, byPassword]) await signIn(storage, one, { twoFactorEnabled });
		await storage.delete(byPassword.token);
		for (const one of [first, ...others]) await signIn(storage, one, { twoFactorEnabled });
		assert.equal((await store.getUserSessions(ada)).length, 3);
		await until("the end of the oldest", async () => (await store.getSession(first.token)) === null);
		assert.deepEqual(tokens(await store.getUserSessions(ada)), tokens(others));
		assert.deepEqual(tokens(await store.getUserSessions(bob)), tokens(ofBob));
	});

	test("a late step follows the server's redirect", async (t) => {
		const { storage } = open(t, { cluster: cluster.nodes, nearCache: false, failFastMs: 100 });
		await storage.ping();
		const [from, to] = await cluster.primaries();
		const key = await keyAt(from);
		const slot = await from.cli("CLUSTER", "KEYSLOT", `session:${key}`);
		const [fromId, toId] = await Promise.all([from, to].map((server) => server.cli("CLUSTER", "MYID")));
		await from.cli("CLIENT", "PAUSE", 60_000, "WRITE");
		const writing = storage.set(key, "late", 60);
		await to.cli("CLUSTER", "SETSLOT", slot, "IMPORTING", fromId);
		await to.cli("CLUSTER", "SETSLOT", slot, "NODE", toId);
		await from.cli("CLUSTER", "SETSLOT", slot, "NODE", toId);
		await from.cli("CLIENT", "UNPAUSE");
		await writing;
		assert.equal(await to.cli("GET", `session:${key}`), "late");
		await cluster.settles();
	});

	test("the near cache receives invalidations from every primary", async (t) => {
		const doors = open(t, { cluster: cluster.nodes });
		await doors.storage.ping();
		await ready(doors.storage);
		const other = openStranger(t);
		const mine = Array.from({ length: 30 }, () => session());
		await Promise.all(mine.map((one) => other.store.createSession(one)));
		await warm(
			doors.storage,
			mine.map(({ token }) => token),
		);
		for (const one of mine) assert.equal(hit(doors.storage, one.token), JSON.stringify(one));
		const changed = mine.map((one) => other.store.updateSession(one.token, { note: 1 }));
		await Promise.all(changed);
		for (const one of mine) {
			await until("the change", async () => (await doors.store.getSession(one.token)).note === 1);
		}
		await Promise.all(mine.map((one) => other.store.deleteSession(one.token)));
		for (const one of mine) await until("the end", async () => (await doors.store.getSession(one.token)) === null);
	});

	test("slots move back and forth under load: nothing is lost, no call fails, and no answer is stale", async (t) => {
		const doors = open(t, { cluster: cluster.nodes });
		await doors.storage.ping();
		await ready(doors.storage);
		const other = openStranger(t);
		let over = false;
		t.after(() => {
			over = true;
		});
		const working = load(doors, () => over, []);
		/** A session that others change and end, while this store reads it from its near cache. */
		const watch = async () => {
			while (!over) {
				const mine = session({ note: 0 });
				await other.store.createSession(mine);
				const told = [{ note: 0, at: performance.now() }];
				const least = (at) => told.findLast((one) => one.at < at - MAX_STALENESS_MS - SLACK_MS)?.note ?? 0;
				const read = async () => {
					while (told.at(-1).note !== null) {
						const asked = performance.now();
						const found = await doors.store.getSession(mine.token);
						if (found)
							assert.ok(found.note >= least(asked), `${found.note} was read, ${least(asked)} is long since there`);
						await sleep(1);
					}
				};
				const reading = read();
				for (let note = 1; note <= 20; note++) {
					await other.store.updateSession(mine.token, { note });
					told.push({ note, at: performance.now() });
					await sleep(50);
				}
				await other.store.deleteSession(mine.token);
				told.push({ note: null, at: performance.now() });
				await reading;
				const ended = performance.now();
				await until(
					"the end",
					async () => (await doors.store.getSession(mine.token)) === null,
					MAX_STALENESS_MS + SLACK_MS,
				);
				assert.ok(performance.now() - ended < MAX_STALENESS_MS + SLACK_MS);
			}
		};
		const watching = Promise.all(Array.from({ length: 8 }, watch));
		const [a, b] = await cluster.primaries();
		for (let n = 0; n < rounds(1, 10); n++) {
			await cluster.move(200, a, b);
			await cluster.move(200, b, a);
		}
		over = true;
		const { done, failed, longestMs } = await working;
		await watching;
		t.diagnostic(`${done} done, ${failed} failed, longest ${longestMs.toFixed(0)} ms`);
		assert.equal(failed, 0);
		assert.ok(counters(doors.storage).flushes.topology > 0, "the near cache was emptied when slots had moved");
		await cluster.settles();
	});

	test("a server that lost contact with the others is not trusted", async (t) => {
		const { storage } = open(t, { cluster: cluster.nodes });
		await storage.ping();
		const failovers = [];
		storage.on("failover", (reason) => failovers.push(reason));
		const [lost, ...others] = await cluster.primaries();
		const keys = await Promise.all(others.map(keyAt));
		const ids = await Promise.all(cluster.servers.map((server) => server.cli("CLUSTER", "MYID")));
		const mine = await lost.cli("CLUSTER", "MYID");
		for (const id of ids) if (id !== mine) await lost.cli("CLUSTER", "FORGET", id);
		t.after(async () => {
			for (const { host, port } of cluster.servers) await lost.cli("CLUSTER", "MEET", host, port);
			await cluster.settles();
		});
		await until("its blindness", async () => /cluster_state:fail/.test(await lost.cli("CLUSTER", "INFO")));
		// It serves nothing now, but it will tell of changes when it does.
		const late = open(t, { cluster: cluster.nodes, connectionName: fresh("late") });
		await late.storage.ping();
		await ready(late.storage);
		// It is asked every second or so, as every other.
		for (const end = performance.now() + rounds(5000, 30_000); performance.now() < end; await sleep(50)) {
			await Promise.all(keys.map((key) => storage.set(key, "x", 60)));
		}
		assert.deepEqual(failovers, []);
	});

	for (const [name, fail] of Object.entries({
		"a primary that is killed": async (old) => {
			await old.kill("SIGKILL");
			return () => old.restart();
		},
		"a failover by command": async (old) => {
			await (await cluster.replicaOf(old)).cli("CLUSTER", "FAILOVER");
			return () => {};
		},
		"a primary that stands still, and keeps its connections": async (old) => {
			await old.pause();
			return () => old.resume();
		},
	})) {
		test(`${name}: every answer is right, and the new primary is in use within 3 s`, async (t) => {
			const doors = open(t, { cluster: cluster.nodes, commandTimeout: 1000, connectTimeout: 1000 });
			await doors.storage.ping();
			const [old] = await cluster.primaries();
			const heir = await cluster.replicaOf(old);
			const failovers = [];
			doors.storage.on("failover", (reason) => failovers.push(reason));
			const heal = await failsOver(t, doors, {
				fail: () => fail(old),
				elected: () =>
					until(
						"an election",
						async () =>
							(await heir.cli("ROLE"))[0] === "master" && /cluster_state:ok/.test(await heir.cli("CLUSTER", "INFO")),
						30_000,
					),
				key: () => keyAt(heir),
				read: (key) => heir.cli("GET", `session:${key}`),
			});
			assert.equal(failovers.length, 1, failovers.join());
			assert.match(failovers[0], new RegExp(`the cluster's primaries are .*127\\.0\\.0\\.1:${heir.port}.* now`));
			await until("the near cache", () => counters(doors.storage).enabled);
			await heal();
			await cluster.settles();
		});
	}
});

function tokens(sessions) {
	return sessions.map(({ token }) => token).sort();
}

/** A new key whose place is on a server. */
async function keyAt(server) {
	for (;;) {
		const key = fresh("key");
		if (await holds(server, `session:${key}`)) return key;
	}
}

/** Whether a server says that it holds a key. */
async function holds(server, key) {
	const slot = await server.cli("CLUSTER", "KEYSLOT", key);
	const map = await server.cli("CLUSTER", "SLOTS");
	return map.some(([first, last, [, port]]) => port === server.port && first <= slot && slot <= last);
}
