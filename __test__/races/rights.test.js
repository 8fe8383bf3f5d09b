// A role that an administrator takes away is gone from every session, whatever else changes the user at that moment and whatever the
// servers' clocks say: in the end each record has the user as her row in PostgreSQL says.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RedisCluster } from "../support/cluster.js";
import { rounds, seeded } from "../support/counts.js";
import { startPostgres } from "../support/postgres.js";
import { redisPerFile } from "../support/redis.js";
import { raceRights, Server } from "./rights.js";

/** How late the administrator's statement is at least, in ms. */
const LATE_MS = 60;

const random = seeded("rights");
const redis = redisPerFile();
const cluster = new RedisCluster();
let postgres;
before(async () => {
	[postgres] = await Promise.all([startPostgres(), cluster.start()]);
	const server = await Server.open(onOneServer());
	await server.migrate();
	await server.close();
});
after(() => Promise.all([postgres?.stop(), cluster.stop()]));

const onOneServer = () => ({ postgres: postgres.url, url: redis.url });
const onCluster = () => ({ postgres: postgres.url, cluster: cluster.nodes });

for (const [where, place, runs] of [
	["on one Redis server", onOneServer, rounds(20, 150)],
	["on a cluster", onCluster, rounds(10, 60)],
]) {
	test(`two servers change roles and names, ${where}: every record ends like the row`, async (t) => {
		const verdict = await raceRights(place(), { runs, looks: true, random });
		const { unlikeBefore, looks, wrong, unexpected, ...counts } = verdict;
		t.diagnostic(
			`${counts.runs} runs, ${unlikeBefore} with a record unlike the row before the looks; ${looks.done} looks wrote ${looks.written} copies`,
		);
		assert.deepEqual(unexpected, []);
		assert.equal(wrong.length, 0, wrong.join("\n\n"));
		assert.deepEqual(counts, { runs, unlikeAfter: 0, tooMuch: 0 });
		const { failed, dropped, queued } = looks;
		assert.deepEqual({ failed, dropped, queued }, { failed: 0, dropped: 0, queued: 0 });
		assert.ok(looks.done >= 2 * runs, "after each write a look and a second one");
	});
}

describe("two servers side by side", { concurrency: true }, () => {
	test("lose updates without looks (for comparison)", async (t) => {
		const runs = rounds(40, 150);
		const { looks, unexpected, ...counts } = await raceRights(onOneServer(), { runs, looks: false, random });
		t.diagnostic(
			`${counts.runs} runs, ${counts.unlikeAfter} ended with a record unlike the row, ${counts.tooMuch} of them with one of an administrator who is none`,
		);
		assert.deepEqual(unexpected, []);
		assert.equal(counts.runs, runs);
		assert.deepEqual([looks.done, looks.written], [0, 0]);
	});

	for (const [caches, adminsCache, usersCache] of [
		["near caches", true, true],
		["no near cache on the administrator's server", false, true],
		["no near cache on the user's server", true, false],
	]) {
		test(`a user renames herself while the removal of her role is late: the role is gone, with ${caches}`, async (t) => {
			let arrives;
			const arrival = new Promise((resolve) => {
				arrives = resolve;
			});
			let renaming;
			const delay = (statement, when) => {
				if (statement !== "update" || when !== "before") return;
				arrives();
				return Promise.all([sleep(LATE_MS), renaming]);
			};
			// Stores with the same options would share what they know.
			const store = (server, nearCache) => ({ connectionName: `${server}-${adminsCache}-${usersCache}`, nearCache });
			const admins = await Server.open(onOneServer(), { delay, store: store("admins", adminsCache) });
			t.after(() => admins.close());
			const users = await Server.open(onOneServer(), { store: store("users", usersCache) });
			t.after(() => users.close());
			const both = [admins, users];
			const emails = ["boss", "user"].map((who) => `${who}-${adminsCache}-${usersCache}@example.com`);
			const [, id] = await Promise.all(emails.map((email) => admins.addAdministrator(email)));
			const [boss, session] = [await admins.signIn(emails[0]), await users.signIn(emails[1])];
			for (const server of both) assert.equal(await server.askAsAdministrator(session.cookie), 200);

			renaming = arrival.then(async () => {
				await users.rename(session.cookie, "second name");
				assert.equal((await users.copyIn(session.token)).role, "admin", "the removal is still on its way");
			});
			await Promise.all([renaming, admins.setRole(boss.cookie, id, "user")]);
			assert.equal((await users.copyIn(session.token)).role, "user");

			await Promise.all(both.map((server) => server.looksAreOver()));
			const row = await users.rowOf(id);
			assert.deepEqual([row.role, row.name], ["user", "second name"]);
			for (const server of both) assert.deepEqual(await server.differences(row, session), []);
		});
	}
});
