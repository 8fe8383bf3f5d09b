// What bounds the figures on this machine: Redis driven by its own benchmark program in C, one call into a native
// addon and back, a look-up in a Map, a record parsed.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import * as native from "#native";
import { findProgram } from "../scripts/programs.js";
import { makeId, makeRecord, makeSession, randomFrom, users } from "./records.js";
import { summarize } from "./statistics.js";

const DEPTHS = [1, 8, 64, 512];
const KEYS = 1000;
const NO_HANDLE = 2 ** 32 - 1;

/**
 * GET of 600 B values by redis-benchmark. One connection with a pipeline of the depth, since every peer has one connection
 * with so many requests in flight. It sends a pipeline only when the one before is answered in full, and looks at no value:
 * about the most that one connection to this server gives.
 * @returns {Promise<Record<number, object>>} operations/s by depth
 */
export async function redisBenchmark(server, { rounds, roundMs }) {
	const program = findProgram("redis-benchmark", "valkey-benchmark");
	if (!program) throw new Error("redis-benchmark is not on the PATH (Debian: redis-tools)");
	const read = async (depth, requests) => {
		const load = ["-c", "1", "-P", depth, "-n", requests, "-r", KEYS, "--csv", "GET", "key:__rand_int__"];
		const { stdout } = await promisify(execFile)(program, ["-h", server.host, "-p", server.port, ...load].map(String));
		return Number(stdout.trim().split("\n").at(-1).split('","')[1]);
	};
	await server.cli("FLUSHALL");
	for (let i = 0; i < KEYS; i++) await server.cli("SET", `key:${String(i).padStart(12, "0")}`, "x".repeat(600));
	const throughput = {};
	for (const depth of DEPTHS) {
		const requests = Math.ceil(((await read(depth, 2000)) * roundMs) / 1000);
		const figures = [];
		for (let round = 0; round < rounds; round++) figures.push(await read(depth, requests));
		throughput[depth] = summarize(figures);
	}
	return throughput;
}

/** A synchronous call of the addon with one number, which finds nothing to do: ns per call. */
export function nativeCall(effort) {
	return timed(effort, () => native.close(NO_HANDLE));
}

/** `Map.get` of one of 1,000 tokens: ns per call. */
export function mapGet(effort) {
	const random = randomFrom(3);
	const tokens = Array.from({ length: KEYS }, () => makeId(random));
	const map = new Map(tokens.map((token) => [token, token]));
	let number = 0;
	return timed(effort, () => map.get(tokens[number++ % KEYS]));
}

/** The least that a cached session check could cost: two look-ups, and the record's text made an object: ns. */
export function parsedRecord(effort) {
	const session = makeSession(randomFrom(4), users[0].id);
	const cache = new Map([
		[session.token, makeRecord(session, users[0], { bytes: 600 })],
		[`revoked-sessions-before-${users[0].id}`, null],
	]);
	const mark = `revoked-sessions-before-${users[0].id}`;
	return timed(effort, () => cache.get(mark) ?? JSON.parse(cache.get(session.token)));
}

function timed({ rounds, roundMs }, call) {
	const BATCH = 1000;
	const round = () => {
		const start = performance.now();
		let calls = 0;
		let now = start;
		while (now - start < roundMs) {
			for (let i = 0; i < BATCH; i++) call();
			calls += BATCH;
			now = performance.now();
		}
		return ((now - start) * 1e6) / calls;
	};
	round(); // warm-up
	return summarize(Array.from({ length: rounds }, round));
}
