// A real Redis (or Valkey) server of the test's own: on a loopback port that nobody else uses, in a folder that goes
// away with it. It never outlives the test process.

import { spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before } from "node:test";
import { findRedisServer } from "../../scripts/programs.js";
import { makeCertificates } from "./certificates.js";
import { endWithProcess } from "./lifetime.js";
import { stateOf } from "./processes.js";
import { sendCommand } from "./resp.js";

const START_DEADLINE_MS = 10_000;
const PORT_ATTEMPTS = 20;

/**
 * @typedef {object} RedisOptions
 * @property {boolean} [sentinel] a Sentinel, not a server
 * @property {string[]} [config] lines for redis.conf, after ours: `"maxmemory-policy noeviction"`, `"appendonly yes"`
 * @property {string} [password] the default user's
 * @property {boolean} [unixSocket] listens on `server.socket` as well
 * @property {boolean | { names?: string, clients?: boolean, life?: string, isSelfSigned?: boolean }} [tls] TLS in place of plain TCP, with new certificates:
 * for `names`, with a `life` (see certificates.js), and with `clients` asked of clients too
 */

/** One server. `url`, `port` and `pid` hold from `start()` on. */
export class RedisServer {
	host = "127.0.0.1";
	/** @type {number} Stays the same over restarts. */
	port;
	/** @type {string} Its folder. */
	dir;
	/** @type {string | undefined} The path of its Unix socket. */
	socket;
	/** @type {{ ca: string, cert: string, key: string } | undefined} The paths of PEM files. */
	certificates;
	/** @type {string | undefined} What `url` and `cli` use, and a restart sets; a test that changes it by CONFIG SET sets it here. */
	password;

	/** @type {RedisOptions} */
	#options;
	/** @type {import("node:child_process").ChildProcess | undefined} */
	#process;
	#log = "";
	#release = () => {};

	/** @param {RedisOptions} [options] */
	constructor(options = {}) {
		this.#options = options;
		this.password = options.password;
	}

	/** The server process, or undefined while none runs. */
	get pid() {
		return this.#runs() ? this.#process.pid : undefined;
	}

	get url() {
		const scheme = this.certificates ? "rediss" : "redis";
		const login = this.password === undefined ? "" : `:${encodeURIComponent(this.password)}@`;
		return `${scheme}://${login}${this.host}:${this.port}`;
	}

	/** The end of what it has logged since it was last started. */
	get log() {
		return this.#log;
	}

	/** Starts it on a free port, and returns when it answers. */
	async start() {
		this.dir = mkdtempSync(join(tmpdir(), "redis-test-"));
		this.#release = endWithProcess(() => {
			this.#process?.kill("SIGKILL");
			// Tried again, since the signal may take a moment to arrive and the server may write a file in it.
			rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 });
		});
		try {
			const { unixSocket, tls } = this.#options;
			if (unixSocket) this.socket = join(this.dir, "redis.sock");
			if (tls) this.certificates = makeCertificates(this.dir, tls.names, tls.life, tls.isSelfSigned);
			await this.#launchOnFreePort();
		} catch (error) {
			await this.stop();
			throw error;
		}
		return this;
	}

	/**
	 * Ends the server in the orderly way, if it still runs, and starts it again: same port, same folder. What it held
	 * comes back only with `config: ["appendonly yes"]`.
	 */
	async restart() {
		this.#process.kill("SIGCONT");
		await this.kill("SIGTERM");
		await this.#launch();
	}

	/**
	 * Ends the server by a signal, and returns when it has gone; `restart()` brings it back.
	 * @param {NodeJS.Signals} [signal] one that ends a process
	 */
	async kill(signal = "SIGKILL") {
		if (!this.#runs()) return;
		this.#process.ref();
		const exit = once(this.#process, "exit");
		this.#process.kill(signal);
		await exit;
	}

	/** Freezes it: connections stay open, nothing is answered. Returns when it stands still. */
	async pause() {
		this.#process.kill("SIGSTOP");
		// kill() returns when the signal is queued; the server may go on until the kernel has stopped it.
		while (!["T", undefined].includes(stateOf(this.pid))) await new Promise(setImmediate);
	}

	/** Lets it go on. */
	resume() {
		this.#process.kill("SIGCONT");
	}

	/** Ends it for good and removes its folder. */
	async stop() {
		await this.kill("SIGKILL");
		rmSync(this.dir, { recursive: true, force: true });
		this.#release();
	}

	/**
	 * Sends one command over a connection of its own and returns its reply, bulk strings as UTF-8.
	 * @param {...(string | number | Buffer)} args
	 */
	cli(...args) {
		return sendCommand(this.#address(), args);
	}

	/**
	 * As `cli`, with bulk strings as Buffers: for values that are not UTF-8.
	 * @param {...(string | number | Buffer)} args
	 */
	cliBuffer(...args) {
		return sendCommand(this.#address(), args, { buffers: true });
	}

	#address() {
		const { host, port, password, certificates: files } = this;
		if (!files) return { host, port, password };
		const [ca, cert, key] = [files.ca, files.cert, files.key].map((path) => readFileSync(path));
		// Neither name nor time is checked: a test may have asked for certificates with wrong ones.
		return { host, port, password, tls: { ca, cert, key, rejectUnauthorized: false } };
	}

	/**
	 * The server's own bind decides whether a port is free: whoever asks first and binds later can be overtaken.
	 *
	 * Our ports, and the Cluster's bus ports 10,000 above them, lie below those that the kernel gives to outgoing
	 * connections (from 32768 on Linux). A port from there could go to some client while the server is down for a
	 * moment; a client that reconnects to it would in the end connect to itself.
	 */
	async #launchOnFreePort() {
		for (let attempt = 1; ; attempt++) {
			this.port = randomInt(10_000, 20_000);
			try {
				return await this.#launch();
			} catch (error) {
				if (attempt === PORT_ATTEMPTS || !this.#log.includes("Address already in use")) throw error;
			}
		}
	}

	async #launch() {
		const program = findRedisServer();
		if (!program) throw new Error("neither redis-server nor valkey-server is on the PATH: npm test installs it");
		const config = join(this.dir, "redis.conf");
		writeFileSync(config, `${this.#configLines().join("\n")}\n`);

		const mode = this.#options.sentinel ? ["--sentinel"] : [];
		const server = spawn(program, [config, ...mode], { cwd: this.dir, stdio: ["ignore", "pipe", "pipe"] });
		this.#process = server;
		this.#log = "";
		try {
			await this.#ready(server);
			await this.cli("PING");
		} catch (error) {
			await this.kill("SIGKILL");
			throw new Error(`${program} did not start on port ${this.port}: ${error.message}\n${this.#log}`, {
				cause: error,
			});
		}
		// A server that a test forgot must not keep the test process from ending, and with that from ending the server.
		server.unref();
		server.stdout.unref();
		server.stderr.unref();
	}

	/** Resolves when this very process says that it listens. (At the port alone, another server could answer.) */
	async #ready(server) {
		let timer;
		await new Promise((resolve, reject) => {
			const read = (chunk) => {
				this.#log = (this.#log + chunk).slice(-64 * 1024);
				if (/Ready to accept connections|Sentinel ID is/.test(this.#log)) resolve();
			};
			server.stdout.on("data", read);
			server.stderr.on("data", read);
			server.once("error", reject);
			server.once("close", (code, signal) => reject(new Error(`it ended with ${signal ?? `exit code ${code}`}`)));
			timer = setTimeout(() => reject(new Error(`not ready after ${START_DEADLINE_MS} ms`)), START_DEADLINE_MS);
		}).finally(() => clearTimeout(timer));
	}

	#configLines() {
		const { config = [], tls, sentinel } = this.#options;
		const lines = [`bind ${this.host}`, `dir ${quote(this.dir)}`, "loglevel notice"];
		if (!sentinel) lines.push('save ""');
		if (this.certificates) {
			const { ca, cert, key } = this.certificates;
			lines.push("port 0", `tls-port ${this.port}`);
			lines.push(`tls-ca-cert-file ${quote(ca)}`, `tls-cert-file ${quote(cert)}`, `tls-key-file ${quote(key)}`);
			lines.push(`tls-auth-clients ${tls.clients ? "yes" : "no"}`);
		} else {
			lines.push(`port ${this.port}`);
		}
		if (this.socket) lines.push(`unixsocket ${quote(this.socket)}`);
		if (this.password !== undefined) lines.push(`requirepass ${quote(this.password)}`);
		return [...lines, ...config];
	}

	#runs() {
		return this.#process?.pid !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
	}
}

/**
 * Starts a server; the caller stops it.
 * @param {RedisOptions} [options]
 */
export function startRedis(options) {
	return new RedisServer(options).start();
}

/**
 * A server for all tests of the file (or of the suite) that calls this: started before them, stopped after.
 * @param {RedisOptions} [options]
 */
export function redisPerFile(options) {
	const server = new RedisServer(options);
	before(() => server.start());
	after(() => server.stop());
	return server;
}

/** A word of redis.conf. */
function quote(text) {
	return `"${text.replace(/["\\]/g, "\\$&")}"`;
}
