// Servers whose scripts may touch one key only: how that is found out, and what else holds there. What every engine promises is in
// contract/sharded.test.js and contract/strict.test.js.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { hit, openCached, warm } from "../near-cache/stores.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { fresh, session, signIn } from "../support/records.js";
import { ShardedEndpoint, StrictServer } from "../support/strict.js";

/** What the store asks by. */
const PROBE = /EXISTS/;

const endpoint = new ShardedEndpoint();
before(() => endpoint.start());
after(() => endpoint.stop());

async function startStrict(t) {
	const server = await new StrictServer().start();
	t.after(() => server.stop());
	return server;
}

test("after the handshake no script touches a key that it did not declare", async (t) => {
	const server = await startStrict(t);
	const { storage, store } = open(t, { url: server.url, nearCache: false, maxSessionsPerUser: 2 });
	await storage.ping();
	const asked = await server.refusals;
	assert.ok(asked > 0, "the greeting asks");
	const userId = fresh("user");
	const mine = Array.from({ length: 4 }, () => session({ userId }));
	for (const one of mine) await store.createSession(one);
	await signIn(storage, session({ userId }));
	await store.updateSession(mine[3].token, { note: "x" });
	await storage.get(`active-sessions-${userId}`);
	await storage.increment(fresh("counter"), 60);
	assert.equal((await store.getUserSessions(userId)).length, 2);
	await server.server.cli("SADD", `user-sessions:${fresh("user")}`, mine[3].token);
	const other = session();
	await server.server.cli("SADD", `user-sessions:${other.userId}`, mine[3].token);
	await store.createSession(other);
	await store.deleteSession(other.token);
	await store.cleanupExpiredSessions();
	assert.equal(await store.deleteUserSessions(userId), 2);
	await storage.clear();
	assert.equal(await server.refusals, asked);
});

for (const [what, prefixes, steps] of [
	["several keys where all of a store's have one slot", { keyPrefix: "{app}session:", userPrefix: "{app}user:" }, 1],
	["one key where they have several", {}, 2],
]) {
	test(`a sharded endpoint receives scripts over ${what}`, async (t) => {
		const { storage, store } = open(t, { url: endpoint.url, nearCache: false, ...prefixes });
		const [first, one] = [session(), session()];
		await store.createSession(first); // the server learns the scripts
		const calls = async () =>
			Number((await endpoint.server.cli("INFO", "commandstats")).match(/cmdstat_evalsha:calls=(\d+)/)[1]);
		const before = await calls();
		await store.createSession(one);
		assert.equal((await calls()) - before, steps);
		assert.deepEqual(await store.getSession(one.token), one);
		assert.deepEqual(await store.getUserSessions(one.userId), [one]);
		assert.equal(await store.deleteUserSessions(one.userId), 1);
		assert.deepEqual(await storage.get(one.token), null);
	});
}

test("an error about the server's state does not change how scripts are sent", async (t) => {
	const server = await startStrict(t);
	const { store } = open(t, { url: server.url, nearCache: false });
	await store.createSession(session());
	for (const state of ["BUSY Redis is busy running a script", "LOADING Redis is loading", "NOPERM no permission"]) {
		server.refusal = (script) => (PROBE.test(script) && script.length < 100 ? state : undefined);
		server.proxy.cut();
		const one = session();
		await store.createSession(one);
		assert.equal(await store.deleteUserSessions(one.userId), 1);
	}
});

test("a server that starts to refuse scripts over two keys is checked again: one call fails with the reason", async (t) => {
	const server = await startStrict(t);
	server.isStrict = false;
	const { store } = open(t, { url: server.url, nearCache: false });
	const one = session();
	await store.createSession(one);
	server.isStrict = true;
	await server.server.cli("SCRIPT", "FLUSH");
	const says = /now refuses scripts with several keys: .*; try again$/;
	await assertRejects(() => store.deleteUserSessions(one.userId), "UNAVAILABLE", says);
	assert.equal(await store.deleteUserSessions(one.userId), 1);
	assert.equal(await store.getSession(one.token), null);
});

test("many sign-ins at once on a strict server leave as many sessions as allowed, and none ends before it exists", async (t) => {
	const server = await startStrict(t);
	const options = { url: server.url, nearCache: false, maxSessionsPerUser: 3 };
	const doors = [1, 2, 3].map((n) => open(t, { ...options, connectionName: `server-${n}` }));
	const userId = fresh("user");
	const mine = Array.from({ length: 30 }, () => session({ userId }));
	await Promise.all(mine.map((one, at) => doors[at % doors.length].store.createSession(one)));
	assert.equal((await doors[0].store.getUserSessions(userId)).length, 3);
});

test("the near cache receives invalidations through a sharded endpoint", async (t) => {
	const { storage, store } = await openCached(t, endpoint);
	const stranger = open(t, { url: endpoint.url, nearCache: false });
	const one = session();
	await store.createSession(one);
	await warm(storage, [one.token]);
	assert.ok(hit(storage, one.token));
	await stranger.store.deleteUserSessions(one.userId);
	assert.equal(await storage.get(one.token), null);
});
