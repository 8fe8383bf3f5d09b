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
\`${command}\` wrote this page on ${date.slice(0, 10)}. Do not edit it.

- Compare ratios, not absolute times: this is a shared machine. All peers took turns in one run.
- Each figure is the median of ${settings.rounds} rounds, with the smallest and the largest round in brackets.
- Client, worker threads and servers share the cores: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}.

![Reads of a 600 B session: throughput at 64 and at 512 in flight, and main-thread CPU per read](benchmarks.svg)`;
}

function mustReach({ checks }) {
	return `## Targets
Ratios of medians, with the range over the rounds in brackets. Rows of uncached reads compare only peers that read from Redis, not those with a local cache.

${markdownTable(CHECK_HEAD, checks.map(checkRow))}`;
}

function reads(results) {
	const workloads = results.workloads.filter(({ id }) => /^read-\d+$/.test(id));
	const metrics = ["throughput", "p50", "p99", "mainCpu", "processCpu", "serverCpu"];
	const tables = metrics.map((metric) => {
		const limit = metric === "throughput" ? [limitRow(results, workloads)] : [];
		return `### Read of a 600 B session: ${METRICS[metric].title}\n${matrix(results, workloads, metric, limit)}`;
	});
	return `## Reads\nThe columns are the number of reads in flight. CPU times are per operation.\n\n${tables.join("\n\n")}`;
}

function limitRow({ limits }, workloads) {
	const figures = workloads.map(({ inFlight }) => ({ throughput: limits.redisBenchmark[inFlight] }));
	return ["*redis-benchmark, as the limit*", ...figures.map((figure) => medianAndSpread(figure, "throughput"))];
}

function storeOperations(results) {
	const workloads = results.workloads.filter(({ id, face }) => face === "store" && !/^read-\d+$/.test(id));
	return `## Other operations
${["throughput", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}

### p99 of 10,000 operations at once
${markdownTable(["peer", "p99"], p99Of(results, "burst"))}`;
}

function throughBetterAuth(results) {
	const workloads = results.workloads.filter(({ face }) => face === "betterAuth");
	return `## Sessions through Better Auth
The calls are those of Better Auth's internal adapter, as its routes make them. With a store, the users come from a database stub that costs nothing.

${["throughput", "p50", "p99", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}`;
}

function wholeChecks(results) {
	const workloads = results.workloads.filter(({ face }) => face === "check");
	return `## A whole session check
From a request's headers to \`{ session, user }\`. This package uses its gate, the other peers use \`auth.api.getSession\`.

${["throughput", "p50", "p99", "mainCpu"].map((metric) => byWorkload(results, workloads, metric)).join("\n\n")}`;
}

function http({ http }) {
	const rows = http.map(({ title, requests, p99 }) => [
		title,
		medianAndSpread({ throughput: requests }, "throughput"),
		`${rounded(p99.median)} ms`,
	]);
	return `## Behind HTTP
A node:http server answers each request with the name of its user. autocannon sends the requests over ${HTTP_CONNECTIONS} connections, on the same cores.

${markdownTable(["server", "requests/s", "p99"], rows)}`;
}

function signIn(results) {
	const workloads = results.workloads.filter(({ face }) => face === "storage");
	const calls = results.signInCalls.map(([method, ...args]) => `${method}(${args.map(shortened).join(", ")})`);
	return `## A sign-in's store work
For one sign-in over HTTP, Better Auth ${results.machine.betterAuth} makes these calls to its secondary storage. Rate limiting is on, as in production. The benchmark recorded the
calls once, and replays them one after the other for other users:

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
	return `## Limits of this machine\n${markdownTable(["operation", "median"], rows)}`;
}

function memory(results) {
	const ids = ["read-512", "burst", "auth-burst"];
	const workloads = results.workloads.filter(({ id }) => ids.includes(id));
	return `## Memory
Resident MB of the peer's process after a workload, including the benchmark's own data. The process loads Better Auth at the first
operation through it, and that memory counts from then on.

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
\`${command}\` starts one process per peer. All are connected, and one works at a time.

- **Rounds:** for each workload, every peer warms up for ${settings.warmUpMs} ms. Then ${settings.rounds} rounds of ${settings.roundMs} ms go through all peers in turn.
- **In flight:** each loop waits for its own operation, and there are as many loops as operations in flight.
- **Reads** go over 1,000 sessions in a seeded random order.
- **CPU:** main-thread CPU is the scheduler's figure for that thread. Redis' CPU is that of the server's main thread.
- **Servers:** Redis writes nothing to disk. PostgreSQL has its defaults.
- **Plain clients** run the code of a careful user (\`bench/plain-store.js\`). A read is a GET. Create and end change record and index in a MULTI.
  An update reads and writes back. A list is ZRANGE and MGET.
- **The official storage** reads by itself. Its other operations are Better Auth's internal adapter over it.

${markdownTable(["program", "version"], versions)}`;
}

/** Peers down, workloads across. */
function matrix(results, workloads, metric, more = [], name = ({ inFlight }) => rounded(inFlight)) {
	const rows = asked(results, workloads).map((peer) => [
		peer.title,
		...workloads.map(({ id }) => medianAndSpread(results.cells[id][peer.id], metric)),
	]);
	return markdownTable(["peer", ...workloads.map(name)], [...rows, ...more]);
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
	return asked.map(({ title, id }) => [title, `${rounded(cells[workload][id].p99.median / 1000)} ms`]);
}

function asked({ peers, cells }, workloads) {
	return peers.filter((peer) => workloads.some(({ id }) => cells[id][peer.id]));
}
