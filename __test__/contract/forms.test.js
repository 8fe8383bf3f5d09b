// The contract, kept by Redis in the forms in which people run it: with TLS, with a user who may do no more than the documentation says, on
// a Unix socket, behind Sentinel, and without the commands that managed servers lack.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { root } from "../../scripts/programs.js";
import { connectionsNamed } from "../lifecycle/clients.js";
import { RedisCluster } from "../support/cluster.js";
import { open, redisEngine } from "../support/engines.js";
import { session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";
import { SentinelGroup } from "../support/sentinel.js";
import { contract } from "./suite.js";

const pem = (path) => readFileSync(path, "utf8");

/** The lines of docs/security.md that make users, as the words of commands. */
const lines = pem(join(root, "docs/security.md")).match(/^ACL SETUSER .*$/gm);
const PASSWORD = "a long password";

/** Makes the user of a line, with a password. */
function makeUser(line, server) {
	return server.cli(...line.split(" ").map((word) => (word === ">PASSWORD" ? `>${PASSWORD}` : word)));
}

describe("TLS, with certificates on both sides", () => {
	const server = redisPerFile({ tls: { clients: true }, password: "secret" });
	const where = () => {
		const { ca, cert, key } = server.certificates;
		return { url: server.url, tls: { ca: pem(ca), cert: pem(cert), key: pem(key), minVersion: "TLSv1.3" } };
	};
	contract(redisEngine("TLS", where));
});

describe("a user who may do what docs/security.md lists", () => {
	const server = redisPerFile();
	before(() => makeUser(lines[0], server));
	const where = () => ({ url: server.url, username: "sessions", password: PASSWORD, connectionName: "restricted" });
	contract(redisEngine("ACL", where, { keys: "session:", users: "user-sessions:" }));

	test("lacks no permission, and has the near cache", async (t) => {
		const { storage, store } = open(t, { ...where(), keyPrefix: "session:", userPrefix: "user-sessions:" });
		const mine = session();
		await store.createSession(mine);
		assert.equal(storage.metrics().nearCache.enabled, true);
		assert.notEqual((await connectionsNamed(server, "restricted")).length, 0);
		// SORT with patterns is for users of all keys only: it is done without.
		const denied = (await server.cli("ACL", "LOG")).map((entry) => entry[entry.indexOf("object") + 1]);
		assert.deepEqual(
			[...new Set(denied)].filter((object) => !["sort", "client|setinfo"].includes(object)),
			[],
		);
	});
});

describe("a user of a cluster who may do what docs/security.md lists", () => {
	const cluster = new RedisCluster();
	before(async () => {
		await cluster.start();
		for (const server of cluster.servers) await makeUser(lines[1], server);
	});
	after(() => cluster.stop());
	const where = () => ({ cluster: cluster.nodes, username: "sessions", password: PASSWORD });
	contract(redisEngine("ACL on a cluster", where, { keys: "session:", users: "user-sessions:" }));
});

describe("a Unix socket", () => {
	const server = redisPerFile({ unixSocket: true });
	contract(redisEngine("a Unix socket", () => ({ path: server.socket })));
});

describe("Sentinel", () => {
	const group = new SentinelGroup();
	before(() => group.start());
	after(() => group.stop());
	contract(redisEngine("Sentinel", () => ({ sentinels: group.nodes })));
});

describe("a managed server", () => {
	// Each that some of them lack and that this store can live without.
	const lacking = ["CLIENT", "CONFIG", "HELLO", "INFO", "ROLE", "SCRIPT", "SORT", "ACL", "DEBUG", "MONITOR", "KEYS"];
	const server = redisPerFile({ config: lacking.map((name) => `rename-command ${name} ""`) });
	contract(redisEngine("a managed server", () => ({ url: server.url, connectionName: "unheard" })));

	for (const name of ["CLIENT", "HELLO", "INFO", "ROLE", "SCRIPT", "SORT"]) {
		const lame = redisPerFile({ config: [`rename-command ${name} ""`] });
		test(`that lacks only ${name} works`, async (t) => {
			const { storage, store } = open(t, {
				url: lame.url,
				connectionName: "unheard",
				maxSessionsPerUser: 2,
				logger: false,
			});
			const mine = [1, 2, 3].map(() => session({ userId: "u" }));
			for (const one of mine) await store.createSession(one);
			assert.equal((await store.getUserSessions("u")).length, 2);
			assert.deepEqual(await store.getSession(mine[2].token), mine[2]);
			assert.equal(await store.deleteUserSessions("u"), 2);
			assert.equal(await store.getSession(mine[2].token), null);
			const { enabled, reason } = storage.metrics().nearCache;
			// ROLE and INFO stand in for each other.
			assert.equal(enabled, !["CLIENT", "HELLO"].includes(name), reason);
		});
	}
});
