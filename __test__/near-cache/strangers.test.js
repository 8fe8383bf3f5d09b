// Keys that strangers choose, in cookies, bearer tokens and links: they must not fill what Redis keeps for the near cache.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { fresh, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { connect, counters, hit, isHit, miss, openCached, openStranger, readNow, seed, sessions } from "./stores.js";

const server = redisPerFile();

/** How many keys the server tracks for anybody. */
async function tracked(redis) {
	return Number(/tracking_total_keys:(\d+)/.exec(await redis.info("stats"))[1]);
}

describe("the server's tracking table", () => {
	test("has no key that a client made up", async (t) => {
		const { storage } = await openCached(t, server);
		const redis = connect(t, server);
		const before = await tracked(redis);
		const absent = Array.from({ length: 500 }, () => fresh("made-up").padEnd(4000, "x"));
		const reserved = absent.map((key) => `revoked-sessions-before-${key}`.slice(0, 4000));
		for (let n = 0; n < 2; n++) {
			for (const key of [...absent, ...reserved]) assert.equal(await storage.get(key), null);
			await Promise.all([...absent, ...reserved].map((key) => storage.get(key)));
		}
		await Promise.all(absent.map((key) => storage.getAndDelete(key)));
		assert.equal(await tracked(redis), before);
	});

	test("has no key of unauthenticated requests through Better Auth", async (t) => {
		const { storage } = await openCached(t, server);
		const redis = connect(t, server);
		const auth = betterAuth({
			baseURL: "http://localhost:3000",
			secret: "x".repeat(40),
			database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
			secondaryStorage: storage,
			emailAndPassword: { enabled: true, sendResetPassword: async () => {} },
			rateLimit: { enabled: false },
			telemetry: { enabled: false },
			logger: { disabled: true },
		});
		const before = await tracked(redis);
		for (let n = 0; n < 20; n++) {
			const body = { newPassword: "a-new-password", token: fresh("made-up").padEnd(4000, "x") };
			await assert.rejects(auth.api.resetPassword({ body }), { statusCode: 400 });
		}
		assert.equal(await tracked(redis), before);
	});

	test("has a session from its second read on, and at once a session that this process wrote, listed or verified", async (t) => {
		const { storage } = await openCached(t, server);
		const { storage: other, store: otherStore } = openStranger(t, server);
		const redis = connect(t, server);
		const [foreign, signed, listed] = sessions(3);
		await seed(redis, [foreign, signed]);

		await storage.get(foreign.token);
		assert.ok(!isHit(readNow(storage, foreign.token)), "the first read was kept");
		await until("it in the near cache", () => isHit(readNow(storage, foreign.token)));
		await miss(storage, signed.token);
		hit(storage, signed.token);

		const own = session();
		await signIn(storage, own);
		await storage.get(own.token);
		hit(storage, own.token);

		await signIn(other, listed);
		assert.equal((await otherStore.getUserSessions(listed.userId)).length, 1);
		await storage.get(`active-sessions-${listed.userId}`);
		await storage.get(listed.token);
		hit(storage, listed.token);
		assert.ok(counters(storage).enabled);
	});
});

describe("the not-before marker of a user", () => {
	for (const [what, take] of [
		["another store raises it", (stranger, _, key, value) => stranger.set(key, value, 60)],
		["a client writes it", (_, redis, key, value) => redis.set(`session:${key}`, value, "EX", 60)],
	]) {
		test(`takes a session out of the near cache and its copies when ${what}`, async (t) => {
			const { storage } = await openCached(t, server);
			const { storage: stranger } = openStranger(t, server);
			const redis = connect(t, server);
			const [mine, others] = sessions(2);
			for (const one of [mine, others]) {
				await signIn(storage, one);
				await readNow(storage, one.token);
				for (let n = 0; n < 3; n++) hit(storage, one.token);
			}
			const key = `revoked-sessions-before-${mine.userId}`;
			// Only the marker: the record stays as it is.
			await redis.zrem(`user-sessions:${mine.userId}`, mine.token);
			await take(stranger, redis, key, String(mine.createdAt.getTime() + 1));
			await until("the end", async () => (await readNow(storage, mine.token)) === null, 1000);
			assert.ok(await redis.get(`session:${mine.token}`));
			assert.equal(hit(storage, mine.token), null);
			await until("the other one", () => isHit(readNow(storage, others.token)));

			await redis.del(`session:${key}`);
			await until("it", async () => (await readNow(storage, mine.token)) !== null, 1000);
		});
	}
});
