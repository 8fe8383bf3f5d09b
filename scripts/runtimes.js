// Runs suites of the tests on each JavaScript runtime: Node.js of every supported line, Bun and Deno, installed from npm
// into target/runtimes/ (some 100 MB each). Prints a table, and exit code 1 when something failed. Expects a build.
//   --document   also writes the table into docs/runtimes.md

import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./programs.js";

const NODE = ["--test", "--test-concurrency=1"];

/** `runs`: the arguments before a test file. */
const RUNTIMES = [
	...["20", "22", "24", "26"].map((line) => ({ title: "Node.js", package: `node@${line}`, runs: NODE })),
	{ title: "Bun", package: "bun@latest", runs: ["test", "--timeout", "60000"] },
	{ title: "Deno", package: "deno@latest", runs: ["test", "--allow-all", "--no-check"] },
];

const SUITES = [
	["The contract, embedded engine", "contract/memory"],
	["The contract, Redis", "contract/redis"],
	["Better Auth's session endpoints, six releases", "better-auth/sessions"],
	["The gate, with plugins", "gate/plugins"],
	["Near cache: freshness under load", "near-cache/freshness"],
	["Worker threads, ended in the middle of calls", "lifecycle/worker-threads"],
];

const runtimes = RUNTIMES.map(install);
const rows = SUITES.map(([title, file]) => [title, ...runtimes.map((runtime) => runSuite(runtime, file))]);
const header = ["", ...runtimes.map(({ title, version }) => `${title} ${version}`)];
const table = [header, header.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");

console.log(`\n${table}`);
if (process.argv.includes("--document")) document();
if (rows.some((cells) => cells.includes("fails"))) process.exitCode = 1;

/** Fetches the newest version of a runtime's line, unless it is there. */
function install({ title, package: name, runs }) {
	const [program] = name.split("@");
	const folder = join(root, "target/runtimes", name.replace("@", "-"));
	mkdirSync(folder, { recursive: true });
	writeFileSync(join(folder, "package.json"), "{}"); // else npm would install into the project round it
	const npm = process.env.npm_execpath ? [process.execPath, process.env.npm_execpath] : ["npm"];
	const [command, ...args] = [...npm, "install", name, "--no-audit", "--no-fund", "--no-package-lock"];
	const { status } = spawnSync(command, args, { cwd: folder, stdio: ["ignore", "ignore", "inherit"] });
	if (status !== 0) {
		console.error(`npm cannot install ${name} (its reason is above): the runtimes are fetched from the npm registry`);
		process.exit(1);
	}
	const path = join(folder, "node_modules/.bin", program);
	const version = spawnSync(path, ["--version"], { encoding: "utf8" }).stdout.match(/\d+\.\d+\.\d+/)[0];
	console.log(`${title} ${version}`);
	return { title, version, path, runs };
}

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
