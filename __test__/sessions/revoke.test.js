// The option `revoke`: an end is told when replicas have it, on a real primary with replicas. What WAIT is for is shown by what happens without.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { RedisCluster } from "../support/cluster.js";
import { open } from "../support/engines.js";
import { startProxy } from "../support/proxy.js";
import { fresh, record, session, signIn } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { SentinelGroup } from "../support/sentinel.js";
import { until } from "../support/wait.js";

/** For a process to be scheduled on a busy machine. */
const SLACK_MS = 500;

/** A store that waits, with what it told. */
async function openWaiting(t, options, revoke) {
	const doors = open(t, { commandTimeout: 5000, revoke, ...options });
	const told = [];
	for (const event of ["underReplicated", "degraded"]) {
		doors.storage.on(event, (reason) => told.push([event, reason]));
	}
	await doors.storage.ping(); // from now on it listens
	return { ...doors, told, acked: () => doors.storage.metrics().revoke };
}

/** Waits until so many replicas keep up with a primary. */
function replicasInStep(primary, count) {
	const online = async () => (await primary.cli("INFO", "replication")).match(/state=online/g)?.length === count;
	return until(`${count} replicas in step`, online, 30_000);
}

/** Every way in which a session is ended; each resolves to a token that must be dead. */
const endings = {
	deleteSession: async ({ store }, mine) => {
		await store.createSession(mine);
		await store.deleteSession(mine.token);
		return [mine.token];
	},
	"delete by Better Auth": async ({ storage }, mine) => {
		await signIn(storage, mine);
		await storage.delete(mine.token);
		return [mine.token];
	},
	getAndDelete: async ({ storage }, mine) => {
		await signIn(storage, mine);
		assert.equal(await storage.getAndDelete(mine.token), record(mine));
		return [mine.token];
	},
	deleteUserSessions: async ({ store }, mine) => {
		const both = [mine, { ...mine, token: fresh("token") }];
		for (const one of both) await store.createSession(one);
		assert.equal(await store.deleteUserSessions(mine.userId), 2);
		return both.map(({ token }) => token);
	},
	"the time of a revocation": async ({ storage }, mine) => {
		await signIn(storage, { ...mine, createdAt: new Date(Date.now() - 1000) });
		await storage.set(`revoked-sessions-before-${mine.userId}`, String(Date.now()), 60);
		return [mine.token];
	},
	"the limit": async ({ store }, mine) => {
		for (const one of [mine, { ...mine, token: fresh("token"), createdAt: new Date(Date.now() + 1) }]) {
			await store.createSession(one);
		}
		return [mine.token];
	},
};

describe("revoke: a primary and two replicas", () => {
	const group = new SentinelGroup();
	before(async () => {
		await group.start();
		await replicasInStep(await group.primary(), 2);
	});
	after(() => group.stop());

	for (const [name, end] of Object.entries(endings)) {
		test(`${name}: both replicas have the end when the call resolves`, async (t) => {
			const primary = await group.primary();
			const options = { url: primary.url, ...(name === "the limit" && { maxSessionsPerUser: 1 }) };
			const doors = await openWaiting(t, options, { waitReplicas: 2, timeoutMs: 2000 });
			const dead = await end(doors, session());
			const acked = doors.acked();
			assert.equal(acked.lastAcked, 2);
			assert.ok(acked.waited > 0);
			assert.equal(acked.underReplicated, 0);
			assert.deepEqual(doors.told, []);
			for (const replica of group.servers.filter((server) => server !== primary)) {
				for (const token of dead) {
					const held = await replica.cliBuffer("GET", `session:${token}`);
					assert.equal(held.toString("latin1"), "\xffended", `${replica.port}`);
				}
			}
		});
	}

	test("many concurrent ends share one wait", async (t) => {
		const primary = await group.primary();
		const doors = await openWaiting(t, { url: primary.url }, { waitReplicas: 2, timeoutMs: 2000 });
		const many = Array.from({ length: 200 }, () => session());
		await Promise.all(many.map((one) => doors.store.createSession(one)));
		const waits = async () =>
			Number(/cmdstat_wait:calls=(\d+)/.exec(await primary.cli("INFO", "commandstats"))?.[1] ?? 0);
		const before = await waits();
		await Promise.all(many.map(({ token }) => doors.store.deleteSession(token)));
		const sent = (await waits()) - before;
		t.diagnostic(`200 ends, ${sent} WAIT`);
		assert.ok(sent >= 1 && sent < 50, `${sent}`);
		assert.equal(doors.acked().waited, 200);
		assert.equal(doors.acked().underReplicated, 0);
	});

	test("a paused replica: the end is done, and the call rejects within timeoutMs with the number of replicas", async (t) => {
		const primary = await group.primary();
		const [still] = group.servers.filter((server) => server !== primary);
		const timeoutMs = 300;
		const doors = await openWaiting(t, { url: primary.url }, { waitReplicas: 2, timeoutMs });
		const mine = session();
		await doors.store.createSession(mine);
		await doors.store.deleteSession(fresh("warm")); // its connection is there
		await still.pause();
		const start = performance.now();
		await doors.store.deleteSession(mine.token);
		const tookMs = performance.now() - start;
		still.resume();
		assert.equal(doors.acked().lastAcked, 1);
		assert.equal(doors.acked().underReplicated, 1);
		assert.ok(tookMs >= timeoutMs - 50 && tookMs < timeoutMs + SLACK_MS, `${tookMs} ms`);
		assert.equal(await doors.store.getSession(mine.token), null);
		await until("the event", () => doors.told.length > 0);
		const what = "a session was ended, but acknowledged in time by 1 of 2 replicas (docs/reliability.md)";
		assert.deepEqual(doors.told, [["underReplicated", what]]);
	});

	test("a slow replica delays the call that waits for it, and not the end", async (t) => {
		const primary = await group.primary();
		const [still] = group.servers.filter((server) => server !== primary);
		const doors = await openWaiting(t, { url: primary.url, nearCache: false }, { waitReplicas: 2, timeoutMs: 1500 });
		const both = [session(), session()];
		for (const one of both) await doors.store.createSession(one);
		await still.pause();
		let waiting = 2;
		const ends = both.map(async ({ token }) => {
			await doors.store.deleteSession(token);
			waiting--;
		});
		for (const { token } of both) await until("the end", async () => (await doors.store.getSession(token)) === null);
		assert.equal(waiting, 2);
		still.resume();
		await Promise.all(ends);
		assert.equal(doors.acked().lastAcked, 2);
	});

	test("a failover by Sentinel right after the ends: no session comes back", async (t) => {
		const old = await group.primary();
		const doors = await openWaiting(t, { sentinels: group.nodes }, { waitReplicas: 2, timeoutMs: 2000 });
		const many = Array.from({ length: 100 }, () => session());
		await Promise.all(many.map((one) => doors.store.createSession(one)));
		await Promise.all(many.map(({ token }) => doors.store.deleteSession(token)));
		await old.kill("SIGKILL");
		assert.equal(doors.acked().underReplicated, 0);
		await group.electedAfter(old);
		const found = () => Promise.all(many.map(({ token }) => doors.store.getSession(token))).catch(() => undefined);
		assert.ok((await until("the new primary", found)).every((one) => one === null));
		// Further ends are waited for at the new one, as soon as the sentinels are done with telling the other replica so.
		const next = await openWaiting(t, { sentinels: group.nodes }, { waitReplicas: 1, timeoutMs: 500 });
		const isAcknowledged = async () => {
			await next.store.deleteSession(fresh("token"));
			return next.acked().lastAcked === 1;
		};
		await until("an end that the replica has", isAcknowledged, 30_000);
	});
});

describe("revoke: a replica that is behind when its primary dies", () => {
	/** A replica that comes gets the data now, not in 5 s. */
	const AT_ONCE = "repl-diskless-sync-delay 0";

	/** A primary, and a replica whose stream can be held up. */
	async function startPair(t) {
		const primary = await startRedis({ config: [AT_ONCE] });
		t.after(() => primary.stop());
		const stream = await startProxy(t, primary);
		stream.isRaw = true;
		const replica = await startRedis({ config: [`replicaof 127.0.0.1 ${new URL(stream.url).port}`, AT_ONCE] });
		t.after(() => replica.stop());
		await replicasInStep(primary, 1);
		return { primary, replica, stream };
	}

	/** The primary dies, with what it has not sent; the replica takes its place. */
	async function failOver({ primary, replica, stream }) {
		await primary.kill("SIGKILL");
		stream.cut();
		await replica.cli("REPLICAOF", "NO", "ONE");
	}

	test("has lost an end without a wait", async (t) => {
		const pair = await startPair(t);
		const { store } = open(t, { url: pair.primary.url });
		const mine = session();
		await store.createSession(mine);
		await until("the session on the replica", async () => await pair.replica.cli("GET", `session:${mine.token}`));
		pair.stream.freeze();
		await store.deleteSession(mine.token);
		await failOver(pair);
		const { store: other } = open(t, { url: pair.replica.url });
		assert.deepEqual(await other.getSession(mine.token), mine, "it is valid again");
	});

	test("has an end that was acknowledged", async (t) => {
		const pair = await startPair(t);
		const doors = await openWaiting(t, { url: pair.primary.url }, { waitReplicas: 1, timeoutMs: 3000 });
		const mine = session();
		await doors.store.createSession(mine);
		await until("the session on the replica", async () => await pair.replica.cli("GET", `session:${mine.token}`));
		pair.stream.freeze();
		let isTold = false;
		const ending = doors.store.deleteSession(mine.token).then(() => {
			isTold = true;
		});
		await until("the end", async () => (await pair.primary.cliBuffer("GET", `session:${mine.token}`))[0] === 0xff);
		await sleep(100);
		assert.ok(!isTold, "it is told before the replica has it");
		pair.stream.thaw();
		await ending;
		await failOver(pair);
		assert.equal(doors.acked().lastAcked, 1);
		const { store: other } = open(t, { url: pair.replica.url });
		assert.equal(await other.getSession(mine.token), null);
	});

	test("has no end yet, and takes over the address before the acknowledgement: the session is ended there, too", async (t) => {
		const { primary, replica, stream } = await startPair(t);
		const other = await startRedis({ config: [`replicaof ${replica.host} ${replica.port}`] });
		t.after(() => other.stop());
		const address = await startProxy(t, primary);
		const doors = await openWaiting(t, { url: address.url }, { waitReplicas: 1, timeoutMs: 4000 });
		const mine = session();
		await doors.store.createSession(mine);
		await doors.store.deleteSession(fresh("other")); // the connection that waits is there
		await until("the session on both", async () => await other.cli("GET", `session:${mine.token}`));
		stream.freeze();
		const ending = doors.store.deleteSession(mine.token);
		await until("the end", async () => (await primary.cliBuffer("GET", `session:${mine.token}`))[0] === 0xff);
		await replica.cli("REPLICAOF", "NO", "ONE");
		address.leadTo(replica);
		assert.ok(await replica.cli("GET", `session:${mine.token}`), "it has lost the end");
		address.cut();
		await ending;
		for (const server of [replica, other]) {
			assert.equal((await server.cliBuffer("GET", `session:${mine.token}`)).toString("latin1"), "\xffended");
		}
		assert.equal(doors.acked().lastAcked, 1);
	});
});

test("revoke: a primary that becomes a replica during WAIT does not count as a server without WAIT", async (t) => {
	const server = await startRedis();
	t.after(() => server.stop());
	const doors = await openWaiting(t, { url: server.url }, { waitReplicas: 1, timeoutMs: 2000 });
	const ending = doors.store.deleteSession(fresh("token"));
	const isWaiting = async () => /^blocked_clients:1\r$/m.test(await server.cli("INFO", "clients"));
	await until("the waiting", isWaiting);
	await server.cli("REPLICAOF", "127.0.0.1", "1");
	await ending;
	assert.deepEqual(doors.acked(), { waited: 1, underReplicated: 1, lastAcked: null });
	const events = () => doors.told.map(([event]) => event);
	await until("the event", () => events().includes("underReplicated"));
	assert.deepEqual(events(), ["underReplicated"]);
});

test("revoke: without WAIT the store logs it once, and ends sessions", async (t) => {
	const server = await startRedis();
	t.after(() => server.stop());
	await server.cli("ACL", "SETUSER", "app", "on", ">secret", "~*", "&*", "+@all", "-wait");
	const options = { host: server.host, port: server.port, username: "app", password: "secret" };
	const doors = await openWaiting(t, options, { waitReplicas: 1 });
	for (let n = 0; n < 3; n++) {
		const mine = session();
		await doors.store.createSession(mine);
		await doors.store.deleteSession(mine.token);
		assert.equal(await doors.store.getSession(mine.token), null);
	}
	assert.deepEqual(doors.acked(), { waited: 3, underReplicated: 3, lastAcked: null });
	await until("the events", () => doors.told.length >= 4);
	const degraded = doors.told.filter(([event, reason]) => event === "degraded" && !reason.includes("is slow"));
	assert.equal(degraded.length, 1);
	assert.match(degraded[0][1], /the server refuses WAIT/);
});

test("revoke: the connection that waits may break, and is opened again", async (t) => {
	const server = await startRedis();
	t.after(() => server.stop());
	const doors = await openWaiting(t, { url: server.url }, { waitReplicas: 1, timeoutMs: 50 });
	for (let n = 0; n < 3; n++) {
		await doors.store.deleteSession(fresh("token"));
		assert.equal(doors.acked().lastAcked, 0, "it was asked: there is no replica");
		await server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		await server.cli("SCRIPT", "FLUSH");
	}
});

test("revoke: without an ended session there is no wait and no error", async (t) => {
	const server = await startRedis();
	t.after(() => server.stop());
	const doors = await openWaiting(t, { url: server.url }, { waitReplicas: 1, timeoutMs: 50 });
	assert.equal(await doors.store.deleteUserSessions(fresh("user")), 0);
	assert.equal(doors.acked().waited, 0);
	await doors.store.deleteSession(fresh("token")); // what was told before it is heard by now
	await until("its event", () => doors.told.length > 0);
	assert.equal(doors.told.length, 1);
});

test("revoke: metrics show that there is no wait", async (t) => {
	const { storage } = open(t, { url: "memory://" });
	assert.equal(storage.metrics().revoke, null);
});

describe("revoke on Redis Cluster", () => {
	const cluster = new RedisCluster();
	before(() => cluster.start());
	after(() => cluster.stop());

	test("each primary's replica has the sessions that ended there", async (t) => {
		const doors = await openWaiting(t, { cluster: cluster.nodes }, { waitReplicas: 1, timeoutMs: 2000 });
		const mine = session();
		const many = Array.from({ length: 20 }, () => ({ ...mine, token: fresh("token") }));
		await Promise.all(many.map((one) => doors.store.createSession(one)));
		assert.equal(await doors.store.deleteUserSessions(mine.userId), 20);
		assert.deepEqual(doors.acked(), { waited: 1, underReplicated: 0, lastAcked: 1 });
		for (const primary of await cluster.primaries()) {
			const replica = await cluster.replicaOf(primary);
			assert.equal(await replica.cli("DBSIZE"), await primary.cli("DBSIZE"));
		}
		const [primary] = await cluster.primaries();
		const replica = await cluster.replicaOf(primary);
		await replica.pause();
		t.after(() => replica.resume());
		const short = await openWaiting(t, { cluster: cluster.nodes }, { waitReplicas: 1, timeoutMs: 200 });
		await Promise.all(Array.from({ length: 20 }, () => short.store.deleteSession(fresh("token"))));
		const { waited, underReplicated } = short.acked();
		assert.equal(waited, 20);
		assert.ok(underReplicated > 0 && underReplicated < 20, `${underReplicated} of 20`);
	});
});
