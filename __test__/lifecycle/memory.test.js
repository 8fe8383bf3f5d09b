// Memory: a process that goes on using a store does not grow.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runFile } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";

/**
 * What an operation may seem to leave behind, in bytes. A leaked one costs more than 100: its promise, its number, its
 * texts. The bounds make room for a heap that is still settling by a few MiB: after a million operations it has, and
 * three million take no more.
 */
const BOUND_BYTES_PER_OPERATION = rounds(32, 16);

const server = redisPerFile();

for (const engine of ["redis", "memory"]) {
	test(`resident memory stays flat over ${rounds("150,000", "1,000,000")} operations on ${engine}`, async (t) => {
		const file = new URL("many-operations.js", import.meta.url);
		const url = engine === "redis" ? server.url : "memory://";
		const args = [url, String(rounds(150_000, 1_000_000))];
		const { stdout, stderr, code } = await runFile(file, {
			args,
			execArgv: ["--expose-gc"],
			deadlineMs: rounds(120_000, 1_200_000),
		});
		assert.equal(code, 0, stderr);
		const samples = JSON.parse(stdout);
		const settled = samples.slice(Math.ceil(samples.length / 3));
		const slope = slopeOf(settled);
		const [first, last] = [settled[0], settled.at(-1)];
		t.diagnostic(`${slope.toFixed(2)} bytes per operation, from ${mib(first.rss)} to ${mib(last.rss)} MiB`);
		assert.ok(slope < BOUND_BYTES_PER_OPERATION, `grows by ${slope} bytes per operation: ${stdout}`);
	});
}

const mib = (bytes) => (bytes / 2 ** 20).toFixed(1);

/** The slope of the straight line that lies nearest to the samples: bytes of resident memory per operation. */
function slopeOf(samples) {
	const mean = (of) => samples.reduce((sum, sample) => sum + of(sample), 0) / samples.length;
	const [x, y] = [mean(({ operations }) => operations), mean(({ rss }) => rss)];
	const covariance = mean(({ operations, rss }) => (operations - x) * (rss - y));
	const variance = mean(({ operations }) => (operations - x) ** 2);
	return covariance / variance;
}
