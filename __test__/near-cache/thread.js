// A worker thread (basics.test.js) with a store of its own of the same options, which does with it what it is told:
//   { number, face: "storage" | "store", method, args }  ->  { number, value, isHit } or { number, code }

import { parentPort, workerData } from "node:worker_threads";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { isHit, readNow } from "./stores.js";

const doors = { storage: redisStorage(workerData), store: new RedisSessionStore(workerData) };

parentPort.on("message", async ({ number, face, method, args }) => {
	try {
		const answer = method === "get" ? readNow(doors[face], ...args) : doors[face][method](...args);
		parentPort.postMessage({ number, value: await answer, isHit: isHit(answer) });
	} catch ({ code, message }) {
		parentPort.postMessage({ number, code, message });
	}
});
