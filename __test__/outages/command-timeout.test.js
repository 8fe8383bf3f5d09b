// `commandTimeout` is how long a server may be silent that is to answer: calls that wait for each other are no reason for a TIMEOUT,
// and a server that stands still is one, whatever other servers answer.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { RedisCluster } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { fresh, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

/** As many sessions as an administrator's change of one user may write in one tick. */
const WRITES = 25_000;
/** For the calls of one tick to be taken over on a busy machine, and their errors to be told. */
const SLACK_MS = 2000;

/** So that Redis takes longer for a write than the store does, and a queue grows. */
const bio = "x".repeat(4000);

const redis = redisPerFile();
const cluster = new RedisCluster({}, { primaries: 3, replicas: 0 });
before(() => cluster.start());
after(() => cluster.stop());

const places = {
	"one server": { options: () => ({ url: redis.url }), server: () => redis },
	"a cluster": { options: () => ({ cluster: cluster.nodes }), server: () => cluster.servers[0] },
};

for (const [where, { options, server }] of Object.entries(places)) {
	describe(`commandTimeout on ${where}`, () => {
		test("25,000 writes of one tick are all done, though they take longer than commandTimeout", async (t) => {
			const commandTimeout = 250; // also where two cores serve four processes
			const { storage } = open(t, { ...options(), commandTimeout, nearCache: false });
			await storage.ping();
			const userId = fresh("user");
			const mine = Array.from({ length: WRITES }, () => session({ userId }));
			const start = performance.now();
			await Promise.all(mine.map((one) => signIn(storage, one, { bio })));
			const tookMs = performance.now() - start;
			t.diagnostic(`${Math.round(tookMs)} ms`);
			assert.ok(tookMs > 3 * commandTimeout, "they took too little time to show anything");
			const view = JSON.parse(await storage.get(`active-sessions-${userId}`));
			assert.equal(view.length, WRITES);
		});

		test("25,000 writes of one tick all reject within commandTimeout when nothing answers", async (t) => {
			const commandTimeout = 300;
			const { storage } = open(t, { ...options(), commandTimeout, nearCache: false });
			await storage.ping();
			const key = await keyAt(server(), storage);
			const another = where === "a cluster" ? await keyAt(cluster.servers[1], storage) : undefined;
			await server().pause();
			t.after(() => server().resume());
			const others = goOn(storage, another);
			const start = performance.now();
			const outcomes = await Promise.allSettled(Array.from({ length: WRITES }, () => storage.set(key, "value", 60)));
			const tookMs = performance.now() - start;
			t.diagnostic(`${Math.round(tookMs)} ms, ${await others()} answers of another server meanwhile`);
			const codes = new Set(outcomes.map(({ reason }) => reason?.code));
			assert.deepEqual([...codes], ["TIMEOUT"]);
			assert.ok(tookMs < commandTimeout + SLACK_MS, `ended after ${tookMs} ms`);
		});
	});
}

/** A key that lies on this server. */
async function keyAt(server, storage) {
	for (;;) {
		const key = fresh("key");
		await storage.set(key, "value", 60);
		const found = await server.cli("EXISTS", `session:${key}`).catch(() => 0);
		if (Number(found) === 1) return key;
	}
}

/** Reads a key again and again; the answer ends that and tells how many answers there were. */
function goOn(storage, key) {
	let [over, answers] = [key === undefined, 0];
	const reading = (async () => {
		for (; !over; answers++) assert.equal(await storage.get(key), "value");
	})();
	return async () => {
		over = true;
		await reading;
		if (key !== undefined) assert.ok(answers > 1);
		return answers;
	};
}
