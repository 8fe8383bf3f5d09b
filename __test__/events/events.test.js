// What a store tells of its connection: to listeners, and in lines to a logger.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { runText } from "../support/child.js";
import { RedisCluster } from "../support/cluster.js";
import { startProxy } from "../support/proxy.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

/** @param {import("node:test").TestContext} t */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/** A store that keeps what it told, in order, and its lines. */
function watched(t, options) {
	const told = [];
	const lines = [];
	const logger = { info: (line) => lines.push(`info ${line}`), warn: (line) => lines.push(`warn ${line}`) };
	// A busy machine is slow, and that is for one test only.
	const storage = redisStorage({ logger, slowMs: 600_000, ...options });
	t.after(() => storage.close());
	for (const event of ["ready", "down", "reconnecting", "failover", "degraded"]) {
		storage.on(event, (reason) => told.push([event, reason]));
	}
	return { storage, told, lines, events: () => told.map(([event]) => event) };
}

describe("events and log lines: a connection", () => {
	test("that comes up, is lost and comes back emits events, and its loss and return are logged", async (t) => {
		const server = await startFor(t);
		const { storage, told, lines, events } = watched(t, { url: server.url });
		assert.deepEqual(told, []);
		await storage.ping();
		await until("ready", () => events().includes("ready"));
		assert.deepEqual(lines, []);
		await server.kill();
		await until("down", () => events().includes("down"));
		await until("reconnecting", () => events().filter((event) => event === "reconnecting").length === 2);
		await server.restart();
		await until("ready again", () => events().filter((event) => event === "ready").length === 2);
		assert.deepEqual([...new Set(events())], ["ready", "down", "reconnecting"]);
		const at = `Redis at 127.0.0.1:${server.port}`;
		assert.ok(
			told.every(([, reason]) => reason.includes(at)),
			JSON.stringify(told),
		);
		assert.deepEqual(lines, [
			`warn [better-auth-redis-store] down: the connection to ${at} was lost`,
			`warn [better-auth-redis-store] reconnecting: connecting to ${at} again`,
			`info [better-auth-redis-store] ready: connected to ${at}`,
		]);
	});

	test("that is lost repeatedly logs the same lines each time, and ends with ready", async (t) => {
		const server = await startFor(t);
		const { storage, lines, events } = watched(t, { url: server.url });
		await storage.ping();
		for (let outage = 1; outage <= 3; outage++) {
			await until("ready", () => events().filter((event) => event === "ready").length === outage);
			await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		}
		await until("ready", () => events().at(-1) === "ready" && lines.length === 9);
		const said = lines.map((line) => /^\w+ \[better-auth-redis-store\] (\w+): /.exec(line)[1]);
		assert.deepEqual(said, Array(3).fill(["down", "reconnecting", "ready"]).flat());
	});

	test("of a cluster has lines of its own, and each event one line for all stores of a process", async (t) => {
		const cluster = await new RedisCluster({}, { primaries: 3, replicas: 0 }).start();
		t.after(() => cluster.stop());
		const one = watched(t, { cluster: cluster.nodes });
		const other = watched(t, { cluster: cluster.nodes });
		await Promise.all([one.storage.ping(), other.storage.ping()]);
		await until("ready", () => one.events().filter((event) => event === "ready").length === 3);
		for (const server of cluster.servers) await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		const lines = () => [...one.lines, ...other.lines];
		await until("each is ready again", () => lines().filter((line) => line.includes(" ready: ")).length >= 3);
		for (const { port } of cluster.servers) {
			const own = lines().filter((line) => line.includes(`:${port}`));
			const said = own.map((line) => /^\w+ \[better-auth-redis-store\] (\w+): /.exec(line)[1]);
			assert.deepEqual(said, ["down", "reconnecting", "ready"]);
		}
	});

	test("that degrades is logged each time", async (t) => {
		const server = await startFor(t, { config: ['rename-command HELLO ""'] });
		const { storage, lines } = watched(t, { url: server.url });
		await storage.ping();
		const said = () => lines.map((line) => /^\w+ \[better-auth-redis-store\] (\w+): /.exec(line)[1]);
		await until("degraded", () => said().length === 1);
		await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		await assert.doesNotReject(until("a new connection", () => storage.ping().then(() => said().length >= 5)));
		assert.deepEqual(said(), ["degraded", "down", "reconnecting", "ready", "degraded"]);
	});

	test("that cannot be opened is down, with the reason", async (t) => {
		const server = await startFor(t, { password: "secret" });
		const { storage, told } = watched(t, { url: server.url.replace("secret", "wrong") });
		await assert.rejects(storage.ping(), { code: "AUTH" });
		await until("down", () => told.some(([event]) => event === "down"));
		assert.match(told.find(([event]) => event === "down")[1], /refused the user name or password/);
		assert.doesNotMatch(JSON.stringify(told), /secret|wrong/);
	});

	test("without the requested near cache is degraded", async (t) => {
		const server = await startFor(t, { config: ['rename-command HELLO ""'] });
		const { storage, told } = watched(t, { url: server.url });
		await storage.ping();
		await until("degraded", () => told.some(([event]) => event === "degraded"));
		assert.equal(told.at(-1)[1], "the near cache is off: the server does not speak RESP3");
	});
});

describe("events: a server that may evict sessions", () => {
	test("emits an event, and one with noeviction does not", async (t) => {
		for (const [config, expected] of [
			[["maxmemory 100mb", "maxmemory-policy allkeys-lru"], /its maxmemory-policy is allkeys-lru: .* set noeviction$/],
			[["maxmemory 100mb", "maxmemory-policy volatile-ttl"], /its maxmemory-policy is volatile-ttl/],
			[["maxmemory 100mb", "maxmemory-policy noeviction"]],
			[["maxmemory-policy allkeys-lru"]],
		]) {
			const server = await startFor(t, { config });
			const { storage, told, events } = watched(t, { url: server.url });
			await storage.ping();
			if (expected) await until("degraded", () => events().includes("degraded"));
			else await sleep(100);
			const degraded = told.filter(([event]) => event === "degraded").map(([, reason]) => reason);
			assert.equal(degraded.length, expected ? 1 : 0);
			if (expected) assert.match(degraded[0], expected);
		}
	});
});

describe("events: a server that answers", () => {
	const reasons = ({ told }) => told.filter(([event]) => event === "degraded").map(([, reason]) => reason);

	test("slowly: one event for the first of many answers, and each is counted", async (t) => {
		const server = await startFor(t);
		const proxy = await startProxy(t, server);
		const ground = watched(t, { url: proxy.url, slowMs: 60, nearCache: false });
		const { storage } = ground;
		await storage.ping();
		proxy.delayMs = 50;
		for (let n = 0; n < 3; n++) await storage.get("key");
		proxy.delayMs = 0;
		await until("degraded", () => reasons(ground).length > 0);
		assert.deepEqual(storage.metrics().degraded, { slowAnswers: 3, outOfMemory: 0 });
		assert.equal(reasons(ground).length, 1);
		assert.match(
			reasons(ground)[0],
			/^Redis at 127\.0\.0\.1:\d+ is slow: an answer took \d+ ms \(option slowMs: 60\)$/,
		);
	});

	test("after a wait for the connection, or within slowMs: no event", async (t) => {
		const server = await startFor(t);
		const proxy = await startProxy(t, server);
		const ground = watched(t, { url: proxy.url, slowMs: 1000, failFastMs: 5000, nearCache: false });
		const { storage } = ground;
		await storage.ping();
		proxy.delayMs = 50;
		await storage.get("key");
		proxy.delayMs = 0;
		await server.kill();
		const asked = storage.get("key");
		await sleep(1100); // longer than slowMs
		await server.restart();
		await asked;
		assert.deepEqual(storage.metrics().degraded, { slowAnswers: 0, outOfMemory: 0 });
		assert.deepEqual(reasons(ground), []);
	});

	test("with a full memory: one event, and each refusal is counted", async (t) => {
		const server = await startFor(t);
		const ground = watched(t, { url: server.url });
		const { storage } = ground;
		await storage.ping();
		await server.cli("CONFIG", "SET", "maxmemory", 1);
		for (let n = 0; n < 3; n++) await assert.rejects(storage.set(`key ${n}`, "value", 60), { code: "OUT_OF_MEMORY" });
		await assert.rejects(storage.increment("counter", 60), { code: "OUT_OF_MEMORY" });
		await until("degraded", () => reasons(ground).length > 0);
		assert.deepEqual(reasons(ground), [
			`Redis at 127.0.0.1:${server.port} refuses writes because it has reached maxmemory (OOM): raise maxmemory, or end sessions`,
		]);
		assert.equal(storage.metrics().degraded.outOfMemory, 4);
	});
});

describe("event listeners", () => {
	test("must name an existing event", async () => {
		for (const store of [redisStorage("memory://"), new RedisSessionStore("memory://")]) {
			const events = "event: must be one of ready, down, reconnecting, failover, degraded, underReplicated";
			assert.throws(() => store.on("error", () => {}), { code: "INVALID_ARGUMENT", message: events });
			assert.throws(() => store.on("ready"), { code: "INVALID_ARGUMENT", message: "listener: must be a function" });
			await store.close();
		}
		const message = "logger: must be false or an object with the functions info and warn";
		for (const logger of [true, null, {}, { info() {} }, "console"]) {
			assert.throws(() => redisStorage({ url: "memory://", logger }), { code: "INVALID_ARGUMENT", message });
		}
		await redisStorage({ url: "memory://", logger: false }).close();
	});

	test("are removed by the function that `on` returned", async (t) => {
		const server = await startFor(t);
		const { storage, events } = watched(t, { url: server.url });
		let heard = 0;
		const leave = storage.on("ready", () => heard++);
		leave();
		await storage.ping();
		await until("ready", () => events().includes("ready"));
		assert.equal(heard, 0);
	});

	test("keep no process alive, and one that throws does not stop the store", async (t) => {
		const server = await startFor(t);
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			const storage = redisStorage("${server.url}");
			storage.on("ready", () => { throw new Error("mine"); });
			process.on("uncaughtException", (error) => console.log("uncaught", error.message));
			await storage.set("key", "value", 60);
			await new Promise((resolve) => storage.on("ready", resolve) && setTimeout(resolve, 200));
			console.log(await storage.get("key"));
		`;
		const { stdout, code } = await runText(source);
		assert.equal(code, 0);
		assert.equal(stdout, "uncaught mine\nvalue\n");
	});
});
