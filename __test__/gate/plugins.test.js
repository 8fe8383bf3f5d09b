// Plugins and the gate: the hooks that it takes for harmless are so on each release, and the others are asked.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { App, newest, releases } from "./apps.js";

const HARMLESS = [
	"bearer",
	"lastLoginMethod",
	"multiSession",
	"nextCookies",
	"oneTimeToken",
	"solidStartCookies",
	"sveltekitCookies",
	"tanstackStartCookies",
];

const redis = redisPerFile();
const NONE = { noCookie: 0, badSignature: 0 };

/** @param {import("node:test").TestContext} t */
async function open(t, ...args) {
	const app = await App.open(...args);
	t.after(() => app.close());
	return app;
}

for (const release of releases) {
	describe(`the gate with plugins of Better Auth ${release.release}`, () => {
		for (const plugin of HARMLESS) {
			test(`${plugin} does not change a session that is read, and the gate is fast`, async (t) => {
				const app = await open(t, release, redis.url, { plugins: [plugin] });
				const bare = await open(t, release, redis.url, {}, { like: app });
				const cookies = [app.cookie(await app.session()), "theme=dark"];
				for (const cookie of cookies.map((it) => `${it}; ${app.cookies.sessionToken.name}_multi-x=y`)) {
					const call = { headers: new Headers({ cookie, rsc: "1" }), returnHeaders: true };
					const [told, wanted] = [await app.auth.api.getSession(call), await bare.auth.api.getSession(call)];
					assert.deepEqual(told.response, wanted.response);
					assert.deepEqual([...(told.headers ?? [])], [...(wanted.headers ?? [])]);
					assert.deepEqual(await app.gate(call.headers), wanted.response);
				}
				assert.deepEqual(app.gate.stats(), { fast: 1, refused: { noCookie: 1, badSignature: 0 }, full: {} });
			});
		}

		test("all plugins together do not change it either", async (t) => {
			const app = await open(t, release, redis.url, { plugins: HARMLESS });
			const token = await app.session();
			assert.equal((await app.gate(app.headers(token))).session.token, token);
			assert.deepEqual(app.gate.stats(), { fast: 1, refused: NONE, full: {} });
		});

		test("bearer's other hook is called: a token in the header is a session", async (t) => {
			const app = await open(t, release, redis.url, { plugins: ["bearer"] });
			const token = await app.session();
			const headers = new Headers({ authorization: `Bearer ${token}` });
			assert.equal((await app.gate(headers)).session.token, token);
			assert.deepEqual(app.gate.stats().full, { "plugin:bearer": 1 });
		});

		test("a custom hook is called with the same context as by Better Auth", async (t) => {
			const seen = [];
			const watch = (phase) => ({
				matcher: ({ path, headers, context }) => {
					const { returned, session } = context;
					seen.push({
						phase,
						path,
						page: headers.get("x-page"),
						token: returned?.session?.token,
						session: session?.session?.token,
					});
					assert.equal(context.authCookies.sessionToken.name, app.cookies.sessionToken.name);
					return false;
				},
				handler: release.createAuthMiddleware(async () => {}),
			});
			const plugin = { id: "watcher", hooks: { before: [watch("before")], after: [watch("after")] } };
			const app = await open(t, release, redis.url, {}, { options: { plugins: [plugin] } });
			const headers = app.headers(await app.session(), { "x-page": "home" });
			await app.gate(headers);
			const byGate = seen.splice(0);
			await app.auth.api.getSession({ headers });
			assert.equal(byGate.length, 2);
			// An after-hook of Better Auth 1.4 and 1.5 is not told the session.
			assert.deepEqual(
				byGate,
				seen.map((it, n) => ({ ...it, session: byGate[n].session })),
			);
			assert.deepEqual(app.gate.stats(), { fast: 1, refused: NONE, full: {} });
		});

		for (const phase of ["before", "after"]) {
			test(`a ${phase}-hook that throws is Better Auth's to report`, async (t) => {
				const matcher = () => {
					throw new Error("mine");
				};
				const hook = { matcher, handler: release.createAuthMiddleware(async () => {}) };
				const plugin = { id: "broken", hooks: { [phase]: [hook] } };
				const app = await open(t, release, redis.url, {}, { options: { plugins: [plugin] } });
				const headers = app.headers(await app.session());
				const wanted = await app.auth.api.getSession({ headers }).catch((error) => error);
				assert.ok(wanted instanceof Error);
				await assert.rejects(app.gate(headers), { message: wanted.message });
				assert.deepEqual(app.gate.stats().full, { "plugin:broken": 1 });
			});
		}
	});
}

test("in an application like those of Next.js more than 95 % of the gate's checks are fast", async (t) => {
	const random = seeded("like Next.js");
	const plugins = ["organization", "admin", "multiSession", "nextCookies"];
	const app = await open(t, newest, redis.url, { plugins });
	const day = 24 * 3600 * 1000;
	// As old as sessions are that are extended once a day, a few older; some sign in and some sign out.
	const tokens = await Promise.all(
		Array.from({ length: 200 }, () => app.session({ expiresAt: new Date(Date.now() + (5.95 + random.next()) * day) })),
	);
	for (let n = 0; n < rounds(5_000, 100_000); n++) {
		const at = random.below(tokens.length);
		if (n % 500 === 0) tokens[at] = await app.session();
		const left = n % 500 === 1 ? tokens[at] : undefined;
		if (left) await app.storage.delete(left);
		const cookie = `theme=${random.pick(["dark", "light"])}; ${app.cookie(tokens[at])}`;
		const answer = await app.gate(new Headers({ cookie, ...(n % 3 ? { rsc: "1" } : {}) }));
		assert.equal(answer?.session.token, left ? undefined : tokens[at]);
		if (left) tokens[at] = await app.session();
	}
	const { fast, refused, full } = app.gate.stats();
	t.diagnostic(JSON.stringify({ fast, refused, full }));
	const all = fast + Object.values({ ...refused, ...full }).reduce((sum, n) => sum + n, 0);
	assert.ok(fast / all > 0.95);
});
