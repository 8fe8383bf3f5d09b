// docs/benchmarks.md, from the results as they are in the JSON file.

import { METRICS, medianAndSpread, rounded } from "./figures.js";
import { CONNECTIONS as HTTP_CONNECTIONS } from "./http.js";
import { CHECK_HEAD, checkRow } from "./report.js";
import { markdownTable } from "./table.js";

export function documentOf(results) {
	const parts = [
		intro,
		mustReach,
		reads,
		storeOperations,
		throughBetterAuth,
		wholeChecks,
		http,
		signIn,
		limits,
		memory,
		method,
	];
	return `${parts.map((part) => part(results)).join("\n\n")}\n`;
}

function intro({ date, command, machine, settings }) {
	return `# Benchmarks
Made by \`${command}\` on ${date.slice(0, 10)}; do not edit. Times on a shared machine say little by themselves. What counts are the
ratios, from one run in which all peers took turns. Each figure is the median of ${settings.rounds} rounds, with the least and the most of them.

![Reads of a 600 B session: throughput at 64 and at 512 in flight, and main-thread CPU per read](benchmarks.svg)

Machine: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}; client, worker threads and servers share the cores.`;
}

function mustReach({ checks }) {
	return `## What must be reached
Ratios of medians; in brackets, from round to round. Peers that answer from their own memory are left out: these are reads of Redis.

${markdownTable(CHECK_HEAD, checks.map(checkRow))}`;
}

function reads(results) {
	const workloads = results.workloads.filter(({ id }) => /^read-\d+$/.test(id));
	const metrics = ["throughput", "p50", "p99", "mainCpu", "processCpu", "serverCpu"];
	const tables = metrics.map((metric) => {
		const limit = metric === "throughput" ? [limitRow(results, workloads)] : [];
		return `### Read of a 600 B session: ${METRICS[metric].title}\n${matrix(results, workloads, metric, limit)}`;
	});
	return `## Reads\nBy how many are in flight. CPU times are per operation.\n\n${tables.join("\n\n")}`;
}

function limitRow({ limits }, workloads) {
	const figures = workloads.map(({ inFlight }) => ({ throughput: limits.redisBenchmark[inFlight] }));
	return ["*redis-benchmark, as the limit*", ...figures.map((figure) => medianAndSpread(figure, "throughput"))];
}

function storeOperations(results) {
	const workloads = results.workloads.filter(({ id, face }) => face === "store" && !/^read-\d+$/.test(id));
	return `## Other operations
${["throughput", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}

The 10,000 at once: p99 ${p99Of(results, "burst")}.`;
}

function throughBetterAuth(results) {
	const workloads = results.workloads.filter(({ face }) => face === "betterAuth");
	return `## Sessions through Better Auth
The calls of Better Auth's internal adapter, which its routes make. With a store, users come from a database that costs nothing.

${["throughput", "p50", "p99", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}`;
}

function wholeChecks(results) {
	const workloads = results.workloads.filter(({ face }) => face === "check");
	return `## A whole session check
From a request's headers to \`{ session, user }\`: the gate of this package; \`auth.api.getSession\` with the others.

${["throughput", "p50", "p99", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}`;
}

function http({ http }) {
	const rows = http.map(({ title, requests, p99 }) => [
		title,
		medianAndSpread({ throughput: requests }, "throughput"),
		`${rounded(p99.median)} ms`,
	]);
	return `## Behind HTTP
A server of node:http that answers each request with the name of its user, loaded by autocannon over ${HTTP_CONNECTIONS} connections; server and load
share the cores.

${markdownTable(["", "requests/s", "p99"], rows)}`;
}

function signIn(results) {
	const workloads = results.workloads.filter(({ face }) => face === "storage");
	const calls = results.signInCalls.map(([method, ...args]) => `${method}(${args.map(shortened).join(", ")})`);
	return `## A sign-in's store work
What Better Auth ${results.machine.betterAuth} asks of its secondary storage for a sign-in over HTTP, with rate limiting on as it is
in production; recorded once and replayed, one call after the other, for other users:

\`\`\`text
${calls.join("\n")}
\`\`\`

${byWorkload(results, workloads, "throughput")}`;
}

function shortened(argument) {
	const text = JSON.stringify(argument);
	return text.length > 60 ? `${text.slice(0, 57)}…"` : text;
}

function limits({ limits: { redisBenchmark, nativeCall, mapGet, parsedRecord } }) {
	const rows = Object.entries(redisBenchmark).map(([depth, summary]) => [
		`redis-benchmark: GET of 600 B, one connection, pipeline of ${depth}`,
		`${medianAndSpread({ throughput: summary }, "throughput")}/s`,
	]);
	rows.push(["a synchronous call of the addon that finds nothing to do", `${rounded(nativeCall.median)} ns`]);
	rows.push(["`Map.get` of a token", `${rounded(mapGet.median)} ns`]);
	rows.push(["`JSON.parse` of a record of 600 B, after two `Map.get`", `${rounded(parsedRecord.median)} ns`]);
	return `## Limits of this machine\n${markdownTable(["", "median"], rows)}`;
}

function memory(results) {
	const ids = ["read-512", "burst", "auth-burst"];
	const workloads = results.workloads.filter(({ id }) => ids.includes(id));
	return `## Memory
Resident MB of the peer's process after a workload, with what the benchmark itself holds in it. From the first operation through
Better Auth on, that is loaded too.

${matrix(results, workloads, "memory", [], ({ id }) => id)}`;
}

function method({ machine, peers, settings, command }) {
	const versions = [
		["Node.js", machine.node],
		["Redis", machine.redis],
		["Better Auth", machine.betterAuth],
		...peers.map(({ title, version, server }) => [title, server ? `${version}, server ${server}` : version]),
	];
	return `## How it is measured
\`${command}\`: one process per peer, all connected, one at work. Per workload every peer is warmed up for ${settings.warmUpMs} ms; then ${settings.rounds}
rounds of ${settings.roundMs} ms go through all peers in turns. So many loops as are in flight each wait for their own operation. Reads go over
1,000 sessions in a seeded random order. Main-thread CPU is the scheduler's figure for that thread, Redis' CPU that for the server's main
thread. Redis writes nothing to disk; PostgreSQL has its own defaults. A plain client does what a careful user would write
(\`bench/plain-store.js\`): a read is a GET, create and end change record and index in a MULTI, an update reads and writes back, a list is
ZRANGE and MGET. The official storage reads by itself; its other operations are Better Auth's internal adapter over it.

${markdownTable(["", "version"], versions)}`;
}

/** Peers down, workloads across. */
function matrix(results, workloads, metric, more = [], name = ({ inFlight }) => rounded(inFlight)) {
	const rows = asked(results, workloads).map((peer) => [
		peer.title,
		...workloads.map(({ id }) => medianAndSpread(results.cells[id][peer.id], metric)),
	]);
	return markdownTable(["", ...workloads.map(name)], [...rows, ...more]);
}

/** Workloads down, peers across. */
function byWorkload(results, workloads, metric) {
	const peers = asked(results, workloads);
	const rows = workloads.map(({ id, title, inFlight }) => [
		`${title} (${rounded(inFlight)})`,
		...peers.map((peer) => medianAndSpread(results.cells[id][peer.id], metric)),
	]);
	return markdownTable([`${METRICS[metric].title}, (in flight)`, ...peers.map(({ title }) => title)], rows);
}

function p99Of({ peers, cells }, workload) {
	const asked = peers.filter(({ id }) => cells[workload]?.[id]?.p99);
	return asked.map(({ title, id }) => `${title} ${rounded(cells[workload][id].p99.median / 1000)} ms`).join(", ");
}

function asked({ peers, cells }, workloads) {
	return peers.filter((peer) => workloads.some(({ id }) => cells[id][peer.id]));
}
