// Contract: what a write of a session record does. When it may make one, and how it is put together with what lies there:
// Better Auth reads a record, changes its copy and writes the whole back, and so do others at the same time.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { fromNow, record, session, signIn, startUpdate, stored } from "../support/records.js";
import { until } from "../support/wait.js";

/** @param {import("../support/engines.js").Engine} engine */
export function merging(engine) {
	describe("a set of a session record", () => {
		test("creates a session that is new", async (t) => {
			const { storage, store } = open(t, engine.empty());
			for (const age of [0, 60_000, 115_000, -115_000]) {
				const mine = session({ createdAt: fromNow(-age) });
				await signIn(storage, mine);
				assert.equal(await storage.get(mine.token), record(mine));
				assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
			}
		});

		test("creates no older session: it resolves, writes nothing, is counted and logged once", async (t) => {
			const lines = [];
			const logger = { info: () => {}, warn: (line) => lines.push(line) };
			const { storage, store } = open(t, { ...engine.empty(), logger });
			const before = storage.metrics().refusedWrites.tooOld;
			const times = [fromNow(-121_000), fromNow(125_000), new Date(0)];
			for (const createdAt of times) {
				const mine = session({ createdAt });
				await signIn(storage, mine);
				assert.equal(await storage.get(mine.token), null, `${createdAt}`);
				assert.deepEqual(await store.getUserSessions(mine.userId), []);
			}
			assert.deepEqual(await storage.listKeys(), []);
			assert.equal(storage.metrics().refusedWrites.tooOld - before, times.length);
			const logged = lines.filter((line) => line.includes("older than 120 s"));
			assert.equal(logged.length, 1);
			assert.match(logged[0], /createSession.*coming-from/);
		});

		test("creates no session of unknown age, and logs it; over a live session it is merged", async (t) => {
			const { storage, store } = open(t, engine.empty());
			for (const createdAt of [undefined, null, "yesterday"]) {
				const mine = session({ createdAt });
				await assert.rejects(signIn(storage, mine), { code: "INVALID_ARGUMENT", message: /^session\.createdAt: / });
				assert.equal(await storage.get(mine.token), null, `${createdAt}`);
				const known = session();
				await store.createSession(known);
				await signIn(storage, { ...known, createdAt, theme: "dark" }, null);
				assert.equal((await stored(storage, known.token)).theme, "dark");
			}
		});

		test("replaces a session of any age", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ createdAt: fromNow(-86_400_000) });
			await store.createSession(mine);
			const later = { ...mine, updatedAt: fromNow(1), activeOrganizationId: "org" };
			await signIn(storage, later, null);
			assert.deepEqual(await store.getSession(mine.token), later);
		});

		test("lives until the record's own expiresAt, whatever the ttl says", async (t) => {
			const { storage } = open(t, engine.empty());
			const [short, long] = [session({ expiresAt: fromNow(1500) }), session()];
			await storage.set(short.token, record(short), 3600);
			await storage.set(long.token, record(long), 1);
			await until("its end", async () => (await storage.get(short.token)) === null);
			assert.equal(await storage.get(long.token), record(long));
		});

		test("without an expiresAt lives for the ttl", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ expiresAt: undefined });
			await storage.set(mine.token, record(mine), 2);
			assert.equal((await store.getUserSessions(mine.userId)).length, 1);
			await until("its end", async () => (await storage.get(mine.token)) === null);
			await assert.rejects(storage.set(mine.token, record(mine)), { code: "INVALID_ARGUMENT" });
		});

		test("with a ttl of 0 or less ends the session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			for (const ttl of [0, -1]) {
				const mine = session();
				await signIn(storage, mine);
				await storage.set(mine.token, record(mine), ttl);
				assert.equal(await storage.get(mine.token), null);
				assert.deepEqual(await store.getUserSessions(mine.userId), []);
				await signIn(storage, mine);
				assert.equal(await storage.get(mine.token), null);
			}
		});

		test("that is past its expiresAt creates no session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ expiresAt: fromNow(-1000) });
			await storage.set(mine.token, record(mine), 60);
			assert.equal(await storage.get(mine.token), null);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		});

		test("that is past its expiresAt ends the session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			await storage.set(mine.token, record({ ...mine, expiresAt: fromNow(-1000) }), 60);
			assert.equal(await store.getSession(mine.token), null);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		});

		test("with a shorter expiresAt makes the session expire then, and no later", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			const shorten = await startUpdate(storage, mine.token);
			const soon = fromNow(1500);
			await shorten(({ session }) => Object.assign(session, { expiresAt: soon }));
			assert.deepEqual((await store.getSession(mine.token)).expiresAt, soon);
			assert.equal((await store.getUserSessions(mine.userId)).length, 1);
			await until("its end", async () => (await storage.get(mine.token)) === null);
			assert.ok(Date.now() - soon < 1000);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		});
	});

	describe("a record keeps its text", () => {
		/** A record with fields in every spelling that JSON allows and JSON.stringify does not write. */
		const spelled = (mine, changed = "1") => {
			const date = (name) => `"${name}":${JSON.stringify(mine[name])}`;
			return [
				`{ "session" :\t{"token":"${mine.token}",\n"userId":"${mine.userId}",${date("createdAt")},`,
				`${date("updatedAt")},${date("expiresAt")}, "number":1.50, "big":12345678901234567890, "exp":-1E+2,`,
				`"escaped":"\\u00e9\\/\\u0000", "pl\\u0061in": "é🐎", "deep" : { "list":[ 1,2 ,{ } ] } ,"changed": ${changed}} ,`,
				`"user":{"id":"${mine.userId}", "name" : "\\u0041da"}, "more": [ ] }`,
			].join("");
		};

		test("as a whole, spaces and all", async (t) => {
			const { storage } = open(t, engine.empty());
			for (const end of ["", " ", "  ", "\n", "\t \n"]) {
				const mine = session();
				const text = spelled(mine) + end;
				await storage.set(mine.token, text, 3600);
				assert.equal(await storage.get(mine.token), text);
				await storage.set(mine.token, text, 3600); // written back unchanged
				assert.equal(await storage.get(mine.token), text);
				assert.equal(await storage.getAndDelete(mine.token), text);
			}
		});

		test("field by field when another field changes", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await storage.set(mine.token, spelled(mine), 3600);
			await storage.set(mine.token, spelled(mine, "2"), 3600);
			await store.updateSession(mine.token, { changed: 3 });
			const text = await storage.get(mine.token);
			assert.deepEqual(JSON.parse(text), JSON.parse(spelled(mine, "3")));
			const values = ["1.50,", "12345678901234567890", "-1E+2", '"\\u00e9\\/\\u0000"', '"é🐎"', "[ 1,2 ,{ } ]", "[ ]"];
			for (const value of values) assert.ok(text.includes(value), `${value} is not in ${text}`);
		});
	});

	describe("records that several change at once", () => {
		test("keep the changes of different fields, whichever writer is last", async (t) => {
			for (const order of [
				["first", "second"],
				["second", "first"],
			]) {
				const { storage } = open(t, engine.empty());
				const mine = session({ activeOrganizationId: null });
				await signIn(storage, mine);
				const updatedAt = fromNow(1000).toISOString();
				const first = await startUpdate(storage, mine.token);
				const second = await startUpdate(storage, mine.token);
				const writes = {
					// As setActiveOrganization does: without a new updatedAt.
					first: () => first(({ session }) => Object.assign(session, { activeOrganizationId: "org" })),
					second: () => second(({ user }) => Object.assign(user, { name: "Grace", updatedAt })),
				};
				for (const name of order) await writes[name]();
				const { session: now, user } = JSON.parse(await storage.get(mine.token));
				assert.equal(now.activeOrganizationId, "org");
				assert.equal(user.name, "Grace");
				assert.equal(user.updatedAt, updatedAt);
			}
		});

		for (const writers of [2, 3, 5, 20]) {
			test(`keep the fields of ${writers} writers that all read it first`, async (t) => {
				const { storage } = open(t, engine.empty());
				const fields = Array.from({ length: writers }, (_, at) => `field${at}`);
				const mine = session({ field0: "old" });
				await signIn(storage, mine);
				const updates = await Promise.all(fields.map(() => startUpdate(storage, mine.token)));
				for (const [at, update] of updates.entries()) {
					await update(({ session }) => Object.assign(session, { [fields[at]]: at }));
				}
				const now = await stored(storage, mine.token);
				for (const [at, field] of fields.entries()) assert.equal(now[field], at, field);
			});
		}

		test("keep a field that createSession changed in between", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ theme: "light" });
			await signIn(storage, mine);
			const late = await startUpdate(storage, mine.token);
			await store.updateSession(mine.token, { theme: "dark", added: 1 });
			await late(({ session }) => Object.assign(session, { ipAddress: "::1" }));
			const now = await store.getSession(mine.token);
			assert.deepEqual(now, { ...mine, theme: "dark", added: 1, ipAddress: "::1" });
		});

		test("let a writer remove a field, and another add one", async (t) => {
			const { storage } = open(t, engine.empty());
			const mine = session({ old: 1 });
			await signIn(storage, mine);
			const [remove, add] = [await startUpdate(storage, mine.token), await startUpdate(storage, mine.token)];
			await add(({ session }) => Object.assign(session, { added: 1 }));
			await remove(({ session }) => delete session.old);
			const now = await stored(storage, mine.token);
			assert.equal(now.added, 1);
			assert.ok(!("old" in now));
		});

		for (const order of ["older, newer", "newer, older"]) {
			test(`keep the later write's value of a field that two changed, whatever their stamps: ${order}`, async (t) => {
				const { storage } = open(t, engine.empty());
				const mine = session({ theme: "light" });
				await signIn(storage, mine);
				const updates = {
					newer: [await startUpdate(storage, mine.token), { theme: "newer", updatedAt: fromNow(2000) }],
					older: [await startUpdate(storage, mine.token), { theme: "older", updatedAt: fromNow(1000) }],
				};
				for (const name of order.split(", ")) {
					const [update, fields] = updates[name];
					await update(({ session }) => Object.assign(session, fields));
				}
				assert.equal((await stored(storage, mine.token)).theme, order.split(", ")[1]);
			});
		}

		test("keep the shorter expiresAt and every other field", async (t) => {
			const { storage } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			const late = await startUpdate(storage, mine.token);
			const later = { updatedAt: fromNow(5000), expiresAt: fromNow(7_200_000) };
			const refresh = await startUpdate(storage, mine.token);
			await refresh(({ session }) => Object.assign(session, later, { theme: "dark" }));
			await late(({ session }) => {
				Object.assign(session, { updatedAt: fromNow(1000), expiresAt: fromNow(60_000), note: "late" });
			});
			const now = await stored(storage, mine.token);
			assert.ok(new Date(now.expiresAt) <= fromNow(60_000));
			assert.deepEqual([now.theme, now.note], ["dark", "late"]);
		});

		test("accept a user with an older updatedAt from a writer that read the latest", async (t) => {
			const { storage } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine, { updatedAt: fromNow(5000), role: "admin" });
			const removal = await startUpdate(storage, mine.token);
			await removal(({ user }) => Object.assign(user, { role: "user", updatedAt: mine.updatedAt }));
			const { user } = JSON.parse(await storage.get(mine.token));
			assert.deepEqual([user.role, user.updatedAt], ["user", mine.updatedAt.toISOString()]);
		});

		test("keep the user over a user of null or none", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			await signIn(storage, { ...mine, theme: "dark", updatedAt: fromNow(1) }, null);
			await storage.set(mine.token, JSON.stringify({ session: { ...mine, theme: "blue", updatedAt: fromNow(2) } }), 60);
			await storage.set(mine.token, JSON.stringify({ ...mine, theme: "green", updatedAt: fromNow(3) }), 60);
			const { session: now, user } = await store.getSessionWithUser(mine.token);
			assert.equal(now.theme, "green");
			assert.deepEqual(user, JSON.parse(record(mine)).user);
		});

		test("gain a user where the session had none", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			await signIn(storage, mine);
			assert.equal((await store.getSessionWithUser(mine.token)).user.name, "Ada");
			assert.deepEqual(await store.getSession(mine.token), mine);
		});

		test("lose nothing in concurrent read-change-write rounds of two", async (t) => {
			const { storage } = open(t, engine.empty());
			const pairs = Array.from({ length: rounds(100, 2000) }, () => session({ left: 0, right: 0 }));
			await Promise.all(
				pairs.map(async (mine) => {
					await signIn(storage, mine);
					const change = async (field) => {
						const update = await startUpdate(storage, mine.token);
						await update(({ session }) => Object.assign(session, { [field]: 1 }));
					};
					await Promise.all([change("left"), change("right")]);
					const { left, right } = await stored(storage, mine.token);
					assert.deepEqual({ left, right }, { left: 1, right: 1 });
				}),
			);
		});
	});
}
