// A process (memory.test.js) that signs in and reads until everything beside the near cache is as large as it gets, and then
// reads many sessions, each once more from the cache; tells by how much it grew in that.
//   node --expose-gc memory.child.js <url> <how many sessions> <the near cache's bytes; 0: none>

import { redisStorage } from "better-auth-redis-store";
import { signIn } from "../support/records.js";
import { ready, sessions } from "./stores.js";

const [url, count, maxBytes] = process.argv.slice(2).map((arg, at) => (at === 0 ? arg : Number(arg)));
const BATCH = 500;
/** What a store remembers of sessions for other reasons is bounded as well, and full after as many. */
const SIGN_INS = 30_000;
const READS = 60_000;

const storage = redisStorage({ url, nearCache: maxBytes > 0 && { maxBytes } });
const uncached = redisStorage({ url, nearCache: false, connectionName: "uncached" });
await storage.ping();
if (maxBytes > 0) await ready(storage);

for (let n = 0; n < SIGN_INS; n += BATCH) await Promise.all(sessions(BATCH).map((one) => signIn(storage, one)));
await readAll(uncached, READS);
const before = await residentBytes();
const { entries: entriesBefore } = storage.metrics().nearCache;
await readAll(storage, count);
const growth = (await residentBytes()) - before;
console.log(JSON.stringify({ growth, entriesBefore, ...storage.metrics().nearCache }));
await Promise.all([storage.close(), uncached.close()]);

/** Reads the first so many sessions, each twice, since what is read again may be kept in another place. */
async function readAll(storage, total) {
	for (let first = 0; first < total; first += BATCH) {
		const tokens = Array.from({ length: BATCH }, (_, n) => `memory${String(first + n).padStart(26, "0")}`);
		for (let time = 0; time < 2; time++) {
			const found = await Promise.all(tokens.map((token) => storage.get(token)));
			if (found.includes(null)) throw new Error("a session is missing");
		}
	}
}

/** What the process takes, when it has let go of what it does not need: the least within a second. */
async function residentBytes() {
	let least = Number.POSITIVE_INFINITY;
	for (let n = 0; n < 10; n++) {
		globalThis.gc();
		await new Promise((resolve) => setTimeout(resolve, 100));
		least = Math.min(least, process.memoryUsage.rss());
	}
	return least;
}
