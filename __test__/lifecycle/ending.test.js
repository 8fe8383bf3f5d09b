// How a process and a connection end: an idle store keeps neither alive, a pending call keeps the process until it is
// settled, and the connection goes with the last store that is closed.

import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { describe, test } from "node:test";
import { runText } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { listen } from "../support/listener.js";
import { withoutProc } from "../support/processes.js";
import { fresh } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { connectionsNamed } from "./clients.js";

const server = redisPerFile({ unixSocket: true });

/** Runs a script that may use `open()`, its store of REDIS_URL; it ends with `console.log(Date.now())`. */
async function endOf(t, body, url = server.url) {
	const source = `
		import { RedisSessionStore, redisSessionStore, redisStorage } from "better-auth-redis-store";
		const storage = redisStorage();
		${body}`;
	const { stdout, stderr, code, signal } = await runText(source, { env: { REDIS_URL: url } });
	const end = Date.now();
	assert.deepEqual({ stderr, code, signal }, { stderr: "", code: 0, signal: null });
	const lines = stdout.trim().split("\n");
	const afterMs = end - Number(lines.pop());
	t.diagnostic(`ended ${afterMs} ms after its work`);
	return { afterMs, lines };
}

/** The URL of a server that takes connections and never says a word. */
async function mute(t) {
	return `redis://127.0.0.1:${await listen(t, () => {})}`;
}

describe("a process", () => {
	test("that used a store ends by itself at once", async (t) => {
		const use = `
			await storage.set("key", "value", 60);
			const session = { token: "t" + process.pid, userId: "u", expiresAt: new Date(Date.now() + 60_000) };
			await redisSessionStore.createSession(session);
			await new RedisSessionStore({ keyPrefix: "other:" }).ping();
			await Promise.all(Array.from({ length: 500 }, () => storage.get("key")));
			console.log(Date.now());`;
		for (const url of [server.url, `unix://${server.socket}`, "memory://"]) {
			const { afterMs } = await endOf(t, use, url);
			assert.ok(afterMs < 1000, `${url}: after ${afterMs} ms`);
		}
	});

	test("does not wait for a limit that is enforced later, nor does close", async (t) => {
		const use = (close) => `
			const storage2 = redisStorage({ maxSessionsPerUser: 1 });
			for (const name of ["a", "b"]) {
				const session = { token: name + process.pid, userId: "u" + process.pid, createdAt: new Date() };
				session.expiresAt = new Date(Date.now() + 60_000);
				const user = { id: session.userId, twoFactorEnabled: true };
				await storage2.set(session.token, JSON.stringify({ session, user }), 60);
			}
			if (${close}) await storage2.close();
			console.log(Date.now());`;
		for (const url of [server.url, "memory://"]) {
			for (const close of [true, false]) {
				const { afterMs } = await endOf(t, use(close), url);
				assert.ok(afterMs < 1000, `${url}: after ${afterMs} ms`);
			}
		}
	});

	test("that did not wait for its calls ends when they are settled, not before", async (t) => {
		const { lines } = await endOf(
			t,
			`
			let settled = 0;
			for (let n = 0; n < 100; n++) storage.set("key " + n, "value", 60).then(() => settled++);
			storage.get("key 1").finally(() => setImmediate(() => redisSessionStore.ping().then(() => settled++)));
			process.on("exit", () => console.log(settled + "\\n" + Date.now()));`,
		);
		assert.deepEqual(lines, ["101"]);
	});

	test("waits for a call to a server that never answers, until it is settled", async (t) => {
		const source = `
			const { redisStorage: make } = await import("better-auth-redis-store");
			const start = performance.now();
			make({ url: process.env.REDIS_URL, commandTimeout: 700 }).get("key").catch(({ code }) => {
				console.log(code);
				console.log(performance.now() - start >= 695);
				console.log(Date.now());
			});`;
		const { lines, afterMs } = await endOf(t, source, await mute(t));
		assert.deepEqual(lines, ["TIMEOUT", "true"]);
		assert.ok(afterMs < 1000, `after ${afterMs} ms`);
	});

	test("may wait for a call at the top level of a module", async (t) => {
		const source = `
			console.log((await redisStorage({ url: process.env.REDIS_URL, commandTimeout: 300 }).get("key").catch((e) => e)).code);
			console.log(Date.now());`;
		assert.deepEqual((await endOf(t, source, await mute(t))).lines, ["TIMEOUT"]);
	});

	test("whose store was closed with calls in flight has them settled", async (t) => {
		const { lines } = await endOf(
			t,
			`
			const calls = Array.from({ length: 100 }, (_, n) => storage.set("key " + n, "value", 60));
			storage.close();
			const outcomes = await Promise.allSettled(calls);
			console.log(outcomes.filter(({ status }) => status === "fulfilled").length);
			console.log(Date.now());`,
		);
		assert.deepEqual(lines, ["100"]);
	});

	test("keeps its exit code though 1,000 calls are in flight", async () => {
		const endings = [
			["process.exit(7)", 7],
			["setImmediate(() => process.exit(7))", 7],
			["calls[0].then(() => process.exit(7))", 7],
			["calls[999].finally(() => process.exit(7))", 7],
			["process.exitCode = 7; throw new Error('on purpose')", 1],
			["process.on('exit', () => (process.exitCode = 7)); storage.close(); process.exit()", 7],
			["process.on('exit', () => storage.get('key')); process.exit(7)", 7],
		];
		for (let round = 0; round < rounds(1, 50); round++) {
			for (const url of [server.url, "memory://"]) {
				const results = await Promise.all(
					endings.map(async ([ending, expected]) => {
						const source = `
							import { redisStorage } from "better-auth-redis-store";
							const storage = redisStorage();
							await storage.ping();
							const calls = Array.from({ length: 1000 }, (_, n) => storage.set("key " + n, "value", 60));
							${ending};`;
						const { code, signal, stderr } = await runText(source, { env: { REDIS_URL: url } });
						return { ending, expected, code, signal, stderr };
					}),
				);
				for (const { ending, expected, code, signal, stderr } of results) {
					assert.deepEqual({ code, signal }, { code: expected, signal: null }, `${ending}\n${stderr}`);
					if (expected === 7) assert.equal(stderr, "", ending);
					else assert.match(stderr, /Error: on purpose/);
				}
			}
		}
	});
});

describe("close()", () => {
	test("of one store leaves the others; of the last one ends the connection", async (t) => {
		const options = { url: server.url, connectionName: fresh("closing") };
		const connections = async () => (await connectionsNamed(server, options.connectionName)).length;
		const [one, other] = [open(t, options), open(t, options)];
		const all = [one.storage, one.store, other.storage, other.store];
		await Promise.all(all.map((store) => store.ping()));
		for (const [at, store] of all.entries()) {
			assert.equal(await connections(), 1);
			await store.close();
			await assert.rejects(store.ping(), { code: "CLOSED" });
			for (const left of all.slice(at + 1)) await left.ping();
		}
		await until("the end of the connection", async () => (await connections()) === 0);

		await open(t, options).storage.ping(); // and a new store has a new one
		assert.equal(await connections(), 1);
	});

	test("ends the connection after the calls in flight", async (t) => {
		const options = { url: server.url, connectionName: fresh("closing") };
		for (let round = 0; round < 20; round++) {
			const { storage } = open(t, options);
			const key = fresh("counter");
			const calls = Array.from({ length: 50 }, () => storage.increment(key, 60));
			await storage.close();
			await Promise.all(calls);
			assert.equal(await server.cli("GET", `session:${key}`), "50");
			await until("the end of the connection", async () => {
				return (await connectionsNamed(server, options.connectionName)).length === 0;
			});
		}
	});

	test("after each of many uses leaves no connection, file or thread behind", { skip: withoutProc }, async () => {
		const files = () => readdirSync("/proc/self/fd").length;
		const threads = () => readdirSync("/proc/self/task").length;
		const connectionName = fresh("many");
		const useOne = async (n) => {
			const { storage, store } = open({ after() {} }, { url: server.url, connectionName, maxValueBytes: 1024 + n });
			await Promise.all([storage.set("key", "value", 60), store.ping()]);
			await Promise.all([storage.close(), store.close()]);
		};
		await useOne(0);
		const before = { files: files(), threads: threads() };
		for (let n = 0; n < rounds(300, 5000); n++) await useOne(n);
		await until(
			"the end of all connections",
			async () => (await connectionsNamed(server, connectionName)).length === 0,
		);
		await until("every file closed", () => files() <= before.files);
		assert.equal(threads(), before.threads);
	});
});
