// Passwords that expire: live connections log in again before, on one server, with Sentinel and on a cluster, and nobody notices.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { counters, isHit, openStranger, readNow, ready } from "../near-cache/stores.js";
import { RedisCluster } from "../support/cluster.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { SECRETS } from "../support/errors.js";
import { load } from "../support/load.js";
import { fresh, session } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { SentinelGroup } from "../support/sentinel.js";
import { TokenService } from "../support/tokens.js";
import { until } from "../support/wait.js";

const LIFE_MS = rounds(2000, 5000);
/** How many passwords a connection has in turn: 10 minutes of them in the long run. */
const LOGINS = rounds(3, 150);

/** A server that is stopped when the test ends. */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/**
 * Where sessions lie.
 * @typedef {object} Place
 * @property {import("../support/redis.js").RedisServer[]} servers
 * @property {import("better-auth-redis-store").StoreOptions} options
 * @property {number} connections how many a store keeps
 */

/** @type {Record<string, (t: import("node:test").TestContext) => Promise<Place>>} */
const PLACES = {
	"one server": async (t) => {
		const server = await startFor(t);
		return { servers: [server], options: { host: server.host, port: server.port }, connections: 1 };
	},
	"one server without RESP3": async (t) => {
		const server = await startFor(t, { config: ['rename-command HELLO ""'] });
		return { servers: [server], options: { host: server.host, port: server.port }, connections: 1 };
	},
	"Sentinel, with a connection for WAIT": async (t) => {
		const group = new SentinelGroup();
		t.after(() => group.stop());
		await group.start();
		// A WAIT that waits for its whole time holds up the login behind it.
		const primary = await group.primary();
		const inStep = async () => (await primary.cli("INFO", "replication")).match(/state=online/g)?.length === 2;
		await until("replicas in step", inStep, 30_000);
		const options = { sentinels: group.nodes, revoke: { waitReplicas: 1, timeoutMs: 1500 } };
		return { servers: group.servers, options, connections: 2 };
	},
	Cluster: async (t) => {
		const cluster = new RedisCluster({}, { primaries: 3, replicas: 0 });
		t.after(() => cluster.stop());
		await cluster.start();
		return { servers: cluster.servers, options: { cluster: cluster.nodes }, connections: 3 };
	},
};

/**
 * Watches until every connection of a store has had its logins.
 * @returns {Promise<Map<string, Set<string>>>} by server and number of a connection, its users in turn
 */
async function usersOf(tokens, servers, connections) {
	const users = new Map();
	const look = async () => {
		for (const server of servers) {
			for (const [id, { name, user, age }] of await tokens.connections(server)) {
				// Those that find out about a cluster come and go.
				if (name === "" && age < 1) continue;
				const key = `${server.port} ${id}`;
				users.set(key, (users.get(key) ?? new Set()).add(user));
			}
		}
		await sleep(20);
		return users.size >= connections && [...users.values()].every((those) => those.size >= LOGINS);
	};
	await until("logins on every connection", look, LOGINS * LIFE_MS * 2);
	return users;
}

/** What a store tells from now on. */
function listen(storage) {
	const told = [];
	for (const event of ["down", "reconnecting", "failover", "degraded", "underReplicated"]) {
		storage.on(event, (reason) => told.push(`${event}: ${reason}`));
	}
	return told;
}

describe("a password that expires", { concurrency: true }, () => {
	describe("under load the same connections log in again: no call fails, the near cache stays", {
		concurrency: true,
	}, () => {
		for (const [place, start] of Object.entries(PLACES)) {
			test(place, async (t) => {
				const { servers, options, connections } = await start(t);
				const tokens = new TokenService(t, servers, LIFE_MS);
				const own = {
					connectionName: fresh("name"),
					credentials: tokens.credentials,
					commandTimeout: 20_000,
					slowMs: 60_000,
				};
				const doors = open(t, { ...options, ...own });
				const { storage, store } = doors;
				await storage.ping();
				const told = listen(storage);
				const isCached = place !== "one server without RESP3";
				if (isCached) await ready(storage);
				const kept = session();
				await store.createSession(kept);
				await store.getSession(kept.token);
				const { flushes } = counters(storage);

				let over = false;
				const working = load(doors, () => over, []);
				const users = await usersOf(tokens, servers, connections);
				over = true;
				const { done, longestMs } = await working;
				t.diagnostic(`${done} done, the slowest in ${longestMs.toFixed()} ms; ${tokens.given} passwords`);

				assert.equal(users.size, connections, "no connection was made anew");
				assert.deepEqual(told, []);
				assert.deepEqual(counters(storage).flushes, flushes);
				if (!isCached) return;
				await storage.get(kept.token);
				assert.ok(isHit(readNow(storage, kept.token)));
				const stranger = openStranger(t, {}, options);
				await stranger.store.updateSession(kept.token, { note: "changed" });
				await until("a change that is told", async () => (await store.getSession(kept.token)).note === "changed");
			});
		}
	});

	describe("a server that refuses another login on a live connection", { concurrency: true }, () => {
		test("a new connection takes over: no call fails, and one line is logged", async (t) => {
			// A login is HELLO … AUTH then.
			const server = await startFor(t, { config: ['rename-command AUTH ""'] });
			const tokens = new TokenService(t, [server], 1500);
			const doors = open(t, { host: server.host, port: server.port, credentials: tokens.credentials });
			const { storage } = doors;
			const told = listen(storage);
			await storage.ping();
			await ready(storage);
			let over = false;
			const working = load(doors, () => over, []);
			const ids = new Set();
			await until("three connections in turn", async () => {
				for (const id of (await tokens.connections(server)).keys()) ids.add(id);
				return ids.size >= 3;
			});
			over = true;
			await working;
			assert.equal(told.length, 1, told.join("\n"));
			assert.match(told[0], /^degraded: Redis at .*: the server refuses another login on a live connection/);
			const { enabled, flushes } = counters(storage);
			assert.ok(enabled);
			assert.ok(flushes.disconnected >= 2, "what was read on a connection that is gone is read anew");
			await until("the last one alone", async () => (await tokens.connections(server)).size === 1);
		});

		test("and a function whose answers have expired: new connections back off", async (t) => {
			const server = await startFor(t, { config: ['rename-command AUTH ""'] });
			const asked = [];
			const credentials = () => {
				asked.push(performance.now());
				return { password: SECRETS.password, expiresAt: Date.now() - 60_000 };
			};
			const { storage } = open(t, { host: server.host, port: server.port, credentials, logger: false });
			await storage.ping();
			// Each connection after the first: the login that is refused, and its own.
			await until("three connections after the first", () => asked.length === 7);
			assert.ok(asked[6] - asked[0] > 1700, `${asked}`);
		});
	});

	describe("a function whose answers expire", { concurrency: true }, () => {
		/** A store, its function, and how often that was asked. */
		async function openAsking(t, answer) {
			const server = await startFor(t, { password: SECRETS.password });
			const asked = [];
			const credentials = () => {
				asked.push(performance.now());
				return { password: SECRETS.password, ...answer(asked.length) };
			};
			const { storage } = open(t, { host: server.host, port: server.port, credentials, logger: false });
			const told = listen(storage);
			await storage.ping();
			return { server, storage, asked, told };
		}

		test("in the past: the connection serves, and calls of the function back off", async (t) => {
			const { server, storage, asked } = await openAsking(t, () => ({ expiresAt: Date.now() - 60_000 }));
			await until("three further questions", () => asked.length === 4);
			assert.ok(asked[3] - asked[0] > 1700, `${asked}`);
			await storage.ping();
			const clients = await server.cli("CLIENT", "LIST", "TYPE", "normal");
			assert.equal(clients.match(/^id=/gm).length, 2, "the store's one, and this one");
		});

		test("never: the function is called once", async (t) => {
			const { asked, storage } = await openAsking(t, () => ({ expiresAt: null }));
			await storage.ping();
			assert.equal(asked.length, 1);
		});

		test("and that then fails: the connection stays, one line is logged, and it is retried", async (t) => {
			const { storage, asked, told } = await openAsking(t, (nth) => {
				if (nth > 1 && nth < 4) throw new RangeError(SECRETS.password);
				return { expiresAt: Date.now() + (nth === 1 ? 100 : 60_000) };
			});
			await until("a login that works", () => asked.length === 4);
			await storage.ping();
			assert.equal(told.length, 1, told.join("\n"));
			assert.match(told[0], /^degraded: .*the login will expire and could not be renewed.*rejected with RangeError/);
			assert.ok(!told[0].includes(SECRETS.password));
		});

		test("and that then gives a wrong password: the connection stays", async (t) => {
			const { server, storage, asked, told } = await openAsking(t, (nth) => {
				const expiresAt = Date.now() + (nth === 1 ? 100 : 60_000);
				// Of each of the first two: the login on the live connection, and the one on the new connection.
				return nth > 1 && nth < 6 ? { password: "wrong", expiresAt } : { expiresAt };
			});
			const id = /^id=(\d+)/m.exec(await server.cli("CLIENT", "LIST", "TYPE", "normal"))[1];
			await until("a login that works", () => asked.length === 6);
			await storage.ping();
			assert.match(await server.cli("CLIENT", "LIST", "TYPE", "normal"), new RegExp(`^id=${id} `, "m"));
			assert.equal(told.length, 1, told.join("\n"));
			assert.match(told[0], /^degraded: .*could not be renewed.*refused the user name or password/);
		});
	});
});
