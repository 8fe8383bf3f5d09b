// Runs the checks of this package, one after the other, and prints at the end which failed: a table, and exit code 1.
// Expects what scripts/setup.js has made. Runs all parts unless some are named.
//   --lint, --rust, --node   these parts only
//   --skip-missing           skips what needs a program that is not installed; without it that is a failure
//   --long                   the full counts: TEST_LONG=1, for the Rust tests and the Node tests alike
//   <word>...                only the Node test files with one of these words in their path: npm test -- support
//   --without <word>         not these; a job of CI runs them

import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { missingProgramsOf } from "./needs.js";
import { addCargoHome, findProgram, findTypos, hasCargoCommand, PROGRAMS, root, run } from "./programs.js";

/** Whose tests look at no clock and share no folder: two of their files run at a time. */
const PATIENT = ["better-auth", "contract", "gate"];

const PARTS = { lint, rust, node };

/**
 * @typedef {object} Step
 * @property {string} name
 * @property {string} [program]
 * @property {string[]} [args]
 * @property {string} [missing] what the step needs and this machine lacks
 * @property {string[]} [files] what does not run then
 */

const flag = { type: "boolean", default: false };
const { values, positionals: words } = parseArgs({
	options: { lint: flag, rust: flag, node: flag, "skip-missing": flag, long: flag, without: { type: "string" } },
	allowPositionals: true,
});
addCargoHome();
if (values.long) process.env.TEST_LONG = "1";

const steps = namedParts().flatMap((part) => PARTS[part]());
const results = steps.map(runStep);

console.log(`\n${"step".padEnd(24)}${"result".padEnd(9)}seconds`);
for (const { name, result, seconds, missing } of results) {
	const row = `${name.padEnd(24)}${result.padEnd(9)}${seconds.toFixed(1).padStart(7)}`;
	console.log(missing ? `${row}  missing: ${missing}` : row);
}
if (words.length > 0) console.log(`(only test files with ${words.join(" or ")} in their path)`);
if (results.some(({ result }) => result === "FAILED")) process.exitCode = 1;

function namedParts() {
	const named = Object.keys(PARTS).filter((part) => values[part]);
	if (named.length > 0) return named;
	return words.length > 0 ? ["node"] : Object.keys(PARTS);
}

/** @param {Step} step */
function runStep({ name, program, args, missing, files = [] }) {
	console.log(`\n--- ${name}`);
	if (missing) {
		const result = values["skip-missing"] ? "skipped" : "FAILED";
		console.log([`${result}, missing: ${missing}`, ...files].join("\n  "));
		return { name, result, seconds: 0, missing };
	}
	const start = performance.now();
	const result = run(program, args) ? "passed" : "FAILED";
	return { name, result, seconds: (performance.now() - start) / 1000 };
}

/** @returns {Step[]} */
function lint() {
	const colors = process.stdout.isTTY ? [] : ["--colors=off"]; // else it colours every letter of a log
	const compose = "examples/nextjs/docker-compose.yml";
	const typed = existsSync(join(root, "dist/index.d.mts")); // the type tests see the package as its users do
	return [
		withRustup("fmt", "rustfmt", ["--all", "--check", "--", "crates/session-store/fuzz/fuzz_targets/cookie.rs"]),
		withRustup("clippy", "clippy", ["--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"]),
		{ name: "Rust imports", program: process.execPath, args: ["scripts/imports.js"] },
		fromPackages("biome", ["ci", ...colors]),
		typed ? fromPackages("tsc", []) : { name: "tsc", missing: "dist/ (npm run build:lib)" },
		fromPackages("dclint", ["-c", "examples/nextjs/.dclintrc", "--max-warnings", "0", compose]),
		spelling(),
	];
}

/** By _typos.toml. @returns {Step} */
function spelling() {
	const program = findTypos();
	return program ? { name: "typos", program, args: [] } : { name: "typos", missing: "typos (pipx install typos)" };
}

/** @returns {Step} */
function withRustup(command, component, args) {
	const step = cargo(`cargo ${command}`, command, args);
	if (step.missing || hasCargoCommand(command)) return step;
	return { ...step, missing: `${component} (rustup component add ${component})` };
}

/** @returns {Step} */
function fromPackages(name, args) {
	const program = join(root, "node_modules/.bin", name);
	return existsSync(program) ? { name, program, args } : { name, missing: `${name} (npm ci)` };
}

/** @returns {Step} */
function cargo(name, ...args) {
	const missing = findProgram("cargo") ? undefined : "cargo (https://rustup.rs)";
	return { name, program: "cargo", args: args.flat(), missing };
}

/** @returns {Step[]} */
function rust() {
	const packages = ["--workspace", "--all-features"];
	const { title, find } = PROGRAMS["redis-server"];
	const without = find() ? [] : [{ name: "crash.rs", missing: title }];
	const tests = find() ? packages : [...packages, ...allTestsBut("crash")];
	const all = hasCargoCommand("nextest")
		? [
				cargo("cargo nextest", "nextest", "run", tests),
				cargo("cargo test --doc", "test", "--doc", packages), // nextest runs no documentation examples
			]
		: [cargo("cargo test", "test", tests)];
	return [...all, ...without, fuzzing()];
}

/** Cargo's options for every test of the core but one file. */
function allTestsBut(left) {
	const files = readdirSync(join(root, "crates/session-store/tests")).filter((file) => file.endsWith(".rs"));
	const names = files.map((file) => file.slice(0, -".rs".length)).filter((name) => name !== left);
	return ["--lib", ...names.flatMap((name) => ["--test", name])];
}

/** Feeds the gate made-up cookies for a while: the seeds that are kept, and what earlier runs on this machine found. @returns {Step} */
function fuzzing() {
	const name = "cargo fuzz";
	if (!hasCargoCommand("fuzz")) return { name, missing: "cargo-fuzz (cargo install cargo-fuzz)" };
	if (!PROGRAMS["g++"].find()) return { name, missing: PROGRAMS["g++"].title };
	const folder = "crates/session-store/fuzz";
	const corpus = [`${folder}/corpus/cookie`, `${folder}/seeds/cookie`];
	mkdirSync(join(root, corpus[0]), { recursive: true });
	const seconds = values.long ? 600 : 10;
	const options = [`-max_total_time=${seconds}`, "-verbosity=0", "-print_final_stats=1"];
	// Without a sanitizer, which a stable toolchain lacks: the code has no "unsafe".
	const fuzz = ["fuzz", "run", "--fuzz-dir", folder, "--sanitizer", "none", "cookie"];
	return cargo(name, fuzz, corpus, "--", options);
}

/** @returns {Step[]} */
function node() {
	if (!isBuilt()) stop("there is no build yet: `npm run build:debug` makes one");
	const files = testFiles();
	if (files.length === 0) stop(`No __test__/**/*.test.js has ${words.join(" or ")} in its path`);

	const missing = new Map(files.map((file) => [file, missingProgramsOf(file).join(", ")]));
	const filesThatMiss = (programs) => files.filter((file) => missing.get(file) === programs);
	const isPatient = (file) => PATIENT.some((folder) => file.startsWith(join("__test__", folder, "/")));
	const complete = filesThatMiss("");
	const patient = complete.filter(isPatient);
	// The others have two cores to themselves: the test's own process and its servers.
	const others = complete.filter((file) => !isPatient(file));
	const lacking = [...new Set(missing.values())].filter((programs) => programs !== "");
	return [
		...(patient.length > 0 ? [nodeTests("node --test, in pairs", 2, patient)] : []),
		...(others.length > 0 ? [nodeTests("node --test", 1, others)] : []),
		...lacking.map(filesThatMiss).map((files) => {
			return { name: `${files.length} Node test files`, missing: missing.get(files[0]), files };
		}),
	];
}

function isBuilt() {
	const hasAddon = readdirSync(root).some((name) => name.endsWith(".node"));
	return hasAddon && existsSync(join(root, "dist/index.mjs"));
}

function testFiles() {
	return readdirSync(join(root, "__test__"), { recursive: true })
		.filter((file) => file.endsWith(".test.js"))
		.map((file) => join("__test__", file))
		.filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
		.filter((file) => values.without === undefined || !file.includes(values.without))
		.sort();
}

/** @returns {Step} */
function nodeTests(name, atOnce, files) {
	// The timeout is for a whole file: without it a test that hangs ends by the CI's clock, which names no test.
	const minutes = values.long ? 120 : 5;
	const options = [`--test-concurrency=${atOnce}`, `--test-timeout=${minutes * 60_000}`, "--test-reporter=spec"];
	return { name, program: process.execPath, args: ["--test", ...options, ...files] };
}

function stop(message) {
	console.error(message);
	process.exit(1);
}
