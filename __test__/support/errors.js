// What every error of this package must be, whatever caused it; and every operation, to have it fail.

import assert from "node:assert/strict";
import { inspect } from "node:util";
import { SessionStoreError } from "better-auth-redis-store";
import { session, signIn } from "./records.js";

/** What must never be told. Every argument and every credential of these tests is made of one of them. */
export const SECRETS = {
	token: "tokenHUSHtoken",
	key: "keyHUSHkey",
	value: "valueHUSHvalue",
	user: "userHUSHuser",
	password: "passwordHUSHpassword",
};

/** Fails when an error tells a secret, by any road that a log takes. */
export function assertNoSecret(error) {
	const told = [
		error.message,
		error.stack,
		String(error),
		JSON.stringify(error),
		inspect(error, { depth: 20, showHidden: true }),
	];
	for (let cause = error.cause; cause; cause = cause.cause) told.push(inspect(cause, { depth: 20 }));
	for (const text of told) assert.doesNotMatch(text, /hush/i, "a secret is told");
}

/**
 * Fails unless a call rejects with a SessionStoreError that has this code and this message.
 * @param {() => unknown} call
 * @param {string | string[]} code
 * @param {RegExp} [message]
 */
export async function assertRejects(call, code, message = /./) {
	const promise = call();
	assert.ok(promise instanceof Promise, "it threw, or returned no promise");
	const outcome = await promise.then(
		() => assert.fail(`resolved: ${call}`),
		(error) => error,
	);
	assertError(outcome, code, message);
}

/** Fails unless it is a SessionStoreError that has this code and this message, and tells no secret. */
export function assertError(error, code, message) {
	assert.ok(error instanceof SessionStoreError, inspect(error));
	assert.equal(error.name, "SessionStoreError");
	assert.ok([code].flat().includes(error.code), `${error.code}: ${error.message}`);
	assert.match(error.message, message);
	assertNoSecret(error);
}

/** Every operation, with nothing but secrets in it. */
export const operations = {
	get: ({ storage }) => storage.get(SECRETS.key),
	"get of the list": ({ storage }) => storage.get(`active-sessions-${SECRETS.user}`),
	set: ({ storage }) => storage.set(SECRETS.key, SECRETS.value, 60),
	"set without ttl": ({ storage }) => storage.set(SECRETS.key, SECRETS.value),
	"set of a session": ({ storage }) => signIn(storage, secretSession()),
	"set of a time of revocation": ({ storage }) => storage.set(`revoked-sessions-before-${SECRETS.user}`, "5", 60),
	delete: ({ storage }) => storage.delete(SECRETS.key),
	"delete of the list": ({ storage }) => storage.delete(`active-sessions-${SECRETS.user}`),
	getAndDelete: ({ storage }) => storage.getAndDelete(SECRETS.key),
	increment: ({ storage }) => storage.increment(SECRETS.key, 60),
	listKeys: ({ storage }) => storage.listKeys(),
	clear: ({ storage }) => storage.clear(),
	ping: ({ storage }) => storage.ping(),
	createSession: ({ store }) => store.createSession(secretSession()),
	getSession: ({ store }) => store.getSession(SECRETS.token),
	getSessionWithUser: ({ store }) => store.getSessionWithUser(SECRETS.token),
	updateSession: ({ store }) => store.updateSession(SECRETS.token, { note: SECRETS.value }),
	deleteSession: ({ store }) => store.deleteSession(SECRETS.token),
	deleteUserSessions: ({ store }) => store.deleteUserSessions(SECRETS.user, { except: SECRETS.token }),
	getUserSessions: ({ store }) => store.getUserSessions(SECRETS.user),
	cleanupExpiredSessions: ({ store }) => store.cleanupExpiredSessions(),
};

export const secretSession = () => session({ token: SECRETS.token, userId: SECRETS.user, note: SECRETS.value });

/**
 * Every key of a server, with what it holds.
 * @param {import("./redis.js").RedisServer} server
 */
export async function contents(server) {
	const keys = (await server.cli("KEYS", "*")).sort();
	return Promise.all(keys.map(async (key) => [key, (await server.cliBuffer("DUMP", key)).toString("hex")]));
}
