// What lines to a server cost and bear: how often an idle process asks (`heartbeatMs`), on connections that are kept, and a slow line, on which an
// answer takes longer than anything may be silent.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { counters } from "../near-cache/stores.js";
import { RedisCluster } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { startProxy } from "../support/proxy.js";
import { fresh, session, signIn } from "../support/records.js";
import { RedisServer } from "../support/redis.js";
import { until } from "../support/wait.js";

/** What a server is slow to carry: so many sessions of so many bytes, at so many bytes a second. */
const SESSIONS = 18;
const BYTES = 60_000;
const BYTES_PER_SECOND = 300_000;

/** How often a server has been asked for something. */
async function calls(server, command) {
	const stats = await server.cli("INFO", "commandstats");
	return Number(stats.match(new RegExp(`cmdstat_${command.replace("|", "\\|")}:calls=(\\d+)`))?.[1] ?? 0);
}

describe("connections to a server", { concurrency: true }, () => {
	const [busy, quiet, slow] = [new RedisServer(), new RedisServer(), new RedisServer()];
	const cluster = new RedisCluster({}, { primaries: 3, replicas: 0 });
	const watched = new RedisServer();
	/** @type {RedisServer} */
	let sentinel;
	before(async () => {
		const servers = [busy, quiet, slow, watched].map((server) => server.start());
		await Promise.all([...servers, cluster.start()]);
		const config = [`sentinel monitor mymaster ${watched.host} ${watched.port} 1`];
		sentinel = await new RedisServer({ sentinel: true, config }).start();
	});
	after(() => Promise.all([busy, quiet, slow, watched, sentinel, cluster].map((place) => place.stop())));

	test("heartbeatMs sets how often an idle connection is probed, with a near cache and without", async (t) => {
		const rare = { heartbeatMs: 60_000, nearCache: { maxStalenessMs: 180_000 } };
		for (const options of [rare, { ...rare, nearCache: false }]) {
			await open(t, { url: quiet.url, ...options }).storage.ping();
		}
		for (const nearCache of [{ maxStalenessMs: 1000 }, false]) {
			await open(t, { url: busy.url, heartbeatMs: 50, nearCache }).storage.ping();
		}
		const before = await calls(quiet, "role");
		const began = await calls(busy, "role");
		await until("20 heartbeats of each", async () => (await calls(busy, "role")) >= began + 40);
		assert.equal(await calls(quiet, "role"), before);
	});

	test("heartbeatMs: a call without an answer makes the store probe the connection at once", async (t) => {
		const probed = async (nearCache) => {
			const proxy = await startProxy(t, slow);
			const { storage } = open(t, { url: proxy.url, heartbeatMs: 60_000, commandTimeout: 200, nearCache });
			await storage.ping();
			const down = new Promise((resolve) => storage.on("down", resolve));
			proxy.freeze();
			await assertRejects(() => storage.get(fresh("key")), "TIMEOUT");
			await down;
			proxy.thaw();
		};
		await Promise.all([{ maxStalenessMs: 180_000 }, false].map(probed));
	});

	test("a sentinel is queried on a kept connection, and on a new one after a cut", async (t) => {
		const proxy = await startProxy(t, sentinel);
		const { hostname: host, port } = new URL(proxy.url);
		const { storage } = open(t, { sentinels: [{ host, port: Number(port) }] });
		await storage.ping();
		const failovers = [];
		storage.on("failover", (reason) => failovers.push(reason));
		// A connection begins with a round trip of its own.
		await until("four questions", () => proxy.roundTrips >= 5, 20_000);
		assert.equal(proxy.connections, 1);
		proxy.cut();
		const questions = proxy.roundTrips;
		await until("a question after the cut", () => proxy.roundTrips > questions + 1);
		assert.equal(proxy.connections, 2);
		await storage.ping();
		assert.deepEqual(failovers, []);
	});

	test("the slots of an unchanged cluster are not read each time", async (t) => {
		const sum = async (command) => {
			const each = await Promise.all(cluster.servers.map((server) => calls(server, command)));
			return each.reduce((a, b) => a + b);
		};
		const options = { cluster: cluster.nodes, nearCache: false };
		await open(t, options).storage.ping();
		let calm = false;
		for (let rounds = 0; rounds < 10 && !calm; rounds++) {
			const slots = await sum("cluster|slots");
			const looks = await sum("cluster|info");
			await until("three looks at the cluster's state", async () => (await sum("cluster|info")) >= looks + 3);
			calm = (await sum("cluster|slots")) === slots;
		}
		assert.ok(calm, "its slots are asked for with each look at its state");
	});

	for (const nearCache of [{ maxStalenessMs: 500 }, false]) {
		test(`on a slow line, ${nearCache ? "with" : "without"} a near cache, received bytes count as a sign of life`, async (t) => {
			const userId = fresh("user");
			const direct = open(t, { url: slow.url }).storage;
			for (let n = 0; n < SESSIONS; n++) await signIn(direct, session({ userId }), { bio: "x".repeat(BYTES) });
			const proxy = await startProxy(t, slow);
			const options = { url: proxy.url, heartbeatMs: 100, commandTimeout: 500, slowMs: 600_000, nearCache };
			const { storage, store } = open(t, options);
			await storage.ping();
			const events = [];
			for (const event of ["down", "reconnecting", "degraded"]) storage.on(event, (reason) => events.push(reason));
			proxy.bytesPerSecond = BYTES_PER_SECOND;
			const start = performance.now();
			const list = await store.getUserSessions(userId);
			const tookMs = performance.now() - start;
			assert.equal(list.length, SESSIONS);
			assert.ok(tookMs > 3600, `it took ${tookMs} ms, too little to show anything`);
			assert.deepEqual([events, proxy.connections], [[], 1]);
			if (nearCache) await until("a near cache that answers", () => counters(storage).enabled);
			// What does not arrive is not waited for.
			proxy.freeze();
			const asked = performance.now();
			await assertRejects(() => storage.ping(), "TIMEOUT");
			assert.ok(performance.now() - asked < 2500);
			proxy.thaw();
		});
	}
});
