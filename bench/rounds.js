// One workload over all peers, in turns: every peer is warmed up, then each round goes through all of them, beginning with
// another one each time. What disturbs the machine for a while then disturbs every peer alike.

import { summarize } from "./statistics.js";

/**
 * @typedef {Record<string, { median: number, least: number, most: number, rounds: number[] }>} Cell by metric: `throughput` in
 * operations/s; `p50`, `p99` in µs; `mainCpu`, `processCpu`, `serverCpu` in µs per operation; `memory` in bytes
 */

/**
 * @param {object} workload
 * @param {{ id: string, layout?: string, handle: import("./peer-handle.js").PeerHandle }[]} peers
 * @param {{ rounds: number, warmUpMs: number, roundMs: number, bursts: number, mostInputs: number }} effort
 * @param {() => Promise<void>} flush empties Redis
 * @returns {Promise<Record<string, Cell | { failed: string }>>} by the peer's id
 */
export async function runWorkload(workload, peers, effort, flush) {
	const runs = Object.fromEntries(peers.map(({ id }) => [id, []]));
	const failures = {};
	const mostInputs = workload.mostInputs && Math.min(workload.mostInputs, effort.mostInputs);
	const attempt = async (peer, work) => {
		if (failures[peer.id]) return;
		try {
			await work();
		} catch (error) {
			failures[peer.id] = { failed: error.message };
		}
	};
	const run = async ({ handle }, durationMs) => {
		if (workload.consumes) await flush();
		return handle.run({ durationMs, mostInputs });
	};

	await flush();
	const filled = new Set();
	for (const peer of peers) {
		await attempt(peer, async () => {
			await peer.handle.prepare({ workload, fill: !filled.has(peer.layout) });
			if (peer.layout) filled.add(peer.layout);
			if (workload.once) return; // its operation was warmed up by the workloads before it
			await run(peer, effort.warmUpMs);
			// The first run of what consumes its inputs was a short one, with few of them.
			if (workload.consumes) await run(peer, effort.warmUpMs);
		});
	}
	const rounds = workload.once ? effort.bursts : effort.rounds;
	for (let round = 0; round < rounds; round++) {
		const first = round % peers.length;
		for (const peer of [...peers.slice(first), ...peers.slice(0, first)]) {
			await attempt(peer, async () => runs[peer.id].push(await run(peer, effort.roundMs)));
		}
	}
	return Object.fromEntries(peers.map(({ id }) => [id, failures[id] ?? cellOf(runs[id])]));
}

function cellOf(runs) {
	const { operations: _, ...metrics } = runs[0];
	return Object.fromEntries(Object.keys(metrics).map((name) => [name, summarize(runs.map((run) => run[name]))]));
}
