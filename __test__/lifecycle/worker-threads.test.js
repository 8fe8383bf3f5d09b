// Worker threads: each settles its own calls, all share the process's connections, and one that is torn down in the middle
// of its calls takes nobody with it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { runFile } from "../support/child.js";
import { rounds, seeded } from "../support/counts.js";
import { open } from "../support/engines.js";
import { fresh } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { connectionsNamed } from "./clients.js";

const server = redisPerFile();

/** A worker that runs the text of a function body, with `storage`, its store of `options`, and tells what that returned. */
function start(t, options, body) {
	const source = `
		import { parentPort, workerData } from "node:worker_threads";
		import { redisStorage } from ${JSON.stringify(import.meta.resolve("better-auth-redis-store"))};
		const storage = redisStorage(workerData);
		parentPort.postMessage(await (async () => { ${body} })());`;
	const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData: options });
	t.after(() => worker.terminate());
	return worker;
}

/** What a worker tells; rejects when it fails first. */
function messageOf(worker) {
	return new Promise((resolve, reject) => {
		worker.once("message", resolve);
		worker.once("error", reject);
	});
}

/** The exit code of a worker, however it ends. */
function exitOf(worker) {
	return new Promise((resolve) => worker.once("exit", resolve));
}

describe("worker threads", () => {
	test("settle their own calls while others make theirs", async (t) => {
		for (const options of [{ url: server.url }, { url: `memory://${fresh("workers")}` }]) {
			const { storage } = open(t, options);
			await storage.ping();
			const body = (name) => `
				const keys = Array.from({ length: 500 }, (_, n) => "${name} " + n);
				await Promise.all(keys.map((key) => storage.set(key, "value of " + key, 60)));
				const found = await Promise.all(keys.map((key) => storage.get(key)));
				const counts = await Promise.all(keys.map(() => storage.increment("count of all", 60)));
				const refused = await Promise.all(keys.map((key) => storage.increment(key, 60).catch(({ code }) => code)));
				return { right: found.every((value, n) => value === "value of " + keys[n]), counts, refused: new Set(refused) };`;
			await storage.delete("count of all");
			const names = ["a", "b", "c", "d"];
			const results = names.map((name) => messageOf(start(t, options, body(name))));
			const counts = Promise.all(Array.from({ length: 500 }, () => storage.increment("count of all", 60)));
			const all = [await counts];
			for (const { right, counts, refused } of await Promise.all(results)) {
				assert.ok(right, "an answer went to another call");
				assert.deepEqual([...refused], ["CONFLICT"]);
				all.push(counts);
			}
			const numbers = new Set(all.flat());
			assert.equal(numbers.size, 2500, "a count was given to two callers");
			assert.equal(Math.max(...numbers), 2500);
			assert.equal(await storage.get("d 499"), "value of d 499"); // what a worker wrote is everybody's
		}
	});

	test("share the connection with the main thread", async (t) => {
		const options = { url: server.url, connectionName: fresh("threads") };
		const { storage } = open(t, options);
		await storage.ping();
		const workers = Array.from({ length: 4 }, () =>
			start(t, options, "await storage.ping(); setInterval(() => {}, 1000); return 'used';"),
		);
		assert.deepEqual(await Promise.all(workers.map(messageOf)), ["used", "used", "used", "used"]);
		assert.equal((await connectionsNamed(server, options.connectionName)).length, 1);
	});

	test("release the connection when they end, by themselves, by terminate, by process.exit, or by an error", async (t) => {
		for (const [ending, end] of [
			["", () => {}],
			["setInterval(() => {}, 1000);", (worker) => worker.terminate()],
			["setImmediate(() => process.exit(0));", () => {}],
			["setImmediate(() => { throw new Error('on purpose') });", () => {}],
		]) {
			const options = { url: server.url, connectionName: fresh("released") };
			const worker = start(t, options, `await storage.ping(); ${ending} return 'used';`);
			const exit = exitOf(worker);
			// An error of the worker may overtake its message: they come by two ports.
			await messageOf(worker).catch((error) => assert.equal(error.message, "on purpose"));
			end(worker);
			await exit;
			await until("the end of the connection", async () => {
				return (await connectionsNamed(server, options.connectionName)).length === 0;
			});
		}
	});

	test("do not close the main thread's store with their own", async (t) => {
		const options = { url: server.url, connectionName: fresh("closed") };
		const { storage } = open(t, options);
		await storage.ping();
		const worker = start(
			t,
			options,
			"await storage.ping(); await storage.close(); return storage.ping().catch(({ code }) => code);",
		);
		assert.equal(await messageOf(worker), "CLOSED");
		await storage.ping();
		assert.equal((await connectionsNamed(server, options.connectionName)).length, 1);
	});

	test("stay alive until their calls are settled, and then end", async (t) => {
		const key = fresh("key");
		const worker = start(
			t,
			{ url: server.url },
			`storage.set("${key}", "value", 60).then(() => storage.get("${key}")); return 1;`,
		);
		assert.equal(await exitOf(worker), 0);
		assert.equal(await server.cli("GET", `session:${key}`), "value");
	});
});

test("a worker terminated at any moment of its calls affects no other thread", async (t) => {
	const random = seeded("torn down");
	const file = new URL("torn-down.js", import.meta.url);
	for (const url of [server.url, "memory://"]) {
		const args = [url, String(rounds(50, 1000)), String(random.below(2 ** 31))];
		const { stdout, stderr, code, signal } = await runFile(file, { args, deadlineMs: rounds(60_000, 900_000) });
		assert.deepEqual({ stderr, code, signal }, { stderr: "", code: 0, signal: null }, stdout);
		const { terminated, calls } = JSON.parse(stdout);
		t.diagnostic(`${url.split(":")[0]}: ${terminated} workers, ${calls} calls of the main thread meanwhile`);
		assert.equal(terminated, rounds(50, 1000));
		assert.ok(calls > 0);
	}
});
