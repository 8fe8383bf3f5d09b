// Runs the contract and other suites on each server that packages ship. Prints a table, and exit code 1 when something failed.
// Expects a build, and Python with pip.
//   --document   also writes the table into docs/servers.md
//   --only TEXT  only the servers with this text in their name, and no table in docs/servers.md: --only "Valkey 9"
//   <path>...    these servers too: npm run test:servers -- /opt/keydb/bin/keydb-server

import { parseArgs } from "node:util";
import { redisStorage } from "better-auth-redis-store";
import { startRedis } from "../__test__/support/redis.js";
import { installServers } from "../__test__/support/servers.js";
import { until } from "../__test__/support/wait.js";
import { runSuite, tableOf, writeTable } from "./suites.js";

/** Title, test file, and which servers can run it where not all can. @type {[string, string, ((server: string) => boolean)?][]} */
const SUITES = [
	["The contract", "contract/redis"],
	["The contract, Cluster", "contract/cluster"],
	["Databases of a Cluster (from Valkey 9)", "cluster/databases", hasClusterDatabases],
	["Sentinel: each kind of failover", "sentinel/sentinel"],
	["Better Auth's session endpoints, six releases", "better-auth/sessions"],
	["A full memory", "races/full-memory"],
];
/** Of these nothing is left where the near cache is off. */
const NEAR_CACHE_SUITES = [
	["Near cache: what was read is answered", "near-cache/basics"],
	["Near cache: freshness under load", "near-cache/freshness"],
];

const { values, positionals } = parseArgs({
	options: { document: { type: "boolean", default: false }, only: { type: "string", default: "" } },
	allowPositionals: true,
});
const servers = installServers(positionals).filter(({ name }) => name.includes(values.only));
if (servers.length === 0) throw new Error(`no server has ${values.only} in its name`);
const columns = [];
for (const server of servers) columns.push(await tryServer(server));

const rows = columns[0].map((_, row) => columns.map((column) => column[row]));
const titles = [
	"suite",
	...SUITES.map(([title]) => title),
	"Near cache",
	...NEAR_CACHE_SUITES.map(([title]) => title),
	"From",
];
const table = tableOf(rows.map((cells, row) => [titles[row], ...cells]));

console.log(`\n${table}`);
if (values.document && values.only === "") writeTable("servers.md", table);
if (columns.flat().includes("fails")) process.exitCode = 1;

/** The cells of a server's column. */
async function tryServer({ name, path, source }) {
	process.env.TEST_REDIS_SERVER = path; // what this process starts, and the suites
	const off = await whyNearCacheIsOff();
	return [
		name,
		...SUITES.map(([, file, canRun]) => (canRun?.(name) === false ? "–" : runOn(name, file))),
		off === null ? "on" : `off: ${off}`,
		...NEAR_CACHE_SUITES.map(([, file]) => (off === null ? runOn(name, file) : "–")),
		source,
	];
}

/** The reason, or null where it is on. */
async function whyNearCacheIsOff() {
	const server = await startRedis();
	const storage = redisStorage({ url: server.url });
	try {
		await storage.ping();
		const { reason } = await until("the near cache, or a reason", () => {
			const { nearCache } = storage.metrics();
			return (nearCache.enabled || nearCache.reason !== null) && nearCache;
		});
		return reason;
	} finally {
		await storage.close();
		await server.stop();
	}
}

function runOn(server, file) {
	return runSuite(server, file, process.execPath, ["--test", "--test-concurrency=1"]);
}

/** By its name, "Valkey 9.1.2". */
function hasClusterDatabases(server) {
	const [, major] = server.match(/^Valkey (\d+)/) ?? [];
	return Number(major) >= 9;
}
