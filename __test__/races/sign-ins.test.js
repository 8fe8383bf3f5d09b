// Every session of a user is listed, however many sign-ins there are at a time; so revoking the others ends all of them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { OURS } from "./app.js";
import { raceSignIns } from "./sign-ins.js";

seeded("sign-ins"); // sets the seed, so that all workers share it
const redis = redisPerFile();

test("200 sign-ins at once are all listed, and revoke-other-sessions ends 199", async () => {
	const times = rounds(3, 50);
	const verdict = await raceSignIns({ url: redis.url, kind: OURS }, { times, signIns: 200 });
	assert.deepEqual(verdict, {
		signedIn: times * 200,
		unlisted: 0,
		unlistedByStore: 0,
		unindexed: 0,
		survivors: 0,
		left: 0,
		stillListed: 0,
		lostTheOne: 0,
		unexpected: [],
	});
});
