// A process whose first call was refused, because no thread could be started, ends by itself: the call keeps it alive no longer.

import assert from "node:assert/strict";
import { execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { describe, test } from "node:test";
import { fileURLToPath } from "node:url";
import { endWithProcess } from "../support/lifetime.js";
import { redisPerFile } from "../support/redis.js";

const CHILD = fileURLToPath(new URL("refused-start.child.js", import.meta.url));

/** The limit of processes does not hold for root. */
const NOBODY = 65534;
const USER = process.getuid?.() === 0 ? { uid: NOBODY, gid: NOBODY } : {};

const ENDS_WITHIN_MS = 5000;

const server = redisPerFile();

/** A process that pings when it is told to. */
async function startPinger(t) {
	const { NODE_TEST_CONTEXT: _, ...env } = process.env;
	const child = fork(CHILD, { ...USER, env });
	const release = endWithProcess(() => child.kill("SIGKILL"));
	t.after(() => {
		child.kill("SIGKILL");
		release();
	});
	await once(child, "message");
	const ping = async (isLast) => {
		child.send({ url: server.url, isLast });
		const [outcome] = await once(child, "message");
		return outcome;
	};
	const prlimit = (...args) => execFileSync("prlimit", [`--pid=${child.pid}`, ...args], { ...USER, encoding: "utf8" });
	const limit = prlimit("--nproc", "--output=SOFT", "--noheadings").trim();
	const refuseThreads = () => prlimit("--nproc=1:");
	const permitThreads = () => prlimit(`--nproc=${limit}:`);
	const ended = once(child, "exit", { signal: AbortSignal.timeout(ENDS_WITHIN_MS) });
	ended.catch(() => {});
	return { ping, refuseThreads, permitThreads, ended };
}

describe("a process whose first call was refused a thread", {
	skip: process.platform !== "linux" && "limits are set by prlimit",
}, () => {
	test("ends by itself when it has nothing more to do", async (t) => {
		const { ping, refuseThreads, ended } = await startPinger(t);
		refuseThreads();
		assert.match(await ping(true), /^UNAVAILABLE no thread can be started/);
		assert.deepEqual(await ended, [0, null]);
	});

	test("ends by itself after a later call that was carried out", async (t) => {
		const { ping, refuseThreads, permitThreads, ended } = await startPinger(t);
		refuseThreads();
		assert.match(await ping(false), /^UNAVAILABLE no thread can be started/);
		permitThreads();
		assert.equal(await ping(true), "done");
		assert.deepEqual(await ended, [0, null]);
	});
});
