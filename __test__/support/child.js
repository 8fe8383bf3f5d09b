// Node child processes with a deadline: one script with all that it printed, or several workers that start together.

import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { root } from "../../scripts/programs.js";
import { endWithProcess } from "./lifetime.js";

/**
 * @typedef {object} ChildOptions
 * @property {string[]} [args] the script's own
 * @property {string[]} [execArgv] for node, before the script
 * @property {NodeJS.ProcessEnv} [env] added to this process's own
 * @property {string} [cwd] the package's folder, unless told
 * @property {number} [deadlineMs]
 *
 * @typedef {object} ChildResult
 * @property {string} stdout
 * @property {string} stderr
 * @property {number | null} code
 * @property {NodeJS.Signals | null} signal
 * @property {number} wallMs from the start to the end of the process
 */

/**
 * Runs a script file.
 * @param {string | URL} file
 * @param {ChildOptions} [options]
 * @returns {Promise<ChildResult>} rejects when the deadline passes first; any exit code resolves
 */
export function runFile(file, options) {
	return run([pathOf(file)], options);
}

/**
 * Runs the text of an ES module; its imports start from `cwd`.
 * @param {string} source
 * @param {ChildOptions} [options]
 * @returns {Promise<ChildResult>} as runFile
 */
export function runText(source, options) {
	return run(["--input-type=module", "--eval", source, "--"], options);
}

async function run(script, { args = [], execArgv = [], env, cwd = root, deadlineMs = 30_000 } = {}) {
	const start = performance.now();
	const child = spawn(process.execPath, [...execArgv, ...script, ...args], {
		cwd,
		env: childEnv(env),
		stdio: ["ignore", "pipe", "pipe"],
	});
	const release = endWithProcess(() => child.kill("SIGKILL"));
	let late = false;
	const timer = setTimeout(() => {
		late = true;
		child.kill("SIGKILL");
	}, deadlineMs);
	try {
		const exit = once(child, "exit").then((ending) => [...ending, performance.now() - start]);
		const [stdout, stderr, [code, signal, wallMs]] = await Promise.all([text(child.stdout), text(child.stderr), exit]);
		if (late) throw new Error(`the child was still running after ${deadlineMs} ms\n${stdout}${stderr}`);
		return { stdout, stderr, code, signal, wallMs };
	} finally {
		clearTimeout(timer);
		release();
	}
}

/**
 * Starts `count` processes of one file, and returns when all of them have called `ready()` (worker.js).
 * @param {string | URL} file
 * @param {number} count
 * @param {{ args?: string[], env?: NodeJS.ProcessEnv, deadlineMs?: number }} [options] the deadline holds for getting
 * ready, and anew for the work
 * @returns {Promise<Workers>}
 */
export async function spawnWorkers(file, count, options = {}) {
	const workers = new Workers(pathOf(file), count, options);
	await workers.ready();
	return workers;
}

/** Worker processes. They end with `go()`, with `end()`, or with the test process. */
class Workers {
	/** @type {import("node:child_process").ChildProcess[]} */
	children;
	/** How each process ended, once it has. @type {Promise<{ code: number | null, signal: string | null, stderr: string }>[]} */
	#endings;
	#killed = new Set();
	#deadlineMs;
	#release;

	constructor(path, count, { args = [], env, deadlineMs = 60_000 }) {
		this.#deadlineMs = deadlineMs;
		this.children = Array.from({ length: count }, (_, index) =>
			fork(path, args, {
				cwd: root,
				env: childEnv({ ...env, WORKER_INDEX: String(index), WORKER_COUNT: String(count) }),
				serialization: "advanced", // carries Buffers, Maps and undefined
				stdio: ["ignore", "inherit", "pipe", "ipc"],
			}),
		);
		this.#endings = this.children.map(endingOf);
		this.#release = endWithProcess(() => this.#killAll());
	}

	/** Resolves when every worker stands at the barrier. */
	async ready() {
		await this.#fromAll("ready");
	}

	/**
	 * Opens the barrier, and resolves to what each worker reported, in order; undefined for one that `kill` ended.
	 * Rejects with a worker's stderr when it ended without a report.
	 * @param {unknown} [input] what `ready()` returns in every worker
	 */
	async go(input) {
		const ignore = () => {}; // one that has ended cannot be told: its ending is what counts
		for (const child of this.children) child.send({ type: "go", input }, ignore);
		const reports = await this.#fromAll("report");
		await this.end();
		return reports.map((message) => message?.result);
	}

	/**
	 * Ends one worker by SIGKILL, wherever it is in its work.
	 * @param {number} index
	 */
	kill(index) {
		this.#killed.add(index);
		this.children[index].kill("SIGKILL");
	}

	/** Ends those that still run. */
	async end() {
		this.#killAll();
		await Promise.all(this.#endings);
		this.#release();
	}

	#killAll() {
		for (const child of this.children) child.kill("SIGKILL");
	}

	/** The message of this type from every worker. When one fails, or the deadline passes, all are ended. */
	async #fromAll(type) {
		let timer;
		const late = new Promise((_, reject) => {
			const message = `not every worker sent "${type}" within ${this.#deadlineMs} ms`;
			timer = setTimeout(() => reject(new Error(message)), this.#deadlineMs);
		});
		try {
			return await Promise.race([late, Promise.all(this.children.map((_, index) => this.#from(index, type)))]);
		} catch (error) {
			await this.end();
			throw error;
		} finally {
			clearTimeout(timer);
		}
	}

	#from(index, type) {
		const message = new Promise((resolve) => {
			this.children[index].on("message", (message) => {
				if (message?.type === type) resolve(message);
			});
		});
		const ended = this.#endings[index].then(({ code, signal, stderr }) => {
			if (this.#killed.has(index)) return undefined;
			throw new Error(`worker ${index} ended with ${signal ?? `exit code ${code}`} before "${type}"\n${stderr}`);
		});
		return Promise.race([message, ended]);
	}
}

/** "close", not "exit": it comes after the last message and the last of stderr. */
async function endingOf(child) {
	const [[code, signal], stderr] = await Promise.all([once(child, "close"), text(child.stderr)]);
	return { code, signal, stderr };
}

/** A child of a test file is no test file: it must not report to the runner. */
function childEnv(env) {
	const { NODE_TEST_CONTEXT: _, ...own } = process.env;
	return { ...own, ...env };
}

function pathOf(file) {
	return file instanceof URL ? fileURLToPath(file) : file;
}
