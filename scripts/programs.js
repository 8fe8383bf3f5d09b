// Finds and runs the programs that set-up and tests need. Uses nothing from node_modules: it runs before they exist.

import { spawnSync } from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder of package.json. */
export const root = fileURLToPath(new URL("..", import.meta.url));

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
