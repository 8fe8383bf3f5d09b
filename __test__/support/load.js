// A load whose every answer can be checked while connections break: each task works on keys of its own, so it knows what
// may lie there. An operation may fail, but only as UNAVAILABLE, and what was acknowledged must hold. Where Redis itself forgets (it
// evicts, or is replaced by an empty one) anything may be gone; but nothing older, nothing else and nothing that was ended is there.

import assert from "node:assert/strict";
import { fresh, session } from "./records.js";

/**
 * Runs tasks until it is told to stop.
 * @param {ReturnType<typeof import("./engines.js").open>} doors
 * @param {() => boolean} isOver
 * @param {string[]} [allowed] the codes with which an operation may fail
 * @param {{ forgets?: boolean, doneAt?: number[] }} [more] whether Redis may forget what it acknowledged; what is to tell, while it runs,
 * when operations were acknowledged, by `performance.now()`
 * @returns {Promise<Load>}
 *
 * @typedef {object} Load
 * @property {number} done how many operations were acknowledged
 * @property {number} failed how many failed
 * @property {Record<string, number>} codes with which code, how often
 * @property {number} longestMs of all, done or failed
 */
export async function load(
	{ storage, store },
	isOver,
	allowed = ["UNAVAILABLE"],
	{ forgets = false, doneAt = [] } = {},
) {
	const counts = { done: 0, failed: 0, codes: {}, longestMs: 0 };

	/** Resolves to `{ value }`, or to undefined when the operation failed in a way that is allowed. */
	const attempt = async (operation) => {
		const start = performance.now();
		try {
			const value = await operation;
			counts.done++;
			doneAt.push(performance.now());
			return { value };
		} catch (error) {
			assert.ok(allowed.includes(error.code), error.stack);
			counts.failed++;
			counts.codes[error.code] = (counts.codes[error.code] ?? 0) + 1;
		} finally {
			counts.longestMs = Math.max(counts.longestMs, performance.now() - start);
		}
	};

	/** One writer and three readers of a number that only rises. */
	async function versions() {
		const key = fresh("version");
		let [acknowledged, attempted] = [0, 0];
		const write = async () => {
			while (!isOver()) {
				attempted++;
				if (await attempt(storage.set(key, String(attempted), 60))) acknowledged = attempted;
			}
		};
		const read = async () => {
			let seen = 0;
			while (!isOver()) {
				const least = Math.max(acknowledged, seen);
				const found = await attempt(storage.get(key));
				if (!found || (forgets && found.value === null)) continue;
				const version = Number(found.value);
				assert.ok(version >= least && version <= attempted, `${least} <= ${version} <= ${attempted}`);
				seen = version;
			}
		};
		await Promise.all([write(), read(), read(), read()]);
	}

	/** Several callers of one counter: each number is given out once. */
	async function counter() {
		const key = fresh("counter");
		const given = new Set();
		let [calls, acknowledged] = [0, 0];
		const increment = async () => {
			while (!isOver()) {
				calls++;
				const found = await attempt(storage.increment(key, 3600));
				if (!found) continue;
				acknowledged++;
				assert.ok(forgets || !given.has(found.value), "a number was given out twice");
				given.add(found.value);
			}
		};
		await Promise.all([increment(), increment(), increment()]);
		const total = Number(await storage.get(key));
		if (forgets) return;
		assert.ok(total <= calls, `${calls} calls counted ${total}: one was carried out twice`);
		assert.ok(total >= acknowledged, `${acknowledged} were acknowledged, ${total} counted: one was lost`);
	}

	/** Two takers of each value: at most one gets it. */
	async function takes() {
		while (!isOver()) {
			const key = fresh("taken");
			if (!(await attempt(storage.set(key, key, 60)))) continue;
			const found = await Promise.all([1, 2].map(() => attempt(storage.getAndDelete(key))));
			const taken = found.filter((one) => one?.value === key);
			assert.ok(taken.length <= 1, "a value was taken twice");
			if (found.every(Boolean) && !forgets) assert.equal(taken.length, 1, "a value was taken by nobody");
		}
	}

	/** The life of one session after another, and that none of them comes back. */
	async function sessions() {
		const ended = [];
		while (!isOver()) {
			const mine = session();
			if (!(await attempt(store.createSession(mine)))) continue;
			const found = await attempt(store.getSession(mine.token));
			if (found && !(forgets && found.value === null)) assert.deepEqual(found.value, mine);
			const updated = await attempt(updateSession(mine.token, { note: 1 }));
			const listed = await attempt(store.getUserSessions(mine.userId));
			const isGone = forgets && listed?.value.length === 0;
			if (updated && listed && !isGone) assert.deepEqual(listed.value, [{ ...mine, note: 1 }]);
			if (!(await attempt(store.deleteSession(mine.token)))) continue;
			ended.push(mine.token);
			for (const token of new Set([mine.token, ended[ended.length >> 1]])) {
				const after = await attempt(store.getSession(token));
				if (after) assert.equal(after.value, null, "an ended session came back");
			}
		}
	}

	/** Where Redis forgets, there may be nothing to update. */
	function updateSession(token, updates) {
		const updating = store.updateSession(token, updates);
		return forgets ? updating.catch((error) => error.code !== "NOT_FOUND" && Promise.reject(error)) : updating;
	}

	await Promise.all([versions, counter, takes, sessions].flatMap((task) => [task(), task(), task()]));
	return counts;
}
