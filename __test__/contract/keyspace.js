// Contract: what goes through the whole store sees this store's keys, all of them and no others.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { fresh, session, signIn } from "../support/records.js";

/** Pairs of prefixes of which the first, read as a pattern, would match keys of the second. */
const PREFIXES = [
	["p*:", "pq:"],
	["*", "anything:"],
	["p?:", "pq:"],
	["p[qr]:", "pq:"],
	["p[^x]:", "pq:"],
	["p[a-z]:", "pq:"],
	["p\\*:", "p*:"],
	["p\\:", "p:"],
	["p:", "pp:"],
	["š🐎*:", "š🐎x:"],
];

/** @param {import("../support/engines.js").Engine} engine */
export function keyspace(engine) {
	describe("listKeys", () => {
		test("lists every key once, without its prefix, and composed lists too", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const [mine, theirs] = [session(), session()];
			await signIn(storage, mine);
			await store.createSession(theirs);
			await storage.set("verification:a", "{}", 60);
			await storage.increment("rate:1", 60);
			const expected = ["verification:a", "rate:1"];
			for (const { token, userId } of [mine, theirs]) expected.push(token, `active-sessions-${userId}`);
			assert.deepEqual((await storage.listKeys()).sort(), expected.sort());
		});

		test("lists more keys than one page of a scan holds", async (t) => {
			const { storage } = open(t, engine.empty());
			const keys = Array.from({ length: 3000 }, (_, at) => `key ${at}`);
			await Promise.all(keys.map((key) => storage.set(key, "", 60)));
			assert.deepEqual((await storage.listKeys()).sort(), keys.sort());
		});

		test("leaves out what was ended", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			await store.deleteSession(mine.token);
			await storage.delete("never there");
			assert.deepEqual(await storage.listKeys(), []);
		});
	});

	describe("clear", () => {
		test("ends every session and deletes every other key", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = Array.from({ length: 700 }, () => session());
			await Promise.all(mine.map((one) => signIn(storage, one)));
			await Promise.all(mine.map((_, at) => storage.set(`value ${at}`, "", 60)));
			await storage.clear();
			assert.deepEqual(await storage.listKeys(), []);
			for (const one of mine.slice(0, 100)) {
				assert.deepEqual(await store.getUserSessions(one.userId), []);
				await signIn(storage, one); // late: it was ended
				assert.equal(await storage.get(one.token), null);
			}
			await storage.set("value 1", "new", 60);
			assert.equal(await storage.get("value 1"), "new");
			assert.equal(await storage.get("value 2"), null);
		});

		test("leaves tombstones, also those from before", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			await store.deleteSession(mine.token);
			await storage.clear();
			await storage.clear();
			await signIn(storage, mine);
			assert.equal(await storage.get(mine.token), null);
			await assert.rejects(store.createSession(mine), { code: "REVOKED" });
		});

		test("of an empty store resolves", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.clear();
			await storage.clear();
		});
	});

	for (const [prefix, matched] of PREFIXES) {
		test(`listKeys, clear and cleanup keep to the prefix ${prefix}, which is no pattern for ${matched}`, async (t) => {
			const { keyPrefix = fresh("key"), userPrefix = fresh("index"), ...where } = engine.empty();
			const under = (end) => open(t, { ...where, keyPrefix: `${keyPrefix}${end}`, userPrefix: `${userPrefix}${end}` });
			const [mine, theirs] = [under(prefix), under(matched)];
			const [own, foreign] = [session(), session()];
			await mine.store.createSession(own);
			await mine.storage.set("own", "1", 60);
			await theirs.store.createSession(foreign);
			await theirs.storage.set("foreign", "1", 60);

			const keys = [own.token, "own", `active-sessions-${own.userId}`];
			assert.deepEqual((await mine.storage.listKeys()).sort(), keys.sort());
			await mine.store.cleanupExpiredSessions();
			await mine.storage.clear();
			assert.deepEqual(await mine.storage.listKeys(), []);
			assert.equal(await mine.storage.get("own"), null);
			assert.deepEqual(await mine.store.getUserSessions(own.userId), []);
			assert.equal(await theirs.storage.get("foreign"), "1");
			assert.deepEqual(await theirs.store.getUserSessions(foreign.userId), [foreign]);
		});
	}
}
