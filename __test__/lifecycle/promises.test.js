// Calls are ordinary promises of the place that made them: an error in a callback is that callback's own, and the
// asynchronous context is kept.
//
// Calls of one tick are carried out at the same time. In which order is not promised, so no test here relies on one: who
// needs `set` before `get` waits for `set`.

import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { execFileSync } from "node:child_process";
import { describe, test } from "node:test";
import { findProgram } from "../../scripts/programs.js";
import { runText } from "../support/child.js";
import { open } from "../support/engines.js";
import { fresh } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();

describe("an exception in a callback of a settled call", () => {
	test("is an unhandledRejection, and the other calls are settled", async () => {
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			const storage = redisStorage();
			const told = [];
			process.on("unhandledRejection", (reason) => told.push(reason.message));
			let settled = 0;
			const calls = Array.from({ length: 300 }, (_, n) => storage.set("key " + n, "value", 60));
			for (const [n, call] of calls.entries()) {
				call.then(() => settled++);
				if (n % 100 === 50) call.then(() => { throw new Error("on purpose " + n) });
			}
			await Promise.all(calls);
			await storage.increment("counter", 60).then(() => { throw new Error("caught") }).catch(() => settled++);
			await new Promise(setImmediate);
			console.log(JSON.stringify({ told: told.sort(), settled, value: await storage.get("key 299") }));`;
		for (const url of [server.url, "memory://"]) {
			const { stdout, stderr, code } = await runText(source, { env: { REDIS_URL: url } });
			assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
			const told = ["on purpose 150", "on purpose 250", "on purpose 50"];
			assert.deepEqual(JSON.parse(stdout), { told, settled: 301, value: "value" });
		}
	});

	test("ends a process that does not listen, with that error", async () => {
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			redisStorage().get("key").then(() => { throw new Error("on purpose") });`;
		const { stderr, code } = await runText(source, { env: { REDIS_URL: server.url } });
		assert.equal(code, 1);
		assert.match(stderr, /Error: on purpose/);
	});

	test("an unhandled rejection is an unhandledRejection too", async () => {
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			redisStorage("redis://127.0.0.1:1").get("key");`;
		const { stderr, code } = await runText(source);
		assert.equal(code, 1);
		assert.match(stderr, /SessionStoreError: Redis at 127\.0\.0\.1:1 cannot be reached/);
	});
});

describe("the asynchronous context", () => {
	test("is kept across every call, whether it resolves or rejects", async (t) => {
		const { storage, store } = open(t, server.url);
		const context = new AsyncLocalStorage();
		const requests = Array.from({ length: 200 }, (_, id) =>
			context.run({ id }, async () => {
				const key = fresh("key");
				const seen = [];
				const see = () => seen.push(context.getStore()?.id);
				await storage.set(key, String(id), 60);
				see();
				await storage.get(key).then(see);
				await store.updateSession(key, { note: 1 }).catch(see);
				await store.getUserSessions("").catch(see);
				await Promise.all([storage.increment(`${key} count`, 60).then(see), store.getUserSessions(key).finally(see)]);
				assert.equal(await storage.getAndDelete(key), String(id));
				see();
				return seen.every((one) => one === id) && seen.length === 7;
			}),
		);
		assert.ok((await Promise.all(requests)).every(Boolean), "a context was lost or mixed up");
		assert.equal(context.getStore(), undefined);
	});
});

test("many calls in one tick: the first are carried out before the tick ends", async (t) => {
	const { storage } = open(t, server.url);
	await storage.ping();
	const redisCli = findProgram("redis-cli", "valkey-cli");
	const { port } = new URL(server.url);
	const isSet = (key) => execFileSync(redisCli, ["-p", port, "EXISTS", `session:${key}`]).toString() === "1\n";
	const keys = Array.from({ length: 20 }, () => fresh("key"));
	const calls = keys.map((key) => storage.set(key, "", 60));
	const until = performance.now() + 10_000;
	while (!isSet(keys[0])) assert.ok(performance.now() < until, "not carried out while the tick lasts");
	await Promise.all(calls);
});

test("each of thousands of concurrent calls gets its own answer", async (t) => {
	const [one, other] = [open(t, server.url), open(t, `memory://${fresh("answers")}`)];
	const keys = Array.from({ length: 5000 }, (_, at) => `key ${at}`);
	await Promise.all(
		keys.flatMap((key) => [one.storage.set(key, `one ${key}`, 60), other.storage.set(key, `other ${key}`, 60)]),
	);
	const [ones, others] = await Promise.all([one, other].map(({ storage }) => Promise.all(keys.map(storage.get))));
	assert.deepEqual(
		ones,
		keys.map((key) => `one ${key}`),
	);
	assert.deepEqual(
		others,
		keys.map((key) => `other ${key}`),
	);
});
