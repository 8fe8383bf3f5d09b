// Contract: values that are no sessions. Verifications, counters, whatever else Better Auth stores.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { fresh, session, signIn } from "../support/records.js";
import { until } from "../support/wait.js";

/** @param {import("../support/engines.js").Engine} engine */
export function values(engine) {
	describe("values", () => {
		test("come back as they were written, to the last byte", async (t) => {
			const { storage } = open(t, engine.empty());
			const odd = [
				"",
				" ",
				"a ",
				"two spaces  ",
				"\n",
				'{"a": 1.50,\n\t"b":[ ],"c":1e2}',
				"null",
				"12",
				'"text"',
				"žluťoučký kůň 🐎",
				"\u00ff",
				"NUL \0 inside",
				"\ufffd",
				"x".repeat(1024 * 1024),
			];
			await Promise.all(odd.map((value, at) => storage.set(`odd ${at}`, value, 60)));
			assert.deepEqual(await Promise.all(odd.map((_, at) => storage.get(`odd ${at}`))), odd);
			assert.deepEqual(await Promise.all(odd.map((_, at) => storage.getAndDelete(`odd ${at}`))), odd);
		});

		test("a value that only resembles a session is a plain value", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const key = fresh("key");
			const lookalikes = [
				JSON.stringify({ token: key }),
				JSON.stringify({ token: fresh("token"), userId: "u", note: key }),
				JSON.stringify({ session: { token: key }, user: { id: "u" } }),
				JSON.stringify({ session: null, user: { token: key, userId: "u" } }),
				JSON.stringify([{ token: key, userId: "u" }]),
				`{"token":"${key}","userId":"u"`,
			];
			for (const value of lookalikes) {
				await storage.set(key, value, 60);
				assert.equal(await storage.get(key), value);
				assert.equal(await store.getSession(key), null, value);
				await storage.delete(key);
				await storage.set(key, value, 60); // a session would stay refused
				assert.equal(await storage.get(key), value);
			}
			assert.deepEqual(await store.getUserSessions("u"), []);
		});

		test("keys of any text are apart from each other", async (t) => {
			const { storage } = open(t, engine.empty());
			const keys = [
				"a",
				"A",
				"a ",
				" a",
				"a:b",
				"a*",
				"a?",
				"[a]",
				"a\\",
				"a\nb",
				"ä",
				"a\u0308",
				"🐎",
				"k".repeat(4096),
			];
			await Promise.all(keys.map((key) => storage.set(key, `value of ${key}`, 60)));
			for (const key of keys) assert.equal(await storage.get(key), `value of ${key}`);
			assert.deepEqual((await storage.listKeys()).sort(), [...keys].sort());
		});

		test("a key that is too long for a session holds any other value", async (t) => {
			const { storage } = open(t, engine.empty());
			const [key, counter] = ["k".repeat(4096), "c".repeat(513)];
			await storage.set(key, "value", 60);
			assert.equal(await storage.get(key), "value");
			await storage.delete(key);
			assert.equal(await storage.get(key), null);
			await storage.set(key, "another", 60);
			assert.equal(await storage.getAndDelete(key), "another");
			assert.equal(await storage.getAndDelete(key), null);
			assert.equal(await storage.increment(counter, 60), 1);
			assert.equal(await storage.increment(counter, 60), 2);
			assert.deepEqual(await storage.listKeys(), [counter]);
		});

		test("a key that was never written is null", async (t) => {
			const { storage } = open(t, engine.empty());
			assert.equal(await storage.get("absent"), null);
			assert.equal(await storage.getAndDelete("absent"), null);
			assert.equal(await storage.delete("absent"), undefined);
			assert.deepEqual(await storage.listKeys(), []);
		});

		test("a later value replaces an earlier one", async (t) => {
			const { storage } = open(t, engine.empty());
			for (const value of ["1", "2", "3"]) {
				await storage.set("key", value, 60);
				assert.equal(await storage.get("key"), value);
			}
			await storage.set("key", "4");
			assert.equal(await storage.get("key"), "4");
		});

		test("the methods work unbound", async (t) => {
			const {
				set,
				get,
				getAndDelete,
				increment,
				delete: remove,
				listKeys,
				clear,
				ping,
			} = open(t, engine.empty()).storage;
			await set("key", "value", 60);
			assert.equal(await get("key"), "value");
			assert.equal(await increment("counter", 60), 1);
			assert.equal(await getAndDelete("key"), "value");
			await remove("counter");
			assert.deepEqual(await listKeys(), []);
			await clear();
			await ping();
		});

		test("calls without a result resolve to undefined", async (t) => {
			const { storage, store } = open(t, engine.empty());
			assert.equal(await storage.set("key", "value", 60), undefined);
			assert.equal(await storage.delete("key"), undefined);
			assert.equal(await storage.clear(), undefined);
			assert.equal(await storage.ping(), undefined);
			assert.equal(await store.ping(), undefined);
		});
	});

	describe("a value's ttl", () => {
		test("is counted in whole seconds, rounded up", async (t) => {
			const { storage } = open(t, engine.empty());
			const start = performance.now();
			await Promise.all([
				storage.set("whole", "1", 1),
				storage.set("fraction", "1", 0.2),
				storage.increment("counter", 0.2),
			]);
			for (const key of ["whole", "fraction", "counter"]) {
				await until(`the end of ${key}`, async () => (await storage.get(key)) === null);
				// Redis' clock is read in whole ms.
				assert.ok(performance.now() - start >= 995, `${key} ended early`);
			}
			assert.deepEqual(await storage.listKeys(), []);
		});

		for (const ttl of [0, -0, -1, -0.5, -1e300]) {
			test(`of ${Object.is(ttl, -0) ? "-0" : ttl} s is a delete`, async (t) => {
				const { storage } = open(t, engine.empty());
				await storage.set("key", "old", 60);
				await storage.set("key", "new", ttl);
				assert.equal(await storage.get("key"), null);
			});
		}

		test("may exceed what any clock holds", async (t) => {
			const { storage } = open(t, engine.empty());
			for (const ttl of [4e9, 1e15, Number.MAX_VALUE]) {
				await storage.set("key", "value", ttl);
				assert.equal(await storage.get("key"), "value");
			}
		});

		test("of undefined or null means no expiry", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.set("undefined", "1", undefined);
			await storage.set("null", "1", null);
			assert.equal(await storage.get("undefined"), "1");
			assert.equal(await storage.get("null"), "1");
		});
	});

	describe("getAndDelete", () => {
		test("gives a value once", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.set("key", "value", 60);
			assert.equal(await storage.getAndDelete("key"), "value");
			assert.equal(await storage.getAndDelete("key"), null);
			assert.equal(await storage.get("key"), null);
		});

		test("gives a value to one of many callers", async (t) => {
			const { storage } = open(t, engine.empty());
			for (let round = 0; round < 20; round++) {
				await storage.set("key", "value", 60);
				const taken = await Promise.all(Array.from({ length: 20 }, () => storage.getAndDelete("key")));
				assert.equal(taken.filter((value) => value === "value").length, 1);
				assert.equal(taken.filter((value) => value === null).length, 19);
			}
		});
	});

	describe("increment", () => {
		test("counts from 1", async (t) => {
			const { storage } = open(t, engine.empty());
			assert.equal(await storage.increment("counter", 60), 1);
			assert.equal(await storage.increment("counter", 60), 2);
			assert.equal(await storage.get("counter"), "2");
			await storage.set("counter", "41", 60);
			assert.equal(await storage.increment("counter", 60), 42);
		});

		test("counts every one of many callers once", async (t) => {
			const { storage } = open(t, engine.empty());
			const counts = await Promise.all(Array.from({ length: 200 }, () => storage.increment("counter", 60)));
			assert.deepEqual(
				counts.sort((a, b) => a - b),
				Array.from({ length: 200 }, (_, at) => at + 1),
			);
		});

		test("does not extend the counter's expiry", async (t) => {
			const { storage } = open(t, engine.empty());
			const start = performance.now();
			assert.equal(await storage.increment("counter", 1), 1);
			await until("a new count", async () => (await storage.increment("counter", 1)) === 1);
			assert.ok(performance.now() - start >= 995);
		});

		test("of a value that is no counter rejects and leaves it", async (t) => {
			const { storage } = open(t, engine.empty());
			const { token } = session();
			const values = ["", "text", "{}", "1.5", "99999999999999999999", token];
			for (const value of values) {
				await storage.set("key", value, 60);
				await assert.rejects(storage.increment("key", 60), { name: "SessionStoreError", code: "CONFLICT" }, value);
				assert.equal(await storage.get("key"), value);
			}
		});

		test("of the greatest number rejects and leaves it", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.set("key", "9223372036854775807", 60);
			await assert.rejects(storage.increment("key", 60), { code: "CONFLICT" });
			assert.equal(await storage.get("key"), "9223372036854775807");
		});

		test("of a session rejects and leaves it", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			await assert.rejects(storage.increment(mine.token, 60), { code: "CONFLICT" });
			assert.deepEqual(await store.getSession(mine.token), mine);
		});
	});

	describe("a deleted key", () => {
		test("takes a new value: a verification deleted and set again", async (t) => {
			const { storage } = open(t, engine.empty());
			for (const value of ['{"value":"1"}', '{"value":"2"}', '{"value":"3"}']) {
				await storage.set("verification", value, 60);
				assert.equal(await storage.get("verification"), value);
				await storage.delete("verification");
				await storage.delete("verification");
				assert.equal(await storage.get("verification"), null);
			}
		});

		test("takes a new value after getAndDelete found nothing", async (t) => {
			const { storage } = open(t, engine.empty());
			assert.equal(await storage.getAndDelete("verification"), null);
			await storage.set("verification", "value", 60);
			assert.equal(await storage.getAndDelete("verification"), "value");
			assert.equal(await storage.getAndDelete("verification"), null);
			await storage.set("verification", "again", 60);
			assert.equal(await storage.get("verification"), "again");
		});

		test("counts from 1 again", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.delete("counter"); // there was none: that leaves a tombstone
			assert.equal(await storage.increment("counter", 60), 1);
			assert.equal(await storage.increment("counter", 60), 2);
			await storage.delete("counter");
			assert.equal(await storage.increment("counter", 60), 1);
		});

		test("keeps the new value for its own ttl", async (t) => {
			const { storage } = open(t, { ...engine.empty(), tombstoneSeconds: 1 });
			const start = performance.now();
			await Promise.all([storage.delete("counter"), storage.delete("value"), storage.delete("short")]);
			assert.equal(await storage.increment("counter", 60), 1);
			await storage.set("value", "1", 60);
			await storage.set("short", "1", 1);
			await until("the end of what lives for 1 s", async () => (await storage.get("short")) === null);
			assert.ok(performance.now() - start >= 995);
			assert.equal(await storage.get("counter"), "1"); // the tombstone's second is over as well
			assert.equal(await storage.get("value"), "1");
		});
	});

	describe("a closed store", () => {
		test("rejects every call with CLOSED, while another store of the same options works", async (t) => {
			const options = engine.empty();
			const { storage, store } = open(t, options);
			const other = open(t, options);
			await other.storage.ping(); // what lies in memory stays for as long as somebody uses it
			const mine = session();
			await store.createSession(mine);
			await storage.set("key", "value", 60);
			await storage.close();
			await store.close();

			const closed = { name: "SessionStoreError", code: "CLOSED" };
			for (const call of [
				() => storage.get("key"),
				() => storage.set("key", "value", 60),
				() => storage.delete("key"),
				() => storage.getAndDelete("key"),
				() => storage.increment("counter", 60),
				() => storage.listKeys(),
				() => storage.clear(),
				() => storage.ping(),
				() => store.createSession(session()),
				() => store.getSession(mine.token),
				() => store.getSessionWithUser(mine.token),
				() => store.updateSession(mine.token, { note: 1 }),
				() => store.deleteSession(mine.token),
				() => store.deleteUserSessions(mine.userId),
				() => store.getUserSessions(mine.userId),
				() => store.cleanupExpiredSessions(),
				() => store.ping(),
			]) {
				await assert.rejects(call(), closed, String(call));
			}

			await storage.close(); // once more is no error
			await store.close();
			assert.equal(await other.storage.get("key"), "value");
			assert.deepEqual(await other.store.getSession(mine.token), mine);
		});

		test("settles the calls in flight", async (t) => {
			const { storage } = open(t, engine.empty());
			const calls = [storage.set("key", "value", 60), storage.get("key"), storage.ping()];
			await storage.close();
			const outcomes = await Promise.allSettled(calls);
			assert.deepEqual(
				outcomes.map(({ status }) => status),
				["fulfilled", "fulfilled", "fulfilled"],
			);
		});

		test("may be closed before it was used", async (t) => {
			const { storage } = open(t, engine.empty());
			await storage.close();
			await assert.rejects(storage.ping(), { code: "CLOSED" });
		});
	});
}
