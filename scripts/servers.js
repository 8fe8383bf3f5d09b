// Runs the contract and other suites on each server that packages ship. Prints a table, and exit code 1 when something failed.
// Expects a build, and Python with pip.
//   --document   also writes the table into docs/servers.md
//   <path>...    these servers too: npm run test:servers -- /opt/keydb/bin/keydb-server

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { redisStorage } from "better-auth-redis-store";
import { until } from "../__test__/contract/wait.js";
import { startRedis } from "../__test__/support/redis.js";
import { installServers } from "../__test__/support/servers.js";
import { root } from "./programs.js";

const SUITES = [
	["The contract", "contract/redis"],
	["The contract, Cluster", "contract/cluster"],
	["Sentinel: each kind of failover", "sentinel"],
	["Better Auth's session endpoints, six releases", "better-auth/sessions"],
	["A full memory", "races/full-memory"],
];
/** Of these nothing is left where the near cache is off. */
const NEAR_CACHE_SUITES = [
	["Near cache: what was read is answered", "near-cache/basics"],
	["Near cache: freshness under load", "near-cache/freshness"],
];

const { values, positionals } = parseArgs({
	options: { document: { type: "boolean", default: false } },
	allowPositionals: true,
});
const servers = installServers(positionals);
const columns = [];
for (const server of servers) columns.push(await tryServer(server));

const rows = columns[0].map((_, row) => columns.map((column) => column[row]));
const titles = [
	"",
	...SUITES.map(([title]) => title),
	"Near cache",
	...NEAR_CACHE_SUITES.map(([title]) => title),
	"From",
];
const lines = rows.map((cells, row) => [titles[row], ...cells]);
lines.splice(
	1,
	0,
	lines[0].map(() => "---"),
);
const table = lines.map((cells) => `| ${cells.join(" | ")} |`).join("\n");

console.log(`\n${table}`);
if (values.document) document();
if (columns.flat().includes("fails")) process.exitCode = 1;

/** The cells of a server's column. */
async function tryServer({ name, path, source }) {
	process.env.TEST_REDIS_SERVER = path; // what this process starts, and the suites
	const off = await whyNearCacheIsOff();
	return [
		name,
		...SUITES.map(([, file]) => runSuite(name, file)),
		off === null ? "on" : `off: ${off}`,
		...NEAR_CACHE_SUITES.map(([, file]) => (off === null ? runSuite(name, file) : "–")),
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

function runSuite(server, file) {
	const { NODE_TEST_CONTEXT: _, ...env } = process.env; // the suite is no test file of the run that this may be in
	const start = performance.now();
	const args = ["--test", "--test-concurrency=1", `./__test__/${file}.test.js`];
	const { status, stdout, stderr } = spawnSync(process.execPath, args, {
		cwd: root,
		env,
		encoding: "utf8",
		timeout: 300_000,
	});
	const result = status === 0 ? "passes" : "fails";
	console.log(`${server}: ${file} ${result} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
	if (status !== 0) console.log(stdout.slice(-10_000), stderr.slice(-10_000));
	return result;
}

function document() {
	const file = join(root, "docs/servers.md");
	const text = readFileSync(file, "utf8");
	writeFileSync(
		file,
		text.replace(/(<!-- table -->\n).*(<!-- end -->)/s, (_, before, after) => `${before}${table}\n${after}`),
	);
}
