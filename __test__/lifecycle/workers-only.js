// A process (workers-only.test.js) whose main thread never loads the package: only its workers do.
//   node workers-only.js <url of Redis> in-turn|at-once|pool

import { isMainThread, parentPort, threadId, Worker, workerData } from "node:worker_threads";

/** How many workers run one after the other in one place, in how many places at a time, and how each ends. */
const WAYS = {
	"in-turn": { inTurn: 3, places: 1, end: leave },
	"at-once": { inTurn: 2, places: 3, end: leave },
	pool: { inTurn: 18, places: 3, end: terminate },
};

if (isMainThread) await main(...process.argv.slice(2));
else await work(workerData);

async function main(url, way) {
	const { inTurn, places, end } = WAYS[way];
	let started = 0;
	const place = async () => {
		for (let n = 0; n < inTurn; n++) await end(started++, url);
	};
	await Promise.all(Array.from({ length: places }, place));
	console.log(started);
}

/** The worker ends by itself. */
async function leave(number, url) {
	await ending(start(number, url));
}

/** As a pool does: every other worker is terminated while its calls are in flight. */
async function terminate(number, url) {
	const worker = start(number, url);
	if (number % 2 === 0) worker.once("message", () => worker.terminate());
	await ending(worker);
}

function start(number, url) {
	return new Worker(new URL(import.meta.url), { workerData: { number, url } });
}

function ending(worker) {
	return new Promise((resolve, reject) => {
		worker.once("error", reject);
		worker.once("exit", resolve);
	});
}

/** Of four workers two use Redis, one the embedded engine, and one only loads the package. */
async function work({ number, url }) {
	const { redisStorage } = await import("better-auth-redis-store");
	if (number % 4 === 3) return;
	const storage = redisStorage(number % 4 === 2 ? "memory://" : url);
	const key = `worker ${number} ${threadId}`;
	const calls = Array.from({ length: 100 }, (_, at) => storage.set(`${key} ${at}`, `value ${at}`, 60));
	parentPort.postMessage("called");
	await Promise.all(calls);
	if ((await storage.get(`${key} 99`)) !== "value 99") throw new Error("the value is missing");
	if (number % 2 === 1) await storage.close();
}
