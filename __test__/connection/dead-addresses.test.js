// A name with a dead address beside the living one, as DNS has it after a machine is gone: the living one is used, and soon.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { canHaveHosts, runWithHosts } from "../support/hosts.js";
import { RedisProxy } from "../support/proxy.js";
import { RedisServer, startRedis } from "../support/redis.js";

const CHILD = fileURLToPath(new URL("dead-addresses.child.js", import.meta.url));
/** The system names the dead one first, as the one that is nearer to this machine's own. */
const DEAD = "127.0.0.1";
const LIVING = "127.0.0.2";
const NAME = "several.test";
const CONNECT_TIMEOUT_MS = 400;
/** For processes to be scheduled on a busy machine. */
const SLACK_MS = 700;

/** A server of this test at the living address, at a port of the caller's choice if there is one. */
async function startLiving(t, port) {
	const server = new RedisServer();
	if (port === undefined) server.host = LIVING;
	await server.start();
	t.after(() => server.stop());
	if (port === undefined) return server.port;
	const proxy = new RedisProxy(server);
	await proxy.start(port, LIVING);
	t.after(() => proxy.stop());
	return port;
}

/** A server at the dead address that stands still: the system takes connections in its place, until `backlog` and one more wait. */
async function startSilent(t, backlog) {
	const server = await startRedis({ config: [`tcp-backlog ${backlog}`] });
	t.after(() => server.stop());
	await server.pause();
	return server.port;
}

/** @type {Record<string, { begin: (t: import("node:test").TestContext) => Promise<number>, withinMs: number }>} */
const DEATHS = {
	"refuses connections": {
		begin: (t) => startLiving(t),
		withinMs: SLACK_MS,
	},
	"does not answer": {
		begin: async (t) => {
			const port = await startSilent(t, 1);
			const waiting = [1, 2].map(() => net.connect(port, DEAD).on("error", () => {}));
			t.after(() => {
				for (const socket of waiting) socket.destroy();
			});
			await Promise.all(waiting.map((socket) => once(socket, "connect")));
			return startLiving(t, port);
		},
		withinMs: SLACK_MS,
	},
	"takes connections and says nothing": {
		begin: async (t) => startLiving(t, await startSilent(t, 128)),
		withinMs: CONNECT_TIMEOUT_MS + SLACK_MS,
	},
};

for (const [what, { begin, withinMs }] of Object.entries(DEATHS)) {
	test(`a name with an address that ${what} leads to the other one, at first and after a loss`, async (t) => {
		const folder = mkdtempSync(join(tmpdir(), "hosts-"));
		t.after(() => rmSync(folder, { recursive: true }));
		if (!(await canHaveHosts(folder))) return t.skip("this machine lets nobody mount another /etc/hosts");
		const port = await begin(t);
		const options = JSON.stringify({ connectTimeout: CONNECT_TIMEOUT_MS, failFastMs: 5000 });
		const args = [CHILD, NAME, LIVING, String(port), options];
		const { code, told } = await runWithHosts(folder, NAME, [DEAD, LIVING], args);
		assert.equal(code, 0, told);
		const { first, again } = JSON.parse(told);
		t.diagnostic(`${first.toFixed()} ms, then ${again.toFixed()} ms`);
		assert.ok(first < withinMs && again < withinMs, told);
	});
}
