// What a store does while its server is away, slow, cut off or full, under a load of 64 that checks every answer: errors are typed
// and come in time, nothing that was acknowledged is lost or done twice, no ended session comes back, and it works again soon.

import assert from "node:assert/strict";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { rounds, seeded } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertRejects, operations } from "../support/errors.js";
import { load } from "../support/load.js";
import { inMs, measured } from "../support/measured.js";
import { startProxy } from "../support/proxy.js";
import { fresh, session } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

const random = seeded("outages");
const COMMAND_TIMEOUT_MS = 1000;
const FAIL_FAST_MS = 250;
/** For a process to be scheduled on a busy machine. */
const SLACK_MS = 500;
/** From the server's being back to the first success. */
const BACK_WITHIN_MS = 1000;
/** What is acknowledged is on the disk. */
const DURABLE = ["appendonly yes", "appendfsync always"];

/** @param {import("node:test").TestContext} t */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/**
 * What is done to a server, and when it is well again. `allowed`: the codes with which operations may fail meanwhile; `forgets`: whether
 * Redis itself loses what it acknowledged.
 * @type {Record<string, { config?: string[], allowed: string[], forgets?: boolean, disturb: (ground: object) => Promise<void> }>}
 */
const faults = {
	"kill -9, and a restart after 1 s": {
		config: DURABLE,
		allowed: ["UNAVAILABLE"],
		disturb: async ({ server }) => {
			await server.kill("SIGKILL");
			await sleep(1000);
			await server.restart();
		},
	},
	SIGSTOP: {
		allowed: ["TIMEOUT", "UNAVAILABLE"],
		disturb: async ({ server }) => {
			await server.pause();
			await sleep(rounds(2000, 5000));
			server.resume();
		},
	},
	"the network is cut for 1 s": {
		allowed: ["TIMEOUT", "UNAVAILABLE"],
		disturb: async ({ proxy }) => {
			proxy.freeze();
			await sleep(1000);
			proxy.cut();
			proxy.thaw();
		},
	},
	"answers come 200 ms late": {
		allowed: ["UNAVAILABLE"],
		disturb: async ({ proxy }) => {
			proxy.delayMs = 100;
			await sleep(1000);
			proxy.delayMs = 0;
			await sleep(200); // for what is on its way
		},
	},
	"each 20th connection a tick is reset": {
		allowed: ["UNAVAILABLE"],
		disturb: async ({ proxy }) => {
			for (let n = 0; n < 200; n++) {
				proxy.cut(() => random.below(20) === 0);
				await sleep(5);
			}
		},
	},
	"CLIENT KILL every 100 ms": {
		allowed: ["UNAVAILABLE"],
		disturb: async ({ server }) => {
			for (let n = 0; n < 10; n++) {
				await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
				await sleep(100);
			}
		},
	},
	"another password for 500 ms": {
		allowed: ["AUTH", "UNAVAILABLE"],
		disturb: async ({ server }) => {
			await server.cli("CONFIG", "SET", "requirepass", "other");
			server.password = "other";
			await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
			await sleep(500);
			await server.cli("CONFIG", "SET", "requirepass", "");
			server.password = undefined;
		},
	},
	"a full memory under noeviction": {
		allowed: ["OUT_OF_MEMORY", "UNAVAILABLE"],
		disturb: async ({ server }) => {
			await server.cli("CONFIG", "SET", "maxmemory", "1");
			await sleep(500);
			await server.cli("CONFIG", "SET", "maxmemory", "0");
		},
	},
	"a full memory under allkeys-lru": {
		config: ["maxmemory-policy allkeys-lru"],
		allowed: ["OUT_OF_MEMORY", "UNAVAILABLE"],
		forgets: true,
		disturb: async ({ server }) => {
			const used = /used_memory:(\d+)/.exec(await server.cli("INFO", "memory"))[1];
			await server.cli("CONFIG", "SET", "maxmemory", String(Number(used) + 500_000));
			for (let n = 0; n < 20; n++) {
				await server.cli("SET", `filler ${n}`, Buffer.alloc(100_000));
				await sleep(25);
			}
			assert.match(await server.cli("INFO", "stats"), /evicted_keys:[1-9]/);
			await server.cli("CONFIG", "SET", "maxmemory", "0");
		},
	},
	"an empty server in its place, after 500 ms": {
		allowed: ["UNAVAILABLE"],
		forgets: true,
		disturb: async ({ server }) => {
			await server.kill("SIGKILL");
			await sleep(500);
			await server.restart();
		},
	},
	"the server is a replica for 500 ms": {
		allowed: ["READONLY", "UNAVAILABLE"],
		disturb: async ({ server }) => {
			await server.cli("REPLICAOF", "127.0.0.1", "1");
			await sleep(500);
			await server.cli("REPLICAOF", "NO", "ONE");
		},
	},
};

describe("repeated outages under load", () => {
	for (const [name, { config, allowed, forgets, disturb }] of Object.entries(faults)) {
		test(name, async (t) => {
			const server = await startFor(t, { config });
			const proxy = await startProxy(t, server);
			const options = { url: proxy.url, commandTimeout: COMMAND_TIMEOUT_MS, failFastMs: FAIL_FAST_MS };
			const doors = open(t, options);
			let over = false;
			t.after(() => {
				over = true;
			});
			// Two loads, of some 30 operations at once each.
			const doneAt = [];
			const working = Promise.all([1, 2].map(() => load(doors, () => over, allowed, { forgets, doneAt })));
			await sleep(200);
			const waits = [];
			const disturbing = (async () => {
				for (let n = 0; n < rounds(2, 20); n++) {
					await disturb({ server, proxy });
					const backAt = performance.now();
					const first = await until("a success", () => doneAt.find((at) => at >= backAt));
					waits.push(first - backAt);
					await sleep(rounds(200, BACK_WITHIN_MS)); // the load goes on, and checks
				}
			})();
			await Promise.race([disturbing, working]);
			await disturbing;
			over = true;
			const both = await working;
			const [done, failed] = ["done", "failed"].map((name) => both[0][name] + both[1][name]);
			const codes = [...new Set(both.flatMap((one) => Object.keys(one.codes)))].join(", ");
			const longestMs = Math.max(...both.map((one) => one.longestMs));
			const worst = Math.max(...waits);
			t.diagnostic(
				`${done} done, ${failed} failed (${codes}), longest ${longestMs.toFixed(0)} ms, back within ${worst.toFixed(0)} ms`,
			);
			measured("one server", {
				"what happens": name,
				errors: codes || "none",
				"done, failed": `${done}, ${failed}`,
				"longest operation": inMs(longestMs),
				"first success": inMs(worst),
			});
			assert.ok(longestMs < COMMAND_TIMEOUT_MS + SLACK_MS, `an operation took ${longestMs} ms`);
			assert.ok(worst < BACK_WITHIN_MS, `the first success came ${worst} ms after the server was back`);
		});
	}
});

describe("while the server is down", () => {
	test("every operation rejects within failFastMs, for the whole outage", async (t) => {
		const server = await startFor(t);
		const doors = open(t, { url: server.url, commandTimeout: 20_000 });
		await doors.storage.ping();
		await server.kill();
		for (let n = 0; n < 3; n++) {
			const ends = Object.entries(operations).map(async ([name, operation]) => {
				const start = performance.now();
				await assertRejects(() => operation(doors), "UNAVAILABLE");
				const tookMs = performance.now() - start;
				assert.ok(tookMs < FAIL_FAST_MS + SLACK_MS, `${name} took ${tookMs} ms`);
			});
			await Promise.all(ends);
		}
	});

	test("an interruption shorter than failFastMs goes unnoticed", async (t) => {
		const server = await startFor(t, { config: DURABLE });
		const { storage, store } = open(t, { url: server.url, failFastMs: 5000, commandTimeout: 20_000 });
		const mine = session();
		await store.createSession(mine);
		const key = fresh("key");
		await storage.set(key, "value", 60);
		for (let n = 0; n < rounds(3, 30); n++) {
			await server.kill();
			const asked = [store.getSession(mine.token), storage.get(key), store.getUserSessions(mine.userId)];
			await server.restart();
			assert.deepEqual(await Promise.all(asked), [mine, "value", [mine]]);
		}
	});

	test("the store retries with backoff until the server is back", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url, reconnectMinMs: 10, reconnectMaxMs: 100 });
		await storage.ping();
		await server.kill();
		await assertRejects(() => storage.ping(), "UNAVAILABLE");
		await server.restart();
		// Nobody asks: it connects by itself.
		await until("a connection", async () => (await server.cli("CLIENT", "LIST")).includes("flags=t"));
	});

	test("a dead connection is replaced, and calls fail fast again", async (t) => {
		const server = await startFor(t);
		const proxy = await startProxy(t, server);
		const { storage } = open(t, { url: proxy.url, nearCache: false, commandTimeout: 500 });
		await storage.ping();
		proxy.freeze();
		const codes = [];
		await until(
			"the loss",
			async () => codes.push((await storage.ping().catch((error) => error)).code) && codes.at(-1) === "UNAVAILABLE",
		);
		assert.ok(codes.includes("TIMEOUT"));
		const start = performance.now();
		await assertRejects(() => storage.ping(), "UNAVAILABLE");
		assert.ok(performance.now() - start < FAIL_FAST_MS + SLACK_MS);
		proxy.cut();
		proxy.thaw();
		await until("the answer", () =>
			storage.ping().then(
				() => true,
				() => false,
			),
		);
	});

	test("calls wait for a server that loads its data, then are UNAVAILABLE, then succeed", async (t) => {
		const slowly = ["key-load-delay 500", "loading-process-events-interval-bytes 1024"]; // 0.5 ms for each key
		const server = await startFor(t, { config: ["enable-debug-command yes", ...slowly] });
		const { storage } = open(t, { url: server.url, nearCache: false });
		await storage.set("kept", "value", 600);
		await Promise.all(Array.from({ length: 2000 }, (_, n) => storage.set(`other ${n}`, "x", 600)));
		const loading = server.cli("DEBUG", "RELOAD");
		const refused = () =>
			storage.get("kept").then(
				() => undefined,
				(error) => error,
			);
		const error = await until("a refusal", refused);
		assert.equal(error.code, "UNAVAILABLE");
		assert.match(error.message, /is not ready to answer yet/);
		await loading;
		assert.equal(await storage.get("kept"), "value");
	});

	test("calls beyond maxInFlight are refused at once", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url, nearCache: false, maxInFlight: 100, commandTimeout: 5000 });
		await storage.ping();
		await server.pause();
		const waiting = Array.from({ length: 100 }, () => storage.increment("counter", 60));
		await new Promise(setImmediate);
		const start = performance.now();
		await assertRejects(
			() => storage.increment("counter", 60),
			"UNAVAILABLE",
			/100 operations are under way already \(option maxInFlight\)/,
		);
		await assertRejects(() => storage.get("key"), "UNAVAILABLE", /maxInFlight/);
		assert.ok(performance.now() - start < SLACK_MS);
		server.resume();
		assert.equal((await Promise.all(waiting)).at(-1), 100);
		assert.equal(await storage.increment("counter", 60), 101);
	});

	test("the calls of 10,000 clients take bounded memory, and the event loop goes on", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url });
		await storage.ping();
		await server.kill();
		const before = process.memoryUsage.rss();
		const delay = monitorEventLoopDelay({ resolution: 1 });
		delay.enable();
		let [refused, most] = [0, 0];
		const end = performance.now() + rounds(2000, 20_000);
		const client = async (n) => {
			while (performance.now() < end) {
				await assert.rejects(storage.get(`token-${n}`), { code: "UNAVAILABLE" });
				refused++;
				most = Math.max(most, process.memoryUsage.rss());
				await sleep(900 + random.below(200));
			}
		};
		await Promise.all(Array.from({ length: 10_000 }, (_, n) => client(n)));
		delay.disable();
		const grown = (most - before) / 2 ** 20;
		t.diagnostic(
			`${refused} refused; event loop delay p99 ${(delay.percentile(99) / 1e6).toFixed(1)} ms, memory grew by ${grown.toFixed(0)} MiB`,
		);
		const p99 = delay.percentile(99) / 1e6;
		measured("10,000 clients", {
			"calls refused": String(refused),
			"event loop delay, p99": inMs(p99),
			"memory grew by": `${grown.toFixed(0)} MiB`,
		});
		assert.ok(grown < 300, `${grown} MiB`); // most of it the promises and errors of the clients themselves
		assert.ok(p99 < 20, `${p99} ms`);
	});
});
