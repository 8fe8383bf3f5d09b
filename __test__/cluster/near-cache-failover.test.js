// The near cache of a cluster after a failover whose old primary takes connections and says nothing.

import { test } from "node:test";
import { counters, ready } from "../near-cache/stores.js";
import { RedisCluster } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { startProxy } from "../support/proxy.js";
import { until } from "../support/wait.js";

test("the near cache answers again after a failover, though an attempt to reach the old primary goes on", async (t) => {
	const cluster = await new RedisCluster().start();
	t.after(() => cluster.stop());
	const proxies = await Promise.all(cluster.servers.map((server) => startProxy(t, server)));
	const at = proxies.map(({ url }) => ({ host: "127.0.0.1", port: Number(new URL(url).port) }));
	const natMap = Object.fromEntries(cluster.nodes.map(({ host, port }, n) => [`${host}:${port}`, at[n]]));
	const { storage } = open(t, { cluster: at, natMap, connectTimeout: 60_000 });
	await storage.ping();
	await ready(storage);
	const [old] = await cluster.primaries();
	const heir = await cluster.replicaOf(old);
	// It takes connections, and says nothing.
	await old.pause();
	proxies[cluster.servers.indexOf(old)].cut();
	await until("an election", async () => (await heir.cli("ROLE"))[0] === "master", 30_000);
	await until("the near cache", () => counters(storage).enabled);
});
