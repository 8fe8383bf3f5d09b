// Looking at a user's list, which mends it on the way, never takes a session out of it that is just being created.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { runWorkers, sum } from "./race.js";

seeded("listing"); // sets the seed, so that all workers share it
const redis = redisPerFile();

test("a sign-in is never refused and always listed, while another process reads the lists", async (t) => {
	const signIns = rounds(500, 30_000);
	const verdict = sum(await runWorkers("listing.worker.js", 3, { place: { url: redis.url }, signIns }));
	const { signIns: done, looks, looksMs, ...wrong } = verdict;
	t.diagnostic(`${done} sign-ins, ${looks} looks at lists, ${Math.round((looks / looksMs) * 1000)} a second`);
	assert.deepEqual(wrong, { refused: 0, unlistedAtOnce: 0, unlistedAfterwards: 0, unexpected: [] });
	assert.ok(done >= signIns && looks > done);
});
