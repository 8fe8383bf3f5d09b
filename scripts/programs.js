// Finds and runs the programs that set-up and tests need. Uses nothing from node_modules: it runs before they exist.

import { spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json. */
export const root = fileURLToPath(new URL("..", import.meta.url));

const DEBIAN_POSTGRES = "/usr/lib/postgresql";
const MAC_CHROME = ["Chromium", "Google Chrome"].map((name) => `/Applications/${name}.app/Contents/MacOS/${name}`);

/** Adds Cargo's bin folder to the PATH: a shell that was open when rustup ran does not have it there yet. */
export function addCargoHome() {
	const bin = join(process.env.CARGO_HOME ?? join(homedir(), ".cargo"), "bin");
	process.env.PATH = [process.env.PATH, bin].filter(Boolean).join(delimiter);
}

/**
 * The full path of the first of `names` that is on the PATH, or undefined.
 * @param {...string} names
 * @returns {string | undefined}
 */
export function findProgram(...names) {
	const folders = (process.env.PATH ?? "").split(delimiter).filter(Boolean);
	return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isProgram);
}

function isProgram(path) {
	try {
		accessSync(path, constants.X_OK);
		return statSync(path).isFile();
	} catch {
		return false;
	}
}

/** The Redis or Valkey server that the tests start: TEST_REDIS_SERVER, or what the PATH has. */
export function findRedisServer() {
	return process.env.TEST_REDIS_SERVER || findProgram("redis-server", "valkey-server");
}

/** The folder of `postgres`, `initdb` and so on, or undefined: the PATH's, or the newest of those that Debian keeps off the PATH. */
export function findPostgres() {
	const onPath = [findProgram("postgres")].filter(Boolean).map(dirname);
	const versions = existsSync(DEBIAN_POSTGRES) ? readdirSync(DEBIAN_POSTGRES) : [];
	const newestFirst = versions
		.sort((a, b) => Number(b) - Number(a))
		.map((version) => join(DEBIAN_POSTGRES, version, "bin"));
	const needed = ["postgres", "initdb", "psql"];
	return [...onPath, ...newestFirst].find((bin) => needed.every((name) => isProgram(join(bin, name))));
}

/** The nginx of the PATH, or where Debian has it: an ordinary user's PATH lacks that folder. */
export function findNginx() {
	return findProgram("nginx") ?? ["/usr/sbin/nginx"].find(isProgram);
}

/** Chromium or Chrome: TEST_CHROMIUM, what the PATH has, or where macOS keeps it. */
export function findChromium() {
	const onPath = () => findProgram("chromium", "chromium-browser", "google-chrome");
	return process.env.TEST_CHROMIUM || (onPath() ?? MAC_CHROME.find(existsSync));
}

/** Where scripts/setup.js puts a typos of its own. */
export const TYPOS_FOLDER = join(root, "target/typos");

/** The spelling checker typos: the PATH's, or the one that scripts/setup.js has installed. */
export function findTypos() {
	return findProgram("typos") ?? [join(TYPOS_FOLDER, "bin/typos")].find(isProgram);
}

/**
 * What tests start besides Node.js, by the Debian package that brings it. `title` is for messages. `service` is what the package starts
 * when it is installed.
 * @type {Record<string, { title: string, find: () => string | undefined, service?: string }>}
 */
export const PROGRAMS = {
	"redis-server": { title: "redis-server or valkey-server", find: findRedisServer, service: "redis-server" },
	openssl: { title: "openssl", find: () => findProgram("openssl") },
	"g++": { title: "a C++ compiler", find: () => findProgram("c++", "g++", "clang++") },
	postgresql: { title: "PostgreSQL", find: findPostgres, service: "postgresql" },
	nginx: { title: "nginx", find: findNginx, service: "nginx" },
	chromium: { title: "Chromium or Chrome", find: findChromium },
};

/** Whether `cargo <command>` runs. rustup puts a stand-in for some commands on the PATH, installed or not, so this runs it. */
export function hasCargoCommand(command) {
	return outputOf("cargo", [command, "--version"]) !== undefined;
}

/**
 * Runs a program in the package's folder, its output passed through.
 * @param {string} program
 * @param {string[]} args
 * @param {NodeJS.ProcessEnv} [env] added to this process's own
 * @returns {boolean} true when it ended with exit code 0
 */
export function run(program, args, env) {
	const { status, error } = spawnSync(program, args, { cwd: root, stdio: "inherit", env: { ...process.env, ...env } });
	if (error) console.error(`${program}: ${error.message}`);
	return status === 0;
}

/**
 * What a program printed on stdout, or undefined when it could not be run or failed.
 * @param {string} program
 * @param {string[]} args
 * @returns {string | undefined}
 */
export function outputOf(program, args) {
	const { status, stdout } = spawnSync(program, args, { cwd: root, encoding: "utf8" });
	return status === 0 ? stdout.trim() : undefined;
}
