// The races on a Redis Cluster, where a user's index and a record lie on different servers and no step touches both.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { RedisCluster } from "../support/cluster.js";
import { rounds, seeded } from "../support/counts.js";
import { OURS } from "./app.js";
import { raceEndings } from "./endings.js";
import { holdsInvariants } from "./model.js";
import { runWorkers, sum } from "./race.js";
import { raceSignIns } from "./sign-ins.js";

seeded("races on a cluster"); // sets the seed, so that all workers share it
const cluster = new RedisCluster();
before(() => cluster.start());
after(() => cluster.stop());

const place = () => ({ cluster: cluster.nodes, kind: OURS });

test("the invariants hold after random operations from three processes", (t) =>
	holdsInvariants(t, place(), rounds(1000, 20_000)));

test("of 100 sign-ins at once all are listed, and revoke-other-sessions ends 99", async () => {
	const times = rounds(2, 20);
	const { signedIn, unexpected, ...wrong } = await raceSignIns(place(), { times, signIns: 100 });
	assert.equal(signedIn, times * 100);
	assert.deepEqual(unexpected, []);
	for (const [what, count] of Object.entries(wrong)) assert.equal(count, 0, what);
});

for (const write of ["update-user", "refresh"]) {
	test(`sign-out against ${write}: nothing comes back`, async (t) => {
		const race = { ending: "sign-out", write, rounds: rounds(100, 2000) };
		const { sessions, rounds: raced, late, ...verdict } = await raceEndings(place(), race);
		t.diagnostic(`${raced} of ${sessions} overlapped, ${late} late`);
		assert.deepEqual(verdict, { alive: 0, listed: 0, left: 0, back: 0, unexpected: [] });
		assert.ok(raced >= race.rounds);
	});
}

test("set-active against refresh and update-user: nothing is lost", async () => {
	const input = { place: place(), name: "cluster", refreshes: 1, profiles: 1, rounds: rounds(100, 2000) };
	const { rounds: raced, organizationFirst, ...lost } = sum(await runWorkers("changes.worker.js", 2, input));
	assert.deepEqual(lost, {
		lostOrganizations: 0,
		lostExpiries: 0,
		lostProfiles: 0,
		gone: 0,
		unlisted: 0,
		unexpected: [],
	});
	assert.ok(raced >= input.rounds && organizationFirst > 0);
});

for (const limit of [3, 1]) {
	test(`sign-ins from four processes at once, at most ${limit} per user`, async (t) => {
		const input = { place: place(), limit, times: rounds(20, 1000) };
		const { times, signIns, wrong } = sum(await runWorkers("limit.worker.js", 4, input));
		t.diagnostic(`${times} times, ${signIns} sign-ins`);
		assert.deepEqual(wrong, []);
		assert.equal(times, input.times);
	});
}
