// What Better Auth asks of its secondary storage when an existing user signs in: recorded once from a real sign-in
// over HTTP with rate limiting on, as it is in production. sign-in.js replays it.

import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { LIFE_S } from "./records.js";
import { replaced } from "./sign-in.js";

const ORIGIN = "http://localhost:3000";
const ADDRESS = "203.0.113.7";

/**
 * The calls in order, each as its method and its arguments, with `{token}`, `{user}`, `{ip}` and the times as place holders.
 * @returns {Promise<[method: string, ...args: unknown[]][]>}
 */
export async function recordSignIn() {
	const calls = [];
	const auth = betterAuth({
		baseURL: ORIGIN,
		secret: "f3hK9sQ2vLx7PzR4mTn8WbYc6JdGa1Ue5",
		database: memoryAdapter({ user: [], session: [], account: [], verification: [] }),
		secondaryStorage: recording(calls),
		rateLimit: { enabled: true },
		telemetry: { enabled: false },
		emailAndPassword: { enabled: true, autoSignIn: false },
	});
	const email = "user@example.com";
	const password = "correct horse battery staple";
	await post(auth, "/sign-up/email", { name: "A user", email, password });
	calls.length = 0;
	await post(auth, "/sign-in/email", { email, password });

	const { session, ttl } = calls.map(recordIn).find(Boolean);
	if (Math.abs(ttl - LIFE_S) > 60)
		throw new Error(`Better Auth's sessions live ${ttl} s, those of the benchmark ${LIFE_S} s`);
	const places = [
		[session.token, "{token}"],
		[session.userId, "{user}"],
		[ADDRESS, "{ip}"],
		[session.createdAt, "{createdAt}"],
		[session.expiresAt, "{expiresAt}"],
		[String(Date.parse(session.expiresAt)), "{expiresAtMs}"],
	];
	return calls.map((call) => replaced(call, places));
}

/** The session that a call sets, if it sets one, and its life. */
function recordIn([method, key, value, ttl]) {
	if (method !== "set" || !value.startsWith("{")) return undefined;
	const { session } = JSON.parse(value);
	return session?.token === key ? { session, ttl } : undefined;
}

/** A storage in memory that writes down how it is called. */
function recording(calls) {
	const values = new Map();
	const take = (key) => {
		const value = values.get(key) ?? null;
		values.delete(key);
		return value;
	};
	const methods = {
		get: (key) => values.get(key) ?? null,
		set: (key, value) => void values.set(key, value),
		delete: (key) => void values.delete(key),
		getAndDelete: take,
		increment: (key) => {
			values.set(key, (values.get(key) ?? 0) + 1);
			return values.get(key);
		},
	};
	return Object.fromEntries(
		Object.entries(methods).map(([name, method]) => [
			name,
			async (...args) => {
				calls.push([name, ...args]);
				return method(...args);
			},
		]),
	);
}

async function post(auth, path, body) {
	const headers = { "content-type": "application/json", origin: ORIGIN, "x-forwarded-for": ADDRESS };
	const request = new Request(`${ORIGIN}/api/auth${path}`, { method: "POST", headers, body: JSON.stringify(body) });
	const response = await auth.handler(request);
	if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
}
