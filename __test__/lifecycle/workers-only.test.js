// A process that loads the package in worker threads only, as test runners and development servers do. The first worker's
// thread initializes the addon and then ends: what it leaves must serve the threads that come later
// (microsoft/mimalloc#1287, rolldown/rolldown#9722).

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runFile } from "../support/child.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();

describe("a main thread that never loads the package lives on after", () => {
	for (const [title, way, workers] of [
		["three workers in turn", "in-turn", 3],
		["three workers at once, twice", "at-once", 6],
		["a pool that restarts its workers 51 times", "pool", 54],
	]) {
		test(title, async () => {
			const file = new URL("workers-only.js", import.meta.url);
			const { stdout, stderr, code, signal } = await runFile(file, { args: [server.url, way] });
			assert.deepEqual({ stdout, stderr, code, signal }, { stdout: `${workers}\n`, stderr: "", code: 0, signal: null });
		});
	}
});
