// Loading the package and making stores starts nothing: no thread, no connection, nothing that keeps a process alive. The
// first call does, and every store of the same settings shares the one connection.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { runText } from "../support/child.js";
import { open } from "../support/engines.js";
import { listen } from "../support/listener.js";
import { withoutProc } from "../support/processes.js";
import { fresh } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { connectionsNamed, connectionsSince } from "./clients.js";

describe("importing the package and making 1,000 stores", () => {
	const make = `
		for (let n = 0; n < 250; n++) {
			redisStorage(url);
			new RedisSessionStore({ url, keyPrefix: "prefix" + n + ":" });
			redisStorage({ url, commandTimeout: 1 + n, maxSessionsPerUser: 1 });
			new RedisSessionStore(n % 2 ? undefined : "memory://");
		}`;

	for (const [how, load] of Object.entries({
		import: 'const { redisStorage, RedisSessionStore } = await import("better-auth-redis-store");',
		require: 'const { redisStorage, RedisSessionStore } = createRequire(import.meta.url)("better-auth-redis-store");',
	})) {
		test(`by ${how} starts no thread, opens no connection and does not keep the process alive`, {
			skip: withoutProc,
		}, async (t) => {
			let connections = 0;
			const url = `redis://127.0.0.1:${await listen(t, () => connections++)}`;
			const source = `
				import { readdirSync } from "node:fs";
				import { readFile } from "node:fs/promises";
				import { createRequire } from "node:module";
				const url = ${JSON.stringify(url)};
				const threads = () => readdirSync("/proc/self/task").length;
				await readFile("package.json"); // Node's own threads start with the first use
				const before = threads();
				${load}
				${make}
				await new Promise(setImmediate);
				console.log(JSON.stringify({ started: threads() - before, at: Date.now() }));`;
			const { stdout, stderr, code } = await runText(source, { env: { REDIS_URL: url, NODE_ENV: "production" } });
			const end = Date.now();
			assert.equal(code, 0, stderr);
			assert.doesNotMatch(stderr, /better-auth-redis-store/);
			const { started, at } = JSON.parse(stdout);
			assert.equal(started, 0, "threads were started");
			assert.equal(connections, 0, "a connection was made");
			assert.ok(end - at < 1000, `the process ended ${end - at} ms after its work`);
		});
	}

	test("and using one of them starts one thread", { skip: withoutProc }, async () => {
		const source = `
			import { readdirSync } from "node:fs";
			import { readFile } from "node:fs/promises";
			import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
			const threads = () => readdirSync("/proc/self/task").length;
			await readFile("package.json");
			const before = threads();
			const stores = Array.from({ length: 200 }, (_, n) => redisStorage({ url: "memory://store" + (n % 100) }));
			await Promise.all(stores.map((store) => store.ping()));
			await new RedisSessionStore("memory://").ping();
			console.log(threads() - before);`;
		assert.equal((await runText(source)).stdout, "1\n");
	});
});

describe("stores of the same settings", () => {
	const server = redisPerFile();

	test("share one connection, 1,000 of them, however the settings are spelled", async (t) => {
		const { port } = server;
		const connectionName = fresh("shared");
		const spellings = [
			{ url: `redis://127.0.0.1:${port}` },
			{ url: `redis://127.0.0.1:${port}/` },
			{ url: `redis://127.0.0.1:${port}/0` },
			{ url: `REDIS://127.0.0.1:${port}?db=0` },
			{ url: `valkey://127.0.0.1:${port}` },
			{ url: `redis://127.1:${port}` },
			{ host: "127.0.0.1", port },
			{ port, host: "127.0.0.1", db: 0, tls: false, username: "", password: "" },
			{ url: server.url, commandTimeout: 2000, connectTimeout: 10_000, keepAlive: 30_000 },
			{ url: server.url, keyPrefix: "session:", userPrefix: "user-sessions:", tombstoneSeconds: 300 },
			{ url: server.url, maxValueBytes: 8 * 1024 * 1024, maxSessionsPerUser: undefined },
		];
		const stores = Array.from({ length: 1000 }, (_, at) => {
			const options = { ...spellings[at % spellings.length], connectionName };
			return at % 2 ? redisStorage(options) : new RedisSessionStore(options);
		});
		t.after(() => Promise.all(stores.map((store) => store.close())));
		await Promise.all(stores.map((store) => store.ping()));
		assert.equal((await connectionsNamed(server, connectionName)).length, 1);
	});

	test("share a connection with those of a URL alone", async (t) => {
		const before = Number(await server.cli("CLIENT", "ID")); // not their number: those of the last test are still going away
		const stores = Array.from({ length: 100 }, (_, at) => open(t, at % 2 ? server.url : { url: server.url }).storage);
		await Promise.all(stores.map((store) => store.ping()));
		assert.equal((await connectionsSince(server, before)).length, 1);
	});

	test("share a connection across module instances, as a hot reload makes them", async (t) => {
		const options = { url: server.url, connectionName: fresh("reloaded") };
		const file = import.meta.resolve("better-auth-redis-store");
		for (let n = 0; n < 20; n++) {
			const module = await import(`${file}?reload=${n}`);
			assert.notEqual(module.redisStorage, redisStorage);
			const storage = module.redisStorage(options);
			t.after(() => storage.close());
			await storage.set("key", String(n), 60);
			assert.equal(await storage.get("key"), String(n));
		}
		assert.equal((await connectionsNamed(server, options.connectionName)).length, 1);
	});

	test("share the embedded engine's data", async (t) => {
		const url = `memory://${fresh("shared")}`;
		const [one, other] = [open(t, url), open(t, { url, keyPrefix: "session:" })];
		await one.storage.set("key", "value", 60);
		assert.equal(await other.storage.get("key"), "value");
		assert.equal(await open(t, `${url}x`).storage.get("key"), null);
	});

	test("share no connection with stores of other settings", async (t) => {
		const connectionName = fresh("apart");
		const others = [
			{},
			{ db: 1 },
			{ commandTimeout: 2001 },
			{ connectTimeout: 9999 },
			{ keepAlive: 0 },
			{ keyPrefix: "k:" },
			{ userPrefix: "u:" },
			{ tombstoneSeconds: 299 },
			{ maxValueBytes: 2048 },
			{ maxSessionsPerUser: 3 },
		];
		const stores = others.map((options) => open(t, { url: server.url, connectionName, ...options }).storage);
		await Promise.all(stores.map((store) => store.ping()));
		assert.equal((await connectionsNamed(server, connectionName)).length, others.length);
	});
});
