// A Redis that is full and evicts nothing: signing in says so and leaves no half of a session; ending sessions works.

import assert from "node:assert/strict";
import { test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { runWorkers, sum } from "./race.js";

seeded("full memory"); // sets the seed, so that all workers share it
const redis = redisPerFile({ config: ["maxmemory-policy noeviction"] });

test("with a full memory sign-ins fail as a whole, and every session can be ended", async (t) => {
	const signIns = rounds(400, 2000);
	const { signedIn, refused, wrong } = sum(
		await runWorkers("full-memory.worker.js", 2, { place: { url: redis.url }, signIns }),
	);
	t.diagnostic(`${signedIn} sign-ins, ${refused} refused`);
	assert.deepEqual(wrong, []);
	assert.ok(refused > 100);
});
