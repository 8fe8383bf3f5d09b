// Reaches a server by a name of which one address is dead, twice: node dead-addresses.child.js <name> <the living address> <port> <options as JSON>
// Prints how long each of the two calls took, in ms, as JSON.

import { redisStorage } from "better-auth-redis-store";
import { sendCommand } from "../support/resp.js";
import { until } from "../support/wait.js";

const [host, address, port, options] = process.argv.slice(2);
const storage = redisStorage({ host, port: Number(port), logger: false, ...JSON.parse(options) });

async function timed() {
	const start = performance.now();
	await storage.set("key", "value", 60);
	return performance.now() - start;
}

const first = await timed();
let isLost = false;
storage.on("down", () => {
	isLost = true;
});
await sendCommand({ host: address, port: Number(port) }, ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
await until("the loss", () => isLost);
const again = await timed();
await storage.close();
console.log(JSON.stringify({ first, again }));
