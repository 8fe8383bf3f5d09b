// How the session checks of this server went. Next.js loads a file several times in one process (for proxy.ts, for pages, for routes), so what
// they count is gathered in one place.

import type { GateStats } from "better-auth-redis-store/gate";

interface Counting {
	stats(): GateStats;
}

const kept = globalThis as { gates?: Counting[] };
kept.gates ??= [];
const { gates } = kept;

/** Has the checks of a gate counted. */
export function counted<Gate extends Counting>(gate: Gate): Gate {
	gates.push(gate);
	return gate;
}

/** `fast` are those that the gates answered by themselves. */
export function checksSoFar(): { total: number; fast: number; full: Record<string, number> } {
	const full: Record<string, number> = {};
	let fast = 0;
	for (const stats of gates.map((gate) => gate.stats())) {
		fast += stats.fast + stats.refused.noCookie + stats.refused.badSignature;
		for (const [reason, times] of Object.entries(stats.full)) full[reason] = (full[reason] ?? 0) + times;
	}
	const total = Object.values(full).reduce((sum, times) => sum + times, fast);
	return { total, fast, full };
}
