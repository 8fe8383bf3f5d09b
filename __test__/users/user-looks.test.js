// After each write that created a session or changed its copy of the user, the store compares the copies with the user's row: when it
// does, by whom it reads the row, and what it makes of what it finds.

import assert from "node:assert/strict";
import { AsyncLocalStorage } from "node:async_hooks";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { startProxy } from "../support/proxy.js";
import { fresh, fromNow, record, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

const server = redisPerFile();

/** A user's row, as an adapter returns it. */
function row(id, fields = {}) {
	const [createdAt, updatedAt] = [new Date("2026-01-01"), new Date("2026-02-01")];
	return { id, name: "Ada", email: "ada@example.com", createdAt, updatedAt, ...fields };
}

/** A database of users, which counts what it is asked. */
class Users {
	rows = new Map();
	asked = [];
	/** Called before a row is read. */
	before = async () => {};

	load = async (userId) => {
		this.asked.push(userId);
		await this.before(userId);
		return this.rows.get(userId) ?? null;
	};

	/** A user with a row. */
	add(fields = {}) {
		const user = row(fresh("user"), fields);
		this.rows.set(user.id, user);
		return user;
	}
}

/** A storage that reads rows from a database of its own. */
function open(t, options = {}) {
	const users = new Users();
	const storage = redisStorage({ url: server.url, logger: false, loadUser: users.load, ...options });
	t.after(() => storage.close());
	return { users, storage };
}

/** Writes a session of a user, whose copy differs from the row by these fields; resolves to its token. */
async function signIn(storage, user, fields = {}) {
	const mine = session({ userId: user.id });
	await storage.set(mine.token, record(mine, { ...user, ...fields }), 3600);
	return mine.token;
}

async function userOf(storage, token) {
	return JSON.parse(await storage.get(token)).user;
}

/** The looks at once are over; second ones may be to come. */
function lookedAt(storage, done = 1) {
	return until(`${done} looks`, () => storage.metrics().userLooks.done >= done);
}

/** From now on the server cannot be reached by way of the proxy. */
function goDown(proxy) {
	proxy.leadTo({ host: "127.0.0.1", port: 1 });
	proxy.cut();
}

const json = (value) => JSON.parse(JSON.stringify(value));

describe("a look (comparison of sessions with the user's row)", () => {
	for (const url of ["redis", "memory"]) {
		test(`writes the row into every session of the user, and nothing else (${url})`, async (t) => {
			const { users, storage } = open(t, url === "memory" ? { url: `memory://${fresh("looks")}` } : {});
			const user = users.add({ role: "user" });
			const tokens = [];
			for (const role of ["admin", "user", "admin"]) tokens.push(await signIn(storage, user, { role }));
			for (const token of tokens) {
				await until("the row", async () => (await userOf(storage, token)).role === "user");
				assert.deepEqual(await userOf(storage, token), json(user));
			}
			await lookedAt(storage);
			const { written, failed, dropped } = storage.metrics().userLooks;
			assert.deepEqual({ written, failed, dropped }, { written: 2, failed: 0, dropped: 0 });
		});
	}

	test("follows a creation and a change of the user, not a change of the session", async (t) => {
		const { users, storage } = open(t);
		const user = users.add();
		const token = await signIn(storage, user);
		await lookedAt(storage);
		const asked = users.asked.length;
		for (let n = 0; n < 5; n++) {
			const copy = JSON.parse(await storage.get(token));
			copy.session.theme = n;
			await storage.set(token, JSON.stringify(copy), 3600);
		}
		await storage.ping();
		assert.equal(users.asked.length, asked);
		const copy = JSON.parse(await storage.get(token));
		await storage.set(token, JSON.stringify({ ...copy, user: { ...copy.user, name: "Grace" } }), 3600);
		await until("the row again", async () => (await userOf(storage, token)).name === "Ada");
		assert.equal((await userOf(storage, token)).name, "Ada");
		assert.equal(JSON.parse(await storage.get(token)).session.theme, 4);
	});

	test("is shared by all writes of a moment, and delays none of them", async (t) => {
		const { users, storage } = open(t);
		const user = users.add();
		let release;
		users.before = () => new Promise((resolve) => (release = resolve));
		await Promise.all(Array.from({ length: 50 }, () => signIn(storage, user, { name: "Grace" })));
		await until("the row is asked for", () => release !== undefined);
		users.before = async () => {};
		release();
		await lookedAt(storage);
		assert.ok(users.asked.length <= 4, `${users.asked.length} readings of the row`);
	});

	test("runs for four users at a time", async (t) => {
		const { users, storage } = open(t);
		let now = 0;
		let most = 0;
		users.before = async () => {
			most = Math.max(most, ++now);
			await new Promise(setImmediate);
			now--;
		};
		await Promise.all(Array.from({ length: 40 }, () => signIn(storage, users.add(), { name: "Grace" })));
		await lookedAt(storage, 40);
		assert.equal(most, 4);
	});

	test("uses the loadUser of the handle that wrote, though handles share a connection", async (t) => {
		const [one, other] = [open(t), open(t)];
		const user = one.users.add();
		other.users.rows.set(user.id, { ...user, name: "wrong" });
		const token = await signIn(one.storage, user, { name: "Grace" });
		await until("the row", async () => (await userOf(other.storage, token)).name === "Ada");
		assert.deepEqual(other.users.asked, []);
		const plain = redisStorage({ url: server.url, logger: false });
		t.after(() => plain.close());
		const unlooked = await signIn(plain, user, { name: "Grace" });
		await plain.ping();
		assert.equal((await userOf(plain, unlooked)).name, "Grace");
		assert.deepEqual(plain.metrics().userLooks, { done: 0, written: 0, failed: 0, dropped: 0, queued: 0 });
	});

	test("runs outside the async context of the request that wrote", async (t) => {
		const { users, storage } = open(t);
		const context = new AsyncLocalStorage();
		const seen = [];
		users.before = async () => seen.push(context.getStore());
		await context.run("a transaction", () => signIn(storage, users.add()));
		await lookedAt(storage);
		assert.deepEqual(seen, [undefined]);
		await context.run("a transaction", () => storage.refreshUser(users.asked[0]));
		assert.deepEqual(seen, [undefined, undefined]);
	});

	test("runs again after a change between its read and its write", async (t) => {
		const { users, storage } = open(t);
		const stranger = redisStorage({ url: server.url, logger: false, nearCache: false });
		t.after(() => stranger.close());
		const user = users.add();
		let token;
		users.before = async () => {
			users.before = async () => {};
			const copy = JSON.parse(await stranger.get(token));
			await stranger.set(token, JSON.stringify({ ...copy, user: { ...copy.user, name: "Third" } }), 3600);
		};
		token = await signIn(storage, user, { name: "Grace" });
		await until("the row", async () => (await userOf(stranger, token)).name === "Ada");
		assert.ok(users.asked.length >= 2);
	});

	test("does not keep the process alive longer than the calls", async (t) => {
		const { users, storage } = open(t);
		await signIn(storage, users.add());
		await lookedAt(storage);
		assert.equal(storage.metrics().userLooks.queued, 1, "a second look is to come");
		assert.deepEqual(
			process.getActiveResourcesInfo().filter((kind) => kind === "Timeout"),
			[],
		);
	});
});

describe("a user's row", { concurrency: true }, () => {
	test("that is older than the copy is written by the second look only, 5 s later", async (t) => {
		const { users, storage } = open(t);
		const user = users.add({ role: "user", updatedAt: fromNow(-60_000) });
		const token = await signIn(storage, user, { role: "admin", updatedAt: fromNow(0) });
		const since = performance.now();
		await lookedAt(storage);
		assert.equal((await userOf(storage, token)).role, "admin");
		await until("the row", async () => (await userOf(storage, token)).role === "user");
		const took = performance.now() - since;
		assert.ok(took > 4500 && took < 8000, `${took} ms`);
		assert.deepEqual(await userOf(storage, token), json(user));
		await until("an end", () => storage.metrics().userLooks.queued === 0, 30_000);
	});

	test("that a lagging replica serves is corrected by the second look", async (t) => {
		const { users, storage } = open(t);
		const user = users.add({ role: "user" });
		const old = { ...user, role: "admin" }; // with the same stamp
		users.rows.set(user.id, old);
		const token = await signIn(storage, user);
		await lookedAt(storage);
		assert.equal((await userOf(storage, token)).role, "admin");
		users.rows.set(user.id, user);
		await until("the row", async () => (await userOf(storage, token)).role === "user");
		// The second look wrote a row, so that a third one follows it after 5 s.
		await until("an end", () => storage.metrics().userLooks.queued === 0, 30_000);
		assert.equal((await userOf(storage, token)).role, "user");
	});

	test("that is gone changes nothing until refreshUser is called", async (t) => {
		const { users, storage } = open(t);
		const user = users.add();
		users.rows.clear();
		const tokens = [await signIn(storage, user, { name: "Grace" }), await signIn(storage, user)];
		await lookedAt(storage);
		assert.equal((await userOf(storage, tokens[0])).name, "Grace");
		assert.equal(await storage.refreshUser(user.id), 2);
		for (const token of tokens) assert.equal(await storage.get(token), null);
	});

	test("of another user with the same id, or created at another time, is not written", async (t) => {
		const { users, storage } = open(t);
		const user = users.add();
		users.rows.set(user.id, { ...user, name: "Eve", createdAt: new Date() });
		const token = await signIn(storage, user);
		assert.equal(await storage.refreshUser(user.id), 1);
		assert.equal((await userOf(storage, token)).name, "Ada");
		users.rows.set(user.id, { ...user, id: "another" });
		await assert.rejects(storage.refreshUser(user.id), { code: "INVALID_ARGUMENT", message: /another user/ });
		assert.equal((await userOf(storage, token)).name, "Ada");
	});

	test("is given to a session that Better Auth wrote without a user", async (t) => {
		const { users, storage } = open(t);
		const user = users.add();
		const mine = session({ userId: user.id });
		await storage.set(mine.token, record(mine, null), 3600);
		await until("the row", async () => (await userOf(storage, mine.token))?.name === "Ada");
	});

	test("that cannot be read is counted and logged once, without the database's message", async (t) => {
		const lines = [];
		const { users, storage } = open(t, { logger: { info: () => {}, warn: (line) => lines.push(line) } });
		users.before = async () => {
			throw new TypeError("a value of the row");
		};
		for (let n = 1; n <= 3; n++) {
			await signIn(storage, users.add());
			await until("a failure", () => storage.metrics().userLooks.failed >= n);
		}
		assert.equal(lines.length, 1);
		assert.match(lines[0], /row could not be compared with the sessions: TypeError$/);
		await assert.rejects(storage.refreshUser("somebody"), TypeError);
	});

	test("that cannot be read at first is retried", async (t) => {
		const { users, storage } = open(t);
		let failures = 0;
		users.before = async () => {
			if (failures++ < 2) throw new Error("the database is away");
		};
		const token = await signIn(storage, users.add(), { name: "Grace" });
		await until("the row", async () => (await userOf(storage, token)).name === "Ada", 30_000);
		assert.ok(storage.metrics().userLooks.failed >= 2);
	});

	test("that is not an object is refused", async (t) => {
		for (const wrong of ["text", 7, [], true]) {
			const { storage, users } = open(t, { loadUser: async () => wrong });
			await signIn(storage, users.add());
			await until("a failure", () => storage.metrics().userLooks.failed === 1);
			await assert.rejects(storage.refreshUser("somebody"), { code: "INVALID_ARGUMENT", message: /loadUser/ });
		}
	});

	test("that is too large for the sessions ends them, since they would keep older rights", async (t) => {
		const { users, storage } = open(t, { maxValueBytes: 4096 });
		const user = users.add({ image: "x".repeat(5000) });
		const token = await signIn(storage, user, { image: null });
		await until("the end", async () => (await storage.get(token)) === null);
		assert.ok(storage.metrics().refusedWrites.tooLarge >= 1);
	});
});

describe("users who wait for a look", () => {
	test("are 10,000 at most; further ones are counted", async (t) => {
		const { users, storage } = open(t, { url: `memory://${fresh("queue")}` });
		users.before = () => new Promise(() => {}); // a database that does not answer
		for (let n = 0; n < 10; n++) {
			await Promise.all(Array.from({ length: 1050 }, () => signIn(storage, users.add())));
		}
		const { dropped, queued } = storage.metrics().userLooks;
		// Of both queues, that of looks and that of second ones.
		assert.ok(dropped >= 900 && dropped <= 1000, `${dropped} dropped`);
		assert.ok(queued <= 20_004, `${queued} queued`);
		await storage.close();
		assert.ok(storage.metrics().userLooks.queued <= 4, "those that wait for a row");
	});

	for (const what of ["a write", "a list"]) {
		test(`wait for the reconnect when ${what} failed in an outage`, async (t) => {
			const proxy = await startProxy(t, server);
			const { users, storage } = open(t, { url: proxy.url, commandTimeout: 1000 });
			const user = users.add();
			const token = await signIn(storage, user);
			await lookedAt(storage);
			users.rows.set(user.id, { ...user, name: "Grace", updatedAt: new Date() });
			const copy = JSON.parse(await storage.get(token));
			goDown(proxy);
			if (what === "a write") {
				const write = storage.set(token, JSON.stringify({ ...copy, user: users.rows.get(user.id) }), 3600);
				await assert.rejects(write, { code: /UNAVAILABLE|TIMEOUT/ });
			} else {
				await assert.rejects(storage.get(`active-sessions-${user.id}`), { code: /UNAVAILABLE|TIMEOUT/ });
			}
			proxy.leadTo(server);
			const direct = redisStorage({ url: server.url, logger: false, nearCache: false });
			t.after(() => direct.close());
			await until("the row", async () => (await userOf(direct, token)).name === "Grace");
		});
	}

	test("wait until the writes kept in an outage are written", async (t) => {
		const proxy = await startProxy(t, server);
		const { users, storage } = open(t, {
			url: proxy.url,
			onUnavailable: "database",
			storeSessionInDatabase: true,
			commandTimeout: 1000,
		});
		const user = users.add({ role: "user" });
		await storage.ping();
		goDown(proxy);
		const token = await signIn(storage, user, { role: "admin" });
		proxy.leadTo(server);
		const direct = redisStorage({ url: server.url, logger: false, nearCache: false });
		t.after(() => direct.close());
		await until("the session", async () => (await direct.get(token)) !== null);
		await until("the row", async () => (await userOf(direct, token)).role === "user", 20_000);
	});
});

describe("refreshUser", () => {
	test("needs loadUser or a gate, and a user id", async (t) => {
		const { users, storage } = open(t, { loadUser: undefined });
		const store = new RedisSessionStore({ url: server.url, logger: false });
		t.after(() => store.close());
		for (const face of [storage, store]) {
			const message = /^refreshUser: there is no way to read a user's row: .*loadUser/;
			await assert.rejects(face.refreshUser("somebody"), { code: "INVALID_ARGUMENT", message });
			await assert.rejects(face.refreshUser(7), { code: "INVALID_ARGUMENT", message: /^userId: / });
		}
		assert.deepEqual(users.asked, []);
	});

	test("exists on both interfaces, and counts sessions without a user, too", async (t) => {
		const users = new Users();
		const store = new RedisSessionStore({ url: server.url, logger: false, loadUser: users.load });
		const storage = redisStorage({ url: server.url, logger: false });
		t.after(() => Promise.all([store.close(), storage.close()]));
		const user = users.add();
		const token = await signIn(storage, user, { name: "Grace" });
		await store.createSession(session({ userId: user.id }));
		assert.equal(await store.refreshUser(user.id), 2);
		assert.equal((await userOf(storage, token)).name, "Ada");
		users.rows.clear();
		assert.equal(await store.refreshUser(user.id), 2);
		assert.deepEqual(await store.getUserSessions(user.id), []);
	});

	test("needs loadUser to be a function", () => {
		for (const loadUser of [null, "users", {}, 7]) {
			for (const make of [redisStorage, (options) => new RedisSessionStore(options)]) {
				const wrong = { code: "INVALID_ARGUMENT", message: /^loadUser: must be a function/ };
				assert.throws(() => make({ url: server.url, loadUser }), wrong);
			}
		}
	});
});

describe("the gate's Better Auth as the reader of rows", () => {
	/** What a gate needs of Better Auth, over these users. */
	function auth(users, storage, options = {}) {
		const adapter = { findOne: ({ model, where: [{ value }] }) => (model === "user" ? users.load(value) : null) };
		const $context = Promise.resolve({ adapter, options: { database: {}, secondaryStorage: storage, ...options } });
		return { $context, api: { getSession: async () => null } };
	}

	test("is used once there is a gate, and not before", async (t) => {
		const { storage } = open(t, { loadUser: undefined });
		const users = new Users();
		const user = users.add();
		await signIn(storage, user, { name: "Grace" });
		await storage.ping();
		assert.equal(storage.metrics().userLooks.queued, 0);
		const app = auth(users, storage);
		sessionGate(app, storage);
		sessionGate(app, storage); // once more, of the same
		const token = await signIn(storage, user, { name: "Grace" });
		await until("the row", async () => (await userOf(storage, token)).name === "Ada");
	});

	test("is not used beside loadUser", async (t) => {
		const { users, storage } = open(t);
		const others = new Users();
		sessionGate(auth(others, storage), storage);
		sessionGate(auth(others, storage), storage);
		const token = await signIn(storage, users.add(), { name: "Grace" });
		await until("the row", async () => (await userOf(storage, token)).name === "Ada");
		assert.deepEqual(others.asked, []);
	});

	for (const [what, bind] of [
		["of two gates none is used", (users, storage) => [auth(users, storage), auth(users, storage)]],
		["without a database it is not used", (users, storage) => [auth(users, storage, { database: undefined })]],
		["with another storage it is not used", (users, storage) => [auth(users, storage, { secondaryStorage: {} })]],
	]) {
		test(what, async (t) => {
			const { storage } = open(t, { loadUser: undefined });
			const users = new Users();
			for (const app of bind(users, storage)) sessionGate(app, storage);
			const user = users.add();
			const token = await signIn(storage, user, { name: "Grace" });
			await assert.rejects(storage.refreshUser(user.id), { code: "INVALID_ARGUMENT" });
			assert.equal((await userOf(storage, token)).name, "Grace");
			assert.deepEqual(users.asked, []);
		});
	}

	test("is not bound through an object that only resembles the storage", async (t) => {
		const { storage } = open(t, { loadUser: undefined });
		const users = new Users();
		for (const wrapper of [{ ...storage }, Object.create(storage), new Proxy(storage, {})]) {
			sessionGate(auth(users, wrapper), wrapper);
		}
		await signIn(storage, users.add(), { name: "Grace" });
		await storage.ping();
		assert.deepEqual(users.asked, []);
	});
});
