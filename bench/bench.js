// npm run bench: this store and its peers side by side, on servers of the benchmark's own.
//   --quick             a short round of everything, in under a minute; PostgreSQL only if it is installed
//   --write             also writes docs/benchmarks.md and docs/benchmarks.svg
//   --json FILE         where the results go (bench/results.json)
//   --only ID,ID        these peers only (bench/peers.js)
//   --workload WORD     only workloads with this word in their id (bench/workloads.js)

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startPostgres } from "../__test__/support/postgres.js";
import { startRedis } from "../__test__/support/redis.js";
import { getByApt } from "../scripts/apt.js";
import { findPostgres, root } from "../scripts/programs.js";
import { chartOf } from "./chart.js";
import { checks } from "./checks.js";
import { documentOf } from "./document.js";
import { measureHttp } from "./http.js";
import { mapGet, nativeCall, parsedRecord, redisBenchmark } from "./limits.js";
import { describeMachine, versionOf } from "./machine.js";
import { PeerHandle } from "./peer-handle.js";
import { peers as allPeers, offers } from "./peers.js";
import { sayChecks, sayHttp, sayLimits, sayWorkload } from "./report.js";
import { runWorkload } from "./rounds.js";
import { recordSignIn } from "./sign-in-recording.js";
import { workloads as allWorkloads } from "./workloads.js";

/** `bursts` is how often what runs once through its inputs is run; `mostInputs` bounds the costliest preparations. */
const FULL = { rounds: 7, warmUpMs: 300, roundMs: 300, bursts: 7, mostInputs: 100 };
const QUICK = { rounds: 1, warmUpMs: 20, roundMs: 40, bursts: 1, mostInputs: 8 };

const { values: flags } = parseArgs({
	options: {
		quick: { type: "boolean", default: false },
		write: { type: "boolean", default: false },
		json: { type: "string", default: join(root, "bench/results.json") },
		only: { type: "string" },
		workload: { type: "string", default: "" },
	},
});
if (process.platform !== "linux") throw new Error("the benchmark reads CPU times from /proc: it runs on Linux only");

const settings = flags.quick ? QUICK : FULL;
const chosen = flags.only?.split(",");
for (const id of chosen ?? []) {
	if (!allPeers.some((peer) => peer.id === id)) {
		throw new Error(`--only ${id}: the peers are ${allPeers.map((peer) => peer.id).join(", ")}`);
	}
}
const workloads = allWorkloads.filter(({ id }) => id.includes(flags.workload));
const peers = allPeers.filter(
	(peer) => (!chosen || chosen.includes(peer.id)) && workloads.some((workload) => offers(peer, workload)),
);
if (peers.length === 0) throw new Error(`--workload ${flags.workload}: no such workload, see bench/workloads.js`);

const began = performance.now();
const redis = await startRedis();
const flush = () => redis.cli("FLUSHALL");
const postgres = peers.some((peer) => peer.needsPostgres) ? await getPostgres() : undefined;
const signInCalls = await recordSignIn();
const { handles, unloaded } = await openPeers();

const cells = {};
for (const [index, workload] of workloads.entries()) {
	const asked = peers.filter((peer) => offers(peer, workload));
	const loaded = asked.filter((peer) => handles.has(peer.id));
	const measured = await runWorkload(
		{ ...workload, calls: signInCalls },
		loaded.map((peer) => ({ ...peer, handle: handles.get(peer.id) })),
		settings,
		flush,
	);
	cells[workload.id] = Object.fromEntries(asked.map(({ id }) => [id, measured[id] ?? { notRun: unloaded[id] }]));
	sayWorkload(index + 1, workloads.length, workload, peers, cells[workload.id]);
}
for (const handle of handles.values()) handle.end();

const limits = {
	redisBenchmark: await redisBenchmark(redis, settings),
	nativeCall: nativeCall(settings),
	mapGet: mapGet(settings),
	parsedRecord: parsedRecord(settings),
};
const http = chosen || flags.workload ? [] : await measureHttp(redis, settings);
await redis.stop();
await postgres?.stop?.();

const results = {
	date: new Date().toISOString(),
	command: ["npm run bench", ...(process.argv.length > 2 ? ["--"] : []), ...process.argv.slice(2)].join(" "),
	settings,
	machine: describeMachine(),
	peers: peers.map(({ id, title, package: name, answersFromMemory, needsPostgres }) => ({
		id,
		title,
		version: versionOf(name),
		...(answersFromMemory && { answersFromMemory }),
		...(needsPostgres && postgres.version && { server: postgres.version }),
	})),
	workloads: workloads.map(({ id, title, face, inFlight }) => ({ id, title, face, inFlight })),
	cells,
	signInCalls,
	http,
	limits,
};
results.checks = checks(results);

sayHttp(http);
sayLimits(limits);
sayChecks(results.checks);
writeFileSync(flags.json, `${JSON.stringify(results, null, "\t")}\n`);
console.log(`\nResults: ${flags.json}`);
if (flags.write) {
	writeFileSync(join(root, "docs/benchmarks.md"), documentOf(results));
	writeFileSync(join(root, "docs/benchmarks.svg"), chartOf(results));
	console.log("Written: docs/benchmarks.md, docs/benchmarks.svg");
}
console.log(`Took ${((performance.now() - began) / 1000).toFixed(0)} s.`);

/** A running server, or why there is none. */
async function getPostgres() {
	if (!findPostgres() && flags.quick) return { missing: "PostgreSQL is not installed; without --quick it would be" };
	try {
		getByApt(["postgresql"], "the benchmark");
		return await startPostgres();
	} catch (error) {
		return { missing: error.message };
	}
}

/** Every peer in a process of its own, connected; and the reasons of those that could not be. */
async function openPeers() {
	const handles = new Map();
	const unloaded = {};
	const open = async (peer) => {
		if (peer.needsPostgres && postgres.missing) {
			unloaded[peer.id] = postgres.missing;
			return;
		}
		const handle = new PeerHandle({
			peer,
			redis: { url: redis.url, host: redis.host, port: redis.port, pid: redis.pid },
			postgres: peer.needsPostgres ? { url: postgres.url } : undefined,
		});
		try {
			await handle.opened();
			handles.set(peer.id, handle);
		} catch (error) {
			handle.end();
			unloaded[peer.id] = `could not be loaded: ${error.message}`;
		}
	};
	await Promise.all(peers.map(open));
	for (const [id, reason] of Object.entries(unloaded)) console.log(`${id}: ${reason}`);
	return { handles, unloaded };
}
