// The worker's side of spawnWorkers (child.js). A worker prepares, waits at the barrier, works, reports:
//
//   const input = await ready();
//   ...
//   await report(result);

import { once } from "node:events";

/** Which worker this is, from 0, and of how many. */
export const index = Number(process.env.WORKER_INDEX);
export const count = Number(process.env.WORKER_COUNT);

/** Tells that this worker is ready, and returns what the test gave to `go()` when all of them are. */
export async function ready() {
	const go = once(process, "message");
	process.send({ type: "ready" });
	const [{ input }] = await go;
	return input;
}

/**
 * Hands the result to the test. After that the process may be ended at any time.
 * @param {unknown} result
 */
export async function report(result) {
	await new Promise((resolve) => process.send({ type: "report", result }, resolve));
	process.disconnect();
}
