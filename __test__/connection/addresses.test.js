// A name with the addresses of several servers, of which one is the primary, as Kubernetes' headless services are: the store finds the primary.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { canHaveHosts, runWithHosts } from "../support/hosts.js";
import { startRedis } from "../support/redis.js";
import { until } from "../support/wait.js";

const CHILD = fileURLToPath(new URL("addresses.child.js", import.meta.url));

test("a name with the addresses of a primary and of a replica leads to the primary, also when they change places", async (t) => {
	const config = ["repl-diskless-sync-delay 0"];
	const primary = await startRedis({ config });
	t.after(() => primary.stop());
	const replica = await startRedis({ config: [...config, `replicaof ${primary.host} ${primary.port}`] });
	t.after(() => replica.stop());
	if (!(await canHaveHosts(primary.dir))) return t.skip("this machine lets nobody mount another /etc/hosts");

	// The replica has the primary's port on another address.
	const sockets = new Set();
	const forwarder = net.createServer((client) => {
		const server = net.connect(replica.port, replica.host);
		for (const [socket, other] of [
			[client, server],
			[server, client],
		]) {
			sockets.add(socket);
			socket.on("error", () => {});
			socket.on("close", () => other.destroy());
			socket.pipe(other);
		}
	});
	forwarder.listen(primary.port, "127.0.0.2");
	await once(forwarder, "listening");
	t.after(() => {
		forwarder.close();
		for (const socket of sockets) socket.destroy();
	});
	await until("a replica", async () => /master_link_status:up/.test(await replica.cli("INFO", "replication")));

	const { code, told } = await runWithHosts(
		primary.dir,
		"several.test",
		["127.0.0.1", "127.0.0.2"],
		[CHILD, String(primary.port), String(replica.port)],
	);
	assert.equal(code, 0, told);
	assert.match(told, /found twice, and refused/);
});
