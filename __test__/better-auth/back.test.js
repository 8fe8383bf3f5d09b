// The way back, as docs/faq.md tells it: what this store wrote is read by the official storage and, if Better Auth kept it there too, from
// the database.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { redisStorage as officialStorage } from "@better-auth/redis-storage";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { redisStorage } from "better-auth-redis-store";
import { Redis } from "ioredis";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
const ADA = { email: "ada@example.com", password: "correct horse" };

/** An application's Better Auth over the same users, with the sessions where `options` say. */
function appOver(tables) {
	return (options) =>
		betterAuth({
			database: memoryAdapter(tables),
			emailAndPassword: { enabled: true },
			baseURL: "http://localhost:3000",
			secret: "a secret of the tests, long enough to be one",
			logger: { disabled: true },
			...options,
		});
}

const emptyTables = () => ({ user: [], account: [], session: [], verification: [] });

async function cookieOf(answer) {
	const { headers } = await answer;
	return new Headers({ cookie: headers.getSetCookie()[0].split(";")[0] });
}

describe("moving back from this store", () => {
	test("to the official storage: signed-in users stay signed in, ended sessions stay ended; its list begins empty", async (t) => {
		const app = appOver(emptyTables());
		const storage = redisStorage({ url: server.url, keyPrefix: "better-auth:" });
		const client = new Redis(server.url);
		t.after(() => Promise.all([storage.close(), client.quit()]));
		const before = app({ secondaryStorage: storage });
		const stays = await cookieOf(before.api.signUpEmail({ body: { ...ADA, name: "Ada" }, asResponse: true }));
		const left = await cookieOf(before.api.signInEmail({ body: ADA, asResponse: true }));
		await before.api.signOut({ headers: left });

		const after = app({ secondaryStorage: officialStorage({ client, keyPrefix: "better-auth:" }) });
		assert.equal((await after.api.getSession({ headers: stays })).user.email, ADA.email);
		assert.equal(await after.api.getSession({ headers: left }), null);
		assert.deepEqual(await after.api.listSessions({ headers: stays }), []);
	});

	test("to the database: sessions that were stored there too are found, also when Redis lost all data", async (t) => {
		const tables = emptyTables();
		const app = appOver(tables);
		const storage = redisStorage({ url: server.url });
		t.after(() => storage.close());
		const onlyRedis = app({ secondaryStorage: storage });
		const early = await cookieOf(onlyRedis.api.signUpEmail({ body: { ...ADA, name: "Ada" }, asResponse: true }));
		const both = app({ secondaryStorage: storage, session: { storeSessionInDatabase: true } });
		const late = await cookieOf(both.api.signInEmail({ body: ADA, asResponse: true }));
		assert.equal(tables.session.length, 1);

		const onlyDatabase = app({});
		assert.equal(await onlyDatabase.api.getSession({ headers: early }), null);
		assert.equal((await onlyDatabase.api.getSession({ headers: late })).user.email, ADA.email);
		await server.cli("FLUSHALL");
		assert.equal(await onlyRedis.api.getSession({ headers: early }), null);
		assert.equal((await both.api.getSession({ headers: late })).user.email, ADA.email);
	});

	test("Better Auth ends a session without a row when the session is due to be extended", async (t) => {
		const app = appOver(emptyTables());
		const storage = redisStorage({ url: server.url });
		t.after(() => storage.close());
		const onlyRedis = app({ secondaryStorage: storage });
		const headers = await cookieOf(onlyRedis.api.signUpEmail({ body: { ...ADA, name: "Ada" }, asResponse: true }));
		const session = { storeSessionInDatabase: true };
		const both = app({ secondaryStorage: storage, session });
		assert.equal((await both.api.getSession({ headers })).user.email, ADA.email);
		const due = app({ secondaryStorage: storage, session: { ...session, updateAge: 0 } });
		const answer = await due.api.getSession({ headers, asResponse: true });
		assert.equal(answer.status, 401);
		assert.equal((await answer.json()).code, "FAILED_TO_GET_SESSION");
		assert.match(answer.headers.getSetCookie()[0], /^better-auth.session_token=; Max-Age=0/);
	});
});
