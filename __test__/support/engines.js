// The engines that the contract holds for, each with a way to data that no other test has.

import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { fresh } from "./records.js";

/**
 * @typedef {import("better-auth-redis-store").StoreOptions} StoreOptions
 *
 * @typedef {object} Engine
 * @property {string} name
 * @property {() => StoreOptions} empty options of a store that holds nothing; called while a test runs
 */

/** @type {Engine} */
export const memoryEngine = {
	name: "memory",
	empty: () => ({ url: `memory://${fresh("contract")}` }),
};

/**
 * Redis, in whatever form.
 * @param {string} name
 * @param {() => StoreOptions} where what a store is given to connect; called while a test runs
 * @param {{ keys?: string, users?: string }} [prefixes] what those of the data begin with
 * @returns {Engine}
 */
export function redisEngine(name, where, prefixes) {
	return { name, empty: () => ({ ...where(), ...emptyKeyspace(prefixes) }) };
}

/** Prefixes that nobody else has. */
function emptyKeyspace({ keys = "", users = "" } = {}) {
	return {
		keyPrefix: `${keys}${fresh("key")}:`,
		userPrefix: `${users}${fresh("index")}:`,
		commandTimeout: 20_000, // many tests at once on a busy machine: what it is about is not the time
	};
}

/**
 * Both faces of one store, closed when the test ends.
 * @param {import("node:test").TestContext} t
 * @param {StoreOptions} options
 */
export function open(t, options) {
	const storage = redisStorage(options);
	const store = new RedisSessionStore(options);
	t.after(() => Promise.all([storage.close(), store.close()]));
	return { storage, store };
}
