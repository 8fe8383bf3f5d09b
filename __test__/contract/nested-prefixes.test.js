// Two applications on one server, of which one has a key prefix that begins with the other's: the outer application sees, ends and
// overwrites no session of the inner one. And one process refuses to open both.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { bearer } from "better-auth/plugins";
import { redisStorage } from "better-auth-redis-store";
import { RedisCluster } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { fresh, record, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
const cluster = new RedisCluster();
before(() => cluster.start());
after(() => cluster.stop());

/** By name, two ways to each place: to this process they are two places, so that it opens both applications. */
const places = {
	"one server": () => [server.url, server.url.replace("127.0.0.1", "localhost")].map((url) => ({ url })),
	"a cluster": () => [0, 1].map((at) => ({ cluster: [cluster.nodes[at]] })),
};

/** Both applications, with prefixes that no other test has. `near`: whether they have a near cache. */
function openBoth(t, [one, other], near = true) {
	const [keys, users] = [fresh("app"), fresh("users")];
	const options = { nearCache: near, commandTimeout: 20_000 };
	const outer = open(t, { ...options, ...one, keyPrefix: `${keys}:`, userPrefix: `${users}:` });
	const inner = open(t, { ...options, ...other, keyPrefix: `${keys}:b:`, userPrefix: `inner-${users}:` });
	return { outer, inner };
}

/** Sessions of one application in every shape, some of which name another token elsewhere. */
function shapes() {
	const plain = () => ({ one: session(), user: {} });
	const naming = (place) => {
		const one = session();
		const claim = { token: `b:${one.token}`, userId: "u", note: `"token":"b:${one.token}"` };
		return place === "user" ? { one, user: { metadata: claim } } : { one: { claim, ...one }, user: {} };
	};
	return [plain(), naming("user"), naming("session"), { one: session({ userAgent: "{} [" }), user: {} }];
}

for (const [name, place] of Object.entries(places)) {
	describe(`an application with the outer of two nested prefixes on ${name}`, () => {
		for (const near of [true, false]) {
			test(`reads no session of the inner one, ${near ? "with" : "without"} a near cache`, async (t) => {
				const { outer, inner } = openBoth(t, place(), near);
				const flat = session();
				await inner.store.createSession(flat);
				const all = shapes();
				for (const { one, user } of all) await signIn(inner.storage, one, user);
				const tokens = [flat, ...all.map(({ one }) => one)].map(({ token }) => token);
				for (let round = 0; round < 3; round++) {
					const together = await Promise.all(tokens.map((token) => outer.storage.get(`b:${token}`)));
					assert.deepEqual(together, Array(tokens.length).fill(null));
					for (const token of tokens) {
						assert.equal(await outer.storage.get(`b:${token}`), null);
						assert.equal(await outer.store.getSession(`b:${token}`), null);
					}
				}
				for (const token of tokens) assert.equal((await inner.store.getSession(token)).token, token);
			});
		}

		test("ends and overwrites no session of the inner one", async (t) => {
			const { outer, inner } = openBoth(t, place());
			for (const { one, user } of [...shapes().slice(0, 1), { one: session({ userAgent: "{" }), user: null }]) {
				await signIn(inner.storage, one, user);
				const key = `b:${one.token}`;
				await outer.storage.delete(key);
				await outer.storage.set(key, "value", 0);
				await outer.store.deleteSession(key);
				assert.equal(await outer.storage.getAndDelete(key), null);
				const conflict = {
					code: "CONFLICT",
					message: /^the key holds a (session of another application|value that is no)/,
				};
				await assert.rejects(outer.storage.set(key, "value", 60), conflict);
				await assert.rejects(outer.storage.set(key, "value"), conflict);
				await assert.rejects(outer.storage.increment(key, 60), conflict);
				const own = session({ token: key });
				await assert.rejects(signIn(outer.storage, own), conflict);
				await assert.rejects(outer.store.createSession(own), conflict);
				await assert.rejects(outer.store.updateSession(key, { note: "x" }), { code: "NOT_FOUND" });
				assert.equal(await outer.store.deleteUserSessions(one.userId), 0);
				assert.equal(await inner.storage.get(one.token), record(one, user));
				assert.equal((await inner.store.getUserSessions(one.userId)).length, 1);
				await inner.store.deleteSession(one.token);
				assert.equal(await inner.storage.get(one.token), null);
			}
		});

		test("lists and clears its own keys only", async (t) => {
			const { outer, inner } = openBoth(t, place());
			const [mine, theirs] = [session(), session()];
			await signIn(outer.storage, mine);
			await outer.storage.set("value", "{}", 60);
			await signIn(inner.storage, theirs);
			assert.deepEqual(
				(await outer.storage.listKeys()).sort(),
				[mine.token, "value", `active-sessions-${mine.userId}`].sort(),
			);
			await outer.storage.clear();
			assert.deepEqual(await outer.storage.listKeys(), []);
			assert.equal(await outer.store.getSession(mine.token), null);
			assert.equal(await inner.storage.get(theirs.token), record(theirs));
			assert.equal((await inner.store.getUserSessions(theirs.userId)).length, 1);
		});

		test("keeps its own values that resemble a session of another token", async (t) => {
			const { outer } = openBoth(t, place());
			for (const end of ["", " ", "  "]) {
				const value = record(session()) + end;
				await outer.storage.set("b:copy", value, 60);
				assert.equal(await outer.storage.get("b:copy"), value);
				await outer.storage.set("b:copy", "other", 60);
				assert.equal(await outer.storage.get("b:copy"), "other");
				await outer.storage.set("b:copy", value);
				assert.equal(await outer.storage.getAndDelete("b:copy"), value);
				await outer.storage.set("b:copy", value, 60);
				await outer.storage.delete("b:copy");
				assert.equal(await outer.storage.get("b:copy"), null);
			}
		});
	});
}

test("with nested prefixes a bearer token of the inner application is not valid in the outer one", async (t) => {
	const { outer, inner } = openBoth(t, places["one server"]());
	const app = ({ storage }) =>
		betterAuth({
			baseURL: "http://localhost:3000",
			secret: "a secret of thirty-two characters or more",
			database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
			secondaryStorage: storage,
			emailAndPassword: { enabled: true },
			plugins: [bearer()],
			logger: { disabled: true },
			telemetry: { enabled: false },
		});
	const body = { email: "ada@example.com", password: "correct horse battery staple", name: "Ada" };
	const { token } = await app(inner).api.signUpEmail({ body });
	const ask = (auth, token) => auth.api.getSession({ headers: new Headers({ authorization: `Bearer ${token}` }) });
	assert.equal((await ask(app(inner), token)).session.token, token);
	assert.equal(await ask(app(outer), `b:${token}`), null);
});

describe("one process with nested prefixes", () => {
	/** Opens both; the first stays open. */
	async function openOneByOne(t, first, second) {
		const stores = [first, second].map((options) => redisStorage(options));
		t.after(() => Promise.all(stores.map((store) => store.close())));
		for (const store of stores) await store.get("key");
	}
	const prefixes = (keyPrefix, userPrefix) => ({ keyPrefix, userPrefix });
	const nested = [
		[["a:", "au:"], ["a:b:", "bu:"], /^keyPrefix: "a:b:" and keyPrefix "a:" of an open store/],
		[["a:b:", "bu:"], ["a:", "au:"], /^keyPrefix: "a:" and keyPrefix "a:b:" of an open store/],
		[["a:", "u:"], ["b:", "u:b:"], /^userPrefix: "u:b:" and userPrefix "u:" of an open store/],
		[["a:", "u:"], ["u:b:", "bu:"], /^keyPrefix: "u:b:" and userPrefix "u:" of an open store/],
		[["a:", "u:"], ["b:", "a:"], /^userPrefix: "a:" and keyPrefix "a:" of an open store/],
	];
	for (const [form, place] of [
		...Object.entries(places).map(([name, place]) => [name, () => place()[0]]),
		["the embedded engine", () => ({ url: "memory://" })],
	]) {
		for (const [first, second, message] of nested) {
			test(`refuses ${second} beside ${first} on ${form}`, async (t) => {
				const [one, other] = [first, second].map((both) => ({ ...place(), ...prefixes(...both) }));
				await assert.rejects(openOneByOne(t, one, other), { code: "INVALID_ARGUMENT", message });
			});
		}
	}

	test("opens the same prefixes twice, other databases, and what no longer nests in an open store", async (t) => {
		const [{ url }] = places["one server"]();
		const a = { url, ...prefixes("a:", "au:") };
		const b = { url, ...prefixes("a:b:", "bu:") };
		await openOneByOne(t, a, { ...a, connectionName: "other" });
		await openOneByOne(t, a, { ...b, db: 1 });
		await openOneByOne(t, a, { url, ...prefixes("ab:", "ub:") });
		const inner = redisStorage({ ...b, db: 2 });
		t.after(() => inner.close());
		const outer = redisStorage({ ...a, db: 2 });
		await outer.get("key");
		await assert.rejects(inner.get("key"), { code: "INVALID_ARGUMENT" });
		await outer.close();
		assert.equal(await inner.get("key"), null);
	});
});
