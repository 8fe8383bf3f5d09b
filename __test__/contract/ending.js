// Contract: an ended session never comes back, whoever was writing it at the time and however late; and ending all of a
// user's sessions ends every one that existed when the call began.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { fresh, fromNow, record, session, signIn, startUpdate } from "../support/records.js";
import { until } from "../support/wait.js";

/** Every way to end one session. */
const ENDINGS = {
	"storage.delete": ({ storage }, { token }) => storage.delete(token),
	"storage.getAndDelete": ({ storage }, { token }) => storage.getAndDelete(token),
	"storage.set with a ttl of 0": ({ storage }, mine) => storage.set(mine.token, record(mine), 0),
	"storage.clear": ({ storage }) => storage.clear(),
	deleteSession: ({ store }, { token }) => store.deleteSession(token),
	deleteUserSessions: ({ store }, { userId }) => store.deleteUserSessions(userId),
	"revoked-sessions-before": ({ storage }, { userId }) =>
		storage.set(`revoked-sessions-before-${userId}`, String(Date.now() + 1), 60),
};

/** @param {import("../support/engines.js").Engine} engine */
export function ending(engine) {
	describe("an ended session", () => {
		for (const [name, end] of Object.entries(ENDINGS)) {
			test(`by ${name} is absent to every reader and stays absent`, async (t) => {
				const { storage, store } = open(t, engine.empty());
				for (const signInBy of [() => signIn, () => (_, one) => store.createSession(one)]) {
					const mine = session();
					await signInBy()(storage, mine);
					const late = await startUpdate(storage, mine.token);
					await end({ storage, store }, mine);

					// The writer that came too late, thrice: Better Auth is told nothing, createSession is.
					await late(({ session }) => Object.assign(session ?? {}, { note: "late" }));
					await signIn(storage, mine);
					await signIn(storage, { ...mine, createdAt: new Date(), updatedAt: new Date() });
					const revoked = { name: "SessionStoreError", code: "REVOKED" };
					await assert.rejects(store.createSession({ ...mine, createdAt: new Date() }), revoked);
					await assert.rejects(store.updateSession(mine.token, { note: 1 }), { code: "NOT_FOUND" });

					assert.equal(await storage.get(mine.token), null);
					assert.equal(await storage.getAndDelete(mine.token), null);
					assert.equal(await store.getSession(mine.token), null);
					assert.equal(await store.getSessionWithUser(mine.token), null);
					assert.deepEqual(await store.getUserSessions(mine.userId), []);
					assert.equal(await storage.get(`active-sessions-${mine.userId}`), null);
					assert.equal(await store.deleteUserSessions(mine.userId), 0);
					const keys = (await storage.listKeys()).filter((key) => !key.startsWith("revoked-"));
					assert.deepEqual(keys, []);
				}
			});
		}

		test("may be ended again, and a token may be ended before its session was seen", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.deleteSession(mine.token);
			await assert.rejects(store.createSession(mine), { code: "REVOKED" });
			await store.deleteSession(mine.token);
			await storage.delete(mine.token);
			await assert.rejects(store.createSession(mine), { code: "REVOKED" });
		});

		test("does not exist when getAndDelete found nothing: the token stays free", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = [session(), session()];
			for (const { token } of mine) assert.equal(await storage.getAndDelete(token), null);
			await signIn(storage, mine[0]);
			await store.createSession(mine[1]);
			for (const { token } of mine) assert.equal((await store.getSession(token)).token, token);
		});

		test("leaves its token to a value that is no session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			await store.deleteSession(mine.token);
			await storage.set(mine.token, "value", 60);
			assert.equal(await storage.get(mine.token), "value");
		});

		test("stays ended when its tombstone is gone, except to createSession", async (t) => {
			const { storage, store } = open(t, { ...engine.empty(), tombstoneSeconds: 1 });
			const mine = session({ createdAt: fromNow(-130_000) });
			await store.createSession(mine);
			await store.deleteSession(mine.token);
			await until("the tombstone's end", () =>
				store.createSession({ ...mine, expiresAt: fromNow(1500) }).then(
					() => true,
					(error) => {
						assert.equal(error.code, "REVOKED");
						return false;
					},
				),
			);
			await until("its end", async () => (await store.getSession(mine.token)) === null);
			await signIn(storage, mine); // too old to be created by a set
			assert.equal(await storage.get(mine.token), null);
		});

		test("is returned by getAndDelete to one of many callers", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await signIn(storage, mine);
			const taken = await Promise.all(Array.from({ length: 20 }, () => storage.getAndDelete(mine.token)));
			assert.deepEqual(
				taken.filter((value) => value !== null),
				[record(mine)],
			);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		});

		test("stays ended though sign-out races a profile update", async (t) => {
			const options = engine.empty();
			const [one, other] = [open(t, options), open(t, options)];
			await Promise.all(
				Array.from({ length: rounds(200, 5000) }, async (_, round) => {
					const mine = session();
					await signIn(one.storage, mine);
					const update = await startUpdate(other.storage, mine.token);
					const change = ({ user }) => Object.assign(user, { name: "Grace", updatedAt: fromNow(1) });
					const end = () => one.store.deleteSession(mine.token);
					await Promise.all(round % 2 ? [end(), update(change)] : [update(change), end()]);
					assert.equal(await one.storage.get(mine.token), null);
					assert.deepEqual(await other.store.getUserSessions(mine.userId), []);
				}),
			);
		});

		for (const [what, fields] of [
			["half a surrogate pair in a field", { userAgent: "\ud800" }],
			["a field nested 1,500 deep", { deep: JSON.parse("[".repeat(1500) + "]".repeat(1500)) }],
		]) {
			test(`may have had ${what}`, async (t) => {
				const { storage, store } = open(t, engine.empty());
				const [mine, second] = [session(fields), session(fields)];
				await store.createSession(mine);
				assert.equal(await storage.get(mine.token), JSON.stringify(mine));
				await store.deleteSession(mine.token);
				await signIn(storage, mine);
				assert.equal(await store.getSession(mine.token), null, "a late write brought it back");
				assert.deepEqual(await store.getUserSessions(mine.userId), []);
				await store.createSession(second);
				assert.equal(await store.deleteUserSessions(second.userId), 1);
				assert.equal(await store.getSession(second.token), null, "ending all of the user's sessions left it");
			});
		}

		const deep = JSON.parse("[".repeat(1100) + "]".repeat(1100));
		for (const [what, fields] of [
			["a nested userId, beside half a surrogate pair", { meta: { userId: "other", note: "\ud800" } }],
			["a nested userId and token, nested deep", { meta: { userId: "other", token: "other", deep } }],
			["a quote in its user's id", { userId: `${fresh("a")}"b`, note: "\ud800" }],
			["a backslash in its user's id", { userId: `${fresh("a")}\\b`, deep }],
			["the names of its fields as texts", { note: "userId", other: "token", meta: { token: "userId" } }],
			["a text that looks like a record", { note: '{"session":{"token":"other","userId":"other"}}' }],
			["a long number as its user's id", { userId: 1234567890123456 }],
			["a number as its user's id", { userId: 41 + process.pid * 1000 }],
			["a field called session with its own token", (token) => ({ session: { token, userId: "other" } })],
			["a control character", { note: "\u0000userId\u001f" }],
		]) {
			test(`may have had ${what}: every way to end it ends it, and counts it`, async (t) => {
				const { storage, store } = open(t, engine.empty());
				for (const [name, end] of Object.entries(ENDINGS)) {
					const token = fresh("token");
					const mine = session({ token, ...(typeof fields === "function" ? fields(token) : fields) });
					const userId = String(mine.userId);
					await (typeof mine.userId === "number" ? signIn(storage, mine) : store.createSession(mine));
					assert.deepEqual(await store.getSession(token), mine, name);
					assert.equal((await store.getUserSessions(userId)).length, 1, name);
					assert.equal((await store.getUserSessions("other")).length, 0, name);
					const ended = await end({ storage, store }, { ...mine, userId });
					if (name === "deleteUserSessions") assert.equal(ended, 1);
					assert.equal(await storage.get(token), null, name);
					assert.deepEqual(await store.getUserSessions(userId), [], name);
					assert.equal(await storage.get(`active-sessions-${userId}`), null, name);
					await signIn(storage, mine);
					assert.equal(await storage.get(token), null, `${name}: a late write brought it back`);
				}
			});
		}

		test("may have been written as text, with names spelled by escapes or twice", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const [userId, other] = [fresh("user"), fresh("user")];
			const expiresAt = fromNow(3_600_000).toISOString();
			const texts = [
				(token) => `{"token":"${token}","userId":"${other}","us\\u0065rId":"${userId}"`,
				(token) => `{"token":"${token}","userId":"${other}","userId":"${userId}"`,
				(token) => `{"t\\u006fken":"${token}","x":"token","userId":"${userId}"`,
				(token) => `{"token":"${other}","token":"${token}","userId":"${userId}"`,
			];
			for (const text of texts) {
				const token = fresh("token");
				const createdAt = new Date().toISOString();
				await storage.set(token, `${text(token)},"expiresAt":"${expiresAt}","createdAt":"${createdAt}"}`, 60);
				assert.equal((await store.getUserSessions(userId)).length, 1, text(token));
				assert.equal(await store.deleteUserSessions(other), 0, text(token));
				assert.equal(await store.deleteUserSessions(userId), 1, text(token));
				assert.equal(await storage.get(token), null, text(token));
			}
		});

		test("may have had spaces before its record", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			const text = ` \n${record(mine)}`;
			await storage.set(mine.token, text, 60);
			assert.equal(await storage.get(mine.token), text);
			await storage.delete(mine.token);
			await storage.set(mine.token, text, 60);
			assert.equal(await storage.get(mine.token), null);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
		});
	});

	describe("deleteUserSessions", () => {
		test("a session that is created afterwards is live, with createdAt or without", async (t) => {
			const { store } = open(t, engine.empty());
			const { createdAt: _, ...undated } = session();
			await store.createSession(undated);
			assert.equal(await store.deleteUserSessions(undated.userId), 1);
			const before = new Date();
			const again = { ...undated, token: fresh("token") };
			const withToJson = Object.assign(Object.create({ toJSON: () => again }), { ...again, secret: "not stored" });
			await store.createSession(withToJson);
			const { createdAt, ...rest } = await store.getSession(again.token);
			assert.deepEqual(rest, again);
			assert.ok(createdAt >= before, "createdAt is the time of createSession");
			assert.equal((await store.getUserSessions(undated.userId)).length, 1);
		});

		test("ends every session of the user, returns how many, and touches no other user's", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const [userId, other] = [fresh("user"), session()];
			const mine = Array.from({ length: 5 }, () => session({ userId }));
			await Promise.all(mine.map((one, at) => (at % 2 ? signIn(storage, one) : store.createSession(one))));
			await store.createSession(other);
			await store.deleteSession(mine[0].token);
			assert.equal(await store.deleteUserSessions(userId), 4);
			for (const { token } of mine) assert.equal(await storage.get(token), null);
			assert.deepEqual(await store.getUserSessions(userId), []);
			assert.equal(await store.deleteUserSessions(userId), 0);
			assert.deepEqual(await store.getSession(other.token), other);

			const again = session({ userId }); // the user may sign in anew
			await store.createSession(again);
			assert.deepEqual(await store.getUserSessions(userId), [again]);
		});

		test("spares the session of `except`", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = Array.from({ length: 4 }, () => session({ userId }));
			for (const one of mine) await signIn(storage, one);
			assert.equal(await store.deleteUserSessions(userId, { except: mine[2].token }), 3);
			assert.deepEqual(await store.getUserSessions(userId), [mine[2]]);
			assert.equal(await store.deleteUserSessions(userId, { except: mine[2].token }), 0);
			assert.equal(await store.deleteUserSessions(userId, { except: fresh("token") }), 1);
			assert.equal(await store.deleteUserSessions(userId, {}), 0);
		});

		test("ends more sessions than one command takes", async (t) => {
			const { store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = Array.from({ length: 2500 }, () => session({ userId }));
			await Promise.all(mine.map((one) => store.createSession(one)));
			assert.equal((await store.getUserSessions(userId)).length, 2500);
			assert.equal(await store.deleteUserSessions(userId), 2500);
			assert.deepEqual(await store.getUserSessions(userId), []);
			for (const one of mine.slice(0, 50)) assert.equal(await store.getSession(one.token), null);
		});

		test("racing updates and other sign-outs ends every session that it found", async (t) => {
			const options = engine.empty();
			const [one, other] = [open(t, options), open(t, options)];
			for (let round = 0; round < rounds(20, 500); round++) {
				const userId = fresh("user");
				const mine = Array.from({ length: 10 }, () => session({ userId }));
				await Promise.all(mine.map((each) => signIn(one.storage, each)));
				const updates = await Promise.all(mine.map(({ token }) => startUpdate(other.storage, token)));
				const newcomer = session({ userId });
				await Promise.all([
					...updates.map((update) => update(({ session }) => Object.assign(session, { note: round }))),
					one.store.deleteUserSessions(userId),
					other.store.deleteSession(mine[3].token),
					signIn(other.storage, newcomer),
				]);
				const left = await one.store.getUserSessions(userId);
				// Whether the sign-in came before or after is not promised; that it is all of it is.
				assert.ok(left.every(({ token }) => token === newcomer.token));
				for (const { token } of mine) assert.equal(await one.storage.get(token), null);
				assert.equal((await one.store.getSession(newcomer.token)) !== null, left.length === 1);
			}
		});
	});

	describe("deleteUserSessions raises the user's not-before marker", () => {
		test("to the caller's clock, unless it spares a session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			const key = `revoked-sessions-before-${mine.userId}`;
			await store.createSession(mine);
			await store.deleteUserSessions(mine.userId, { except: mine.token });
			assert.equal(await storage.get(key), null);
			const before = Date.now();
			await store.deleteUserSessions(mine.userId);
			const marker = await storage.get(key);
			assert.match(marker, /^\d{13}$/);
			assert.ok(Number(marker) >= before && Number(marker) <= Date.now(), marker);
		});

		test("and never lowers it", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const key = `revoked-sessions-before-${userId}`;
			const later = String(Date.now() + 60_000);
			await storage.set(key, later, 60);
			await store.deleteUserSessions(userId);
			assert.equal(await storage.get(key), later);
		});
	});

	describe("revoked-sessions-before-<user>", () => {
		test("ends every session created before it, and none created later", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const at = Date.now();
			const made = (ms) => session({ userId, createdAt: new Date(at + ms) });
			const [old, just, equal, later] = [made(-60_000), made(-1), made(0), made(1)];
			const undated = session({ userId, createdAt: undefined });
			const stranger = session({ createdAt: old.createdAt });
			for (const one of [old, just, equal, later, undated, stranger]) await store.createSession(one);

			await storage.set(`revoked-sessions-before-${userId}`, String(at), 60);
			for (const { token } of [old, just]) assert.equal(await store.getSession(token), null);
			const tokens = (await store.getUserSessions(userId)).map(({ token }) => token).sort();
			assert.deepEqual(tokens, [equal.token, later.token, undated.token].sort());
			assert.deepEqual(await store.getSession(stranger.token), stranger);
			await signIn(storage, just);
			assert.equal(await storage.get(just.token), null);
		});

		test("keeps the greatest of the times it was given", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ createdAt: fromNow(-60_000) });
			await store.createSession(mine);
			const key = `revoked-sessions-before-${mine.userId}`;
			const now = Date.now();
			await Promise.all([now - 90_000, now - 70_000, now - 80_000].map((ms) => storage.set(key, String(ms), 60)));
			assert.equal(await storage.get(key), String(now - 70_000));
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
			await storage.set(key, String(now - 50_000), 60);
			await storage.set(key, String(now - 100_000), 60);
			assert.equal(await storage.get(key), String(now - 50_000));
			assert.equal(await store.getSession(mine.token), null);
		});

		test("applies the greatest time, also when a smaller one comes", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session({ createdAt: fromNow(-60_000) });
			const key = `revoked-sessions-before-${mine.userId}`;
			await storage.set(key, String(Date.now()), 60);
			await store.createSession(mine);
			await storage.set(key, "1", 60);
			assert.equal(await store.getSession(mine.token), null);
		});

		test("expires, and cannot be deleted: a client may name the marker as a token", async (t) => {
			const { storage } = open(t, engine.empty());
			const key = `revoked-sessions-before-${fresh("user")}`;
			await storage.set(key, "5", 2);
			assert.equal(await storage.get(key), "5");
			await until("its end", async () => (await storage.get(key)) === null);
			await storage.set(key, "4", 60);
			assert.equal(await storage.get(key), "4");
			await storage.delete(key);
			assert.equal(await storage.get(key), "4");
			await storage.clear();
			assert.equal(await storage.get(key), null);
		});

		test("hides every session created before it, also one written later or missing from the index", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const at = Date.now();
			const made = (ms) => session({ userId, createdAt: new Date(at + ms) });
			const [older, newer] = [made(-1), made(0)];
			await storage.set(`revoked-sessions-before-${userId}`, String(at), 60);
			for (const one of [older, newer]) await signIn(storage, one);
			// Once without and once with what the first read has shown, and together with others.
			for (let n = 0; n < 3; n++) {
				const values = await Promise.all([storage.get(older.token), storage.get(newer.token)]);
				assert.deepEqual(values, [null, record(newer)]);
				assert.equal(await store.getSession(older.token), null);
			}
			assert.deepEqual(await store.getUserSessions(userId), [newer]);
			await assert.rejects(store.updateSession(older.token, { n: 1 }), { code: "NOT_FOUND" });
			await store.updateSession(newer.token, { n: 1 });
			assert.equal(await storage.getAndDelete(older.token), null);
		});

		test("with anything but a time is a plain value", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			const key = `revoked-sessions-before-${mine.userId}`;
			await storage.set(key, "tomorrow", 60);
			assert.equal(await storage.get(key), "tomorrow");
			await storage.set(key, "1", 60);
			assert.equal(await storage.get(key), "1");
			assert.deepEqual(await store.getSession(mine.token), mine);
		});
	});
}
