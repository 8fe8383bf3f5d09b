// maxSessionsPerUser where a sign-in is several steps (Cluster; one key per script): another sign-in that has entered the index and not yet
// written its session is waited for, and not taken for a dead one.

import assert from "node:assert/strict";
import { test } from "node:test";
import { holdAllSlots } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { fresh, session } from "../support/records.js";
import { RedisServer } from "../support/redis.js";
import { StrictServer } from "../support/strict.js";
import { until } from "../support/wait.js";

const HOUR_MS = 3_600_000;

/** @type {Record<string, (t: import("node:test").TestContext) => Promise<{ server: RedisServer, options: object }>>} */
const PLACES = {
	"a cluster": async (t) => {
		const server = await new RedisServer({ config: ["cluster-enabled yes"] }).start();
		t.after(() => server.stop());
		await holdAllSlots(server);
		return { server, options: { cluster: [{ host: server.host, port: server.port }] } };
	},
	"a server that permits a script one key": async (t) => {
		const strict = await new StrictServer().start();
		t.after(() => strict.stop());
		return { server: strict.server, options: { url: strict.url } };
	},
};

for (const [place, start] of Object.entries(PLACES)) {
	test(`on ${place} a sign-in that is under way is no dead one`, async (t) => {
		const { server, options } = await start(t);
		const limited = open(t, { ...options, nearCache: false, maxSessionsPerUser: 2 });
		const other = open(t, { ...options, nearCache: false });
		const userId = fresh("user");
		const [oldest, slow, quick] = [0, 1, 2].map((at) => session({ userId, createdAt: new Date(Date.now() + at) }));
		await limited.store.createSession(oldest);
		// The first step of a sign-in by another process.
		await server.cli("ZADD", `user-sessions:${userId}`, Date.now() + HOUR_MS, slow.token);
		const creating = limited.store.createSession(quick);
		await until("the quick one's record", () => server.cli("EXISTS", `session:${quick.token}`));
		// Its second step, while the quick one enforces the limit.
		await other.store.createSession(slow);
		await creating;
		const left = await other.store.getUserSessions(userId);
		assert.deepEqual(left.map(({ token }) => token).sort(), [slow.token, quick.token].sort());
	});
}
