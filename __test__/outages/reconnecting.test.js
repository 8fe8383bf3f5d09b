// How often a store tries to connect while callers ask, how soon it is back, and what a process does that was frozen.

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { open } from "../support/engines.js";
import { endWithProcess } from "../support/lifetime.js";
import { listen } from "../support/listener.js";
import { startProxy } from "../support/proxy.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

const WINDOW_MS = 1000;
const MOST_IN_WINDOW = 3;
/** Half of reconnectMaxMs' default, less what timers are early. */
const LEAST_PAUSE_MS = 390;
const BACK_WITHIN_MS = 1000;
const FAIL_FAST_MS = 250;
/** For a process to be scheduled on a busy machine. */
const SLACK_MS = 500;

/** @param {import("node:test").TestContext} t */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/** Asks again and again, ten at a time, until the store is closed. Returns when calls succeeded. */
function ask(storage) {
	const successes = [];
	let isClosed = false;
	const caller = async () => {
		while (!isClosed) {
			await storage.ping().then(
				() => successes.push(performance.now()),
				({ code }) => {
					isClosed ||= code === "CLOSED";
				},
			);
		}
	};
	for (let n = 0; n < 10; n++) void caller();
	return successes;
}

/** Fails unless there were three attempts in the first second, and few later. */
function assertPace(attempts) {
	const first = attempts.filter((at) => at < attempts[0] + WINDOW_MS);
	const said = attempts.map((at) => Math.round(at - attempts[0])).join(", ");
	assert.ok(first.length <= MOST_IN_WINDOW, `attempts after ${said} ms`);
	for (let n = MOST_IN_WINDOW + 1; n < attempts.length; n++) {
		assert.ok(attempts[n] - attempts[n - 1] >= LEAST_PAUSE_MS, `attempts after ${said} ms`);
	}
}

describe("while calls come in, few connection attempts are made", { concurrency: true }, () => {
	for (const [name, answer] of [
		["a server that loads its data", "-LOADING Redis is loading the dataset in memory\r\n"],
		["a server with as many clients as it allows", "-ERR max number of clients reached\r\n"],
	]) {
		test(`at ${name}`, async (t) => {
			const attempts = [];
			const port = await listen(t, (socket) => {
				attempts.push(performance.now());
				socket.on("data", () => socket.end(answer));
			});
			const { storage } = open(t, { url: `redis://127.0.0.1:${port}`, logger: false });
			ask(storage);
			await until("some attempts", () => attempts.length >= 6);
			assertPace(attempts);
		});
	}

	test("at a cluster of which no server answers", async (t) => {
		const attempts = [];
		const port = await listen(t, (socket) => {
			attempts.push(performance.now());
			socket.on("data", () => socket.end("-LOADING Redis is loading the dataset in memory\r\n"));
		});
		const { storage } = open(t, { cluster: [{ host: "127.0.0.1", port }], logger: false });
		ask(storage);
		await until("some attempts", () => attempts.length >= 6);
		assertPace(attempts);
	});

	test("with a wrong password, and the right one works within a second", async (t) => {
		const server = await startFor(t, { password: "right" });
		const attempts = [];
		let password = "wrong";
		const credentials = async () => {
			attempts.push(performance.now());
			return { password };
		};
		const { host, port } = server;
		const { storage } = open(t, { host, port, credentials, logger: false });
		const successes = ask(storage);
		await until("some attempts", () => attempts.length >= 5);
		assertPace(attempts);
		password = "right";
		const mendedAt = performance.now();
		await until("a success", () => successes.length > 0);
		assert.ok(successes[0] - mendedAt < BACK_WITHIN_MS, `back after ${successes[0] - mendedAt} ms`);
	});

	test("at a server that is down, and it is used as soon as it is up", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url, logger: false });
		await storage.ping();
		const attempts = [];
		storage.on("reconnecting", () => attempts.push(performance.now()));
		await server.kill();
		const successes = ask(storage);
		await until("some attempts", () => attempts.length >= 4);
		assertPace(attempts);
		await server.restart();
		const backAt = performance.now();
		await until("a success", () => successes.length > 0);
		assert.ok(successes[0] - backAt < SLACK_MS, `back after ${successes[0] - backAt} ms`);
	});
});

describe("a process that was frozen", { concurrency: true, skip: process.platform === "win32" }, () => {
	/** It is seen that it stood still when that took longer than 2 s. */
	const FROZEN_MS = 2200;

	/** What its first ping comes to after it was frozen, and how many ms that took. `meanwhile`: what is done to its connection. */
	async function thawed(t, meanwhile) {
		const proxy = await startProxy(t, await startFor(t));
		const child = fork(fileURLToPath(new URL("../lifecycle/scarce.child.js", import.meta.url)));
		const release = endWithProcess(() => child.kill("SIGKILL"));
		t.after(() => {
			child.kill("SIGKILL");
			release();
		});
		await once(child, "message");
		const ping = async () => {
			child.send({ options: { url: proxy.url } });
			const [outcome] = await once(child, "message");
			return outcome;
		};
		assert.equal(await ping(), "done");
		child.kill("SIGSTOP");
		meanwhile(proxy);
		await sleep(FROZEN_MS);
		child.kill("SIGCONT");
		const start = performance.now();
		return [await ping(), performance.now() - start];
	}

	test("and whose connection died silently opens another at once", async (t) => {
		const [outcome, tookMs] = await thawed(t, (proxy) => proxy.forget());
		assert.equal(outcome, "done");
		assert.ok(tookMs < FAIL_FAST_MS + SLACK_MS, `took ${tookMs} ms`);
	});

	test("fails within failFastMs where it cannot open one", async (t) => {
		const [outcome, tookMs] = await thawed(t, (proxy) => proxy.freeze());
		assert.match(outcome, /^UNAVAILABLE/);
		assert.ok(tookMs < FAIL_FAST_MS + SLACK_MS, `took ${tookMs} ms`);
	});
});
