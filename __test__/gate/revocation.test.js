// A session that one server ends is refused by the gates of two others, which check it all the time, within the near cache's bound.

import assert from "node:assert/strict";
import { test } from "node:test";
import { now } from "../races/race.js";
import { spawnWorkers } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { App, newest } from "./apps.js";

const MAX_STALENESS_MS = 500;
/** For a process to be scheduled between the reading of a clock and what it is read for. */
const SLACK_MS = 100;

const redis = redisPerFile();

test("a revoked session is refused by the gates of two other processes", async (t) => {
	const store = { nearCache: { maxStalenessMs: MAX_STALENESS_MS, heartbeatMs: 100 } };
	const app = await App.open(newest, redis.url, {}, { store });
	t.after(() => app.close());
	const tokens = await Promise.all(Array.from({ length: rounds(100, 2000) }, () => app.session()));
	const workers = await spawnWorkers(new URL("revocation.worker.js", import.meta.url), 2, { deadlineMs: 120_000 });
	t.after(() => workers.end());
	const checking = workers.children.map(
		(child) => new Promise((go) => child.on("message", ({ type }) => type === "checking" && go())),
	);
	const { rows, record } = app;
	const reports = workers.go({ url: redis.url, rows, record, tokens, store });
	await Promise.all(checking);

	const revokedAt = new Map();
	for (const token of tokens) {
		await app.auth.api.signOut({ headers: app.headers(token) });
		revokedAt.set(token, now());
	}
	const lags = [];
	for (const { lastValid, stats } of await reports) {
		assert.ok(stats.fast > tokens.length, "each was checked while it lived");
		for (const [token, at] of lastValid) lags.push(at - revokedAt.get(token));
	}
	lags.sort((a, b) => a - b);
	const late = lags.filter((lag) => lag > 0);
	t.diagnostic(
		`${tokens.length} sessions, ${late.length} of ${lags.length} last seen after the sign-out's answer, at most ${lags.at(-1).toFixed(2)} ms`,
	);
	assert.ok(lags.at(-1) <= MAX_STALENESS_MS + SLACK_MS);
});
