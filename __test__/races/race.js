// Worker processes that race: nobody goes on before all are there, each learns what the others brought, and what two of
// them do at a time begins a random moment apart.
//
// spawnWorkers has one barrier, before the work; a race needs one before each of its many rounds.

import { once } from "node:events";
import { spawnWorkers } from "../support/child.js";
import { rounds } from "../support/counts.js";

/**
 * Runs a worker file in `count` processes that may `meet()`.
 * @param {string} name of the file, in this folder
 * @param {number} count
 * @param {unknown} input what `ready()` returns in each
 * @returns {Promise<any[]>} what each reported
 */
export async function runWorkers(name, count, input) {
	const workers = await spawnWorkers(new URL(name, import.meta.url), count, {
		deadlineMs: rounds(60_000, 20 * 60_000),
	});
	const gifts = new Map();
	for (const child of workers.children) {
		child.on("message", ({ type, gift }) => {
			if (type !== "meet") return;
			gifts.set(child, gift);
			if (gifts.size < count) return;
			const message = { type, gifts: workers.children.map((worker) => gifts.get(worker)) };
			gifts.clear();
			for (const worker of workers.children) worker.send(message, () => {}); // one that has ended fails go()
		});
	}
	return workers.go(input);
}

/**
 * In a worker: waits until all are here.
 * @param {unknown} [gift] what the others are to know
 * @returns {Promise<any[]>} what each brought, in the order of the workers
 */
export async function meet(gift) {
	const met = once(process, "message");
	process.send({ type: "meet", gift });
	const [{ gifts }] = await met;
	return gifts;
}

/**
 * Lets a random, short while pass: from nothing to a few turns of the event loop.
 * @param {{ below(end: number): number }} random
 */
export async function stagger(random) {
	for (let steps = random.below(8); steps > 0; steps--) {
		await (random.below(2) ? undefined : new Promise(setImmediate));
	}
}

/** The time in ms by the machine's own clock, which is one for all of its processes. */
export function now() {
	return Number(process.hrtime.bigint()) / 1e6;
}

/** Adds up objects of numbers, arrays and such objects. */
export function sum(objects) {
	return objects.reduce((total, object) => {
		for (const [name, value] of Object.entries(object)) {
			if (typeof value === "number") total[name] = (total[name] ?? 0) + value;
			else if (Array.isArray(value)) total[name] = [...(total[name] ?? []), ...value];
			else total[name] = sum([total[name] ?? {}, value]);
		}
		return total;
	}, {});
}
