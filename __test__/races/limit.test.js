// A limit of sessions per user holds however many sign in at once, and never ends the session that was just created.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { runWorkers, sum } from "./race.js";

seeded("limit"); // sets the seed, so that all workers share it
const redis = redisPerFile();

for (const limit of [3, 1]) {
	test(`sign-ins from four processes at once, at most ${limit} per user`, async (t) => {
		const input = { place: { url: redis.url }, limit, times: rounds(40, 3000) };
		const { times, signIns, wrong } = sum(await runWorkers("limit.worker.js", 4, input));
		t.diagnostic(`${times} times, ${signIns} sign-ins`);
		assert.deepEqual(wrong, []);
		assert.equal(times, input.times);
	});
}
