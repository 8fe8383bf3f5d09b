// What comes after a session's end: a write of a reader who still had it in hand, even when its tombstone is gone, and writes without a life.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { openApp } from "./app.js";
import { runWorkers } from "./race.js";

seeded("late writes"); // sets the seed, so that all workers share it
const redis = redisPerFile();

describe("a session of 400 s ago that was ended stays ended, when it is written back", () => {
	for (const [when, forgets, lies] of [
		["while there is a tombstone", false, "ended"],
		["when the tombstone is gone", true, "gone"],
	]) {
		test(when, async () => {
			const sessions = rounds(200, 2000);
			for (const found of await runWorkers("late-writes.worker.js", 2, {
				place: { url: redis.url },
				sessions,
				forgets,
			})) {
				assert.deepEqual(found, {
					readBefore: sessions,
					withUser: sessions / 2,
					answers: { set: sessions, NOT_FOUND: sessions },
					lying: [lies],
					read: 0,
					listed: 0,
					viewed: 0,
					indexed: 0,
				});
			}
		});
	}
});

describe("a write with a ttl of 0 or less", () => {
	/** @type {import("./app.js").App} */
	let app;
	before(async () => {
		app = await openApp({ url: redis.url });
		app.seedUsers(["user"]);
	});
	after(() => app.close());

	for (const ttl of [0, -0, -1, -0.5, -1e9]) {
		test(`ends a session for good, ttl ${Object.is(ttl, -0) ? "-0" : ttl}`, async () => {
			const token = await app.signIn("user");
			const record = await app.storage.get(token);
			await app.storage.set(token, record, ttl);
			await app.storage.set(token, record, 3600);
			assert.equal(await app.look(token), null);
			assert.equal(await app.storage.get(token), null);
			assert.deepEqual(await app.lying([token]), ["ended"]);
			assert.equal((await app.index("user")).has(token), false);
		});

		test(`leaves no other value, ttl ${Object.is(ttl, -0) ? "-0" : ttl}`, async () => {
			await app.storage.set("verification:code", "1", 3600);
			await app.storage.set("verification:code", "2", ttl);
			assert.equal(await app.storage.get("verification:code"), null);
			await app.storage.set("verification:never", "1", ttl);
			assert.equal(await app.storage.get("verification:never"), null);
			// A verification's name is used again.
			await app.storage.set("verification:code", "3", 3600);
			assert.equal(await app.storage.get("verification:code"), "3");
		});
	}

	test("never leaves a key without an expiry", async () => {
		for (const key of await app.keys("*")) assert.ok((await app.redis.pttl(key)) > 0);
	});
});
