// A process that the system refuses a thread or a descriptor: its calls fail with an error that says so, and work again when there are some.

import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { endWithProcess } from "../support/lifetime.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

const NOBODY = 65534;
/** The next attempt to connect may be due a little later than the next call. */
const BACK_WITHIN_MS = 1000;
const NO_THREAD = /^UNAVAILABLE .*raise its limit of processes \(ulimit -u/s;
const NO_DESCRIPTOR = /^UNAVAILABLE .*raise its limit \(ulimit -n\)/s;

/** The limit of processes does not hold for root. */
const USER = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

/** A process that can be short of threads or descriptors. */
class Scarce {
	#child;

	/** @param {import("node:test").TestContext} t */
	static async start(t, env = {}) {
		const scarce = new Scarce();
		const { NODE_TEST_CONTEXT: _, ...own } = process.env;
		const script = fileURLToPath(new URL("./scarce.child.js", import.meta.url));
		const child = fork(script, { ...USER, env: { ...own, ...env } });
		scarce.#child = child;
		const release = endWithProcess(() => child.kill("SIGKILL"));
		t.after(() => {
			child.kill("SIGKILL");
			release();
		});
		await once(child, "message");
		return scarce;
	}

	#limit(what, soft) {
		execFileSync("prlimit", [`--pid=${this.#child.pid}`, `--${what}=${soft}:`], USER);
	}

	/** From now on no thread can be started. */
	refuseThreads() {
		this.#limit("nproc", 1);
	}

	/** From now on no descriptor can be opened. */
	refuseDescriptors() {
		const open = readdirSync(`/proc/${this.#child.pid}/fd`)
			.map(Number)
			.sort((a, b) => a - b);
		const free = open.findIndex((descriptor, at) => descriptor !== at);
		this.#limit("nofile", free < 0 ? open.length : free);
	}

	/** There is enough of everything again. */
	relent() {
		const limits = readFileSync(`/proc/${this.#child.pid}/limits`, "utf8");
		for (const [what, line] of [
			["nproc", /^Max processes +\S+ +(\S+)/m],
			["nofile", /^Max open files +\S+ +(\S+)/m],
		]) {
			this.#limit(what, line.exec(limits)[1]);
		}
	}

	/** Until pings by a store of these options come to this. */
	async pings(options, outcome) {
		await until(`a ping that is ${outcome}`, async () => outcome.test(await this.ping(options)), BACK_WITHIN_MS);
	}

	/** What a ping by a store of these options comes to: "done", or the error's code and message. */
	async ping(options) {
		this.#child.send({ options });
		const [outcome] = await once(this.#child, "message");
		return outcome;
	}
}

describe("a process without", { skip: process.platform !== "linux" && "limits are set by prlimit" }, () => {
	async function startFor(t, options) {
		const server = await startRedis(options);
		t.after(() => server.stop());
		return server;
	}

	test("a thread for its first call retries that call", async (t) => {
		const scarce = await Scarce.start(t);
		const { url } = await startFor(t);
		scarce.refuseThreads();
		assert.match(await scarce.ping({ url }), /^UNAVAILABLE no thread can be started/);
		assert.match(await scarce.ping({ url }), /^UNAVAILABLE no thread can be started/);
		scarce.relent();
		assert.equal(await scarce.ping({ url }), "done");
	});

	test("a descriptor for its first call, or for a connection, retries that call", async (t) => {
		const scarce = await Scarce.start(t);
		const [{ url }, other] = [await startFor(t), await startFor(t)];
		scarce.refuseDescriptors();
		assert.match(await scarce.ping({ url }), /^UNAVAILABLE no thread can be started/);
		scarce.relent();
		assert.equal(await scarce.ping({ url }), "done");
		scarce.refuseDescriptors();
		assert.match(await scarce.ping({ url: other.url }), NO_DESCRIPTOR);
		scarce.relent();
		await scarce.pings({ url: other.url }, /^done$/);
	});

	test("a thread to resolve a name fails with that, and resolves it later", async (t) => {
		const scarce = await Scarce.start(t);
		const { url, port } = await startFor(t);
		assert.equal(await scarce.ping({ url }), "done");
		const byName = { url: `redis://localhost:${port}` };
		const cluster = { cluster: [{ host: "localhost", port }] };
		scarce.refuseThreads();
		assert.match(await scarce.ping(byName), NO_THREAD);
		assert.match(await scarce.ping(cluster), /^UNAVAILABLE/);
		scarce.relent();
		await scarce.pings(byName, /^done$/);
		await scarce.pings(cluster, /part of no cluster/);
	});

	test("a thread to read the system's authorities reads them later", async (t) => {
		const server = await startFor(t, { tls: true });
		// Where anybody may read it.
		const folder = mkdtempSync(join(tmpdir(), "authorities-"));
		t.after(() => rmSync(folder, { recursive: true }));
		chmodSync(folder, 0o755);
		const SSL_CERT_FILE = join(folder, "ca.pem");
		copyFileSync(server.certificates.ca, SSL_CERT_FILE);
		const scarce = await Scarce.start(t, { SSL_CERT_FILE });
		const plain = await startFor(t);
		const secure = { url: `rediss://127.0.0.1:${server.port}` };
		assert.equal(await scarce.ping({ url: plain.url }), "done");
		scarce.refuseThreads();
		assert.match(await scarce.ping(secure), NO_THREAD);
		scarce.relent();
		await scarce.pings(secure, /^done$/);
	});
});
