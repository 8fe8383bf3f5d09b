// An operator stops a script of the store (SCRIPT KILL). The server permits that only before the script has written, so the step is sent again.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { startProxy } from "../support/proxy.js";
import { fresh, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { STOPS_SOON, stopNextScript } from "../support/states.js";

const server = redisPerFile({ config: [STOPS_SOON] });

describe("a script that an operator stops", () => {
	for (const [name, call] of Object.entries({
		"of a counter": async ({ storage }) => {
			const key = fresh("counter");
			assert.equal(await storage.increment(key, 60), 1);
			assert.equal(await server.cli("GET", `session:${key}`), "1");
		},
		"of a creation": async ({ store }) => {
			const mine = session();
			await store.createSession(mine);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		},
	})) {
		test(`${name} is sent again, and carried out once`, async (t) => {
			const proxy = await startProxy(t, server);
			const doors = open(t, { url: proxy.url, failFastMs: 5000, commandTimeout: 10_000, logger: false });
			await doors.storage.ping();
			const stopped = stopNextScript(proxy, server);
			await call(doors);
			await stopped;
		});
	}

	test("is UNAVAILABLE with its cause and cure once failFastMs is over", async (t) => {
		const proxy = await startProxy(t, server);
		const { storage } = open(t, { url: proxy.url, failFastMs: 1, logger: false });
		await storage.ping();
		const key = fresh("counter");
		const stopped = stopNextScript(proxy, server);
		await assertRejects(
			() => storage.increment(key, 60),
			"UNAVAILABLE",
			/stopped a script of this store because of SCRIPT KILL; nothing was written: try again, .*SLOWLOG/,
		);
		await stopped;
		assert.equal(await storage.increment(key, 60), 1);
	});
});
