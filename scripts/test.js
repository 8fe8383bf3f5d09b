// Runs every check of this package, one after the other, and tells at the end which failed: a table, and exit code 1.
// Expects what scripts/setup.js has made.
//   --long      the full counts: TEST_LONG=1, for the Rust tests and the Node tests alike
//   <word>...   only the Node test files with one of these words in their path: npm test -- support

import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { addCargoHome, findProgram, root, run } from "./programs.js";

/** Whose tests look at no clock and share no folder: two of their files run at a time. */
const PATIENT = ["better-auth", "contract", "gate"];

const { values, positionals: words } = parseArgs({
	options: { long: { type: "boolean", default: false } },
	allowPositionals: true,
});
addCargoHome();
if (values.long) process.env.TEST_LONG = "1";

const steps = words.length > 0 ? nodeTests() : [...lints(), ...rustTests(), fuzzing(), ...nodeTests()];
const results = steps.map(([name, program, args]) => {
	console.log(`\n--- ${name}`);
	const start = performance.now();
	const passed = run(program, args);
	return { name, passed, seconds: (performance.now() - start) / 1000 };
});

console.log(`\n${"step".padEnd(24)}${"result".padEnd(8)}seconds`);
for (const { name, passed, seconds } of results) {
	console.log(`${name.padEnd(24)}${(passed ? "passed" : "FAILED").padEnd(8)}${seconds.toFixed(1).padStart(7)}`);
}
if (words.length > 0) console.log(`(only test files with ${words.join(" or ")} in their path)`);
process.exitCode = results.every(({ passed }) => passed) ? 0 : 1;

function lints() {
	const colors = process.stdout.isTTY ? [] : ["--colors=off"]; // else it colours every letter of a log
	const tool = (name) => join(root, "node_modules/.bin", name);
	return [
		["cargo fmt", "cargo", ["fmt", "--all", "--check", "--", "crates/session-store/fuzz/fuzz_targets/cookie.rs"]],
		["cargo clippy", "cargo", ["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]],
		["biome", tool("biome"), ["ci", ...colors]],
		["tsc", tool("tsc"), []],
		[
			"dclint",
			tool("dclint"),
			["-c", "examples/nextjs/.dclintrc", "--max-warnings", "0", "examples/nextjs/docker-compose.yml"],
		],
	];
}

function rustTests() {
	const everything = ["--workspace", "--all-features"];
	if (!findProgram("cargo-nextest")) return [["cargo test", "cargo", ["test", ...everything]]];
	return [
		["cargo nextest", "cargo", ["nextest", "run", ...everything]],
		["cargo test --doc", "cargo", ["test", "--doc", ...everything]], // nextest runs no documentation examples
	];
}

/** Strangers' cookies, for a while: on the seeds that are kept, and on what earlier runs on this machine have found. */
function fuzzing() {
	const folder = "crates/session-store/fuzz";
	const corpus = [`${folder}/corpus/cookie`, `${folder}/seeds/cookie`];
	mkdirSync(join(root, corpus[0]), { recursive: true });
	const seconds = values.long ? 600 : 10;
	const options = [`-max_total_time=${seconds}`, "-verbosity=0", "-print_final_stats=1"];
	// Without a sanitizer, which a stable toolchain lacks: the code has no "unsafe".
	const fuzz = ["fuzz", "run", "--fuzz-dir", folder, "--sanitizer", "none", "cookie"];
	return ["cargo fuzz", "cargo", [...fuzz, ...corpus, "--", ...options]];
}

function nodeTests() {
	const files = readdirSync(join(root, "__test__"), { recursive: true })
		.filter((file) => file.endsWith(".test.js"))
		.map((file) => join("__test__", file))
		.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
		.sort();
	if (files.length === 0) {
		console.error(`No __test__/**/*.test.js has ${words.join(" or ")} in its path`);
		process.exit(1);
	}
	// The timeout is for a whole file, so that a hung test is told by name and not by the CI's clock.
	const minutes = values.long ? 120 : 5;
	const options = [`--test-timeout=${minutes * 60_000}`, "--test-reporter=spec"];
	const isPatient = (file) => PATIENT.some((folder) => file.startsWith(join("__test__", folder, "/")));
	const [patient, others] = [files.filter(isPatient), files.filter((file) => !isPatient(file))];
	// The others have two cores to themselves: the test's own process and its servers.
	const steps = [
		{ name: "node --test, in pairs", atOnce: 2, some: patient },
		{ name: "node --test", atOnce: 1, some: others },
	];
	return steps
		.filter(({ some }) => some.length > 0)
		.map(({ name, atOnce, some }) => [
			name,
			process.execPath,
			["--test", `--test-concurrency=${atOnce}`, ...options, ...some],
		]);
}
