// Reaches two servers by one name, and has them change places: node addresses.child.js <port of the primary> <port of the replica>

import assert from "node:assert/strict";
import { redisStorage } from "better-auth-redis-store";
import { assertRejects } from "../support/errors.js";
import { session, signIn } from "../support/records.js";
import { sendCommand } from "../support/resp.js";
import { until } from "../support/wait.js";

const host = "127.0.0.1";
const [primary, replica] = process.argv.slice(2).map((port) => ({ host, port: Number(port) }));
const options = { url: `redis://several.test:${primary.port}`, revoke: { waitReplicas: 1, timeoutMs: 1500 } };
const storage = redisStorage(options);

/** Signs in and out at the primary, which its replica acknowledges. */
async function isFound(at) {
	const mine = session();
	await signIn(storage, mine);
	assert.equal(await sendCommand(at, ["EXISTS", `session:${mine.token}`]), 1);
	await storage.delete(mine.token);
	assert.equal(storage.metrics().revoke.lastAcked, 1);
}

await isFound(primary);
await sendCommand(replica, ["REPLICAOF", "NO", "ONE"]);
await sendCommand(primary, ["REPLICAOF", replica.host, replica.port]);
await until("a replica", async () => /link_status:up/.test(await sendCommand(primary, ["INFO", "replication"])));
await isFound(replica);
await storage.close();

await sendCommand(replica, ["REPLICAOF", primary.host, primary.port]);
const refused = redisStorage(options);
await assertRejects(() => refused.ping(), "READONLY", /is a read-only replica: connect to its primary/);
await refused.close();
console.log("found twice, and refused");
