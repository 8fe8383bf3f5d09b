// Contract: RedisSessionStore, on sessions that it wrote itself and on those of Better Auth.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { fresh, fromNow, record, session, signIn } from "../support/records.js";
import { until } from "../support/wait.js";

/** @param {import("../support/engines.js").Engine} engine */
export function sessions(engine) {
	describe("createSession and getSession", () => {
		test("give a session back with its dates and its own fields", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = session({
				ipAddress: null,
				impersonatedBy: "žofie 🐎",
				nested: { list: [1, 2.5, { deep: true }], empty: {} },
				count: 0,
				flag: false,
				text: 'quotes " and \\ and \u0000',
				user: "a field of this name is a field",
			});
			await store.createSession(mine);
			assert.deepEqual(await store.getSession(mine.token), mine);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
			assert.equal(await store.getSession(fresh("token")), null);
		});

		test("keep a field called session", async (t) => {
			const { store } = open(t, engine.empty());
			for (const field of ["web", 7, true, [1], { id: 1 }]) {
				const mine = session({ session: field });
				await store.createSession(mine);
				assert.deepEqual(await store.getSession(mine.token), mine);
				assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
				assert.equal(await store.deleteUserSessions(mine.userId), 1);
				assert.equal(await store.getSession(mine.token), null);
			}
		});

		test("refuse a token that no session can have, also from Better Auth", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const families = ["active-sessions-", "revoked-sessions-before-", "verification:", "api-key:", "dpop-proof:"];
			for (const [token, problem] of [
				["x".repeat(513), "has 513 bytes; a session's token has at most 512"],
				["ž".repeat(257), "has 514 bytes; a session's token has at most 512"],
				...families.map((family) => [
					fresh(family),
					`a session's token must not begin with "${family}", under which Better Auth stores other values`,
				]),
			]) {
				const mine = session({ token });
				const refusal = (argument) => ({ code: "INVALID_ARGUMENT", message: `${argument}: ${problem}` });
				await assert.rejects(store.createSession(mine), refusal("session.token"));
				// The list is never stored: it is composed.
				if (token.startsWith("active-sessions-")) continue;
				await assert.rejects(signIn(storage, mine), refusal("key"));
				assert.equal(await storage.get(token), null);
			}
			const longest = session({ token: fresh("t").padEnd(512, "t") });
			await store.createSession(longest);
			assert.deepEqual(await store.getSession(longest.token), longest);
		});

		test("need no more than token, userId and expiresAt, and get a createdAt", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = { token: fresh("token"), userId: fresh("user"), expiresAt: fromNow(60_000) };
			const before = new Date();
			await store.createSession(mine);
			const { createdAt, ...rest } = await store.getSession(mine.token);
			assert.deepEqual(rest, mine);
			assert.ok(createdAt >= before && createdAt <= new Date());
		});

		test("create a session long after its createdAt", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = session({ createdAt: fromNow(-86_400_000) });
			await store.createSession(mine);
			assert.deepEqual(await store.getSession(mine.token), mine);
		});

		test("replace the whole session when it is created again", async (t) => {
			const { store } = open(t, engine.empty());
			const first = session({ first: 1 });
			const second = session({ token: first.token, userId: first.userId, second: 2 });
			await store.createSession(first);
			await store.createSession(second);
			assert.deepEqual(await store.getSession(first.token), second);
			assert.deepEqual(await store.getUserSessions(first.userId), [second]);
		});

		test("reject another user's token with CONFLICT, and change nothing", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			const theirs = session({ token: mine.token });
			await store.createSession(mine);
			await assert.rejects(store.createSession(theirs), { name: "SessionStoreError", code: "CONFLICT" });
			await assert.rejects(signIn(storage, theirs), { name: "SessionStoreError", code: "CONFLICT" });
			assert.deepEqual(await store.getSession(mine.token), mine);
			assert.deepEqual(await store.getUserSessions(theirs.userId), []);
		});

		test("find no session after its expiresAt", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ expiresAt: fromNow(1500) });
			await store.createSession(mine);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
			await until("its end", async () => (await store.getSession(mine.token)) === null);
			assert.ok(Date.now() >= mine.expiresAt.getTime() - 5, "it ended early");
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
			assert.deepEqual(await storage.listKeys(), []);
			await assert.rejects(store.updateSession(mine.token, { note: 1 }), { code: "NOT_FOUND" });
		});

		test("treat other values under the prefix as no sessions", async (t) => {
			const { storage, store } = open(t, engine.empty());
			for (const value of ["1", "{}", "null", "[]", '"text"', "not json", JSON.stringify({ session: null })]) {
				await storage.set("key", value, 60);
				assert.equal(await store.getSession("key"), null, value);
				await assert.rejects(store.updateSession("key", { note: 1 }), { code: "NOT_FOUND" }, value);
				assert.equal(await storage.get("key"), value);
			}
		});
	});

	describe("a session that Better Auth wrote", () => {
		test("is returned as its session half, with or without its user", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine, { name: "Grace" });
			assert.deepEqual(await store.getSession(mine.token), mine);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);

			const both = await store.getSessionWithUser(mine.token);
			assert.deepEqual(both.session, mine);
			assert.deepEqual(both.user, JSON.parse(record(mine, { name: "Grace" })).user);
		});

		test("is distinct from one of createSession, which has no user", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const [mine, theirs] = [session(), session()];
			await store.createSession(mine);
			await signIn(storage, theirs, null);
			assert.deepEqual(await store.getSessionWithUser(mine.token), { session: mine, user: null });
			assert.deepEqual(await store.getSessionWithUser(theirs.token), { session: theirs, user: null });
			assert.equal(await store.getSessionWithUser(fresh("token")), null);
		});

		test("keeps its user and its shape through updateSession", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			const updated = await store.updateSession(mine.token, { ipAddress: "::1", theme: "dark" });
			assert.deepEqual(updated, { ...mine, ipAddress: "::1", theme: "dark" });
			assert.equal(await storage.get(mine.token), record(updated));
		});

		test("may have a user whose id is a number", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = 10_000_000 + Number.parseInt(fresh("1").replace(/\D/g, ""), 10);
			const mine = session({ userId });
			await signIn(storage, mine);
			assert.deepEqual(await store.getUserSessions(String(userId)), [mine]);
			assert.equal(await store.deleteUserSessions(String(userId)), 1);
			assert.equal(await storage.get(mine.token), null);
		});

		test("is in the same list as those of createSession", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = session({ userId, expiresAt: fromNow(60_000) });
			const theirs = session({ userId, expiresAt: fromNow(120_000) });
			await signIn(storage, theirs);
			await store.createSession(mine);
			assert.deepEqual(await store.getUserSessions(userId), [mine, theirs]);
		});
	});

	describe("updateSession", () => {
		test("sets fields, keeps the others and resolves to the session as it is now", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = session({ kept: [1], changed: 1 });
			await store.createSession(mine);
			const expiresAt = fromNow(7_200_000);
			const updated = await store.updateSession(mine.token, { changed: 2, added: null, expiresAt, left: undefined });
			assert.deepEqual(updated, { ...mine, changed: 2, added: null, expiresAt });
			assert.deepEqual(await store.getSession(mine.token), updated);
			assert.deepEqual(await store.updateSession(mine.token, {}), updated);
		});

		test("may not change token or userId, and changes nothing when it tries", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			for (const field of ["token", "userId"]) {
				for (const value of [fresh("other"), "", null, 7]) {
					const call = store.updateSession(mine.token, { note: "new", [field]: value });
					await assert.rejects(call, ({ name, code, message }) => {
						assert.equal(name, "SessionStoreError");
						assert.equal(code, "INVALID_ARGUMENT");
						assert.match(message, new RegExp(`^updates\\.${field}: `));
						return true;
					});
				}
			}
			assert.deepEqual(await store.getSession(mine.token), mine);
			const same = await store.updateSession(mine.token, { token: mine.token, userId: mine.userId, note: "new" });
			assert.deepEqual(same, { ...mine, note: "new" });
		});

		test("of a session that is not there, or was ended, is NOT_FOUND and makes none", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			const notFound = { name: "SessionStoreError", code: "NOT_FOUND" };
			await assert.rejects(store.updateSession(mine.token, { note: 1 }), notFound);
			await store.createSession(mine);
			await store.deleteSession(mine.token);
			await assert.rejects(store.updateSession(mine.token, { note: 1 }), notFound);
			assert.equal(await store.getSession(mine.token), null);
			assert.deepEqual(await storage.listKeys(), []);
		});

		test("of 50 different fields at once keeps all 50", async (t) => {
			const options = engine.empty();
			const stores = Array.from({ length: 5 }, () => open(t, options).store);
			const mine = session();
			await stores[0].createSession(mine);
			const fields = Array.from({ length: 50 }, (_, at) => `field${at}`);
			await Promise.all(fields.map((field, at) => stores[at % 5].updateSession(mine.token, { [field]: at })));
			const all = Object.fromEntries(fields.map((field, at) => [field, at]));
			assert.deepEqual(await stores[1].getSession(mine.token), { ...mine, ...all });
		});

		test("moves the session's expiry", async (t) => {
			const { store } = open(t, engine.empty());
			const [longer, shorter] = [session({ expiresAt: fromNow(1500) }), session()];
			await store.createSession(longer);
			await store.createSession(shorter);
			await store.updateSession(longer.token, { expiresAt: fromNow(60_000) });
			await store.updateSession(shorter.token, { expiresAt: fromNow(1500) });
			await until("the end of the shortened one", async () => (await store.getSession(shorter.token)) === null);
			assert.notEqual(await store.getSession(longer.token), null);
		});

		test("racing the end of the session never brings it back", async (t) => {
			const { store } = open(t, engine.empty());
			for (let round = 0; round < 50; round++) {
				const mine = session();
				await store.createSession(mine);
				const updates = [1, 2, 3].map((note) => store.updateSession(mine.token, { note }));
				const outcomes = await Promise.allSettled([...updates, store.deleteSession(mine.token)]);
				for (const { reason } of outcomes) if (reason) assert.equal(reason.code, "NOT_FOUND");
				assert.equal(outcomes[3].status, "fulfilled");
				assert.equal(await store.getSession(mine.token), null);
				assert.deepEqual(await store.getUserSessions(mine.userId), []);
			}
		});
	});

	describe("getUserSessions", () => {
		test("lists a user's sessions, the soonest to expire first", async (t) => {
			const { store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = [5, 1, 4, 2, 3].map((hours) => session({ userId, expiresAt: fromNow(hours * 3_600_000) }));
			for (const one of mine) await store.createSession(one);
			await store.createSession(session());
			const sorted = mine.toSorted((a, b) => a.expiresAt - b.expiresAt);
			assert.deepEqual(await store.getUserSessions(userId), sorted);
			assert.deepEqual(await store.getUserSessions(fresh("user")), []);

			await store.updateSession(sorted[0].token, { expiresAt: fromNow(9 * 3_600_000) });
			const tokens = (await store.getUserSessions(userId)).map(({ token }) => token);
			assert.deepEqual(
				tokens,
				[...sorted.slice(1), sorted[0]].map(({ token }) => token),
			);
		});

		test("keeps that order when a session's end came nearer", async (t) => {
			const { store } = open(t, engine.empty());
			const userId = fresh("user");
			const [first, second] = [1, 2].map((hours) => session({ userId, expiresAt: fromNow(hours * 3_600_000) }));
			await store.createSession(first);
			await store.createSession(second);
			const nearer = await store.updateSession(second.token, { expiresAt: fromNow(60_000) });
			assert.deepEqual(await store.getUserSessions(userId), [nearer, first]);
		});

		test("holds every one of many sign-ins at once", async (t) => {
			const options = engine.empty();
			const doors = Array.from({ length: 3 }, () => open(t, options));
			const userId = fresh("user");
			const mine = Array.from({ length: 60 }, () => session({ userId }));
			await Promise.all(
				mine.map((one, at) => {
					const { storage, store } = doors[at % 3];
					return at % 2 ? signIn(storage, one) : store.createSession(one);
				}),
			);
			const listed = await doors[0].store.getUserSessions(userId);
			assert.deepEqual(listed.map(({ token }) => token).sort(), mine.map(({ token }) => token).sort());
		});
	});
}
