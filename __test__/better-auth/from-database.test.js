// docs/coming-from.md: an application whose sessions are in its database takes the store, and nobody is signed out.

import assert from "node:assert/strict";
import { test } from "node:test";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { redisStorage } from "better-auth-redis-store";
import { fresh } from "../contract/records.js";

const EMAIL = "ada@example.com";
const PASSWORD = "correct horse battery staple";

test("with storeSessionInDatabase old sessions go on, and a sign-out ends them", async (t) => {
	const tables = { user: [], session: [], account: [], verification: [] };
	const storage = redisStorage(`memory://${fresh("from-database")}`);
	t.after(() => storage.close());
	const app = (more) =>
		betterAuth({
			baseURL: "http://localhost:3000",
			secret: "a secret of this test only, never of an application",
			database: memoryAdapter(tables),
			emailAndPassword: { enabled: true },
			telemetry: { enabled: false },
			...more,
		});
	const cookieOf = (headers) => ({
		headers: new Headers({
			cookie: headers
				.getSetCookie()
				.map((cookie) => cookie.split(";")[0])
				.join("; "),
		}),
	});

	const body = { name: "Ada", email: EMAIL, password: PASSWORD };
	const old = cookieOf((await app().api.signUpEmail({ body, returnHeaders: true })).headers);
	assert.equal(await app({ secondaryStorage: storage }).api.getSession(old), null, "the switch alone signs out");

	const both = app({ secondaryStorage: storage, session: { storeSessionInDatabase: true } });
	assert.equal((await both.api.getSession(old)).user.email, EMAIL);
	const signedIn = await both.api.signInEmail({ body: { email: EMAIL, password: PASSWORD }, returnHeaders: true });
	const next = cookieOf(signedIn.headers);

	await both.api.signOut(old);
	assert.equal(await both.api.getSession(old), null);
	const after = app({ secondaryStorage: storage });
	assert.equal((await after.api.getSession(next)).user.email, EMAIL, "what signed in meanwhile is in the store");
});
