// One server of the application: checks the same session over and over through its gate, until it is no more (revocation.test.js).

import { ready as cacheReady } from "../near-cache/stores.js";
import { now } from "../races/race.js";
import { ready, report } from "../support/worker.js";
import { App, newest } from "./apps.js";

const { url, rows, record, tokens, store } = await ready();
const app = await App.open(newest, url, {}, { like: { rows, record }, store });
await app.storage.ping();
await cacheReady(app.storage);

/** When the last check began that found each session. */
const lastValid = new Map();
const left = new Set(tokens);
for (let n = 0; left.size > 0; n++) {
	if (n === 1) process.send({ type: "checking" });
	for (const token of left) {
		const begun = now();
		if (await app.gate(app.headers(token))) lastValid.set(token, begun);
		else left.delete(token);
	}
	// The others of this machine have their turn as well.
	if (n % 10 === 0) await new Promise(setImmediate);
}
await report({ lastValid, stats: app.gate.stats() });
await app.close();
