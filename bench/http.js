// Requests per second of a small HTTP server: without a check, with the gate, with auth.api.getSession.

import { fork } from "node:child_process";
import { once } from "node:events";
import autocannon from "autocannon";
import { headersFor, makeRecord, makeSession, randomFrom, users } from "./records.js";
import { summarize } from "./statistics.js";

export const CONNECTIONS = 64;
const SESSIONS = 1000;

/** What each server does to know its user: the first is the limit. */
const servers = [
	{ id: "none", title: "no check" },
	{ id: "gate", title: "the gate" },
	{ id: "ours", title: "auth.api.getSession, better-auth-redis-store" },
	{ id: "official", title: "auth.api.getSession, @better-auth/redis-storage" },
];

/**
 * @param {import("../__test__/support/redis.js").RedisServer} redis
 * @param {{ rounds: number, roundMs: number }} effort
 * @returns {Promise<{ title: string, requests: object, p99: object }[]>} requests/s and ms
 */
export async function measureHttp(redis, { rounds, roundMs }) {
	await redis.cli("FLUSHALL");
	const random = randomFrom(5);
	const records = Array.from({ length: SESSIONS }, (_, n) => {
		const session = makeSession(random, users[n].id);
		return { token: session.token, json: makeRecord(session, users[n], { bytes: 600 }) };
	});
	const requests = records.map(({ token }) => ({ headers: Object.fromEntries(headersFor(token)) }));
	const running = [];
	for (const server of servers) {
		const child = fork(new URL("http-server.js", import.meta.url), { env: { ...process.env, BENCH_HTTP: server.id } });
		child.send({ url: redis.url, records });
		const [{ port }] = await once(child, "message");
		running.push({ ...server, child, port, runs: [] });
	}
	const load = (port, duration) =>
		autocannon({ url: `http://127.0.0.1:${port}/`, connections: CONNECTIONS, duration, requests });
	for (const { port } of running) await load(port, roundMs / 1000);
	// Longer rounds than of calls within a process: autocannon counts by the second.
	for (let round = 0; round < rounds; round++) {
		for (const { port, runs } of running) runs.push(await load(port, Math.max(0.2, roundMs / 100)));
	}
	for (const { child } of running) child.disconnect();
	return running.map(({ title, runs }) => {
		const failed = runs.reduce((sum, run) => sum + run.errors + run.timeouts + run.non2xx, 0);
		if (failed > 0) throw new Error(`${title}: ${failed} requests failed`);
		return {
			title,
			requests: summarize(runs.map((run) => run.requests.total / run.duration)),
			p99: summarize(runs.map((run) => Math.max(run.latency.p99, 0.1))),
		};
	});
}
