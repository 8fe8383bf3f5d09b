// One server of the application: `next start` (or `next dev`) on a loopback port of its own.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { endWithProcess } from "../../../__test__/support/lifetime.js";
import { app, environment, NEXT } from "./prepare.js";

const START_DEADLINE_MS = 60_000;
const PORT_ATTEMPTS = 20;

export class Instance {
	/** @type {string} */
	name;
	/** @type {number} Stays the same over restarts. */
	port;
	/** The end of what it has said since it was last started. */
	log = "";

	#env;
	#command;
	#folder;
	/** @type {import("node:child_process").ChildProcess} */
	#process;
	#release = () => {};

	/**
	 * @param {string} name what it calls itself
	 * @param {Record<string, string>} env where the servers are that it needs
	 * @param {{ command?: "start" | "dev", folder?: string }} [options]
	 */
	constructor(name, env, { command = "start", folder = app } = {}) {
		this.name = name;
		this.#env = environment({ ...env, SERVER_NAME: name });
		this.#command = command;
		this.#folder = folder;
	}

	get url() {
		return `http://localhost:${this.port}`;
	}

	/** Starts it on a free port, and returns when it is ready. */
	async start() {
		for (let attempt = 1; ; attempt++) {
			this.port = randomInt(10_000, 20_000);
			try {
				return await this.launch();
			} catch (error) {
				if (attempt === PORT_ATTEMPTS || !this.log.includes("EADDRINUSE")) throw error;
			}
		}
	}

	/**
	 * Starts it on the port that it had.
	 * @param {Record<string, string>} [env] instead of what it had
	 */
	async launch(env) {
		Object.assign(this.#env, env);
		this.log = "";
		const child = spawn(process.execPath, [NEXT, this.#command, "-H", "127.0.0.1", "-p", String(this.port)], {
			cwd: this.#folder,
			env: this.#env,
			stdio: ["ignore", "pipe", "pipe"],
			detached: true, // a group of its own: `next dev` does its work in a child
		});
		this.#process = child;
		this.#release = endWithProcess(() => this.#signal("SIGKILL"));
		const exit = once(child, "exit");
		let timer;
		try {
			await new Promise((resolve, reject) => {
				const read = (chunk) => {
					this.log = (this.log + chunk).slice(-64 * 1024);
					if (this.log.includes("Ready in")) resolve();
				};
				child.stdout.on("data", read);
				child.stderr.on("data", read);
				exit.then(() => reject(new Error("it ended")), reject);
				timer = setTimeout(() => reject(new Error(`not ready after ${START_DEADLINE_MS} ms`)), START_DEADLINE_MS);
			});
		} catch (error) {
			await this.kill();
			throw new Error(`${this.name} did not start on port ${this.port}: ${error.message}\n${this.log}`);
		} finally {
			clearTimeout(timer);
		}
		return this;
	}

	/**
	 * Ends it, and returns when it has gone.
	 * @param {NodeJS.Signals} [signal]
	 */
	async kill(signal = "SIGKILL") {
		if (this.#runs()) {
			const exit = once(this.#process, "exit");
			this.#signal(signal);
			await exit;
		}
		this.#release();
	}

	#runs() {
		return this.#process?.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
	}

	#signal(signal) {
		if (this.#runs()) process.kill(-this.#process.pid, signal);
	}
}
