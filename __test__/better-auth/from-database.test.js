// docs/coming-from.md: an application whose sessions are in its database takes the store, and nobody is signed out.

import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { redisStorage } from "better-auth-redis-store";
import ts from "typescript";
import { root } from "../../scripts/programs.js";
import { blocksOf } from "../docs/pages.js";
import { redisPerFile } from "../support/redis.js";

const ADA = { email: "ada@example.com", password: "correct horse battery staple" };
const WEEK_AGO = new Date(Date.now() - 6 * 86_400_000);

const server = redisPerFile();

/** The tables of an application, and its Better Auth with one setting or another. */
function application() {
	const tables = { user: [], session: [], account: [], verification: [] };
	const withOptions = (options) =>
		betterAuth({
			baseURL: "http://localhost:3000",
			secret: "a secret of this test only, never of an application",
			database: memoryAdapter(tables),
			emailAndPassword: { enabled: true },
			telemetry: { enabled: false },
			...options,
		});
	return { tables, withOptions };
}

function open(t) {
	const storage = redisStorage(server.url);
	t.after(() => storage.close());
	return storage;
}

/** Somebody who is signed in, as the argument of a call. */
async function cookieOf(answer) {
	const cookies = (await answer).headers.getSetCookie().map((cookie) => cookie.split(";")[0]);
	return { headers: new Headers({ cookie: cookies.join("; ") }) };
}

const signUp = (auth) => cookieOf(auth.api.signUpEmail({ body: { name: "Ada", ...ADA }, returnHeaders: true }));
const signIn = (auth) => cookieOf(auth.api.signInEmail({ body: ADA, returnHeaders: true }));

test("with storeSessionInDatabase sessions from the database stay valid, and a sign-out ends them", async (t) => {
	const app = application();
	const storage = open(t);
	const old = await signUp(app.withOptions({}));
	const onlyRedis = app.withOptions({ secondaryStorage: storage });
	assert.equal(await onlyRedis.api.getSession(old), null, "the switch alone signs out");

	const both = app.withOptions({ secondaryStorage: storage, session: { storeSessionInDatabase: true } });
	assert.equal((await both.api.getSession(old)).user.email, ADA.email);
	const next = await signIn(both);

	await both.api.signOut(old);
	assert.equal(await both.api.getSession(old), null);
	assert.equal(
		(await onlyRedis.api.getSession(next)).user.email,
		ADA.email,
		"what signed in meanwhile is in the store",
	);
});

describe("the migration script in docs/coming-from.md", () => {
	/** Runs it over an application's Better Auth, as a process with its REDIS_URL would. */
	async function runScript(t, auth, storage) {
		const page = readFileSync(join(root, "docs/coming-from.md"), "utf8");
		const { code } = blocksOf(page).find(({ code }) => code.startsWith("// scripts/copy-sessions.ts\n"));
		mkdirSync(join(root, "target"), { recursive: true });
		const folder = mkdtempSync(join(root, "target/copy-sessions-"));
		t.after(() => rmSync(folder, { recursive: true }));
		globalThis.applicationOfTheTest = { auth, storage };
		writeFileSync(join(folder, "auth.mjs"), "export const { auth, storage } = globalThis.applicationOfTheTest;");
		const options = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 };
		const script = ts.transpile(code.replace("../src/lib/auth", "./auth.mjs"), options);
		writeFileSync(join(folder, "copy-sessions.mjs"), script);
		process.env.REDIS_URL = server.url;
		await import(pathToFileURL(join(folder, "copy-sessions.mjs")).href);
	}

	test("keeps every live session, however active, and no ended one", async (t) => {
		const app = application();
		const before = app.withOptions({});
		const [active, idle, leaving] = [await signUp(before), await signIn(before), await signIn(before)];
		for (const row of app.tables.session) row.createdAt = WEEK_AGO;
		const { userId } = app.tables.session[0];
		const past = { id: "past", token: "past", userId, expiresAt: new Date(Date.now() - 1000), createdAt: WEEK_AGO };
		app.tables.session.push({ ...past, updatedAt: WEEK_AGO });
		// More than an adapter gives unless it is told a number.
		const many = Array.from({ length: 300 }, (_, n) => ({
			...past,
			id: `id ${n}`,
			token: `token ${n}`,
			userId: `user ${n}`,
		}));
		app.tables.session.push(...many.map((row) => ({ ...row, expiresAt: new Date(Date.now() + 3_600_000) })));

		const session = { storeSessionInDatabase: true, updateAge: 0 };
		const both = app.withOptions({ secondaryStorage: open(t), session });
		await both.api.getSession(active); // which extends it
		await both.api.signOut(leaving);
		const young = await signIn(both);
		const storage = open(t);
		const onlyRedis = app.withOptions({ secondaryStorage: storage });
		assert.equal(await onlyRedis.api.getSession(active), null, "Better Auth moves sessions by itself");

		await runScript(t, app.withOptions({ secondaryStorage: open(t), session }), open(t));
		for (const one of [active, idle, young]) {
			const found = await onlyRedis.api.getSession(one);
			assert.equal(found.user.email, ADA.email);
			if (one !== young) assert.deepEqual(found.session.createdAt, WEEK_AGO);
		}
		for (const { token } of many) assert.notEqual(await storage.get(token), null, token);
		assert.equal(await storage.get("past"), null);
		assert.equal(await onlyRedis.api.getSession(leaving), null);
		assert.equal((await onlyRedis.api.listSessions(young)).length, 3);

		await onlyRedis.api.revokeOtherSessions(young);
		for (const one of [active, idle]) assert.equal(await onlyRedis.api.getSession(one), null);
		assert.notEqual(await onlyRedis.api.getSession(young), null);
	});
});
