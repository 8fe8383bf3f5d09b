// What one server and clusters of several cost per operation and hold per session: the figures of docs/topologies.md.
//   node --expose-gc bench/topologies.js
//
// Everything shares this machine, so a cluster is no faster here than one server. CPU time per operation is what carries over: of all
// primaries together, and of this process with all its threads.

import { RedisSessionStore } from "better-auth-redis-store";
import { RedisCluster } from "../__test__/support/cluster.js";
import { RedisServer } from "../__test__/support/redis.js";
import { describeMachine } from "./machine.js";
import { measure, onCpuUs } from "./measure.js";
import { enlarged, makeId, makeSession, randomFrom } from "./records.js";
import { summarize } from "./statistics.js";
import { markdownTable } from "./table.js";

const ROUNDS = 5;
const SESSIONS = 40_000;
const BYTES = 600;
const IN_FLIGHT = 512;

const topologies = {
	"one server": () => alone(),
	"3 primaries": () => cluster(3, 0),
	"3 primaries, a replica each": () => cluster(3, 1),
	"6 primaries": () => cluster(6, 0),
};

/** Each is done to every session once. */
const operations = {
	create: { call: ({ plain }, session) => plain.createSession(session), holds: () => true },
	read: { call: ({ plain }, { token }) => plain.getSession(token), holds: (found) => found !== null },
	"first read, near cache": { call: ({ near }, { token }) => near.getSession(token), holds: (found) => found !== null },
	list: { call: ({ plain }, { userId }) => plain.getUserSessions(userId), holds: ({ length }) => length === 1 },
	end: { call: ({ plain }, { token }) => plain.deleteSession(token), holds: () => true },
};

const figures = {};
for (let round = 1; round <= ROUNDS; round++) {
	for (const [name, start] of Object.entries(topologies)) {
		console.error(`round ${round} of ${ROUNDS}: ${name}`);
		const place = await start();
		for (const [what, found] of Object.entries(await measureAll(place))) {
			figures[name] ??= {};
			figures[name][what] ??= [];
			figures[name][what].push(found);
		}
		await place.stop();
	}
}

const columns = Object.keys(Object.values(figures)[0]);
const median = (rounds, digits) => {
	const { median, least, most } = summarize(rounds);
	return `${median.toFixed(digits)} (${least.toFixed(digits)}–${most.toFixed(digits)})`;
};
const rows = columns.map((what) => [
	what,
	...Object.values(figures).map((of) => median(of[what], what.startsWith("bytes") ? 0 : 1)),
]);
const { cpu, cores, redis, node } = describeMachine();
console.log(`${cores} cores of ${cpu}, Redis ${redis}, Node ${node}; ${BYTES} B sessions, ${IN_FLIGHT} in flight\n`);
console.log(markdownTable(["median of rounds (least–most)", ...Object.keys(figures)], rows));

/** CPU time in µs by operation and side, and the memory that a session takes. */
async function measureAll({ primaries, options }) {
	const patient = { ...options, commandTimeout: 60_000 }; // the machine may be busy with something else
	const stores = {
		plain: new RedisSessionStore({ ...patient, nearCache: false }),
		near: new RedisSessionStore({ ...patient, nearCache: { maxBytes: 256 * 2 ** 20 } }),
	};
	await Promise.all(Object.values(stores).map((store) => store.ping()));
	const random = randomFrom(1);
	const inputs = Array.from({ length: SESSIONS }, () => enlarged(makeSession(random, makeId(random)), BYTES));
	const found = {};
	const memory = await usedMemory(primaries);
	for (const [name, { call, holds }] of Object.entries(operations)) {
		const before = serverCpu(primaries);
		const run = {
			inputs,
			cycle: false,
			inFlight: IN_FLIGHT,
			durationMs: 60_000,
			call: (one) => call(stores, one),
			holds,
		};
		const { operations: done, processCpu } = await measure(run);
		found[`${name}: primaries, µs`] = (serverCpu(primaries) - before) / done;
		found[`${name}: this process, µs`] = processCpu;
		if (name === "create") found["bytes of memory per session"] = ((await usedMemory(primaries)) - memory) / SESSIONS;
	}
	await Promise.all(Object.values(stores).map((store) => store.close()));
	return found;
}

/** Commands run on a server's main thread. */
function serverCpu(primaries) {
	return primaries.reduce((total, { pid }) => total + onCpuUs(`/proc/${pid}/task/${pid}/schedstat`), 0);
}

async function usedMemory(primaries) {
	const infos = await Promise.all(primaries.map((server) => server.cli("INFO", "memory")));
	return infos.reduce((total, info) => total + Number(/used_memory:(\d+)/.exec(info)[1]), 0);
}

async function alone() {
	const server = await new RedisServer().start();
	return { primaries: [server], options: { url: server.url }, stop: () => server.stop() };
}

async function cluster(primaries, replicas) {
	const all = await new RedisCluster({}, { primaries, replicas }).start();
	return { primaries: await all.primaries(), options: { cluster: all.nodes }, stop: () => all.stop() };
}
