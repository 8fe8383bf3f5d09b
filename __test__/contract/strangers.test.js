// Merging with a writer that another process is: it read the record there, or nobody knows where, so that what this process
// last served says nothing about what the writer knew. A store with another connection name shares nothing but Redis.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { redisPerFile } from "../support/redis.js";
import { open } from "./engines.js";
import { fromNow, record, session, signIn, startUpdate, stored } from "./records.js";

const server = redisPerFile();

/** Two processes' stores of the same data. */
function strangers(t) {
	const named = (connectionName) => open(t, { url: server.url, connectionName });
	return [named("one"), named("other")];
}

describe("a writer in another process", () => {
	test("keeps what was changed here since it read the record", async (t) => {
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

	test("meets the end of the session here", async (t) => {
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

describe("a writer whose reading is unknown", () => {
	test("wins with the half that is newer, and loses with the one that is not", async (t) => {
		const [one, other] = strangers(t);
		const mine = session({ theme: "light" });
		await signIn(one.storage, mine, { name: "Ada", updatedAt: fromNow(5000) });
		await signIn(other.storage, { ...mine, theme: "dark", updatedAt: fromNow(1000) }, { name: "stale" });
		const { session: now, user } = JSON.parse(await one.storage.get(mine.token));
		assert.equal(now.theme, "dark");
		assert.equal(user.name, "Ada");
	});

	test("loses a tie", async (t) => {
		const [one, other] = strangers(t);
		const mine = session({ theme: "light" });
		await signIn(one.storage, mine, { name: "Ada" });
		await signIn(other.storage, { ...mine, theme: "dark" }, { name: "Grace" });
		const { session: now, user } = JSON.parse(await one.storage.get(mine.token));
		assert.equal(now.theme, "light");
		assert.equal(user.name, "Ada");
	});

	test("moves no time back", async (t) => {
		const [one, other] = strangers(t);
		const mine = session({ expiresAt: fromNow(7_200_000) });
		await signIn(one.storage, mine);
		await signIn(other.storage, { ...mine, updatedAt: fromNow(1000), expiresAt: fromNow(60_000) });
		assert.equal((await stored(one.storage, mine.token)).expiresAt, mine.expiresAt.toISOString());
		assert.ok((await server.cli("PTTL", `session:${mine.token}`)) > 7_000_000);
	});

	test("with a user of null takes no user away", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		await signIn(other.storage, { ...mine, updatedAt: fromNow(1000) }, null);
		assert.equal(JSON.parse(await one.storage.get(mine.token)).user.name, "Ada");
	});

	test("does not end a session that was prolonged since", async (t) => {
		const [one, other] = strangers(t);
		const mine = session();
		await signIn(one.storage, mine);
		await other.storage.set(mine.token, record({ ...mine, expiresAt: fromNow(-1000) }), 60);
		assert.deepEqual(await one.store.getSession(mine.token), mine);
	});
});
