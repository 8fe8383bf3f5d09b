// Runs suites of the tests on each JavaScript runtime. Prints a table, and exit code 1 when something failed. Expects a
// build.
//   --document   also writes the table into docs/runtimes.md

import { installRuntime, RUNTIMES } from "../__test__/support/runtimes.js";
import { runSuite, tableOf, writeTable } from "./suites.js";

const SUITES = [
	["The contract, embedded engine", "contract/memory"],
	["The contract, Redis", "contract/redis"],
	["Better Auth's session endpoints, six releases", "better-auth/sessions"],
	["The gate, with plugins", "gate/plugins"],
	["Near cache: freshness under load", "near-cache/freshness"],
	["Worker threads, ended in the middle of calls", "lifecycle/worker-threads"],
];

const runtimes = RUNTIMES.map(installRuntime);
const runOn = ({ title, version, path, runs }, file) => runSuite(`${title} ${version}`, file, path, runs);
const rows = SUITES.map(([title, file]) => [title, ...runtimes.map((runtime) => runOn(runtime, file))]);
const table = tableOf([["suite", ...runtimes.map(({ title, version }) => `${title} ${version}`)], ...rows]);

console.log(`\n${table}`);
if (process.argv.includes("--document")) writeTable("runtimes.md", table);
if (rows.some((cells) => cells.includes("fails"))) process.exitCode = 1;
