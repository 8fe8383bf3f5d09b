// A session that was ended never comes back, whatever was about to write it at that moment.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { OURS } from "./app.js";
import { raceEndings } from "./endings.js";

const NOTHING_CAME_BACK = { alive: 0, listed: 0, left: 0, back: 0, unexpected: [] };

seeded("endings"); // sets the seed, so that all workers share it
const redis = redisPerFile();

async function endsForGood(t, race) {
	const { sessions, rounds: raced, late, ...verdict } = await raceEndings({ url: redis.url, kind: OURS }, race);
	t.diagnostic(
		`${raced} of ${sessions} overlapped; in ${late} of them the write was done while the session was being ended, or later`,
	);
	assert.deepEqual(verdict, NOTHING_CAME_BACK);
	assert.ok(raced >= race.rounds);
	return late;
}

describe("an ended session does not come back, through Better Auth", () => {
	for (const [ending, write] of [
		["sign-out", "update-user"],
		["sign-out", "refresh"],
		["sign-out", "set-active"],
		["revoke-sessions", "refresh"],
	]) {
		test(`${ending} against ${write}`, async (t) => {
			const late = await endsForGood(t, { ending, write, rounds: rounds(300, 5000) });
			assert.ok(late > 0);
		});
	}
	for (const ending of ["set with ttl 0 or less", "getAndDelete"]) {
		test(`${ending} against refresh`, (t) => endsForGood(t, { ending, write: "refresh", rounds: rounds(50, 5000) }));
	}
});

describe("an ended session does not come back, through RedisSessionStore", () => {
	for (const ending of ["deleteSession", "deleteUserSessions"]) {
		for (const write of ["updateSession", "refresh"]) {
			test(`${ending} against ${write}`, (t) => endsForGood(t, { ending, write, rounds: rounds(50, 5000) }));
		}
	}
});
