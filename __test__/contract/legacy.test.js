// What other stores left in Redis is read on: nobody is signed out by the switch. Sessions that Better Auth wrote through
// @better-auth/redis-storage, with its list of a user's sessions, and those of the guide's own code, with its plain set.

import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { redisStorage as officialStorage } from "@better-auth/redis-storage";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { Redis } from "ioredis";
import { open } from "../support/engines.js";
import { assertView, fresh, fromNow, record, session, signIn, startUpdate } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
/** @type {Redis} */
let redis;

before(() => {
	redis = new Redis(server.port, server.host);
});
after(() => redis.disconnect());
beforeEach(() => redis.flushall());

const tokensOf = (sessions) => sessions.map(({ token }) => token).sort();

/** The store that takes over from @better-auth/redis-storage. */
const successor = (t) => open(t, { url: server.url, keyPrefix: "better-auth:" });

/** Signs sessions in as Better Auth does over the official storage: each record, and then the user's list. */
async function officialSignIns(...sessions) {
	const storage = officialStorage({ client: redis });
	for (const one of sessions) {
		const ttl = Math.floor((one.expiresAt.getTime() - Date.now()) / 1000);
		const list = JSON.parse((await storage.get(`active-sessions-${one.userId}`)) ?? "[]");
		list.push({ token: one.token, expiresAt: one.expiresAt.getTime() });
		list.sort((a, b) => a.expiresAt - b.expiresAt);
		const furthest = Math.floor((list.at(-1).expiresAt - Date.now()) / 1000);
		await storage.set(`active-sessions-${one.userId}`, JSON.stringify(list), furthest);
		await storage.set(one.token, record(one), ttl);
	}
}

/** Every key has an expiry, and no list of another store is left. */
async function assertConverted() {
	for (const key of await redis.keys("*")) {
		assert.ok((await redis.pttl(key)) > 0, `${key} has no expiry`);
		assert.ok(!key.includes("active-sessions-"), `${key} is left`);
		if (key.startsWith("user-sessions:")) assert.equal(await redis.type(key), "zset");
	}
}

/** Three devices of one user, the soonest to expire first. */
function threeDevices() {
	const userId = fresh("user");
	return [1, 2, 3].map((hours) => session({ userId, expiresAt: fromNow(hours * 3_600_000) }));
}

describe("data of @better-auth/redis-storage", () => {
	test("Better Auth's users stay signed in, see their devices and can end them", async (t) => {
		const db = { user: [], session: [], account: [], verification: [] };
		const app = (secondaryStorage) =>
			betterAuth({
				database: memoryAdapter(db),
				secondaryStorage,
				emailAndPassword: { enabled: true },
				baseURL: "http://localhost:3000",
				secret: "a secret of more than thirty-two characters",
				telemetry: { enabled: false },
				logger: { disabled: true },
			});
		const login = { email: "ada@example.com", password: "correct horse battery" };
		const cookieOf = ({ headers }) => new Headers({ cookie: headers.get("set-cookie").split(";")[0] });

		const old = app(officialStorage({ client: redis }));
		const device = cookieOf(await old.api.signUpEmail({ body: { name: "Ada", ...login }, returnHeaders: true }));
		const others = [];
		for (let n = 0; n < 3; n++) others.push(cookieOf(await old.api.signInEmail({ body: login, returnHeaders: true })));
		const { session: current } = await old.api.getSession({ headers: device });
		assert.equal((await redis.keys("better-auth:active-sessions-*")).length, 1);

		const { storage, store } = successor(t);
		const auth = app(storage);
		for (const headers of [device, ...others]) {
			assert.equal((await auth.api.getSession({ headers })).user.email, login.email);
		}
		const listed = await auth.api.listSessions({ headers: device });
		assert.equal(listed.length, 4);
		assert.deepEqual(tokensOf(await store.getUserSessions(current.userId)), tokensOf(listed));
		await assertConverted();

		const { session: gone } = await auth.api.getSession({ headers: others[0] });
		await auth.api.revokeSession({ headers: device, body: { token: gone.token } });
		assert.equal(await auth.api.getSession({ headers: others[0] }), null);
		assert.equal((await auth.api.listSessions({ headers: device })).length, 3);

		await auth.api.revokeOtherSessions({ headers: device });
		for (const headers of others) assert.equal(await auth.api.getSession({ headers }), null);
		assert.equal((await auth.api.getSession({ headers: device })).session.token, current.token);
		const again = cookieOf(await auth.api.signInEmail({ body: login, returnHeaders: true }));
		assert.equal((await auth.api.listSessions({ headers: again })).length, 2);
		await auth.api.revokeSessions({ headers: again });
		assert.equal(await auth.api.getSession({ headers: device }), null);
		assert.deepEqual(await store.getUserSessions(current.userId), []);
		await assertConverted();
	});

	test("sessions are read and listed, and the old list is converted", async (t) => {
		const mine = threeDevices();
		const { userId } = mine[0];
		await officialSignIns(...mine, session());
		const { storage, store } = successor(t);
		for (const one of mine) {
			assert.equal(await storage.get(one.token), record(one));
			assert.deepEqual(await store.getSession(one.token), one);
		}
		assert.deepEqual(await store.getUserSessions(userId), mine);
		assert.equal(await redis.exists(`better-auth:active-sessions-${userId}`), 0);
		assert.deepEqual(
			await redis.zrange(`user-sessions:${userId}`, 0, -1),
			mine.map(({ token }) => token),
		);
		assertView(JSON.parse(await storage.get(`active-sessions-${userId}`)), mine);
	});

	/** Each is the first call that the new store ever gets. */
	const firstCalls = {
		getUserSessions: ({ store }, [{ userId }]) => store.getUserSessions(userId),
		"get of the list": ({ storage }, [{ userId }]) => storage.get(`active-sessions-${userId}`),
		"delete of the list": ({ storage }, [{ userId }]) => storage.delete(`active-sessions-${userId}`),
		"get of one session": ({ storage }, [{ token }]) => storage.get(token),
		"update of one session": ({ store }, [{ token }]) => store.updateSession(token, { note: 1 }),
		"a profile update of one session": async ({ storage }, [{ token }]) => {
			const update = await startUpdate(storage, token);
			await update(({ user }) => Object.assign(user, { name: "Grace", updatedAt: fromNow(1) }));
		},
		cleanupExpiredSessions: ({ store }) => store.cleanupExpiredSessions(),
		listKeys: ({ storage }) => storage.listKeys(),
		"a sign-in of another user": ({ storage }) => signIn(storage, session()),
	};
	for (const [name, call] of Object.entries(firstCalls)) {
		test(`every session is in the index when the first call is ${name}`, async (t) => {
			const mine = threeDevices();
			await officialSignIns(...mine);
			const doors = successor(t);
			await call(doors, mine);
			assert.deepEqual(tokensOf(await doors.store.getUserSessions(mine[0].userId)), tokensOf(mine));
			assert.equal(await doors.store.deleteUserSessions(mine[0].userId), 3);
			for (const { token } of mine) assert.equal(await doors.storage.get(token), null);
			await assertConverted();
		});
	}

	test("a sign-in joins the existing sessions", async (t) => {
		const mine = threeDevices();
		await officialSignIns(...mine);
		const { storage, store } = successor(t);
		const fourth = session({ userId: mine[0].userId, expiresAt: fromNow(14_400_000) });
		await signIn(storage, fourth);
		assert.deepEqual(await store.getUserSessions(mine[0].userId), [...mine, fourth]);
		await assertConverted();
	});

	test("a sign-in beyond the limit ends the oldest existing session", async (t) => {
		const mine = threeDevices();
		mine[1].createdAt = fromNow(-10_000);
		await officialSignIns(...mine);
		const { store } = open(t, { url: server.url, keyPrefix: "better-auth:", maxSessionsPerUser: 3 });
		const fourth = session({ userId: mine[0].userId });
		await store.createSession(fourth);
		assert.deepEqual(tokensOf(await store.getUserSessions(fourth.userId)), tokensOf([mine[0], mine[2], fourth]));
	});

	test("one session is ended before any read, and stays ended", async (t) => {
		const mine = threeDevices();
		await officialSignIns(...mine);
		const { storage, store } = successor(t);
		await store.deleteSession(mine[1].token);
		await signIn(storage, mine[1]);
		assert.equal(await storage.get(mine[1].token), null);
		assert.deepEqual(await store.getUserSessions(mine[0].userId), [mine[0], mine[2]]);
		await assertConverted();
	});

	test("all sessions but the spared one are ended before any read", async (t) => {
		const { storage, store } = successor(t);
		for (const spared of [undefined, 0, 1, 2]) {
			const mine = threeDevices();
			const { userId } = mine[0];
			await officialSignIns(...mine);
			const kept = mine.filter((_, at) => at === spared);
			assert.equal(await store.deleteUserSessions(userId, { except: kept[0]?.token }), 3 - kept.length);
			for (const one of mine) await signIn(storage, one); // late
			assert.deepEqual(await store.getUserSessions(userId), kept);
			assert.deepEqual((await Promise.all(mine.map(({ token }) => store.getSession(token)))).filter(Boolean), kept);
			await assertConverted();
		}
	});

	test("revoked-sessions-before ends the existing sessions", async (t) => {
		const mine = threeDevices();
		await officialSignIns(...mine);
		const { storage, store } = successor(t);
		await storage.set(`revoked-sessions-before-${mine[0].userId}`, String(Date.now() + 1), 60);
		for (const { token } of mine) assert.equal(await store.getSession(token), null);
	});

	test("a session that is in no list is indexed when it is first read", async (t) => {
		const mine = threeDevices();
		const { userId } = mine[0];
		await officialSignIns(...mine);
		await redis.del(`better-auth:active-sessions-${userId}`);
		const { storage, store } = successor(t);
		assert.deepEqual(await store.getUserSessions(userId), []);
		await storage.get(mine[0].token);
		await store.getSession(mine[2].token);
		assert.deepEqual(await store.getUserSessions(userId), [mine[0], mine[2]]);
		assert.equal(await store.deleteUserSessions(userId), 2);
		assert.equal(await store.getSession(mine[0].token), null);
		// That of the third has not been read, but it is older than the end of all.
		assert.equal(await store.getSession(mine[1].token), null);
		assert.deepEqual(await store.getUserSessions(userId), []);
		await assertConverted();
	});

	test("many first reads at once index every session once", async (t) => {
		const userId = fresh("user");
		const mine = Array.from({ length: 40 }, () => session({ userId }));
		await officialSignIns(...mine);
		const { storage, store } = successor(t);
		const newcomers = Array.from({ length: 5 }, () => session({ userId }));
		await Promise.all([
			...mine.flatMap(({ token }) => [storage.get(token), store.getSession(token)]),
			...newcomers.map((one) => signIn(storage, one)),
			store.getUserSessions(userId),
			storage.get(`active-sessions-${userId}`),
		]);
		assert.deepEqual(tokensOf(await store.getUserSessions(userId)), tokensOf([...mine, ...newcomers]));
		assert.equal(await redis.zcard(`user-sessions:${userId}`), 45);
		await assertConverted();
	});

	test("a server that still runs the old store may write its list again", async (t) => {
		const mine = threeDevices();
		await officialSignIns(mine[0]);
		const { storage, store } = successor(t);
		assert.deepEqual(await store.getUserSessions(mine[0].userId), [mine[0]]);
		await signIn(storage, mine[1]);
		await officialSignIns(mine[2]); // its list holds only this one
		assert.deepEqual(await store.getUserSessions(mine[0].userId), mine);
		assert.equal(await store.deleteUserSessions(mine[0].userId), 3);
		await assertConverted();
	});

	test("verifications and counters stay in use", async (t) => {
		const old = officialStorage({ client: redis });
		await old.set("verification:a", '{"value":"1"}', 60);
		await old.set("verification:b", '{"value":"2"}', 60);
		assert.equal(await old.increment("rate", 60), 1);
		const { storage } = successor(t);
		assert.deepEqual((await storage.listKeys()).sort(), ["rate", "verification:a", "verification:b"]);
		assert.equal(await storage.get("verification:a"), '{"value":"1"}');
		assert.equal(await storage.getAndDelete("verification:b"), '{"value":"2"}');
		assert.equal(await storage.increment("rate", 60), 2);
		await storage.clear();
		assert.deepEqual(await storage.listKeys(), []);
	});

	test("an unreadable list stops nothing", async (t) => {
		const { storage, store } = successor(t);
		for (const list of ["", "{", "null", "7", '"text"', "{}", '[null,7,"x",[],{}]', '[{"token":1,"expiresAt":"x"}]']) {
			const mine = session();
			const key = `better-auth:active-sessions-${mine.userId}`;
			await redis.set(key, list, "EX", 60);
			assert.deepEqual(await store.getUserSessions(mine.userId), []);
			await redis.set(key, list, "EX", 60);
			await signIn(storage, mine);
			await redis.set(key, list, "EX", 60);
			assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
			await store.cleanupExpiredSessions();
			assert.equal(await store.deleteUserSessions(mine.userId), 1);
			assert.equal(await store.getSession(mine.token), null);
		}
	});
});

describe("data of the guide's own code", () => {
	/** RedisSessionStore.createSession of the guide, to the letter. */
	async function guideSignIn(one) {
		const ttl = Math.floor((one.expiresAt.getTime() - Date.now()) / 1000);
		await redis.setex(`session:${one.token}`, ttl, JSON.stringify(one));
		await redis.sadd(`user-sessions:${one.userId}`, one.token);
		await redis.expire(`user-sessions:${one.userId}`, ttl);
	}

	const firstCalls = {
		getUserSessions: ({ store }, [{ userId }]) => store.getUserSessions(userId),
		getSession: ({ store }, [{ token }]) => store.getSession(token),
		updateSession: ({ store }, [{ token }]) => store.updateSession(token, { note: 1 }),
		"active-sessions": ({ storage }, [{ userId }]) => storage.get(`active-sessions-${userId}`),
		cleanupExpiredSessions: ({ store }) => store.cleanupExpiredSessions(),
		listKeys: ({ storage }) => storage.listKeys(),
	};
	for (const [name, call] of Object.entries(firstCalls)) {
		test(`the set is converted when the first call is ${name}`, async (t) => {
			const mine = threeDevices();
			const { userId } = mine[0];
			for (const one of mine) await guideSignIn(one);
			await redis.sadd(`user-sessions:${userId}`, "long gone"); // it never removes what has expired
			const doors = open(t, server.url);
			await call(doors, mine);
			assert.equal(await redis.type(`user-sessions:${userId}`), "zset");
			const listed = await doors.store.getUserSessions(userId);
			assert.deepEqual(tokensOf(listed), tokensOf(mine));
			assert.deepEqual(
				await redis.zrange(`user-sessions:${userId}`, 0, -1),
				mine.map(({ token }) => token),
			);
			await assertConverted();
		});
	}

	test("sessions are read unchanged, alone and in the list", async (t) => {
		const mine = threeDevices();
		for (const one of mine) await guideSignIn(one);
		const { storage, store } = open(t, server.url);
		for (const one of mine) {
			assert.deepEqual(await store.getSession(one.token), one);
			assert.equal(await storage.get(one.token), JSON.stringify(one));
		}
		assert.deepEqual(await store.getUserSessions(mine[0].userId), mine);
	});

	test("a new session is added to those in the set", async (t) => {
		const mine = threeDevices();
		for (const one of mine) await guideSignIn(one);
		const { store } = open(t, server.url);
		const fourth = session({ userId: mine[0].userId, expiresAt: fromNow(14_400_000) });
		await store.createSession(fourth);
		assert.deepEqual(await store.getUserSessions(fourth.userId), [...mine, fourth]);
		await assertConverted();
	});

	test("one session is ended before any read", async (t) => {
		const mine = threeDevices();
		for (const one of mine) await guideSignIn(one);
		const { store } = open(t, server.url);
		await store.deleteSession(mine[1].token);
		await assert.rejects(store.createSession(mine[1]), { code: "REVOKED" });
		assert.deepEqual(await store.getUserSessions(mine[0].userId), [mine[0], mine[2]]);
		await assertConverted();
	});

	test("all sessions but the spared one are ended before any read", async (t) => {
		const { store } = open(t, server.url);
		for (const spared of [undefined, 0, 2]) {
			const mine = threeDevices();
			const { userId } = mine[0];
			for (const one of mine) await guideSignIn(one);
			const kept = mine.filter((_, at) => at === spared);
			assert.equal(await store.deleteUserSessions(userId, { except: kept[0]?.token }), 3 - kept.length);
			assert.deepEqual((await Promise.all(mine.map(({ token }) => store.getSession(token)))).filter(Boolean), kept);
			assert.deepEqual(await store.getUserSessions(userId), kept);
			await assertConverted();
		}
	});

	test("a session whose set expired before it is indexed when it is first read", async (t) => {
		// The guide's EXPIRE gives the whole set the life of the session that came last.
		const [short, , long] = threeDevices();
		await guideSignIn(long);
		await guideSignIn(short);
		await redis.del(`user-sessions:${long.userId}`, `session:${short.token}`); // what one hour later looks like
		const { store } = open(t, server.url);
		assert.deepEqual(await store.getSession(long.token), long);
		assert.deepEqual(await store.getUserSessions(long.userId), [long]);
		assert.equal(await store.deleteUserSessions(long.userId), 1);
		assert.equal(await store.getSession(long.token), null);
		await assertConverted();
	});

	test("many calls at once convert a set once", async (t) => {
		const userId = fresh("user");
		const mine = Array.from({ length: 30 }, () => session({ userId }));
		for (const one of mine) await guideSignIn(one);
		const { store } = open(t, server.url);
		await Promise.all([
			...mine.map(({ token }) => store.getSession(token)),
			...mine.slice(0, 5).map(({ token }) => store.updateSession(token, { note: 1 })),
			...mine.slice(25).map(({ token }) => store.deleteSession(token)),
			store.getUserSessions(userId),
			store.cleanupExpiredSessions(),
		]);
		assert.deepEqual(tokensOf(await store.getUserSessions(userId)), tokensOf(mine.slice(0, 25)));
		assert.equal(await store.deleteUserSessions(userId), 25);
		await assertConverted();
	});
});

test("a session to spare is kept in the index though one user has both a list and a set", async (t) => {
	const mine = threeDevices();
	const { userId } = mine[0];
	await officialSignIns(...mine);
	await redis.sadd(`user-sessions:${userId}`, mine[0].token);
	const { store } = successor(t);
	assert.equal(await store.deleteUserSessions(userId, { except: mine[2].token }), 2);
	assert.deepEqual(await store.getUserSessions(userId), [mine[2]]);
	assert.equal(await store.deleteUserSessions(userId), 1);
	await assertConverted();
});
