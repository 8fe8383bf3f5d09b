// The gate answers what auth.api.getSession answers: generated settings, sessions and cookies, on each release of Better Auth.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { App, releases } from "./apps.js";
import { cookieHeader, DELETED, requests, settingsOf } from "./arbitraries.js";

/** Of each application, at most. */
const REQUESTS = 12;

const random = seeded("equality");
const redis = redisPerFile();
let number = 0;

describe("the gate answers as auth.api.getSession does", () => {
	for (const release of releases) {
		test(`Better Auth ${release.release}`, async (t) => {
			// Better Auth's own logger tells of every text that is no JSON.
			t.mock.method(console, "error", () => {});
			const reasons = {};
			let checks = 0;
			const property = fc.asyncProperty(
				settingsOf,
				fc.array(requests, { minLength: 1, maxLength: REQUESTS, size: "max" }),
				async (settings, list) => {
					// The records have users like no row: without a row they stay as they are.
					const loadUser = async () => null;
					const app = await App.open(release, redis.url, settings, { store: { loadUser } });
					const store = { keyPrefix: "other:", userPrefix: "others:", loadUser };
					const other = await App.open(release, redis.url, settings, { like: app, store });
					try {
						for (const request of list) await assertSame(app, other, request);
					} finally {
						const { fast, refused, full } = app.gate.stats();
						checks += fast + Object.values({ ...refused, ...full }).reduce((sum, n) => sum + n, 0);
						for (const [reason, n] of Object.entries({ fast, ...refused, ...full })) {
							reasons[reason] = (reasons[reason] ?? 0) + n;
						}
						await app.close();
						await other.close();
					}
				},
			);
			const seed = random.below(2 ** 31);
			await fc.assert(property, {
				seed,
				numRuns: rounds(150, 1500),
				endOnFailure: false,
				interruptAfterTimeLimit: 250_000,
			});
			t.diagnostic(`fast-check's seed ${seed}; ${checks} checks: ${JSON.stringify(reasons)}`);
			for (const reason of [
				"fast",
				"noCookie",
				"badSignature",
				"noSession",
				"expired",
				"refresh",
				"sessionData",
				"unreadable",
				"hooks",
			]) {
				assert.ok(reasons[reason] > 0, `no case was ${reason}`);
			}
		});
	}
});

/** Asks the gate of one application and Better Auth of the other, twice, because a look may change what lies there. */
async function assertSame(own, other, request) {
	const token = `t${++number}-${request.token}`;
	const now = new Date(); // The store creates no session that is older.
	for (const app of [own, other]) await prepare(app, token, request, now);
	const call = callOf(own, token, request);
	for (let look = 0; look < 2; look++) {
		const got = await outcome(() => own.gate(asked(request, call)));
		const wanted = await outcome(() => other.auth.api.getSession(call));
		alignTimes(got, wanted);
		assert.equal(all(got), all(wanted));
	}
}

/** The argument of auth.api.getSession. */
function callOf(app, token, request) {
	const headers = new Headers({ cookie: cookieHeader(app.cookies, token, request) });
	if (request.authorization) {
		headers.set(
			"authorization",
			request.authorization === "token" ? `Bearer ${encodeURI(token)}` : request.authorization,
		);
	}
	if (request.nosy) headers.set("x-nosy", number % 2 ? "before" : "after");
	return request.as === "call" ? { headers, query: { disableRefresh: true } } : { headers };
}

/** The request in the form in which the gate is asked. */
function asked({ as }, call) {
	const { headers } = call;
	if (as === "call") return call;
	if (as === "request") return new Request("http://localhost:3000/page", { headers });
	// A text has no other headers.
	return as === "text" && [...headers.keys()].length === 1 ? headers.get("cookie") : headers;
}

async function outcome(run) {
	try {
		return { value: await run() };
	} catch (error) {
		return { error: error.message, status: error.status };
	}
}

function all(value) {
	return inspect(value, { depth: null, sorted: true, maxStringLength: null, maxArrayLength: null });
}

/** What is extended twice gets times that differ by what lies between. */
function alignTimes(got, wanted) {
	for (const name of ["expiresAt", "updatedAt"]) {
		const [one, other] = [got.value?.session?.[name], wanted.value?.session?.[name]];
		if (one && other && Math.abs(one - other) < 900) got.value.session[name] = other;
	}
}

/** Brings a session into the state that a request finds. */
async function prepare(app, token, { life, fate, alterations }, createdAt) {
	const { keyPrefix = "session:" } = app.store;
	const expiresAt = new Date(createdAt.getTime() + life * 1000);
	const userId = fate.includes("all") || fate.includes("before") ? `user-${token}` : app.record.session.userId;
	const session = { ...app.record.session, token, userId, expiresAt, createdAt, updatedAt: createdAt };

	if (fate === "never was") return;
	if (fate === "only in the database") {
		app.rows.session.push({ ...session, id: `id-${token}` });
		return;
	}
	if (fate === "all revoked")
		await app.redis.set(`${keyPrefix}revoked-sessions-before-${userId}`, String(createdAt.getTime() + 1000));
	if (fate === "revoked before it began") {
		await app.redis.set(`${keyPrefix}revoked-sessions-before-${userId}`, String(createdAt.getTime()));
	}
	const text = altered({ ...app.record, session }, alterations);
	const isOrdinary = life > 0 && Object.keys(alterations).every((name) => name === "session" || name === "user");
	const isDated = !("createdAt" in (alterations.session ?? {}));
	if (isOrdinary && isDated && alterations.user !== null) await app.writer.set(token, text, life);
	else await app.redis.set(keyPrefix + token, text, "EX", 600);
	if (fate === "revoked") await app.storage.delete(token);
}

function altered({ session, user }, alterations) {
	if ("text" in alterations) return alterations.text;
	if (alterations.isFlat) return JSON.stringify(session);
	if (alterations.isArray) return JSON.stringify({ session: [session], user: [user] });
	if (alterations.userIsGone) return JSON.stringify({ session });
	if (alterations.user === null) return JSON.stringify({ session, user: null });
	if (alterations.proto) return JSON.stringify({ session, user }).replace('"name"', '"__proto__":{"a":1},"name"');
	return JSON.stringify({ session: mixed(session, alterations.session), user: mixed(user, alterations.user) });
}

function mixed(half, fields = {}) {
	const mixed = { ...half, ...fields };
	return Object.fromEntries(Object.entries(mixed).filter(([, value]) => value !== DELETED));
}
