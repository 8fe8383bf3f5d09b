// The near cache keeps to its bound: not by its own count, but by what the process takes of the machine's memory.

import assert from "node:assert/strict";
import { test } from "node:test";
import { runFile } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { record, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
const MAX_BYTES = 32 * 1024 * 1024;
/** What lies over the bound: 20 %. */
const ROOM = 1.2;
/** What stands in a token's place in the text of a record. */
const PLACE = "TOKENTOKEN";
const FILL = `
	local key, text, place = KEYS[1], ARGV[1], ARGV[2]
	for n = tonumber(ARGV[3]), tonumber(ARGV[4]) do
		local token = string.format('memory%026d', n)
		redis.call('SET', key .. token, (string.gsub(text, place, token)))
	end`;

test(`${rounds("100 thousand", "a million")} sessions are read, and the near cache takes no more than maxBytes and 20 %`, async (t) => {
	const count = rounds(100_000, 1_000_000);
	const text = `${record(session({ token: PLACE }))} `;
	for (let first = 0; first < count; first += 5000) {
		await server.cli("EVAL", FILL, 1, "session:", text, PLACE, first, first + 4999);
	}
	/** What a process of its own tells that reads them all. */
	const readAll = async (maxBytes) => {
		const { stdout, stderr, code } = await runFile(new URL("memory.child.js", import.meta.url), {
			args: [server.url, String(count), String(maxBytes)],
			execArgv: ["--expose-gc"],
			// The allocator gives back at once what it does not need: measured is what is taken, not what is left lying.
			env: { MIMALLOC_PURGE_DELAY: "0" },
			deadlineMs: rounds(60_000, 600_000),
		});
		assert.equal(code, 0, stderr);
		return JSON.parse(stdout);
	};
	const without = await readAll(0);
	const { growth, bytes, entries, entriesBefore, evictions } = await readAll(MAX_BYTES);
	const taken = growth - without.growth;
	const mib = (bytes) => `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
	t.diagnostic(`records of ${text.length + 22} bytes; ${entries} entries, by the cache's count ${mib(bytes)}`);
	t.diagnostic(`the process grew by ${mib(growth)}, without a cache by ${mib(without.growth)}: it takes ${mib(taken)}`);
	assert.equal(entriesBefore, 0);
	assert.ok(bytes <= MAX_BYTES && bytes > MAX_BYTES / 2 && evictions > 0, "the cache did not fill");
	assert.ok(taken <= MAX_BYTES * ROOM, `it takes ${mib(taken)}`);
});
