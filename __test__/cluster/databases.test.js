// Databases other than 0 on a cluster: Valkey 9 has them, and what decides is the servers' answer to SELECT.

import assert from "node:assert/strict";
import { test } from "node:test";
import { hit, ready, warm } from "../near-cache/stores.js";
import { holdAllSlots } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { startProxy } from "../support/proxy.js";
import { fresh, session } from "../support/records.js";
import { RedisServer, startRedis } from "../support/redis.js";

const DB = 3;

test("every connection to a cluster's servers selects the configured database", async (t) => {
	const server = await startRedis({ config: ["cluster-enabled yes"] });
	t.after(() => server.stop());
	await holdAllSlots(server);
	const proxy = await startProxy(t, server);
	const asked = [];
	proxy.rewriteCommand = (words) => {
		if (words[0].toString() !== "SELECT") return words;
		asked.push(words[1].toString());
		return ["PING"]; // permitted, as by Valkey 9
	};
	const { port } = new URL(proxy.url);
	const at = { host: "127.0.0.1", port: Number(port) };
	const natMap = { [`${server.host}:${server.port}`]: at };
	for (const where of [
		{ cluster: [at], db: DB },
		{ url: `redis-cluster://127.0.0.1:${port}/${DB}` },
		{ url: `redis-cluster://127.0.0.1:${port}?db=${DB}` },
	]) {
		asked.length = 0;
		const { storage } = open(t, { ...where, natMap, nearCache: false, keyPrefix: fresh("key") });
		await storage.set("key", "value", 60);
		assert.equal(await storage.get("key"), "value");
		assert.ok(asked.length >= 2, "to find the servers, and to work");
		assert.deepEqual([...new Set(asked)], [String(DB)]);
	}
});

test("Valkey 9 keeps a cluster's databases apart, and refuses one that does not exist", async (t) => {
	const server = new RedisServer({ config: ["cluster-enabled yes", "cluster-databases 16"] });
	try {
		await server.start();
	} catch (error) {
		if (!/cluster-databases/.test(error.message)) throw error;
		return t.skip("the server on this machine has no cluster-databases: it is older than Valkey 9");
	}
	t.after(() => server.stop());
	await holdAllSlots(server);
	const where = { cluster: [{ host: server.host, port: server.port }] };
	const { storage, store } = open(t, { ...where, db: DB });
	const others = open(t, where);
	await storage.ping();
	await ready(storage);
	const one = session();
	await store.createSession(one);
	assert.deepEqual(await store.getSession(one.token), one);
	assert.equal(await others.store.getSession(one.token), null);
	await warm(storage, [one.token]);
	assert.ok(hit(storage, one.token));
	assert.equal((await store.getUserSessions(one.userId)).length, 1);
	assert.equal(await others.store.deleteUserSessions(one.userId), 0);
	assert.equal(await store.deleteUserSessions(one.userId), 1);
	assert.equal(await storage.get(one.token), null);
	const none = /^db: Redis at 127\.0\.0\.1:\d+ has no database of this number$/;
	await assertRejects(() => open(t, { ...where, db: 99 }).storage.ping(), "INVALID_ARGUMENT", none);
});
