// A process that looks at sessions without a pause, and is suspended in the middle of it (faults.test.js). It may not trust
// what it knew before: the first thing that it does when it goes on is to look again.

import { redisStorage } from "better-auth-redis-store";
import { now } from "../races/race.js";
import { ready, report } from "../support/worker.js";
import { ready as cacheReady, isHit, readNow, turn, warm } from "./stores.js";

/** How long it looks without letting anything else have its turn. */
const SPELL_MS = 20;

const { url, nearCache, tokens } = await ready();
const storage = redisStorage({ url, nearCache });
await storage.ping();
await cacheReady(storage);
await warm(storage, tokens);

/** When the last read began that found a session, by token. */
const lastValid = new Map();
const wrongNulls = new Set();
const failed = [];
const reading = new Set();
let hits = 0;
let isEnough = false;
/** How many hits there must be before it tells that it is warm; undefined when nobody waits for that. */
let warmAt = 1000;

process.on("message", ({ type }) => {
	if (type === "enough") isEnough = true;
	if (type === "warm?") warmAt = hits + 1000;
});

while (!isEnough) {
	const until = now() + SPELL_MS;
	while (now() < until) for (const token of tokens) look(token);
	if (hits > warmAt) {
		warmAt = undefined;
		process.send({ type: "warm" });
	}
	await turn();
}
await report({ lastValid, wrongNulls: [...wrongNulls], failed, hits });

function look(token) {
	if (reading.has(token)) return;
	const begun = now();
	const answer = readNow(storage, token);
	if (isHit(answer)) {
		hits++;
		judge(token, begun, answer);
		return;
	}
	reading.add(token);
	answer
		.then(
			(value) => judge(token, begun, value),
			(error) => {
				if (error.code !== "TIMEOUT" && error.code !== "UNAVAILABLE") failed.push(error.stack);
			},
		)
		.finally(() => reading.delete(token));
}

function judge(token, begun, value) {
	if (value === null) wrongNulls.add(token);
	else lastValid.set(token, Math.max(begun, lastValid.get(token) ?? 0));
}
