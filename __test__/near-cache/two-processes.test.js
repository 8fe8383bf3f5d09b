// Two servers of an application, each with a near cache: what one revokes, the other must stop to accept.

import assert from "node:assert/strict";
import { test } from "node:test";
import { spawnWorkers } from "../support/child.js";
import { rounds, seeded } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";

const MAX_STALENESS_MS = 500;
/** For a process to be scheduled between the reading of a clock and what it is read for. */
const SLACK_MS = 100;
/** Upper ends of the histogram's bars, in ms. */
const BARS = [0, 0.5, 1, 2, 5, 10, 50, 100, MAX_STALENESS_MS + SLACK_MS, Number.POSITIVE_INFINITY];

seeded("two processes"); // sets the seed, so that both share it
const server = redisPerFile();

test("near cache, two processes: no session is valid longer than the bound after its acknowledged end", async (t) => {
	const seconds = rounds(4, 30);
	const workers = await spawnWorkers(new URL("two-processes.worker.js", import.meta.url), 2, { deadlineMs: 120_000 });
	t.after(() => workers.end());
	for (const child of workers.children) {
		// What one has done, the other hears of: it is what the load works with, not what is tested.
		child.on("message", (message) => {
			if (message.type !== "news") return;
			for (const other of workers.children) if (other !== child) other.send(message, () => {});
		});
	}
	const nearCache = { maxStalenessMs: MAX_STALENESS_MS, heartbeatMs: 100 };
	const users = Array.from({ length: 1000 }, (_, n) => `user-${n}`);
	const reports = await workers.go({ place: { url: server.url, options: { nearCache } }, users, seconds });

	/** When each token's revocation was first acknowledged. */
	const revokedAt = new Map();
	for (const { revoked } of reports) {
		for (const [token, at] of revoked) revokedAt.set(token, Math.min(at, revokedAt.get(token) ?? at));
	}
	const bars = BARS.map(() => 0);
	let [seen, worst] = [0, 0];
	for (const [token, at] of revokedAt) {
		const valid = reports.map(({ lastValid }) => lastValid.get(token)).filter((begun) => begun !== undefined);
		if (valid.length === 0) continue;
		seen++;
		const lag = Math.max(...valid) - at;
		worst = Math.max(worst, lag);
		bars[BARS.findIndex((end) => lag <= end)]++;
	}
	const total = (name) => reports.reduce((sum, report) => sum + report.counts[name], 0);
	const { signIns, refreshes, revocations, checks, hits, checksOfRevoked } = Object.fromEntries(
		Object.keys(reports[0].counts).map((name) => [name, total(name)]),
	);
	t.diagnostic(
		`${seconds} s: ${signIns} sign-ins, ${refreshes} refreshes, ${revocations} revocations, ${checks} checks`,
	);
	t.diagnostic(`${hits} hits; ${checksOfRevoked} checks of what was revoked, ${seen} sessions valid before`);
	t.diagnostic('from a revocation\'s acknowledgement to the last check that began with the answer "valid":');
	for (const [at, count] of bars.entries()) {
		const name = at === 0 ? "never again" : `to ${BARS[at]} ms`;
		t.diagnostic(`${name.padStart(14)} ${String(count).padStart(7)} ${"#".repeat(Math.ceil((60 * count) / seen))}`);
	}
	assert.deepEqual(
		reports.flatMap(({ unexpected }) => unexpected),
		[],
	);
	assert.equal(bars.at(-1), 0, `a session was valid ${worst} ms after its revocation`);
	assert.ok(seen > 100 && checksOfRevoked > 2 * revocations && hits > checks / 4, "the load was not one");
});
