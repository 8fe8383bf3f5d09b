// A gate in use: what it can be asked with, what it refuses, why it takes the full path, what it does when Redis is away.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage, SessionStoreError } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import express from "express";
import { Hono } from "hono";
import { NextRequest } from "next/server.js";
import { sentDuring } from "../support/monitor.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";
import { App, newest } from "./apps.js";

const redis = redisPerFile();
/** What was refused, in `stats()`. */
const NONE = { noCookie: 0, badSignature: 0 };
/** Long enough for the near cache to ask nothing during a test. */
const QUIET = { nearCache: { maxStalenessMs: 60_000, heartbeatMs: 40_000 } };

/** @param {import("node:test").TestContext} t */
async function open(t, settings, more) {
	const app = await App.open(newest, redis.url, settings, more);
	t.after(() => app.close());
	return app;
}

/** @param {import("node:test").TestContext} t */
async function listen(t, handler) {
	const server = createServer(handler).listen(0, "127.0.0.1");
	t.after(() => server.close());
	await once(server, "listening");
	return `http://127.0.0.1:${server.address().port}`;
}

/** Whoever looks for `request` in it is told by an error that it is no argument of an old kind. */
class ProxyRequest extends NextRequest {
	get request() {
		throw new Error("middleware-new-signature");
	}
}

describe("the gate accepts", () => {
	for (const [name, from] of [
		["Headers", (cookie) => new Headers({ cookie })],
		["a Request", (cookie) => new Request("http://localhost/", { headers: { cookie } })],
		["a Request that posts", (cookie) => new Request("http://localhost/", { method: "POST", headers: { cookie } })],
		["a NextRequest", (cookie) => new NextRequest("http://localhost/", { headers: { cookie } })],
		["what Next.js hands to proxy.ts", (cookie) => new ProxyRequest("http://localhost/", { headers: { cookie } })],
		["a Cookie header", (cookie) => cookie],
		["headers of Node.js", (cookie) => ({ host: "localhost", cookie })],
		["several Cookie headers", (cookie) => ({ cookie: ["theme=dark", cookie] })],
		["the argument of auth.api.getSession", (cookie) => ({ headers: new Headers({ cookie }) })],
		["that argument with headers of Node.js", (cookie) => ({ headers: { cookie } })],
		["names in another case", (cookie) => ({ headers: { Cookie: cookie } })],
		["a list of headers", (cookie) => ({ headers: [["cookie", cookie]] })],
		["headers of Node.js, one of them called headers", (cookie) => ({ cookie, headers: "1", request: "2" })],
	]) {
		test(name, async (t) => {
			const app = await open(t);
			const token = await app.session();
			assert.equal((await app.gate(from(app.cookie(token)))).session.token, token);
			assert.deepEqual(app.gate.stats(), { fast: 1, refused: NONE, full: {} });
			// On the full path it arrives as well.
			await app.storage.set(token, JSON.stringify({ ...app.record, session: { ...app.record.session, token } }), 600);
			const hooked = await open(t, { hooks: true }, { like: app });
			assert.equal((await hooked.gate(from(app.cookie(token)))).session.token, token);
			assert.deepEqual(hooked.gate.stats().full, { hooks: 1 });
		});
	}

	test("requests of node:http and Express", async (t) => {
		const app = await open(t, { plugins: ["nosy"] });
		const token = await app.session();
		const answer = async (request, response) => response.end((await app.gate(request))?.session.token ?? "nobody");
		const web = express();
		web.all("/page", answer);
		for (const handler of [answer, web]) {
			const url = await listen(t, handler);
			const headers = { cookie: app.cookie(token) };
			assert.equal(await (await fetch(`${url}/page?query=1`, { headers })).text(), token);
			assert.equal(await (await fetch(`${url}/page`, { headers, method: "POST", body: "x" })).text(), token);
			assert.equal(await (await fetch(`${url}/page`)).text(), "nobody");
		}
		assert.deepEqual(app.gate.stats(), { fast: 4, refused: { noCookie: 2, badSignature: 0 }, full: {} });
	});

	test("requests of Hono", async (t) => {
		const app = await open(t);
		const token = await app.session();
		const web = new Hono().get("/page", async (c) => c.json(await app.gate(c.req.raw)));
		const response = await web.request("/page", { headers: { cookie: app.cookie(token) } });
		assert.equal((await response.json()).session.token, token);
	});

	test("anything else is refused with a message that says so", async (t) => {
		const app = await open(t);
		for (const wrong of [undefined, null, 1, true, { headers: undefined }, { get: () => null }]) {
			await assert.rejects(app.gate(wrong), (error) => {
				assert.ok(error instanceof SessionStoreError);
				assert.match(error.message, /^(the request|headers): must be Headers, a Request or a Cookie header, not \w+$/);
				return error.code === "INVALID_ARGUMENT";
			});
		}
	});
});

test("the gate refuses what no header may hold, without showing it", async (t) => {
	const app = await open(t);
	const cookie = app.cookie(await app.session());
	for (const wrong of [`a=1\n; ${cookie}`, `${cookie}; a=€`, { cookie: `a=1\n; ${cookie}`, x: "y", Cookie: "z" }]) {
		const error = await app.gate(wrong).catch((error) => error);
		if (typeof wrong === "string") assert.equal(error.code, "INVALID_ARGUMENT");
		assert.ok(!String(error?.message).includes(cookie));
	}
	const hooked = await open(t, { hooks: true }, { like: app });
	const error = await hooked.gate({ cookie: `a=1\n; ${cookie}` }).catch((error) => error);
	assert.equal(error.code, "INVALID_ARGUMENT");
	assert.ok(!error.message.includes(cookie));
});

test("the gate's memory is bounded, though a session grows after it was cached under many headers", async (t) => {
	const app = await open(t);
	const token = await app.session();
	const headers = Array.from({ length: 1000 }, (_, n) => `${app.cookie(token)}; n=${n}`);
	for (let n = 0; n < 3; n++) for (const header of headers) await app.gate(header);
	const record = JSON.parse(await app.storage.get(token));
	record.user = { ...record.user, image: "x".repeat(300_000), updatedAt: new Date() };
	await app.writer.set(token, JSON.stringify(record), 600);
	const before = process.memoryUsage();
	for (const header of headers) assert.equal((await app.gate(header)).user.image.length, 300_000);
	globalThis.gc?.();
	const grown = (process.memoryUsage().heapUsed - before.heapUsed) / 2 ** 20;
	assert.ok(grown < 100, `${grown} MiB`);
});

describe("the gate's answer", () => {
	test("is a fresh object each time, at every depth", async (t) => {
		const app = await open(t);
		const token = await app.session({ nested: { list: [{ at: new Date(0) }] } });
		const one = await app.gate(app.headers(token));
		const wanted = structuredClone(one);
		one.session.nested.list[0].at.setTime(1);
		one.session.expiresAt.setTime(1);
		one.user.name = "somebody else";
		assert.deepEqual(await app.gate(app.headers(token)), wanted);
	});

	test("follows a change by another server", async (t) => {
		const app = await open(t);
		const stranger = redisStorage({ url: redis.url, nearCache: false });
		t.after(() => stranger.close());
		const token = await app.session();
		assert.equal((await app.gate(app.headers(token))).user.name, "Ada");
		const record = JSON.parse(await stranger.get(token));
		record.user = { ...record.user, name: "Augusta", updatedAt: new Date() };
		await stranger.set(token, JSON.stringify(record), 600);
		await until("the new name", async () => (await app.gate(app.headers(token))).user.name === "Augusta");
		await stranger.delete(token);
		await until("the end", async () => (await app.gate(app.headers(token))) === null);
	});

	test("is read from Redis each time without a near cache", async (t) => {
		const app = await open(t, {}, { store: { nearCache: false } });
		const token = await app.session();
		await app.gate(app.headers(token));
		const sent = await sentDuring(redis, async () => {
			assert.equal((await app.gate(app.headers(token))).session.token, token);
		});
		assert.deepEqual(sent, ["MGET", "GET"]);
		assert.equal(app.gate.stats().fast, 2);
	});
});

describe("the gate refuses bad cookies", () => {
	test("without touching Redis, and at little cost", async (t) => {
		const app = await open(t, {}, { store: QUIET });
		const token = await app.session();
		await app.gate(app.headers(token));
		const name = app.cookies.sessionToken.name;
		const cookie = app.cookie(token);
		const noCookie = ["", "theme=dark", name, `${name}=`, `${name}= ; theme=dark`, new Headers()];
		const badSignature = [
			`${name}=${token}`,
			cookie.slice(0, -4),
			cookie.replace(
				token,
				token.replace(/^./, (c) => (c === "a" ? "b" : "a")),
			),
			`${name}=${"x".repeat(5000)}.${"A".repeat(43)}=`,
			`${name}=%E0%A4%A; theme=dark`,
			`${name}=x; ${cookie}`,
		];
		const sent = await sentDuring(redis, async () => {
			for (const from of [...noCookie, ...badSignature]) assert.equal(await app.gate(from), null, String(from));
			assert.equal((await app.gate(`long=${"x".repeat(12_000)}; ${cookie}`)).session.token, token);
		});
		assert.deepEqual(sent, []);
		const refused = { noCookie: noCookie.length, badSignature: badSignature.length };
		assert.deepEqual(app.gate.stats(), { fast: 2, refused, full: {} });
	});

	test("and warns once of many bad signatures within a minute, without a cookie's value", async (t) => {
		const { logger, lines } = keptLines();
		const app = await open(t, {}, { store: { logger } });
		let now = performance.now();
		t.mock.method(performance, "now", () => now);
		const cookie = app.cookie("token").replace("=token", "=another");
		const bad = async (times) => {
			for (let n = 0; n < times; n++) assert.equal(await app.gate(cookie), null);
		};
		for (let n = 0; n < 100; n++) assert.equal(await app.gate("theme=dark"), null);
		await bad(19);
		now += 61_000;
		await bad(19);
		assert.deepEqual(lines, [], "19 in a minute, twice");
		await bad(100);
		now += 3_500_000;
		await bad(20);
		assert.equal(lines.length, 1);
		assert.match(lines[0], /many session cookies have a bad signature: a server with another secret .* probably/);
		assert.ok(!lines[0].includes("another.") && !lines[0].includes("%"));
		now += 200_000;
		await bad(20);
		assert.equal(lines.length, 2, "an hour later");
	});
});

/** A logger, and the warnings that it was given. */
function keptLines() {
	const lines = [];
	return { lines, logger: { info() {}, warn: (line) => lines.push(line) } };
}

/** A plugin's endpoint that takes the place of Better Auth's, though its path is another. */
const ownGetSession = newest.createAuthEndpoint("/own", { method: "GET", requireHeaders: true }, async () => null);

describe("the gate calls Better Auth for", () => {
	const always = {
		cookieCache: [{ cookieCache: true }, {}],
		storeTokenHash: [{}, { session: { storeTokenHash: true } }],
		hooks: [{ hooks: true }, {}],
		"plugin:custom-session": [{ customSession: true }, {}],
		"plugin:own": [{}, { plugins: [{ id: "own", endpoints: { getSession: ownGetSession } }] }],
		baseURL: [{}, { baseURL: { allowedHosts: ["localhost:3000"], fallback: "http://localhost:3000" } }],
		hiddenField: [{}, { session: { additionalFields: { token: { type: "string", returned: false } } } }],
	};
	for (const [reason, [settings, options]] of Object.entries(always)) {
		test(`every check: ${reason}`, async (t) => {
			const app = await open(t, settings, { options });
			const headers = app.headers(await app.session());
			assert.deepEqual(await app.gate(headers), await app.auth.api.getSession({ headers }));
			assert.equal(await app.gate(""), null);
			assert.deepEqual(app.gate.stats(), { fast: 0, refused: NONE, full: { [reason]: 2 } });
		});
	}

	test("a call that wants more than the session", async (t) => {
		const app = await open(t);
		const headers = app.headers(await app.session());
		const { response, headers: own } = await app.gate({ headers, returnHeaders: true });
		assert.equal(own.get("cache-control"), "no-store");
		assert.deepEqual(response, await app.gate({ headers, query: { disableRefresh: true } }));
		assert.ok((await app.gate({ headers, asResponse: true })) instanceof Response);
		assert.deepEqual(app.gate.stats(), { fast: 0, refused: NONE, full: { options: 3 } });
	});

	test("an expired session, and a deleted one", async (t) => {
		const app = await open(t);
		const over = await app.session();
		const record = {
			...app.record,
			session: { ...app.record.session, token: over, expiresAt: new Date(Date.now() - 1) },
		};
		await app.redis.set(`session:${over}`, JSON.stringify(record), "EX", 60);
		for (const token of [over, "never-there"]) assert.equal(await app.gate(app.headers(token)), null);
		assert.deepEqual(app.gate.stats().full, { expired: 1, noSession: 1 });
	});

	test("a session that is due to be extended is extended once, or answered as it is", async (t) => {
		const soon = new Date(Date.now() + 3600 * 1000);
		for (const [onRefresh, stats] of [
			[undefined, { fast: 1, refused: NONE, full: { refresh: 1 } }],
			["full", { fast: 1, refused: NONE, full: { refresh: 1 } }],
			["skip", { fast: 2, refused: NONE, full: {} }],
		]) {
			const app = await open(t, {}, { gate: { onRefresh } });
			const headers = app.headers(await app.session({ expiresAt: soon }));
			for (let n = 0; n < 2; n++) {
				const { session } = await app.gate(headers);
				assert.equal(session.expiresAt > soon, onRefresh !== "skip");
			}
			assert.deepEqual(app.gate.stats(), stats);
		}
	});

	test("a leftover of the cookie cache", async (t) => {
		const app = await open(t);
		const cookie = app.cookie(await app.session());
		for (const end of ["", ".0"]) await app.gate(`${cookie}; ${app.cookies.sessionData.name}${end}=x`);
		assert.deepEqual(app.gate.stats(), { fast: 0, refused: NONE, full: { sessionData: 2 } });
	});

	test("the cookie cache, with one warning, whatever other reason there is", async (t) => {
		for (const [settings, count] of [
			[{ cookieCache: true }, 1],
			[{ cookieCache: true, hooks: true }, 1],
			[{ hooks: true }, 0],
		]) {
			const { logger, lines } = keptLines();
			const app = await open(t, settings, { store: { logger } });
			const second = sessionGate(app.auth, app.storage);
			const headers = app.headers(await app.session());
			for (const gate of [app.gate, app.gate, second]) assert.ok(await gate(headers));
			assert.equal(lines.length, count, lines.join("\n"));
			if (count) assert.match(lines[0], /session\.cookieCache is enabled: a session that was ended is accepted until/);
		}
	});

	test("Better Auth before 1.4, after what was tested, and of a version that cannot be read", async (t) => {
		const app = await open(t);
		const { $context, api } = app.auth;
		const headers = app.headers(await app.session());
		const next = newest.minor + 1;
		const tested = ["1.4.0", newest.release, `1.${newest.minor}.0-beta.1`, `1.${newest.minor}.99+build.5`];
		const others = ["1.3.23", "1.3.99-rc.1", `1.${next}.0`, `1.${next}.0-beta.1`, "1.99.0", "2.0.0", "2.4.0", "0.7.1"];
		const unreadable = [
			"",
			"1.7",
			"1.7.x",
			"v1.7.0",
			"1.7.0beta",
			"1..7.0",
			"1.7.25.1",
			"latest",
			undefined,
			null,
			1.7,
		];
		for (const version of [...tested, ...others, ...unreadable]) {
			const auth = { $context: $context.then((context) => ({ ...context, version })), api };
			const gate = sessionGate(auth, app.storage);
			assert.ok(await gate(headers));
			const full = tested.includes(version) ? {} : { version: 1 };
			assert.deepEqual(gate.stats().full, full, String(version));
		}
	});
});

describe("the gate reports", () => {
	test("a storage that is not Better Auth's", async (t) => {
		const app = await open(t);
		const other = redisStorage(redis.url);
		t.after(() => other.close());
		for (const wrong of [other, new RedisSessionStore(redis.url), undefined]) {
			await assert.rejects(sessionGate(app.auth, wrong)(""), {
				code: "INVALID_ARGUMENT",
				message: "storage: must be the same object as the secondaryStorage of betterAuth",
			});
		}
	});

	test("a wrong option by its name", async (t) => {
		const app = await open(t);
		const make = (options) => () => sessionGate(app.auth, app.storage, options);
		assert.throws(make({ onRefresh: "never" }), {
			code: "INVALID_ARGUMENT",
			message: 'onRefresh: must be "full" or "skip"',
		});
		assert.throws(make({ onrefresh: "skip" }), {
			message: 'unknown option "onrefresh"; sessionGate accepts onRefresh',
		});
		assert.throws(make(null), { code: "INVALID_ARGUMENT" });
		assert.throws(() => sessionGate(undefined, app.storage), { code: "INVALID_ARGUMENT", message: /^auth: / });
	});

	test("an outage of Redis by a rejected check, never by null", async (t) => {
		const store = { nearCache: false, commandTimeout: 300 };
		const app = await open(t, {}, { store });
		const headers = app.headers(await app.session());
		await app.gate(headers);
		await redis.pause();
		t.after(() => redis.resume());
		await assert.rejects(app.gate(headers), { name: "SessionStoreError", code: "TIMEOUT" });
		assert.equal(await app.gate("theme=dark"), null);
	});
});
