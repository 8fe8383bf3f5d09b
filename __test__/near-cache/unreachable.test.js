// While the server cannot be reached: what is known is answered until maxStalenessMs after the last sign of life, then every
// read rejects. Never is a session told to be absent because nobody could be asked.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { now } from "../races/race.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { startProxy } from "../support/proxy.js";
import { fresh, record } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";
import { connect, counters, isHit, openCached, readNow, seed, sessions, warm } from "./stores.js";

const HEARTBEAT_MS = rounds(80, 1000);
const MAX_STALENESS_MS = rounds(450, 3000);
const COMMAND_TIMEOUT_MS = 200;
/** For this process and the store's thread to be scheduled on a busy machine. */
const SLACK_MS = 120;
const CODES = ["TIMEOUT", "UNAVAILABLE"];

const ways = {
	"it stands still": { cut: ({ server }) => server.pause(), mend: ({ server }) => server.resume() },
	"the connection is half open": { cut: ({ proxy }) => proxy.freeze(), mend: ({ proxy }) => proxy.thaw() },
	"it is gone": { cut: ({ server }) => server.kill("SIGTERM"), mend: ({ server }) => server.restart(), isTold: true },
	"it is killed": { cut: ({ server }) => server.kill("SIGKILL"), mend: ({ server }) => server.restart(), isTold: true },
};

describe("near-cache reads are served for maxStalenessMs, and then reject, when", () => {
	for (const [name, { cut, mend, isTold }] of Object.entries(ways)) {
		test(name, async (t) => {
			const server = await startRedis({ config: ["appendonly yes", "appendfsync always"] });
			t.after(() => server.stop());
			const proxy = await startProxy(t, server);
			const nearCache = { heartbeatMs: HEARTBEAT_MS, maxStalenessMs: MAX_STALENESS_MS };
			const { storage, store } = await openCached(t, proxy, nearCache, { commandTimeout: COMMAND_TIMEOUT_MS });
			const mine = sessions(5);
			await seed(connect(t, server), mine);
			const absent = `revoked-sessions-before-${fresh("user")}`;
			const known = new Map([...mine.map((one) => [one.token, record(one)]), [absent, null]]);
			await warm(storage, [...known.keys()]);

			const before = now();
			await cut({ server, proxy });
			const after = now();

			let lastHit = before;
			let firstMiss = Number.POSITIVE_INFINITY;
			const asked = [];
			while (now() < after + MAX_STALENESS_MS + 3 * COMMAND_TIMEOUT_MS) {
				for (const [key, value] of known) {
					const at = now();
					const answer = readNow(storage, key);
					if (isHit(answer)) {
						assert.equal(answer, value);
						lastHit = at;
					} else {
						firstMiss = Math.min(firstMiss, at);
						asked.push(outcomeOf(answer));
					}
				}
				// The other face tells neither a session from before nor null.
				if (now() > after + MAX_STALENESS_MS + SLACK_MS) asked.push(outcomeOf(store.getSession(mine[0].token)));
				await new Promise((resolve) => setTimeout(resolve, 10));
			}
			const outcomes = await Promise.all(asked);
			const told = (at) => `${(at - before).toFixed(0)} ms`;
			t.diagnostic(`the last hit after ${told(lastHit)}, the first miss after ${told(firstMiss)}`);
			assert.deepEqual(
				[...new Set(outcomes)].filter((code) => !CODES.includes(code)),
				[],
			);
			assert.ok(outcomes.length > 20, "hardly a read was refused");
			assert.ok(lastHit <= after + MAX_STALENESS_MS + SLACK_MS, `a hit after ${told(lastHit)}`);
			// The loss of a connection is told; of what is not told, one heartbeat's age is known.
			const promised = isTold ? 0 : MAX_STALENESS_MS - HEARTBEAT_MS - SLACK_MS;
			assert.ok(firstMiss >= before + promised, `a miss after ${told(firstMiss)}`);
			if (!isTold) assert.ok(lastHit >= before + promised, `no hit after ${told(lastHit)}`);

			await mend({ server, proxy });
			await until("an answer", () =>
				storage.ping().then(
					() => true,
					() => false,
				),
			);
			for (const [key, value] of known) assert.equal(await storage.get(key), value);
			await warm(storage, [...known.keys()]);
			assert.ok(counters(storage).enabled);
		});
	}
});

describe("a store that never reached its server", () => {
	test("rejects, and never returns null", async (t) => {
		const server = await startRedis();
		const { url } = server;
		await server.stop();
		const { storage, store } = open(t, { url, commandTimeout: COMMAND_TIMEOUT_MS });
		for (const key of [fresh("token"), `revoked-sessions-before-${fresh("user")}`]) {
			for (let n = 0; n < 5; n++) await assert.rejects(storage.get(key), ({ code }) => CODES.includes(code));
		}
		await assert.rejects(store.getSession(fresh("token")), ({ code }) => CODES.includes(code));
		assert.equal(counters(storage).enabled, false);
	});
});

/** What a read comes to: the code that it rejects with, or what it found. */
function outcomeOf(answer) {
	return answer.then(
		(value) => (value === null ? "null" : "a value"),
		({ code }) => code,
	);
}
