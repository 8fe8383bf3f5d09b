// One timed run in a peer's process: so many loops that each wait for their own operation, the clock read once between
// two operations. That one reading ends an operation and begins the loop's next, so timing every operation costs no
// more than watching the deadline does.

import { readFileSync } from "node:fs";
import { quantile } from "./statistics.js";

/** The last so many latencies are kept; a ring, written before it is used, so that its memory is there from the start. */
const latencies = new Float64Array(2 ** 18).fill(1);

/**
 * @param {object} run
 * @param {unknown[]} run.inputs what the operations are called with, in order
 * @param {boolean} run.cycle goes through the inputs again and again; else the run ends with the last of them
 * @param {number} run.inFlight
 * @param {number} run.durationMs no operation begins later
 * @param {(input: unknown) => Promise<unknown>} run.call
 * @param {(result: unknown, input: unknown) => boolean} run.holds whether an operation did what it had to
 * @param {number | undefined} serverPid the process whose main thread serves the operations
 */
export async function measure({ inputs, cycle, inFlight, durationMs, call, holds }, serverPid) {
	const limit = cycle ? Number.POSITIVE_INFINITY : inputs.length;
	let begun = 0;
	let ended = 0;
	globalThis.gc();
	const cpuBefore = cpuTimes(serverPid);
	const start = performance.now();
	let deadline = start + durationMs;
	const loop = async () => {
		for (let last = start; last < deadline && begun < limit; ) {
			const input = inputs[begun++ % inputs.length];
			const result = await call(input);
			if (!holds(result, input)) throw new Error(`an operation came to ${JSON.stringify(result)?.slice(0, 200)}`);
			const now = performance.now();
			latencies[ended++ % latencies.length] = now - last;
			last = now;
		}
	};
	const stop = (error) => {
		deadline = 0; // the other loops, too: a failed run must not go on into the next one's time
		throw error;
	};
	const loops = await Promise.allSettled(Array.from({ length: inFlight }, () => loop().catch(stop)));
	const elapsedMs = performance.now() - start;
	const cpuAfter = cpuTimes(serverPid);
	const failed = loops.find(({ status }) => status === "rejected");
	if (failed) throw failed.reason;
	const ascending = latencies.slice(0, Math.min(ended, latencies.length)).sort();
	const cpuPerOperation = (name) => (cpuAfter[name] - cpuBefore[name]) / ended;
	return {
		operations: ended,
		throughput: (ended / elapsedMs) * 1000,
		p50: quantile(ascending, 0.5) * 1000,
		p99: quantile(ascending, 0.99) * 1000,
		mainCpu: cpuPerOperation("main"),
		processCpu: cpuPerOperation("process"),
		...(serverPid && { serverCpu: cpuPerOperation("server") }),
	};
}

/** CPU time so far, in µs: of this thread, of this process with all its threads, of the server's main thread. */
function cpuTimes(serverPid) {
	const { user, system } = process.cpuUsage();
	return {
		main: onCpuUs(`/proc/self/task/${process.pid}/schedstat`),
		process: user + system,
		server: serverPid && onCpuUs(`/proc/${serverPid}/task/${serverPid}/schedstat`),
	};
}

/** How long a thread has been on a CPU, in µs, by its schedstat file: the first number there, in ns. */
export function onCpuUs(path) {
	return Number.parseInt(readFileSync(path, "latin1"), 10) / 1000;
}
