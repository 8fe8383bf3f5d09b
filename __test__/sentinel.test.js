// Sentinel: the primary is found through whichever sentinel lives, and found again after each kind of failover.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { open } from "./contract/engines.js";
import { assertRejects } from "./contract/errors.js";
import { fresh, session } from "./contract/records.js";
import { counters } from "./near-cache/stores.js";
import { SentinelGroup } from "./support/sentinel.js";

/** From the election to the first success. */
const BACK_WITHIN_MS = 3000;

describe("Sentinel", () => {
	const group = new SentinelGroup();
	before(() => group.start());
	after(() => group.stop());

	test("names the primary, in a URL and in options", async (t) => {
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

	test("may be dead but for one", async (t) => {
		const dead = [1, 2, 3].map((port) => ({ host: "127.0.0.1", port }));
		const { storage } = open(t, { sentinels: [...dead, group.nodes[1]] });
		await storage.ping();
	});

	test("that knows no such primary, and one that is not there, are told", async (t) => {
		const unknown = /^name: the sentinels know no primary "other"; SENTINEL MASTERS lists those that they know$/;
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
			await group.sentinels[0].cli("SENTINEL", "FAILOVER", "mymaster");
			return () => {};
		},
		"a primary that stands still, and keeps its connections": async (old) => {
			await old.pause();
			return () => old.resume();
		},
	})) {
		test(`${name}: every answer is right, and the new one is in use within 3 s`, async (t) => {
			const old = await group.primary();
			const doors = open(t, { sentinels: group.nodes, commandTimeout: 1000, connectTimeout: 1000 });
			await doors.storage.ping();
			const failovers = [];
			doors.storage.on("failover", (reason) => failovers.push(reason));
			let over = false;
			const errors = [];
			const sessions = [];
			// What a failover loses is Redis' own: the load looks at what each answer says, not at what was acknowledged before.
			const work = async () => {
				while (!over) {
					const mine = session();
					const done = await doors.store.createSession(mine).then(
						() => true,
						(error) => void errors.push(error),
					);
					if (done) sessions.push([mine.token, performance.now()]);
					await sleep(5);
				}
			};
			const working = Promise.all(Array.from({ length: 8 }, work));
			const heal = await fail(old);
			const elected = await group.electedAfter(old);
			const at = performance.now();
			const first = async () => {
				for (;;) {
					const key = fresh("after");
					const done = await doors.storage.set(key, "value", 60).then(
						() => true,
						() => false,
					);
					if (done && (await elected.cli("GET", `session:${key}`)) === "value") return performance.now() - at;
					assert.ok(performance.now() - at < BACK_WITHIN_MS, "the new primary is not in use");
				}
			};
			const backMs = await first();
			const since = performance.now();
			await sleep(500);
			over = true;
			await working;
			for (const { code } of errors) assert.ok(["UNAVAILABLE", "TIMEOUT", "READONLY"].includes(code), code);
			const kept = sessions.filter(([, when]) => when > since);
			assert.ok(kept.length > 10);
			for (const [token] of kept) assert.notEqual(await doors.store.getSession(token), null);
			t.diagnostic(
				`in use ${backMs.toFixed(0)} ms after the election; ${sessions.length} done, ${errors.length} failed`,
			);
			assert.deepEqual(failovers, [`the primary is 127.0.0.1:${elected.port} now`]);
			assert.ok(counters(doors.storage).enabled, "the near cache hears the new primary");
			await heal();
			// The old one comes back as a replica, and all are there for the next test.
			const [role] = await (await group.primary()).cli("ROLE");
			assert.equal(role, "master");
			while ((await (await group.primary()).cli("INFO", "replication")).match(/connected_slaves:(\d)/)[1] !== "2")
				await sleep(50);
		});
	}
});

test("Sentinel with a password of its own", async (t) => {
	const group = new SentinelGroup();
	t.after(() => group.stop());
	await group.start({ sentinelPassword: "sentinels'" });
	await open(t, { sentinels: group.nodes, sentinelPassword: "sentinels'" }).storage.ping();
	await assertRejects(() => open(t, { sentinels: group.nodes }).storage.ping(), "AUTH", /a sentinel/);
});
