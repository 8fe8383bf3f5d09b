// A process (worker-threads.test.js) that terminates workers, each at another moment of its life: while it loads the
// package, opens a store, has calls in flight, is being told of their ends. The main thread uses the same store meanwhile.
//   node torn-down.js <url> <how many workers> <seed>

import assert from "node:assert/strict";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { redisStorage } from "better-auth-redis-store";

const AT_ONCE = 4;

if (isMainThread) await main(...process.argv.slice(2));
else await work(workerData);

async function main(url, count, seed) {
	process.env.TEST_SEED ??= seed;
	const { seeded } = await import("../support/counts.js");
	const log = console.log;
	console.log = () => {}; // the test has told the seed
	const random = seeded("moments");
	console.log = log;

	const storage = redisStorage(url);
	let [left, terminated, calls] = [Number(count), 0, 0];

	const terminateSome = async () => {
		while (left-- > 0) {
			const worker = new Worker(new URL(import.meta.url), { workerData: { url, close: random.below(4) === 0 } });
			worker.on("error", (error) => {
				throw error;
			});
			// Some at once, while they load; the others after so many signs of life.
			const signs = random.below(6);
			for (let seen = 0; seen < signs; seen++) await new Promise((resolve) => worker.once("message", resolve));
			for (let ticks = random.below(20); ticks > 0; ticks--) await new Promise(setImmediate);
			await worker.terminate();
			terminated++;
		}
	};
	const useMeanwhile = async () => {
		while (left > 0) {
			calls++;
			const key = `main ${calls % 100}`;
			await storage.set(key, `value ${calls}`, 60);
			assert.equal(await storage.get(key), `value ${calls}`);
		}
	};
	await Promise.all([useMeanwhile(), ...Array.from({ length: AT_ONCE }, terminateSome)]);
	await storage.ping();
	console.log(JSON.stringify({ terminated, calls }));
}

/** Calls without end, a sign of life after each hundred. */
async function work({ url, close }) {
	parentPort.postMessage("loaded");
	for (;;) {
		const storage = redisStorage(url);
		const calls = Array.from({ length: 100 }, (_, at) => [
			storage.set(`worker ${at}`, "value", 60),
			storage.get(`worker ${at}`),
			storage.increment("count", 60),
			storage.getAndDelete(`worker ${at + 1}`),
		]);
		parentPort.postMessage("called");
		if (close) await storage.close();
		await Promise.all(calls.flat());
	}
}
