// Counts the commands that an idle process sends, for docs/idle.md. It takes 25 minutes, mostly without load.
//   node bench/idle.js

import { setTimeout as sleep } from "node:timers/promises";
import { redisStorage } from "better-auth-redis-store";
import { RedisCluster } from "../__test__/support/cluster.js";
import { startProxy } from "../__test__/support/proxy.js";
import { RedisServer } from "../__test__/support/redis.js";
import { markdownTable } from "./table.js";

/** Until the slowest setting has come to rest, and for how long it is counted. */
const SETTLING_S = 240;
const COUNTED_S = 1200;
const MONTH_S = 30 * 24 * 3600;

const settings = {
	"the defaults": {},
	"`nearCache: false`": { nearCache: false },
	"`heartbeatMs: 10000`": { heartbeatMs: 10_000, nearCache: { maxStalenessMs: 15_000 } },
	"`heartbeatMs: 60000`": { heartbeatMs: 60_000, nearCache: { maxStalenessMs: 90_000 } },
	"`heartbeatMs: 60000`, `nearCache: false`": { heartbeatMs: 60_000, nearCache: false },
};

/** What servers, sentinels and this program send. */
const NOT_OURS = /^cmdstat_(info|ping|publish|subscribe|replconf|psync|client\|setname)$/;

/** Ends what was started, when all is counted. */
const ends = [];

const places = {
	"one server": async () => {
		const server = await started(new RedisServer());
		return { options: { url: server.url }, count: () => commandsAt(server) };
	},
	Sentinel: async () => {
		const server = await started(new RedisServer());
		const watch = [`sentinel monitor mymaster ${server.host} ${server.port} 1`];
		const sentinel = await started(new RedisServer({ sentinel: true, config: watch }));
		// A sentinel has no INFO commandstats.
		const proxy = await startProxy({ after: (end) => ends.push(end) }, sentinel);
		const { hostname: host, port } = new URL(proxy.url);
		const options = { sentinels: [{ host, port: Number(port) }] };
		return { options, count: async () => (await commandsAt(server)) + proxy.roundTrips };
	},
	"Cluster of 3": async () => {
		const cluster = await started(new RedisCluster({}, { primaries: 3, replicas: 0 }));
		const count = async () => (await Promise.all(cluster.servers.map(commandsAt))).reduce((a, b) => a + b);
		return { options: { cluster: cluster.nodes }, count };
	},
};

async function started(place) {
	ends.push(() => place.stop());
	await place.start();
	return place;
}

async function commandsAt(server) {
	const stats = await server.cli("INFO", "commandstats");
	const calls = [...stats.matchAll(/^(\S+?):calls=(\d+)/gm)].filter(([, name]) => !NOT_OURS.test(name));
	if (process.env.IDLE_DEBUG) console.error(calls.map(([line]) => line).join(" "));
	return calls.reduce((sum, [, , number]) => sum + Number(number), 0);
}

const rows = [];
for (const [name, setting] of Object.entries(settings)) {
	for (const [where, start] of Object.entries(places)) {
		const { options, count } = await start();
		const storage = redisStorage({ ...options, ...setting });
		ends.push(() => storage.close());
		await storage.ping();
		rows.push({ name, where, count });
	}
}
await sleep(SETTLING_S * 1000);
for (const row of rows) row.before = await row.count();
await sleep(COUNTED_S * 1000);
const table = Object.keys(settings).map((name) => [name]);
for (const row of rows) {
	const sent = (await row.count()) - row.before;
	const perMonth = Math.round(((sent / COUNTED_S) * MONTH_S) / 1000) * 1000;
	table.find(([name]) => name === row.name).push(perMonth.toLocaleString("en"));
}
console.log(markdownTable(["options", ...Object.keys(places)], table));
for (const end of ends.reverse()) await end();
