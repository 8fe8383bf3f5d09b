// A process (memory.test.js) that has been at work for a while, without anything of it in the near cache: it has signed in
// and has read past the cache. Then it reads many sessions through it, and tells by how much it grew each time.
//   node --expose-gc memory.child.js <url> <how many sessions> <bytes>

import { redisStorage } from "better-auth-redis-store";
import { signIn } from "../contract/records.js";
import { ready, sessions } from "./stores.js";

const [url, count, maxBytes] = process.argv.slice(2);
const BATCH = 500;
/** What a store remembers of sessions for other reasons is bounded as well, and full after as many. */
const SIGN_INS = 30_000;
const READS = 60_000;

const options = { url, nearCache: { maxBytes: Number(maxBytes) } };
const plain = redisStorage({ url, nearCache: false, connectionName: "plain" });
const cached = redisStorage(options);
await cached.ping();
await ready(cached);

const start = await residentBytes();
for (let n = 0; n < SIGN_INS; n += BATCH) await Promise.all(sessions(BATCH).map((one) => signIn(cached, one)));
await readAll(plain, READS);
const { entries } = cached.metrics().nearCache;
const between = await residentBytes();
await readAll(cached, Number(count));
const end = await residentBytes();
const { nearCache: counters } = cached.metrics();
console.log(JSON.stringify({ entries, growthBefore: between - start, growth: end - between, counters }));
await plain.close();
await cached.close();

/** Reads the first so many sessions, each twice, since what is read again may be kept in another place. */
async function readAll(storage, total) {
	for (let first = 0; first < total; first += BATCH) {
		const tokens = Array.from({ length: Math.min(BATCH, total - first) }, (_, n) => tokenOf(first + n));
		for (let time = 0; time < 2; time++) {
			const found = await Promise.all(tokens.map((token) => storage.get(token)));
			if (found.includes(null)) throw new Error("a session is missing");
		}
	}
}

function tokenOf(n) {
	return `memory${String(n).padStart(26, "0")}`;
}

/** What the process takes, when it has let go of what it does not need: the least within a while. */
async function residentBytes() {
	let least = Number.POSITIVE_INFINITY;
	for (let n = 0; n < 10; n++) {
		globalThis.gc();
		await new Promise((resolve) => setTimeout(resolve, 100));
		least = Math.min(least, process.memoryUsage.rss());
	}
	return least;
}
