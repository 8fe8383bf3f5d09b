// Runs suites of the tests on each JavaScript runtime. Prints a table, and exit code 1 when something failed. Expects a
// build.
//   --document   also writes the table into docs/runtimes.md

import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installRuntime, RUNTIMES } from "../__test__/support/runtimes.js";
import { root } from "./programs.js";

const SUITES = [
	["The contract, embedded engine", "contract/memory"],
	["The contract, Redis", "contract/redis"],
	["Better Auth's session endpoints, six releases", "better-auth/sessions"],
	["The gate, with plugins", "gate/plugins"],
	["Near cache: freshness under load", "near-cache/freshness"],
	["Worker threads, ended in the middle of calls", "lifecycle/worker-threads"],
];

const runtimes = RUNTIMES.map(installRuntime);
const rows = SUITES.map(([title, file]) => [title, ...runtimes.map((runtime) => runSuite(runtime, file))]);
const header = ["", ...runtimes.map(({ title, version }) => `${title} ${version}`)];
const table = [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

console.log(`\n${table}`);
if (process.argv.includes("--document")) document();
if (rows.some((cells) => cells.includes("fails"))) process.exitCode = 1;

function runSuite({ title, version, path, runs }, file) {
	const { NODE_TEST_CONTEXT: _, ...env } = process.env; // the suite is no test file of the run that this may be in
	const start = performance.now();
	const args = [...runs, `./__test__/${file}.test.js`];
	const { status, stdout, stderr } = spawnSync(path, args, { cwd: root, env, encoding: "utf8", timeout: 300_000 });
	const result = status === 0 ? "passes" : "fails";
	console.log(`${title} ${version}: ${file} ${result} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
	if (status !== 0) console.log(stdout.slice(-10_000), stderr.slice(-10_000));
	return result;
}

function document() {
	const file = join(root, "docs/runtimes.md");
	const text = readFileSync(file, "utf8");
	writeFileSync(
		file,
		text.replace(/(<!-- table -->\n).*(<!-- end -->)/s, (_, before, after) => `${before}${table}\n${after}`),
	);
}
