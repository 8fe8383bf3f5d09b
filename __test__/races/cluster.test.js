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

test("on a cluster the invariants hold after random operations from three processes", (t) =>
	holdsInvariants(t, place(), rounds(400, 20_000)));

// Early, because whoever looks at lists looks at those of all users.
test("on a cluster a sign-in is never refused and always listed, while another process reads the lists", async (t) => {
	const signIns = rounds(50, 5000);
	const verdict = sum(await runWorkers("listing.worker.js", 3, { place: place(), signIns }));
	const { signIns: done, looks, looksMs, ...wrong } = verdict;
	t.diagnostic(`${done} sign-ins, ${looks} looks at lists, ${Math.round((looks / looksMs) * 1000)} a second`);
	assert.deepEqual(wrong, { refused: 0, unlistedAtOnce: 0, unlistedAfterwards: 0, unexpected: [] });
	assert.ok(done >= signIns && looks > done);
});

test("on a cluster 100 sign-ins at once are all listed, and revoke-other-sessions ends 99", async () => {
	const times = rounds(1, 20);
	const { signedIn, unexpected, ...wrong } = await raceSignIns(place(), { times, signIns: 100 });
	assert.equal(signedIn, times * 100);
	assert.deepEqual(unexpected, []);
	for (const [what, count] of Object.entries(wrong)) assert.equal(count, 0, what);
});

for (const [ending, write] of [
	["sign-out", "update-user"],
	["sign-out", "refresh"],
	["revoke-sessions", "refresh"],
	["getAndDelete", "refresh"],
	["deleteUserSessions", "updateSession"],
]) {
	test(`on a cluster, ${ending} against ${write}: no session comes back`, async (t) => {
		const race = { ending, write, rounds: rounds(40, 2000) };
		const { sessions, rounds: raced, late, ...verdict } = await raceEndings(place(), race);
		t.diagnostic(`${raced} of ${sessions} overlapped, ${late} late`);
		assert.deepEqual(verdict, { alive: 0, listed: 0, left: 0, back: 0, unexpected: [] });
		assert.ok(raced >= race.rounds);
	});
}

for (const [when, forgets, lies] of [
	["while there is a tombstone", false, "ended"],
	["when the tombstone is gone", true, "gone"],
]) {
	test(`on a cluster a session of 400 s ago stays ended when it is written back ${when}`, async () => {
		const sessions = rounds(60, 1000);
		const input = { place: place(), sessions, forgets };
		for (const { lying, answers, ...found } of await runWorkers("late-writes.worker.js", 2, input)) {
			assert.deepEqual(lying, [lies]);
			assert.deepEqual(answers, { set: sessions, NOT_FOUND: sessions });
			const nothing = { read: 0, listed: 0, viewed: 0, indexed: 0 };
			assert.deepEqual(found, { readBefore: sessions, withUser: sessions / 2, ...nothing });
		}
	});
}

test("on a cluster, set-active against refresh and update-user: nothing is lost", async () => {
	const input = { place: place(), name: "cluster", refreshes: 1, profiles: 1, rounds: rounds(60, 2000) };
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
	test(`on a cluster, sign-ins from four processes at once, at most ${limit} per user`, async (t) => {
		const input = { place: place(), limit, times: rounds(10, 1000) };
		const { times, signIns, wrong } = sum(await runWorkers("limit.worker.js", 4, input));
		t.diagnostic(`${times} times, ${signIns} sign-ins`);
		assert.deepEqual(wrong, []);
		assert.equal(times, input.times);
	});
}
