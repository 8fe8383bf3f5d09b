// `onUnavailable: "database"`: Redis is killed and comes back, with what it held, under real Better Auth that has its sessions in the
// database too. Whoever is signed in stays so, whoever signs out stays out, and what happened meanwhile is there afterwards.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { sessionGate } from "better-auth-redis-store/gate";
import { startProxy } from "../support/proxy.js";
import { fresh, session } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { succeeds, until } from "../support/wait.js";
import { App, ORIGIN, PASSWORD } from "./support/app.js";
import { versions } from "./support/versions.js";

/** What was acknowledged is on the disk, and comes back. */
const DURABLE = ["appendonly yes", "appendfsync always"];
const TOMBSTONE = 0xff;

/** @param {import("node:test").TestContext} t */
async function startApp(t, version, { store = {}, auth = {} } = {}) {
	const server = await startRedis({ config: DURABLE });
	t.after(() => server.stop());
	const proxy = await startProxy(t, server);
	const options = { url: proxy.url, onUnavailable: "database", storeSessionInDatabase: true, logger: false, ...store };
	const app = new App(version, options, { session: { storeSessionInDatabase: true }, ...auth });
	t.after(() => app.close());
	return { app, server, proxy, journal: () => app.storage.metrics().journal };
}

const isMarked = async (server, token) => (await server.cliBuffer("GET", `session:${token}`))?.[0] === TOMBSTONE;

for (const version of versions) {
	describe(`onUnavailable: "database" with Better Auth ${version.release}`, () => {
		test("an outage from sign-in to sign-out: every answer is right, during it and after it", async (t) => {
			const { app, server, journal } = await startApp(t, version);
			const [stays, leaves, kicked] = [await app.signUp(), await app.signIn(), await app.signIn()];
			const left = { token: leaves.token, copy: leaves.copy() };
			const [kickedCopy, kickedToken] = [kicked.copy(), kicked.token];
			await app.signUp("bob");
			const bob = { device: await app.signIn("bob"), other: await app.signIn("bob") };
			const bobs = [bob.device.token, bob.other.token];

			await server.kill("SIGKILL");
			assert.equal((await stays.whoAmI()).user.name, "ada");
			await leaves.ok("/sign-out", {});
			assert.equal(await left.copy.whoAmI(), null);
			const late = await app.signIn();
			assert.equal((await late.whoAmI()).user.name, "ada");
			await stays.ok("/revoke-session", { token: kickedToken });
			assert.equal(await kickedCopy.whoAmI(), null);
			await bob.device.ok("/revoke-sessions", {});
			assert.equal(await bob.other.whoAmI(), null);
			const again = await app.signIn("bob");
			const tokens = [late.token, again.token];
			assert.ok(journal().ends >= 3, JSON.stringify(journal()));
			assert.equal(journal().puts, 2);

			await server.restart();
			// Its old data is there, and whoever asks first is not told of it.
			for (const token of [left.token, kickedToken, ...bobs]) {
				await until("the end", async () => {
					assert.equal(await app.storage.get(token), null, "the end is done before anything is read");
					return isMarked(server, token);
				});
			}
			assert.equal(await left.copy.whoAmI(), null);
			assert.equal(await kickedCopy.whoAmI(), null);
			assert.equal(await bob.other.whoAmI(), null);
			assert.equal((await stays.whoAmI()).user.name, "ada");
			await until("the sessions made meanwhile", async () => journal().puts === 0);
			for (const token of tokens) assert.equal(JSON.parse(await app.storage.get(token)).session.token, token);
			assert.equal((await late.whoAmI()).user.name, "ada");
			assert.equal((await again.whoAmI()).user.name, "bob");
			assert.deepEqual({ ...journal(), bytes: 0 }, { ends: 0, puts: 0, bytes: 0, droppedPuts: 0 });
			const listed = await app.sessions.getUserSessions(app.userId());
			assert.deepEqual(new Set(listed.map(({ token }) => token)), new Set([stays.token, late.token]));
			await late.ok("/sign-out", {});
			assert.ok(await isMarked(server, tokens[0]));
			assert.deepEqual(app.errors, [], "Better Auth logged an error");
		});

		test("a password change ends the other sessions, and not the one that it creates", async (t) => {
			const { app, server, journal } = await startApp(t, version);
			const [device, other] = [await app.signUp(), await app.signIn()];
			const token = other.token;
			await server.kill("SIGKILL");
			const passwords = { currentPassword: PASSWORD, newPassword: `${PASSWORD}!` };
			await device.ok("/change-password", { ...passwords, revokeOtherSessions: true });
			await server.restart();
			await until("the journal", async () => journal().ends + journal().puts === 0);
			assert.ok(await isMarked(server, token));
			assert.equal(await other.whoAmI(), null);
			assert.equal((await app.sessions.getSession(device.token)).token, device.token);
			assert.equal((await device.whoAmI()).user.name, "ada");
		});

		test("a bearer token that names another user's list or not-before marker ends nothing", async (t) => {
			const { app, server, journal } = await startApp(t, version, { auth: { plugins: [version.plugins.bearer()] } });
			const [ada, adas] = [await app.signUp(), await app.signIn()];
			await app.signUp("bob");
			const bob = { device: await app.signIn("bob"), other: await app.signIn("bob") };
			const victims = [ada.token, adas.token];
			const tokens = [bob.device.token, bob.other.token];
			const marker = `revoked-sessions-before-${app.userId()}`;
			await app.storage.set(marker, "5", 60);
			const named = [`active-sessions-${app.userId()}`, marker, "x".repeat(4000)];
			const attack = () => Promise.all(named.map((token) => signOut(app, token)));

			await attack();
			await server.kill("SIGKILL");
			await attack();
			assert.equal(journal().ends, 0);
			await bob.device.ok("/revoke-sessions", {});
			assert.equal(journal().ends, 1);
			await attack();
			await server.restart();
			await attack();

			await until("the journal", async () => journal().ends === 0);
			for (const token of victims) assert.equal((await app.sessions.getSession(token)).token, token);
			assert.equal((await adas.whoAmI()).user.name, "ada");
			assert.equal(await app.storage.get(marker), "5");
			for (const token of tokens) assert.ok(await isMarked(server, token), "a genuine end is done");
			assert.equal(await bob.other.whoAmI(), null);
		});
	});
}

/** A sign-out by bearer token, as anybody may send it. */
function signOut(app, token) {
	const headers = { origin: ORIGIN, "content-type": "application/json", authorization: `Bearer ${token}` };
	return app.auth.handler(new Request(`${ORIGIN}/api/auth/sign-out`, { method: "POST", headers, body: "{}" }));
}

describe('onUnavailable: "database" with the latest Better Auth', () => {
	const latest = versions.at(-1);

	test("an ended session is refused from the first moment while Redis comes back", async (t) => {
		const { app, server } = await startApp(t, latest);
		await app.signUp();
		const devices = await Promise.all(Array.from({ length: 20 }, () => app.signIn()));
		const copies = devices.map((device) => device.copy());
		const tokens = devices.map(({ token }) => token);
		// In the near cache, and in this thread's copies of it.
		for (const device of devices) for (let n = 0; n < 3; n++) await device.whoAmI();
		await server.kill("SIGKILL");
		let ended = 0;
		let over = false;
		t.after(() => {
			over = true;
		});
		const ask = async (n) => {
			for (; !over; await sleep(1)) {
				const wasEnded = n < ended;
				const found = await app.storage.get(tokens[n]);
				assert.ok(!wasEnded || found === null, "an ended session was served");
			}
		};
		const asking = Promise.all(tokens.map((_, n) => ask(n)));
		for (const device of devices.slice(0, 10)) {
			await device.ok("/sign-out", {});
			ended++;
		}
		const working = (async () => {
			await server.restart();
			for (const device of devices.slice(10)) {
				await device.ok("/sign-out", {});
				ended++;
			}
			await sleep(300);
			over = true;
		})();
		await Promise.race([asking, working]);
		await working;
		await asking;
		for (const copy of copies) assert.equal(await copy.whoAmI(), null);
		for (const token of tokens) assert.ok(await isMarked(server, token));
	});

	test("a server that does not answer counts as an outage", async (t) => {
		const { app, proxy, server } = await startApp(t, latest, { store: { commandTimeout: 300, nearCache: false } });
		const device = await app.signUp();
		const [copy, token] = [device.copy(), device.token];
		proxy.freeze();
		assert.equal((await device.whoAmI()).user.name, "ada");
		await device.ok("/sign-out", {});
		assert.equal(await copy.whoAmI(), null);
		proxy.thaw();
		await until("the end", () => isMarked(server, token));
		assert.equal(await copy.whoAmI(), null);
	});

	test("a session that is due is extended in the database, and no user is signed out", async (t) => {
		const { app, server } = await startApp(t, latest, {
			auth: { session: { storeSessionInDatabase: true, updateAge: 0 } },
		});
		const device = await app.signUp();
		const expiry = () => app.db.session[0].expiresAt.getTime();
		await server.kill("SIGKILL");
		const was = expiry();
		await sleep(5);
		assert.equal((await device.whoAmI()).user.name, "ada");
		assert.ok(expiry() > was);
		await server.restart();
		assert.equal((await device.whoAmI()).user.name, "ada");
		assert.ok(device.holdsCookie);
	});

	test("a server that lost all data: no user is signed out, and ended sessions get tombstones", async (t) => {
		const { app, server } = await startApp(t, latest);
		const [stays, leaves] = [await app.signUp(), await app.signIn()];
		const [copy, token] = [leaves.copy(), leaves.token];
		await server.cli("FLUSHALL");
		await server.kill("SIGKILL");
		await leaves.ok("/sign-out", {});
		await server.restart();
		assert.equal((await stays.whoAmI()).user.name, "ada");
		assert.equal(await copy.whoAmI(), null);
		await until("the end", () => isMarked(server, token));
	});

	test("at-most-once operations and values without a row reject; so does RedisSessionStore", async (t) => {
		const { app, server } = await startApp(t, latest);
		await app.storage.ping();
		await server.kill("SIGKILL");
		const { storage, sessions: store } = app;
		assert.equal(await storage.get("any"), null);
		assert.equal(JSON.parse(await storage.get("active-sessions-any")).length, 1);
		await storage.delete("active-sessions-any");
		await storage.delete("revoked-sessions-before-any");
		await assert.rejects(storage.delete("x".repeat(513)), { code: "UNAVAILABLE" });
		assert.equal(storage.metrics().journal.ends, 0);
		const mine = session();
		for (const [name, call] of Object.entries({
			increment: () => storage.increment("counter", 60),
			getAndDelete: () => storage.getAndDelete("code"),
			set: () => storage.set("verification:1", "value", 60),
			listKeys: () => storage.listKeys(),
			clear: () => storage.clear(),
			ping: () => storage.ping(),
			createSession: () => store.createSession(mine),
			getSession: () => store.getSession(mine.token),
			updateSession: () => store.updateSession(mine.token, { note: 1 }),
			deleteUserSessions: () => store.deleteUserSessions(mine.userId),
			getUserSessions: () => store.getUserSessions(mine.userId),
		})) {
			await assert.rejects(call(), { code: "UNAVAILABLE" }, name);
		}
		await assert.rejects(storage.set("k", "v", Number.NaN), { code: "INVALID_ARGUMENT" });
		await storage.delete("");
		await store.deleteSession(fresh("token"));
		assert.equal(storage.metrics().journal.ends, 1);
	});

	test("a deletion that Redis missed is applied before a later write of the same key", async (t) => {
		const { app, server } = await startApp(t, latest);
		const { storage } = app;
		await storage.set("verification:x", "old", 60);
		await server.kill("SIGKILL");
		await storage.delete("verification:x");
		await server.restart();
		await until("the write", () => succeeds(storage.set("verification:x", "new", 60)));
		await until("the journal", () => storage.metrics().journal.ends === 0);
		assert.equal(await storage.get("verification:x"), "new");
	});

	test("users sign up, in and out while Redis goes down and comes back repeatedly", async (t) => {
		const { app, server } = await startApp(t, latest);
		await app.signUp();
		let over = false;
		let rounds = 0;
		const live = async () => {
			while (!over) {
				const device = await app.signIn("ada", PASSWORD);
				assert.equal((await device.whoAmI()).user.name, "ada");
				const [copy, token] = [device.copy(), device.token];
				await device.ok("/sign-out", {});
				assert.equal(await app.storage.get(token), null);
				assert.equal(await copy.whoAmI(), null);
				rounds++;
			}
		};
		const living = Promise.all(Array.from({ length: 8 }, live));
		const disturbing = (async () => {
			for (let n = 0; n < 3; n++) {
				await sleep(300);
				await server.kill("SIGKILL");
				await sleep(400);
				await server.restart();
			}
			await sleep(300);
			over = true;
		})();
		await Promise.race([living, disturbing]);
		await disturbing;
		await living;
		t.diagnostic(`${rounds} lives of a session`);
		await until("the journal", () => app.storage.metrics().journal.ends === 0);
		// What Better Auth says of a sign-out while nobody can tell it the list.
		const isNews = ([line]) => line !== "Active sessions list not found in secondary storage";
		assert.deepEqual(app.errors.filter(isNews), []);
		assert.deepEqual(await app.sessions.getUserSessions(app.userId()).then((left) => left.length), 1);
	});

	test("the gate refuses the option where Better Auth does not read sessions from the database", async (t) => {
		for (const settings of [{}, { storeSessionInDatabase: true, preserveSessionInDatabase: true }]) {
			const { app } = await startApp(t, latest, { auth: { session: settings } });
			const device = await app.signUp();
			const gate = sessionGate(app.auth, app.storage);
			const message = /^onUnavailable: "database" needs Better Auth to find its sessions in the database/;
			await assert.rejects(gate(`better-auth.session_token=${device.token}`), { code: "INVALID_ARGUMENT", message });
		}
		const { app, server } = await startApp(t, latest);
		const device = await app.signUp();
		const gate = sessionGate(app.auth, app.storage);
		const asked = () => gate(device.cookieHeader);
		assert.equal((await asked()).user.name, "ada");
		await server.kill("SIGKILL");
		await until("the outage", async () => app.storage.metrics().nearCache.enabled === false);
		assert.equal((await asked()).user.name, "ada");
	});
});
