// Time that a process knows nothing of: it was frozen, or its wall clock was set. Its connections may have died meanwhile without a word.
// The first call then succeeds on a new connection, or fails within failFastMs. (One frozen process on one server: reconnecting.test.js.)

import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { RedisCluster } from "../support/cluster.js";
import { endWithProcess } from "../support/lifetime.js";
import { startProxy } from "../support/proxy.js";
import { fresh } from "../support/records.js";
import { RedisServer } from "../support/redis.js";
import { makeWallClock, noWallClock } from "../support/wall-clock.js";

const FAIL_FAST_MS = 250;
/** For a process to be scheduled on a busy machine. */
const SLACK_MS = 500;
/** A process notices that it stood still when that took longer than 2 s. */
const FROZEN_MS = 2200;
const HOUR_S = 3600;

const CHILD = fileURLToPath(new URL("clock-jumps.child.js", import.meta.url));

const server = new RedisServer();
const cluster = new RedisCluster({}, { primaries: 3, replicas: 0 });
before(() => Promise.all([server.start(), cluster.start()]));
after(() => Promise.all([server.stop(), cluster.stop()]));

/**
 * Where sessions lie: proxies before the servers, and the options of a store that only knows these.
 * @type {Record<string, (t: import("node:test").TestContext) => Promise<{ proxies: import("../support/proxy.js").RedisProxy[], options: object }>>}
 */
const PLACES = {
	"one server": async (t) => {
		const proxy = await startProxy(t, server);
		return { proxies: [proxy], options: { url: proxy.url } };
	},
	Cluster: async (t) => {
		const proxies = await Promise.all(cluster.servers.map((one) => startProxy(t, one)));
		const at = proxies.map(({ url }) => ({ host: "127.0.0.1", port: Number(new URL(url).port) }));
		const natMap = Object.fromEntries(cluster.nodes.map(({ host, port }, n) => [`${host}:${port}`, at[n]]));
		return { proxies, options: { cluster: at, natMap } };
	},
};

/** A process with a store. `read`: of any key; the outcome is "done", or the error's code and message. */
async function startProcess(t, options, env = {}) {
	const { NODE_TEST_CONTEXT: _, ...own } = process.env;
	const child = fork(CHILD, [JSON.stringify(options)], { env: { ...own, ...env } });
	const release = endWithProcess(() => child.kill("SIGKILL"));
	t.after(() => {
		child.kill("SIGKILL");
		release();
	});
	await once(child, "message");
	const read = async () => {
		const start = performance.now();
		child.send(fresh("key"));
		const [outcome] = await once(child, "message");
		return { outcome, tookMs: performance.now() - start };
	};
	// On a cluster each key may lie on another server.
	for (let n = 0; n < 10; n++) assert.equal((await read()).outcome, "done");
	return { child, read };
}

/** @type {Record<string, { skip?: string | boolean, begin: (t: import("node:test").TestContext, options: object) => Promise<object> }>} */
const JUMPS = {
	"was frozen": {
		skip: process.platform === "win32",
		begin: async (t, options) => {
			const one = await startProcess(t, options);
			const jump = async (meanwhile) => {
				one.child.kill("SIGSTOP");
				meanwhile();
				await sleep(FROZEN_MS);
				one.child.kill("SIGCONT");
			};
			return { ...one, jump };
		},
	},
	...Object.fromEntries(
		[HOUR_S, -HOUR_S].map((seconds) => [
			`had its wall clock set ${seconds > 0 ? "forward" : "back"} by an hour`,
			{
				skip: noWallClock,
				begin: async (t, options) => {
					const clock = makeWallClock(t);
					const one = await startProcess(t, options, clock.env);
					const jump = async (meanwhile) => {
						meanwhile();
						clock.setAhead(seconds);
					};
					return { ...one, jump };
				},
			},
		]),
	),
};

for (const [place, front] of Object.entries(PLACES)) {
	describe(`on ${place}, a process that`, { concurrency: true }, () => {
		for (const [what, { skip, begin }] of Object.entries(JUMPS)) {
			if (place === "one server" && what === "was frozen") continue; // reconnecting.test.js
			test(`${what} makes other connections at once where its own have died`, { skip }, async (t) => {
				const { proxies, options } = await front(t);
				const { read, jump } = await begin(t, options);
				await jump(() => {
					for (const proxy of proxies) proxy.forget();
				});
				const { outcome, tookMs } = await read();
				assert.equal(outcome, "done");
				assert.ok(tookMs < FAIL_FAST_MS + SLACK_MS, `took ${tookMs} ms`);
			});

			test(`${what} fails within failFastMs where it can make none`, { skip }, async (t) => {
				const { proxies, options } = await front(t);
				const { read, jump } = await begin(t, options);
				await jump(() => {
					for (const proxy of proxies) proxy.freeze();
				});
				const { outcome, tookMs } = await read();
				assert.match(outcome, /^UNAVAILABLE/);
				assert.ok(tookMs < FAIL_FAST_MS + SLACK_MS, `took ${tookMs} ms`);
			});
		}
	});
}
