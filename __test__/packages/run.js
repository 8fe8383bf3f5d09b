// Runs a program to its end, with all that it printed.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { endWithProcess } from "../support/lifetime.js";

const DEADLINE_MS = 900_000;

/**
 * @param {string} program
 * @param {string[]} args
 * @param {{ cwd: string, env?: NodeJS.ProcessEnv }} options `env` is added to this process's own
 * @returns {Promise<{ code: number | null, output: string, stdout: string }>} `output` is stdout and stderr
 */
export async function runProgram(program, args, { cwd, env }) {
	const child = spawn(program, args, { cwd, env: { ...ownEnv(), ...env }, stdio: ["ignore", "pipe", "pipe"] });
	const release = endWithProcess(() => child.kill("SIGKILL"));
	const timer = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
	try {
		const ending = once(child, "close");
		const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ending]);
		return { code, output: stdout + stderr, stdout };
	} finally {
		clearTimeout(timer);
		release();
	}
}

/** Without what `npm test` and the test runner have set: package managers would take it for their own settings. */
export function ownEnv() {
	const isOwn = ([name]) => !/^npm_|^NODE_TEST_CONTEXT$|^NODE_ENV$|^INIT_CWD$|^REDIS_URL$/i.test(name);
	return Object.fromEntries(Object.entries(process.env).filter(isOwn));
}
