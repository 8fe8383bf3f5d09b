// The parent's side of a peer's process: starts it, asks it one thing at a time, and tells in words why it ended.

import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { endWithProcess } from "../__test__/support/lifetime.js";

const PROGRAM = fileURLToPath(new URL("peer-process.js", import.meta.url));
const DEADLINE_MS = 120_000;

export class PeerHandle {
	#child;
	#printed = "";
	#release;
	#settle = () => {};
	/** Why it can be asked nothing more. @type {string | undefined} */
	#ended;

	/** @param {{ peer: object, redis: object, postgres?: object }} settings what `open` of the peer's file takes */
	constructor(settings) {
		this.#child = fork(PROGRAM, {
			execArgv: ["--expose-gc"],
			env: { ...process.env, NODE_TEST_CONTEXT: undefined, BENCH_PEER: JSON.stringify(settings) },
			stdio: ["ignore", "pipe", "pipe", "ipc"],
		});
		this.#release = endWithProcess(() => this.#child.kill("SIGKILL"));
		for (const stream of [this.#child.stdout, this.#child.stderr]) {
			stream.on("data", (chunk) => {
				this.#printed = (this.#printed + chunk).slice(-4000);
			});
		}
		this.#child.on("message", (message) => this.#settle(message));
		this.#child.on("close", (code, signal) => {
			this.#ended ??= `its process ended with ${signal ?? `exit code ${code}`}\n${this.#printed}`;
			this.#settle({ error: this.#ended });
		});
	}

	/** Resolves when the peer is connected. */
	async opened() {
		await this.#answer();
	}

	/** Has a workload made ready; with `fill`, its records put in. */
	async prepare(request) {
		await this.#ask("prepare", request);
	}

	/** One run of the workload prepared last. */
	run(request) {
		return this.#ask("run", request);
	}

	end() {
		this.#ended ??= "its process was ended";
		this.#child.kill("SIGKILL");
		this.#release();
	}

	async #ask(name, request) {
		if (this.#ended) throw new Error(this.#ended);
		const answer = this.#answer();
		this.#child.send({ name, request }, () => {}); // one that has ended answers by its "close"
		return await answer;
	}

	async #answer() {
		let timer;
		const { reply, error } = await new Promise((resolve) => {
			this.#settle = resolve;
			timer = setTimeout(() => {
				this.#ended = `no answer within ${DEADLINE_MS / 1000} s`;
				this.end();
			}, DEADLINE_MS);
		});
		clearTimeout(timer);
		if (error !== undefined) throw new Error(error);
		return reply;
	}
}
