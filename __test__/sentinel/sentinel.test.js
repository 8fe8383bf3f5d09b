// Sentinel: the primary is found through whichever sentinel lives, and found again after each kind of failover.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { counters } from "../near-cache/stores.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { failsOver } from "../support/failover.js";
import { fresh } from "../support/records.js";
import { SentinelGroup } from "../support/sentinel.js";
import { until } from "../support/wait.js";

describe("Sentinel", () => {
	const group = new SentinelGroup();
	before(() => group.start());
	after(() => group.stop());

	test("finds the primary, by a URL and by options", async (t) => {
		const hosts = group.nodes.map(({ host, port }) => `${host}:${port}`).join(",");
		for (const options of [
			`redis-sentinel://${hosts}/mymaster`,
			`redis+sentinel://${hosts}/mymaster/0`,
			`redis-sentinel://${hosts}?name=mymaster&db=0`,
			{ sentinels: group.nodes },
			{ sentinels: group.nodes, name: "mymaster", db: 0 },
		]) {
			const { storage } = open(t, options);
			const key = fresh("key");
			await storage.set(key, "value", 60);
			assert.equal(await storage.get(key), "value");
			assert.equal(await (await group.primary()).cli("GET", `session:${key}`), "value");
		}
	});

	test("works with one live sentinel", async (t) => {
		const dead = [1, 2, 3].map((port) => ({ host: "127.0.0.1", port }));
		const { storage } = open(t, { sentinels: [...dead, group.nodes[1]] });
		await storage.ping();
	});

	test("that does not know the primary, and one that is down, reject with the reason", async (t) => {
		const unknown = /^name: the sentinels have no primary "other"; SENTINEL MASTERS lists their primaries$/;
		await assertRejects(
			() => open(t, { sentinels: group.nodes, name: "other" }).storage.ping(),
			"INVALID_ARGUMENT",
			unknown,
		);
		const none = /none of the sentinels can be reached: 127\.0\.0\.1:1, 127\.0\.0\.1:2/;
		const sentinels = [1, 2].map((port) => ({ host: "127.0.0.1", port }));
		await assertRejects(() => open(t, { sentinels }).storage.ping(), "UNAVAILABLE", none);
	});

	for (const [name, fail] of Object.entries({
		"a primary that is killed": async (old) => {
			await old.kill("SIGKILL");
			return () => old.restart();
		},
		"a failover by command": async () => {
			const [sentinel] = group.sentinels;
			// It refuses until it has heard from a replica again.
			await until("a failover", () =>
				sentinel
					.cli("SENTINEL", "FAILOVER", "mymaster")
					.catch((error) => void assert.match(error.message, /^NOGOODSLAVE/)),
			);
			return () => {};
		},
		"a primary that stands still, and keeps its connections": async (old) => {
			await old.pause();
			return () => old.resume();
		},
	})) {
		test(`${name}: every answer is right, and the new primary is in use within 3 s`, async (t) => {
			const old = await group.primary();
			const doors = open(t, { sentinels: group.nodes, commandTimeout: 1000, connectTimeout: 1000 });
			await doors.storage.ping();
			const failovers = [];
			doors.storage.on("failover", (reason) => failovers.push(reason));
			let elected;
			const heal = await failsOver(t, doors, {
				fail: () => fail(old),
				elected: async () => {
					elected = await group.electedAfter(old);
				},
				key: () => fresh("after"),
				read: (key) => elected.cli("GET", `session:${key}`),
			});
			assert.deepEqual(failovers, [`the primary is 127.0.0.1:${elected.port} now`]);
			const { enabled, reason } = counters(doors.storage);
			assert.ok(enabled || reason === "the server is older than Redis 7", "the near cache hears the new primary");
			await heal();
			// The old one comes back as a replica, and all are there for the next test.
			const [role] = await (await group.primary()).cli("ROLE");
			assert.equal(role, "master");
			while ((await (await group.primary()).cli("INFO", "replication")).match(/connected_slaves:(\d)/)[1] !== "2")
				await sleep(50);
		});
	}
});

test("Sentinel may have a password of its own", async (t) => {
	const group = new SentinelGroup();
	t.after(() => group.stop());
	await group.start({ sentinelPassword: "sentinels'" });
	await open(t, { sentinels: group.nodes, sentinelPassword: "sentinels'" }).storage.ping();
	await assertRejects(() => open(t, { sentinels: group.nodes }).storage.ping(), "AUTH", /a sentinel/);
});
