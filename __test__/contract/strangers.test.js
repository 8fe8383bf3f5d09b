// Merging with a writer that another process is: it read the record there, or nobody knows where, so that what this process
// last served says nothing about what the writer knew. A store with another connection name shares nothing but Redis.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { fromNow, record, session, signIn, startUpdate, stored } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();

/** Two processes' stores of the same data. */
function strangers(t) {
	const named = (connectionName) => open(t, { url: server.url, connectionName });
	return [named("one"), named("other")];
}

describe("a writer in another process", () => {
	test("keeps the changes made here since it read the record", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		const late = await startUpdate(other.storage, mine.token);
		const early = await startUpdate(one.storage, mine.token);
		await early(({ session }) => Object.assign(session, { early: 1, updatedAt: fromNow(1000) }));
		await late(({ session }) => Object.assign(session, { late: 1 }));
		const now = await stored(one.storage, mine.token);
		assert.equal(now.early, 1);
		assert.equal(now.late, 1);
		assert.ok(new Date(now.updatedAt) > mine.updatedAt);
	});

	test("changes nothing when it writes back what it read", async (t) => {
		const [one, other] = strangers(t);
		const mine = session({ note: "old" });
		await signIn(one.storage, mine);
		const late = await startUpdate(other.storage, mine.token);
		await one.store.updateSession(mine.token, { note: "new" });
		await late(() => {});
		assert.equal((await stored(one.storage, mine.token)).note, "new");
	});

	test("does not revive a session that ended here", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		const late = await startUpdate(other.storage, mine.token);
		await one.store.deleteSession(mine.token);
		await late(({ session }) => Object.assign(session, { late: 1 }));
		assert.equal(await other.storage.get(mine.token), null);
		await assert.rejects(other.store.updateSession(mine.token, { late: 1 }), { code: "NOT_FOUND" });
		await assert.rejects(other.store.createSession(mine), { code: "REVOKED" });
	});

	test("updates 50 fields at once with one here, and all are kept", async (t) => {
		const both = strangers(t);
		const mine = session();
		await both[0].store.createSession(mine);
		const fields = Array.from({ length: 50 }, (_, at) => `field${at}`);
		await Promise.all(fields.map((field, at) => both[at % 2].store.updateSession(mine.token, { [field]: at })));
		const all = Object.fromEntries(fields.map((field, at) => [field, at]));
		assert.deepEqual(await both[1].store.getSession(mine.token), { ...mine, ...all });
	});
});

describe("a writer whose base version is unknown", () => {
	for (const [stamp, ms] of [
		["newer", 1000],
		["the same", 0],
		["older", -1000],
	]) {
		test(`is written, with a stamp that is ${stamp}; fields it does not name stay`, async (t) => {
			const [one, other] = strangers(t);
			const mine = session({ theme: "light" });
			await signIn(one.storage, { ...mine, added: 1 }, { name: "Ada" });
			const updatedAt = new Date(mine.updatedAt.getTime() + ms);
			await signIn(other.storage, { ...mine, theme: "dark", updatedAt }, { name: "Grace", updatedAt });
			const { session: now, user } = JSON.parse(await one.storage.get(mine.token));
			assert.deepEqual([now.theme, now.added, user.name], ["dark", 1, "Grace"]);
		});
	}

	test("leaves the earlier expiresAt, unless it is newer by stamps of the past", async (t) => {
		const hours = (n) => fromNow(n * 3_600_000);
		for (const [written, updatedAt, stands] of [
			[hours(1), fromNow(1), hours(1)],
			[hours(3), fromNow(-60_000), hours(2)],
			[hours(3), fromNow(60_000), hours(2)],
			[hours(3), fromNow(-1000), hours(3)],
		]) {
			const [one, other] = strangers(t);
			const mine = session({ updatedAt: fromNow(-2000), expiresAt: hours(2) });
			await signIn(one.storage, mine);
			await signIn(other.storage, { ...mine, updatedAt, expiresAt: written });
			const { expiresAt } = await stored(one.storage, mine.token);
			assert.ok(Math.abs(new Date(expiresAt) - stands) < 1000, `${expiresAt} is not ${stands.toISOString()}`);
			const left = await server.cli("PTTL", `session:${mine.token}`);
			assert.ok(Math.abs(left - (stands - Date.now())) < 1000, `PTTL ${left}`);
		}
	});

	test("does not undo a refresh by a session half from before, though it has just read the refreshed one", async (t) => {
		const [one, other] = strangers(t);
		const mine = session({ updatedAt: fromNow(-60_000), theme: "light" });
		await signIn(one.storage, mine);
		const refreshed = { ...mine, updatedAt: fromNow(0), expiresAt: fromNow(7_200_000), theme: "dark" };
		await one.store.updateSession(mine.token, refreshed);
		// As Better Auth up to 1.4.17 writes back what a cookie held.
		const read = JSON.parse(await other.storage.get(mine.token));
		await other.storage.set(
			mine.token,
			JSON.stringify({ ...read, session: mine, user: { ...read.user, name: "Grace" } }),
		);
		const { session: now, user } = JSON.parse(await one.storage.get(mine.token));
		assert.deepEqual([now.theme, now.expiresAt, user.name], ["dark", refreshed.expiresAt.toISOString(), "Grace"]);
	});

	test("with a user of null takes no user away", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		await signIn(other.storage, { ...mine, updatedAt: fromNow(1000) }, null);
		assert.equal(JSON.parse(await one.storage.get(mine.token)).user.name, "Ada");
	});

	test("ends the session by an expiresAt of the past", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		await other.storage.set(mine.token, record({ ...mine, expiresAt: fromNow(-1000) }), 60);
		assert.equal(await one.store.getSession(mine.token), null);
	});
});
