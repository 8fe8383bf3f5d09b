// Contract: a live session is always in its owner's index. Better Auth's view of it, the limit of sessions per user, and
// the removal of what is dead.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { assertView, fresh, fromNow, record, session, signIn } from "../support/records.js";
import { until } from "../support/wait.js";

/** @param {import("../support/engines.js").Engine} engine */
export function indexes(engine) {
	describe("active-sessions-<user>", () => {
		const entry = ({ token, expiresAt }) => ({ token, expiresAt: expiresAt.getTime() });

		test("lists the user's sessions, the soonest to expire first", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = [3, 1, 2].map((hours) => session({ userId, expiresAt: fromNow(hours * 3_600_000) }));
			for (const one of mine) await signIn(storage, one);
			await store.createSession(session());
			const view = JSON.parse(await storage.get(`active-sessions-${userId}`));
			assertView(view, [mine[1], mine[2], mine[0]]);

			await store.deleteSession(mine[1].token);
			const nearer = await store.updateSession(mine[0].token, { expiresAt: fromNow(60_000) });
			// Its place is still that of its former end: an index's times only rise.
			assertView(JSON.parse(await storage.get(`active-sessions-${userId}`)), [
				mine[2],
				{ ...nearer, expiresAt: mine[0].expiresAt },
			]);
		});

		test("is null for a user without a session", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			const key = `active-sessions-${mine.userId}`;
			assert.equal(await storage.get(key), null);
			await store.createSession(mine);
			assert.notEqual(await storage.get(key), null);
			await store.deleteSession(mine.token);
			assert.equal(await storage.get(key), null);
		});

		test("leaves out what has expired", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const [short, long] = [session({ userId, expiresAt: fromNow(1500) }), session({ userId })];
			await store.createSession(short);
			await store.createSession(long);
			await until("its end", async () => (await store.getSession(short.token)) === null);
			assertView(JSON.parse(await storage.get(`active-sessions-${userId}`)), [long]);
			assert.deepEqual(await store.getUserSessions(userId), [long]);
			assert.equal(await store.deleteUserSessions(userId), 1);
		});

		test("is not changed by a set, whose value must be Better Auth's list", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const [mine, theirs] = [session(), session()];
			await store.createSession(mine);
			await store.createSession(theirs);
			const key = `active-sessions-${mine.userId}`;
			const before = await storage.get(key);
			for (const value of ["[]", " [ ] ", JSON.stringify([entry(theirs)])]) {
				for (const ttl of [undefined, 60, 0, -1]) {
					await storage.set(key, value, ttl);
					assert.equal(await storage.get(key), before);
				}
			}
			// What a wrapper makes of Better Auth's list: stringified twice, encrypted, in an envelope.
			const list = JSON.stringify([entry(theirs)]);
			const wrapped = [
				JSON.stringify(list),
				btoa(list),
				JSON.stringify({ data: list }),
				"null",
				"",
				"[1]",
				record(mine),
			];
			for (const value of wrapped) {
				const refusal = { code: "INVALID_ARGUMENT", message: /do not encrypt or transform values/ };
				await assert.rejects(storage.set(key, value, 60), refusal);
				assert.equal(await storage.get(key), before);
			}
			const nobodys = `active-sessions-${fresh("user")}`;
			await storage.set(nobodys, JSON.stringify([entry(theirs)]), 60);
			assert.equal(await storage.get(nobodys), null);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
		});

		test("holds each session's own expiresAt, to the millisecond", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const mine = Array.from({ length: 200 }, (_, n) => session({ userId, expiresAt: fromNow(3_600_000 + n) }));
			await Promise.all(mine.map((one, n) => (n % 2 ? store.createSession(one) : signIn(storage, one))));
			const view = JSON.parse(await storage.get(`active-sessions-${userId}`));
			assert.deepEqual(view, mine.map(entry));
		});

		test("loses only dead entries by a delete", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const userId = fresh("user");
			const [short, long] = [session({ userId, expiresAt: fromNow(1500) }), session({ userId })];
			await store.createSession(short);
			await store.createSession(long);
			await until("its end", async () => (await store.getSession(short.token)) === null);
			await store.deleteSession(short.token); // a tombstone for what lay in the index
			await storage.delete(`active-sessions-${userId}`);
			assert.equal(await store.cleanupExpiredSessions(), 0, "the delete left something to remove");
			assert.deepEqual(await store.getUserSessions(userId), [long]);
		});

		test("is returned by getAndDelete, which leaves live entries", async (t) => {
			const { storage, store } = open(t, engine.empty());
			const mine = session();
			await store.createSession(mine);
			const key = `active-sessions-${mine.userId}`;
			assertView(JSON.parse(await storage.getAndDelete(key)), [mine]);
			assertView(JSON.parse(await storage.getAndDelete(key)), [mine]);
			assert.deepEqual(await store.getSession(mine.token), mine);
		});

		test("holds 21 sign-ins at once, each with its own read and write of the list", async (t) => {
			const { storage } = open(t, engine.empty());
			const userId = fresh("user");
			const key = `active-sessions-${userId}`;
			const mine = Array.from({ length: 21 }, () => session({ userId }));
			await Promise.all(
				mine.map(async (one) => {
					const list = JSON.parse((await storage.get(key)) ?? "[]");
					await storage.set(key, JSON.stringify([...list, entry(one)]), 3600);
					await signIn(storage, one);
				}),
			);
			const listed = JSON.parse(await storage.get(key));
			assert.deepEqual(listed.map(({ token }) => token).sort(), mine.map(({ token }) => token).sort());
		});
	});

	describe("maxSessionsPerUser", () => {
		test("ends the oldest when one more is created, by either way", async (t) => {
			const { storage, store } = open(t, { ...engine.empty(), maxSessionsPerUser: 3 });
			const userId = fresh("user");
			// The expiry says nothing: the oldest is the one created first.
			const mine = [0, 1, 2, 3, 4, 5].map((at) =>
				session({ userId, createdAt: fromNow(at - 1000), expiresAt: fromNow(7_200_000 - at * 60_000) }),
			);
			const other = session();
			await store.createSession(other);
			for (const [at, one] of mine.entries()) {
				await (at % 2 ? signIn(storage, one) : store.createSession(one));
				const expected = mine.slice(Math.max(0, at - 2), at + 1);
				const tokens = (await store.getUserSessions(userId)).map(({ token }) => token);
				assert.deepEqual(tokens.sort(), expected.map(({ token }) => token).sort());
			}
			for (const { token } of mine.slice(0, 3)) assert.equal(await storage.get(token), null);
			await signIn(storage, mine[0]); // ended, not forgotten
			assert.equal(await storage.get(mine[0].token), null);
			assert.deepEqual(await store.getUserSessions(other.userId), [other]);
		});

		test("never ends the session that was just created, even if it is the oldest", async (t) => {
			const { store } = open(t, { ...engine.empty(), maxSessionsPerUser: 2 });
			const userId = fresh("user");
			const [older, newer] = [-2000, -1000].map((ms) => session({ userId, createdAt: fromNow(ms) }));
			const mine = session({ userId, createdAt: fromNow(-60_000) });
			for (const one of [older, newer, mine]) await store.createSession(one);
			const tokens = (await store.getUserSessions(userId)).map(({ token }) => token).sort();
			assert.deepEqual(tokens, [newer.token, mine.token].sort());
		});

		test("does not count what has ended or expired", async (t) => {
			const { store } = open(t, { ...engine.empty(), maxSessionsPerUser: 2 });
			const userId = fresh("user");
			const [kept, ended, short, last] = [0, 1, 2, 3].map((at) => session({ userId, createdAt: fromNow(at - 1000) }));
			short.expiresAt = fromNow(1500);
			await store.createSession(kept);
			await store.createSession(ended);
			await store.deleteSession(ended.token);
			await store.createSession(short);
			await until("its end", async () => (await store.getSession(short.token)) === null);
			await store.createSession(last);
			const tokens = (await store.getUserSessions(userId)).map(({ token }) => token).sort();
			assert.deepEqual(tokens, [kept.token, last.token].sort());
		});

		test("ends nothing when a session is only changed", async (t) => {
			const { storage, store } = open(t, { ...engine.empty(), maxSessionsPerUser: 2 });
			const userId = fresh("user");
			const mine = [0, 1].map((at) => session({ userId, createdAt: fromNow(at - 1000) }));
			for (const one of mine) await signIn(storage, one);
			for (const one of mine) {
				await signIn(storage, { ...one, updatedAt: fromNow(1), note: 1 });
				await store.updateSession(one.token, { note: 2 });
				await store.createSession({ ...one, note: 3 });
			}
			assert.equal((await store.getUserSessions(userId)).length, 2);
		});

		test("holds after many sign-ins at once, and leaves as many sessions as allowed", async (t) => {
			const options = { ...engine.empty(), maxSessionsPerUser: 3 };
			const doors = Array.from({ length: 3 }, () => open(t, options).storage);
			for (let round = 0; round < 10; round++) {
				const userId = fresh("user");
				const mine = Array.from({ length: 20 }, (_, at) => session({ userId, createdAt: fromNow(at) }));
				await Promise.all(mine.map((one, at) => signIn(doors[at % 3], one)));
				const live = JSON.parse(await doors[0].get(`active-sessions-${userId}`));
				assert.equal(live.length, 3);
			}
		});

		test("neither counts nor ends a session with impersonatedBy, and creating one ends none", async (t) => {
			const { storage, store } = open(t, { ...engine.empty(), maxSessionsPerUser: 2 });
			const userId = fresh("user");
			const mine = [0, 1, 2, 3, 4].map((at) => session({ userId, createdAt: fromNow(at - 1000) }));
			const [acting, first, second, alsoActing, third] = mine;
			for (const one of [acting, alsoActing]) one.impersonatedBy = fresh("admin");
			for (const one of [first, second]) await signIn(storage, one);
			await signIn(storage, acting);
			await store.createSession(alsoActing);
			const tokens = async () => (await store.getUserSessions(userId)).map(({ token }) => token).sort();
			assert.deepEqual(await tokens(), [acting, first, second, alsoActing].map(({ token }) => token).sort());
			await signIn(storage, third);
			assert.deepEqual(await tokens(), [acting, second, alsoActing, third].map(({ token }) => token).sort());
		});

		test("is enforced at once for users with two factors when too much waits to be enforced later", async (t) => {
			const { storage, store } = open(t, { ...engine.empty(), maxSessionsPerUser: 1 });
			const userId = fresh("user");
			const live = async () => (await store.getUserSessions(userId)).length;
			const isDeferred = async (at) => {
				const mine = session({ userId, token: `${fresh("token")}${"x".repeat(450)}`, createdAt: fromNow(at - 1000) });
				await signIn(storage, mine, { twoFactorEnabled: true });
				return (await live()) > 1;
			};
			await isDeferred(0);
			// Each of them waits with the ids of all before it: 300 with some 20 MiB.
			let waiting = 1;
			while (waiting < 300 && (await isDeferred(waiting))) waiting++;
			t.diagnostic(`${waiting} waited`);
			assert.ok(waiting > 200 && waiting < 300);
		});

		test("of 1 leaves the last sign-in", async (t) => {
			const { store } = open(t, { ...engine.empty(), maxSessionsPerUser: 1 });
			const userId = fresh("user");
			for (let at = 0; at < 5; at++) {
				const mine = session({ userId, createdAt: fromNow(at) });
				await store.createSession(mine);
				assert.deepEqual(await store.getUserSessions(userId), [mine]);
			}
		});
	});

	describe("cleanupExpiredSessions", () => {
		test("removes the entries of ended sessions from every user's index, and returns how many", async (t) => {
			const { store } = open(t, engine.empty());
			const dead = Array.from({ length: 4 }, () => session({ expiresAt: fromNow(1500) }));
			dead[3].userId = dead[2].userId;
			const live = session({ userId: dead[0].userId });
			for (const one of [...dead, live]) await store.createSession(one);
			for (const { token } of dead) {
				await until("its end", async () => (await store.getSession(token)) === null);
				await store.deleteSession(token); // finds no record, so it cannot know whose index to mend
			}
			assert.equal(await store.cleanupExpiredSessions(), 4);
			assert.equal(await store.cleanupExpiredSessions(), 0);
			assert.deepEqual(await store.getUserSessions(live.userId), [live]);
		});

		test("keeps an entry whose record is merely absent: it may be a sign-in in flight", async (t) => {
			const { store } = open(t, engine.empty());
			const mine = session({ expiresAt: fromNow(1500) });
			await store.createSession(mine);
			await until("its end", async () => (await store.getSession(mine.token)) === null);
			assert.equal(await store.cleanupExpiredSessions(), 0);
			assert.equal(await store.cleanupExpiredSessions(), 0);
			await store.createSession({ ...mine, expiresAt: fromNow(60_000) }); // and no tombstone was put there
		});

		test("removes nothing that lives", async (t) => {
			const { store } = open(t, engine.empty());
			assert.equal(await store.cleanupExpiredSessions(), 0);
			const mine = Array.from({ length: 30 }, () => session());
			await Promise.all(mine.map((one) => store.createSession(one)));
			assert.equal(await store.cleanupExpiredSessions(), 0);
			for (const one of mine) assert.deepEqual(await store.getUserSessions(one.userId), [one]);
		});
	});
}
