// The near cache of a server that refuses for a while: what is known of the server does not change by that. And a cache that is off is
// tried again, on the connection that is there.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connectionsNamed } from "../lifecycle/clients.js";
import { open } from "../support/engines.js";
import { startProxy } from "../support/proxy.js";
import { startRedis } from "../support/redis.js";
import { isCode, useUpQuota } from "../support/states.js";
import { until } from "../support/wait.js";
import { connect, counters, hit, isHit, keyOf, openCached, readNow, ready, seed, sessions, warm } from "./stores.js";

const FAST = { heartbeatMs: 20, maxStalenessMs: 400 };
const NAME = "reader";

/** A server with some sessions, and a store whose near cache has them. */
async function begin(t, config = []) {
	const server = await startRedis({ config });
	t.after(() => server.stop());
	const proxy = await startProxy(t, server);
	const told = [];
	const options = { connectionName: NAME, failFastMs: 50, slowMs: 600_000, logger: false };
	const { storage } = await openCached(t, proxy, FAST, options);
	storage.on("degraded", (reason) => told.push(reason));
	const mine = sessions(5);
	await seed(connect(t, server), mine);
	const keys = mine.map(({ token }) => token);
	await warm(storage, keys);
	const id = async () => /\bid=(\d+)/.exec((await connectionsNamed(server, NAME))[0])?.[1];
	return { server, proxy, storage, told, mine, keys, id };
}

/** The server is busy; what it answers is told by code. */
async function busy(server) {
	server.cli("EVAL", "while true do end", 0).catch(() => {});
	await until("a busy server", () => server.cli("PING").then(() => false, isCode("BUSY")));
}

/** Until none of these keys is answered from memory, because the last sign of life is too old. */
const silent = (storage, keys) =>
	until("reads that go to Redis", async () => {
		const answers = keys.map((key) => readNow(storage, key));
		await Promise.allSettled(answers);
		return !answers.some(isHit);
	});

describe("the near cache and a server that refuses for a while", { concurrency: 3 }, () => {
	test("BUSY: the connection and the near cache stay, and no answer is older than maxStalenessMs", async (t) => {
		const { server, storage, told, mine, keys, id } = await begin(t, ["busy-reply-threshold 30"]);
		const before = [await id(), counters(storage).flushes];
		await busy(server);
		await silent(storage, keys);
		await server.cli("SCRIPT", "KILL");
		await warm(storage, keys);
		assert.deepEqual([await id(), counters(storage).flushes], before);
		assert.deepEqual(told, []);
		// Changes are told, as before.
		await server.cli("DEL", keyOf(mine[0]));
		await until("the change", async () => (await readNow(storage, keys[0])) === null);
		hit(storage, keys[1]);
	});

	test("BUSY while it connects: the near cache is on as soon as the script ends", async (t) => {
		const { server, proxy, storage, told, keys } = await begin(t, ["busy-reply-threshold 30"]);
		await busy(server);
		proxy.cut();
		await until("a refusal", () =>
			storage.get(keys[0]).then(
				() => false,
				(error) => /\(BUSY\)/.test(error.message),
			),
		);
		assert.ok(!/refuses/.test(counters(storage).reason), counters(storage).reason);
		await server.cli("SCRIPT", "KILL");
		await ready(storage);
		await warm(storage, keys);
		assert.deepEqual(told, []);
	});

	test("a used-up quota: the connection stays, and serves when the quota allows", async (t) => {
		const { proxy, storage, told, keys, id } = await begin(t);
		const before = await id();
		useUpQuota(proxy);
		await silent(storage, keys);
		await assert.rejects(storage.get(keys[0]), { code: "UNAVAILABLE" });
		useUpQuota(proxy, false);
		await warm(storage, keys);
		assert.equal(await id(), before);
		assert.deepEqual(told, []);
	});
});

describe("a near cache that is off", { concurrency: 2 }, () => {
	/** A store whose server has not what it takes. */
	async function openWithout(t, proxyOrServer, options) {
		const { storage } = open(t, {
			url: proxyOrServer.url,
			connectionName: NAME,
			nearCache: FAST,
			logger: false,
			...options,
		});
		await storage.ping();
		return storage;
	}

	test("for a missing permission is on soon after the permission is granted, on the same connection", async (t) => {
		const server = await startRedis();
		t.after(() => server.stop());
		await server.cli("ACL", "SETUSER", "store", "on", ">secret", "~*", "&*", "+@all", "-client|tracking");
		const storage = await openWithout(t, server, { username: "store", password: "secret" });
		assert.equal(counters(storage).reason, "the server refuses CLIENT TRACKING");
		const [before] = await connectionsNamed(server, NAME);
		await server.cli("ACL", "SETUSER", "store", "+client|tracking");
		await ready(storage);
		const mine = sessions(2);
		await seed(connect(t, server), mine);
		const keys = mine.map(({ token }) => token);
		await warm(storage, keys);
		const id = (line) => /\bid=(\d+)/.exec(line)[1];
		assert.deepEqual((await connectionsNamed(server, NAME)).map(id), [id(before)]);
		await server.cli("DEL", keyOf(mine[0]));
		await until("the change", async () => (await readNow(storage, keys[0])) === null);
		hit(storage, keys[1]);
	});

	test("for the server's version is not tried again", async (t) => {
		const server = await startRedis();
		t.after(() => server.stop());
		const { redis_version: version } = Object.fromEntries(
			(await server.cli("INFO", "server")).split("\r\n").map((line) => line.split(":")),
		);
		const proxy = await startProxy(t, server);
		const older = version.replace(/^\d/, "6");
		proxy.rewrite = (frame) => Buffer.from(frame.toString("latin1").replace(version, older), "latin1");
		const storage = await openWithout(t, proxy);
		assert.equal(counters(storage).reason, "the server is older than Redis 7");
		const calls = async (command) => {
			const stats = await server.cli("INFO", "commandstats");
			return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)[1]);
		};
		const [tracked, roles] = [await calls("client\\|tracking"), await calls("role")];
		// A sign of life is asked for each second, and the cache would be tried again after 0.6 s.
		await until("signs of life", async () => (await calls("role")) > roles + 1);
		assert.equal(await calls("client\\|tracking"), tracked);
	});
});
