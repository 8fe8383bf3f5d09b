// A primary that fails under load: what a store answers meanwhile, and how soon it works with the new one.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { inMs, measured } from "./measured.js";
import { session } from "./records.js";

/** How long an operation of the stores may take (`commandTimeout` 1 s, and what a busy machine adds). */
const LONGEST_MS = 1500;
/** From the election to the first success. */
const BACK_WITHIN_MS = 3000;

/**
 * Lets a primary fail and another be elected.
 * @param {import("node:test").TestContext} t
 * @param {ReturnType<typeof import("./engines.js").open>} doors
 * @param {object} ground
 * @param {() => Promise<() => unknown>} ground.fail makes it fail; what it resolves to makes it well again
 * @param {() => Promise<unknown>} ground.elected resolves when there is another
 * @param {() => string | Promise<string>} ground.key a fresh key that the new one holds
 * @param {(key: string) => Promise<string | null>} ground.read what the new one holds under a key of the store's
 * @returns {Promise<() => unknown>} what makes the old one well again
 */
export async function failsOver(t, { storage, store }, { fail, elected, key, read }) {
	let over = false;
	const errors = [];
	const sessions = [];
	let longestMs = 0;
	// What a failover loses is Redis' own: the load looks at what each answer says, not at what was acknowledged before.
	const work = async () => {
		while (!over) {
			const mine = session();
			const asked = performance.now();
			const done = await store.createSession(mine).then(
				() => true,
				(error) => void errors.push(error),
			);
			longestMs = Math.max(longestMs, performance.now() - asked);
			if (done) sessions.push([mine.token, performance.now()]);
			await sleep(5);
		}
	};
	const working = Promise.all(Array.from({ length: 8 }, work));
	const heal = await fail();
	await elected();
	const at = performance.now();
	const first = async () => {
		for (;;) {
			const fresh = await key();
			const done = await storage.set(fresh, "value", 60).then(
				() => true,
				() => false,
			);
			if (done && (await read(fresh)) === "value") return performance.now() - at;
			assert.ok(performance.now() - at < BACK_WITHIN_MS, "the new primary is not in use");
		}
	};
	const backMs = await first();
	const since = performance.now();
	await sleep(500);
	over = true;
	await working;
	for (const { code } of errors) assert.ok(["UNAVAILABLE", "TIMEOUT", "READONLY"].includes(code), code);
	const kept = sessions.filter(([, when]) => when > since);
	assert.ok(kept.length > 10);
	for (const [token] of kept) assert.notEqual(await store.getSession(token), null);
	const codes = [...new Set(errors.map(({ code }) => code))].join(", ");
	const [suite, name] = t.fullName.split(" > ");
	measured(suite, {
		"what happens": name.split(":")[0],
		errors: codes || "none",
		"done, failed": `${sessions.length}, ${errors.length}`,
		"longest operation": inMs(longestMs),
		"first success after the election": inMs(backMs),
	});
	assert.ok(longestMs < LONGEST_MS, `an operation took ${longestMs} ms`);
	t.diagnostic(`in use ${backMs.toFixed(0)} ms after the election; ${sessions.length} done, ${errors.length} failed`);
	return heal;
}
