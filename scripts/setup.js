// Makes this package ready on a fresh machine: checks Node.js and Rust, installs the npm packages, builds.
//   --redis    also gets what the test servers need (redis-server, openssl), by apt
//   --lint     also gets rustfmt and clippy, by rustup, and typos, by pip or else by cargo
//   --browser  also gets what the browser tests need (postgresql, nginx, chromium), by apt
//   --fuzz     also gets cargo-fuzz, by cargo, and the C++ compiler that it needs, by apt
//   --debug    builds an addon for tests: quick to build, slow to run
// Safe to run again: what is in place is left alone, and the build is always run (Cargo itself knows what is stale).

import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { getByApt, SetupError } from "./apt.js";
import {
	addCargoHome,
	findChromium,
	findProgram,
	findRedisServer,
	findTypos,
	hasCargoCommand,
	outputOf,
	root,
	run,
	TYPOS_FOLDER,
} from "./programs.js";

/** The version of cargo-fuzz that is installed where there is none. */
const CARGO_FUZZ = "0.13.2";

/** The version of typos that is installed where there is none. */
const TYPOS = "1.52.0";

const wants = (flag) => process.argv.includes(flag);

const steps = [
	["Node.js", checkNode],
	["Rust", checkRust],
	...(wants("--lint") ? [["rustfmt and clippy", getRustLints]] : []),
	...(wants("--lint") ? [["typos", getTypos]] : []),
	...(wants("--redis") ? [["Redis", getRedis]] : []),
	...(wants("--browser") ? [["browser", getBrowser]] : []),
	...(wants("--fuzz") ? [["cargo-fuzz", getCargoFuzz]] : []),
	["npm packages", installPackages],
	["build", build],
];

try {
	for (const [title, step] of steps) {
		const start = performance.now();
		const result = step();
		console.log(`setup: ${title}: ${result} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
	}
} catch (error) {
	if (!(error instanceof SetupError)) throw error;
	console.error(`\nsetup: ${error.message}`);
	process.exitCode = 1;
}

function checkNode() {
	const least = readJson("package.json").engines.node.replace(">=", "");
	if (isOlder(process.versions.node, least)) {
		throw new SetupError(`Node.js ${least} or newer is needed, this is ${process.versions.node}: https://nodejs.org`);
	}
	return process.versions.node;
}

function checkRust() {
	addCargoHome();
	if (!findProgram("cargo")) {
		throw new SetupError("cargo was found neither on the PATH nor in ~/.cargo/bin. Install Rust: https://rustup.rs");
	}
	// rustc, not cargo: it is the compiler's version that Cargo.toml speaks of.
	const version = outputOf("rustc", ["--version"])?.split(" ")[1];
	if (!version) {
		throw new SetupError(
			"rustc does not run. With rustup, `rustup default stable` gives it a toolchain: https://rustup.rs",
		);
	}
	const least = readFileSync(join(root, "Cargo.toml"), "utf8").match(/^rust-version = "(.+)"/m)?.[1];
	if (least && isOlder(version, least)) {
		throw new SetupError(
			`Rust ${least} or newer is needed, this is ${version}: run \`rustup update\`, or see https://rustup.rs`,
		);
	}
	return version;
}

function getRustLints() {
	const missing = [
		["fmt", "rustfmt"],
		["clippy", "clippy"],
	].filter(([command]) => !hasCargoCommand(command));
	if (missing.length === 0) return "found";

	const components = missing.map(([, component]) => component);
	if (!findProgram("rustup") || !run("rustup", ["component", "add", ...components])) {
		throw new SetupError(
			`the Rust toolchain lacks ${components.join(" and ")}: \`rustup component add ${components.join(" ")}\``,
		);
	}
	return `installed ${components.join(", ")}`;
}

/** pip downloads a binary (33 MB unpacked); where there is no pip, cargo compiles one for some minutes. */
function getTypos() {
	if (findTypos()) return "found";
	const pip = ["-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:", "--root-user-action=ignore"];
	const isInstalled =
		(outputOf("python3", ["-m", "pip", "--version"]) !== undefined &&
			run("python3", [...pip, "--target", TYPOS_FOLDER, `typos==${TYPOS}`])) ||
		run("cargo", ["install", "--locked", "--quiet", "--root", TYPOS_FOLDER, `typos-cli@${TYPOS}`]);
	if (!isInstalled) {
		throw new SetupError(`typos ${TYPOS} could not be installed (the reason is above): \`pipx install typos\``);
	}
	return "installed";
}

function getRedis() {
	return getByApt(["redis-server", "openssl"], "the tests") ?? findRedisServer();
}

function getBrowser() {
	return getByApt(["postgresql", "nginx", "chromium"], "the browser tests") ?? findChromium();
}

function getCargoFuzz() {
	getByApt(["g++"], "cargo-fuzz");
	if (findProgram("cargo-fuzz")) return "found";
	if (!run("cargo", ["install", "--locked", "--quiet", `cargo-fuzz@${CARGO_FUZZ}`])) {
		throw new SetupError(
			`\`cargo install cargo-fuzz@${CARGO_FUZZ}\` failed (its reason is above). It needs https://crates.io`,
		);
	}
	return "installed";
}

function installPackages() {
	if (packagesAreCurrent()) return "up to date";
	// npm ci would empty the folder that the link leads to, and other checkouts may use it.
	if (lstatSync(join(root, "node_modules"), { throwIfNoEntry: false })?.isSymbolicLink()) {
		throw new SetupError(
			"node_modules is a symbolic link, and what it leads to is not what package-lock.json says. Nothing was changed there: " +
				"bring that folder up to date by hand, or remove the link",
		);
	}
	// Not what NODE_ENV=production would leave of them: all that builds and tests is a dev dependency.
	if (!npm("ci", "--include=dev", "--no-audit", "--no-fund")) {
		throw new SetupError(
			"`npm ci` failed (its reason is above). It needs https://registry.npmjs.org or your mirror of it",
		);
	}
	return "installed";
}

/**
 * Whether node_modules holds what package-lock.json says, by the record that npm leaves there as the last thing of an
 * install. Optional packages are those of other platforms too, so they may be missing.
 */
function packagesAreCurrent() {
	const installed = readJson("node_modules/.package-lock.json")?.packages;
	if (!installed) return false;
	const { "": _, ...locked } = readJson("package-lock.json").packages;
	const isSame = (path) =>
		locked[path]?.version === installed[path]?.version && locked[path]?.integrity === installed[path]?.integrity;
	const needed = Object.keys(locked).filter((path) => !locked[path].optional);
	return [...needed, ...Object.keys(installed)].every(isSame);
}

function build() {
	const scripts = wants("--debug") ? ["build:native:debug", "build:lib"] : ["build"];
	for (const script of scripts) {
		if (!npm("run", script)) throw new SetupError(`\`npm run ${script}\` failed (its reason is above)`);
	}
	return "done";
}

/** The npm that runs this script, so that no second one need be on the PATH. */
function npm(...args) {
	const self = process.env.npm_execpath;
	return self ? run(process.execPath, [self, ...args]) : run("npm", args);
}

function readJson(path) {
	try {
		return JSON.parse(readFileSync(join(root, path), "utf8"));
	} catch (error) {
		if (error.code === "ENOENT") return undefined;
		throw error;
	}
}

function isOlder(version, least) {
	return version.localeCompare(least, "en", { numeric: true }) < 0;
}
