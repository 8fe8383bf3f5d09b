// The connection to Redis: every way to name a server, and what a caller sees while a server goes away, stands still or
// hangs up, and after it has come back.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { redisStorage } from "better-auth-redis-store";
import { connectionsNamed, connectionsSince } from "../lifecycle/clients.js";
import { counters } from "../near-cache/stores.js";
import { runText } from "../support/child.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertRejects, operations } from "../support/errors.js";
import { listen } from "../support/listener.js";
import { load } from "../support/load.js";
import { withoutProc } from "../support/processes.js";
import { fresh, session } from "../support/records.js";
import { redisPerFile, startRedis } from "../support/redis.js";
import { succeeds, until } from "../support/wait.js";

/** A server that is stopped when the test ends. */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/** Fails unless a store of these options writes and reads on this server. */
async function assertConnects(t, server, options) {
	const { storage, store } = open(t, options);
	const [key, mine] = [fresh("key"), session()];
	await storage.set(key, "value", 60);
	assert.equal(await storage.get(key), "value");
	await store.createSession(mine);
	assert.deepEqual(await store.getUserSessions(mine.userId), [mine]);
	assert.equal(await server.cli("GET", `session:${key}`), "value");
}

/** Those of this process's sockets that lead to a port and have not been closed by it, by their own ports. */
function socketsTo(port) {
	const hex = port.toString(16).toUpperCase().padStart(4, "0");
	const open = new Set(["01", "08"]); // ESTABLISHED and CLOSE_WAIT: see proc_net_tcp(5)
	const lines = readFileSync("/proc/self/net/tcp", "utf8").trim().split("\n").slice(1);
	return lines
		.map((line) => line.trim().split(/\s+/))
		.filter(([, , to, state]) => to.endsWith(`:${hex}`) && open.has(state))
		.map(([, from]) => from);
}

describe("a server is reached", () => {
	const server = redisPerFile({ unixSocket: true });

	test("by redis:// and valkey://, a host and a port, an address or a name", async (t) => {
		const { port } = server;
		for (const options of [
			server.url,
			`valkey://127.0.0.1:${port}`,
			`REDIS://localhost:${port}/`,
			`  ${server.url}  `,
			`"${server.url}?family=0&protocol=3"`,
			{ url: server.url },
			{ host: "127.0.0.1", port },
			{ host: "localhost", port, tls: false },
		]) {
			await assertConnects(t, server, options);
		}
	});

	test("by the path of a Unix socket", async (t) => {
		for (const options of [`unix://${server.socket}`, `redis+unix://${server.socket}`, { path: server.socket }]) {
			await assertConnects(t, server, options);
		}
		assert.ok((await server.cli("CLIENT", "LIST")).includes(`addr=${server.socket}:0`));
	});

	test("with a database", async (t) => {
		const values = [
			`${server.url}/5`,
			`${server.url}?db=5`,
			{ url: server.url, db: 5 },
			{ url: `${server.url}/5`, db: 5 },
			`unix://${server.socket}?db=5`,
			{ path: server.socket, db: 5 },
		];
		for (const [at, options] of values.entries()) {
			const { storage } = open(t, options);
			await storage.set("key", String(at), 60);
			assert.equal(
				await server.cli("EVAL", "redis.call('SELECT', 5) return redis.call('GET', 'session:key')", 0),
				String(at),
			);
		}
		assert.equal(await server.cli("GET", "session:key"), null);
	});

	test("with a user of its ACL, in the URL or beside it", async (t) => {
		const password = "p@ss:w/rd?#%";
		const rules = ["~session:*", "~user-sessions:*", "+@all", "-@admin", "-@dangerous", "+info"];
		await server.cli("ACL", "SETUSER", "app", "on", `>${password}`, ...rules);
		for (const options of [
			`redis://app:${encodeURIComponent(password)}@127.0.0.1:${server.port}`,
			{ url: server.url, username: "app", password },
			{ host: "127.0.0.1", port: server.port, username: "app", password },
			{ path: server.socket, username: "app", password },
		]) {
			await assertConnects(t, server, options);
			const { storage, store } = open(t, options);
			await storage.listKeys();
			await storage.increment("counter", 60);
			await store.cleanupExpiredSessions();
			await storage.clear();
		}
		const users = (await server.cli("CLIENT", "LIST")).match(/ user=\w+/g);
		assert.ok(users.includes(" user=app"));
	});

	test("and the connection has the name of connectionName", async (t) => {
		const { storage } = open(t, { url: server.url, connectionName: "my-app:1" });
		assert.equal((await connectionsNamed(server, "my-app:1")).length, 0);
		await storage.ping();
		assert.equal((await connectionsNamed(server, "my-app:1")).length, 1);
	});

	test("and the connection is named after the package by default", async (t) => {
		const before = await server.cli("CLIENT", "ID");
		await open(t, { url: server.url, maxValueBytes: 54_321 }).storage.ping();
		const [own] = await connectionsSince(server, before);
		assert.match(own, / name=better-auth-redis-store /);
	});

	test("and the first call opens one connection for all", async (t) => {
		const options = { url: server.url, connectionName: "lazy" };
		const stores = Array.from({ length: 10 }, () => open(t, options));
		assert.equal((await connectionsNamed(server, "lazy")).length, 0);
		await Promise.all(
			stores.flatMap(({ storage, store }) => [storage.get("key"), store.ping(), storage.set("key", "1", 1)]),
		);
		assert.equal((await connectionsNamed(server, "lazy")).length, 1);
	});

	test("without HELLO, over RESP2", async (t) => {
		for (const password of [undefined, "secret"]) {
			const old = await startFor(t, { password, config: ['rename-command HELLO ""'] });
			await assertConnects(t, old, old.url);
		}
	});

	test("without the database: the error says so", async (t) => {
		await assertRejects(() => open(t, `${server.url}/99`).storage.ping(), ["INVALID_ARGUMENT", "PROTOCOL"], /\bdb\b/);
	});
});

test("a password is taken from the URL or from the option", async (t) => {
	const password = 'p@ss "w:rd\\%';
	const server = await startFor(t, { password });
	await assertConnects(t, server, server.url);
	await assertConnects(t, server, { host: server.host, port: server.port, password });
	await assertConnects(t, server, { url: `redis://${server.host}:${server.port}`, username: "default", password });
});

describe("REDIS_URL", () => {
	const source = `
		import { redisSessionStore, redisStorage } from "better-auth-redis-store";
		await redisStorage().set("key", "value", 60);
		await redisSessionStore.ping();
		console.log(await redisStorage().get("key"));
	`;
	/** Fails unless a process with this environment writes and reads. */
	async function assertWorks(env) {
		const { stdout, stderr, code } = await runText(source, { env });
		assert.deepEqual({ stdout, stderr, code }, { stdout: "value\n", stderr: "", code: 0 });
	}

	test("may be redis://host:port, with a password or without", async (t) => {
		const [open, guarded] = [await startFor(t), await startFor(t, { password: "secret" })];
		await assertWorks({ REDIS_URL: `redis://localhost:${open.port}` });
		await assertWorks({ REDIS_URL: `redis://:secret@localhost:${guarded.port}` });
	});

	test("may be rediss://:PASSWORD@host:port, with a certificate that one of the system's authorities signed", async (t) => {
		const server = await startFor(t, { tls: true, password: "secret" });
		const REDIS_URL = `rediss://:secret@localhost:${server.port}`;
		await assertWorks({ REDIS_URL, SSL_CERT_FILE: server.certificates.ca });
		const { stderr, code } = await runText(source, { env: { REDIS_URL } });
		assert.notEqual(code, 0);
		assert.match(stderr, /signed by an authority that is not trusted/);
		assert.doesNotMatch(stderr, /secret/);
	});
});

describe("TLS", () => {
	const pem = (path) => readFileSync(path, "utf8");

	test("trusts the authority of tls.ca", async (t) => {
		const server = await startFor(t, { tls: true, password: "secret" });
		const ca = pem(server.certificates.ca);
		const { port } = server;
		await assertConnects(t, server, { url: server.url, tls: { ca } });
		await assertConnects(t, server, { url: `valkeys://:secret@localhost:${port}`, tls: { ca } });
		await assertConnects(t, server, { host: "localhost", port, password: "secret", tls: { ca: `\n${ca}\n` } });
	});

	test("fails without the authority, and for another name", async (t) => {
		const server = await startFor(t, { tls: true });
		const other = await startFor(t, { tls: { names: "DNS:redis.example" } });
		const ca = ({ certificates }) => pem(certificates.ca);
		const handshake = /the TLS handshake with Redis at 127\.0\.0\.1:\d+ failed/;
		await assertRejects(() => open(t, server.url).storage.ping(), "TLS", handshake);
		await assertRejects(() => open(t, { url: server.url, tls: { ca: ca(other) } }).storage.ping(), "TLS", handshake);
		await assertRejects(() => open(t, { url: other.url, tls: { ca: ca(other) } }).storage.ping(), "TLS", handshake);
	});

	test("says which check failed", async (t) => {
		const ca = ({ certificates }) => pem(certificates.ca);
		const [good, named, expired, asking] = await Promise.all(
			[true, { names: "DNS:redis.example" }, { life: "expired" }, { clients: true }].map((tls) => startFor(t, { tls })),
		);
		for (const [options, says] of [
			[
				{ url: good.url },
				/signed by an authority that is not trusted; give that authority's certificate as option tls\.ca/,
			],
			[{ url: named.url, tls: { ca: ca(named) } }, /is for another name; connect by a name that it holds/],
			[{ url: expired.url, tls: { ca: ca(expired) } }, /has expired, or this machine's clock is wrong/],
			[
				{ url: asking.url, tls: { ca: ca(asking) } },
				/asks for a client's certificate; give options tls\.cert and tls\.key/,
			],
			[
				{
					url: asking.url,
					tls: { ca: ca(asking), cert: pem(good.certificates.cert), key: pem(good.certificates.key) },
				},
				/does not trust the authority of the client's certificate/,
			],
		]) {
			await assertRejects(() => open(t, options).storage.ping(), "TLS", says);
		}
		const answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
		const url = `rediss://127.0.0.1:${await listen(t, (socket) => socket.once("data", () => socket.write(answer)))}`;
		await assertRejects(() => open(t, url).storage.ping(), "TLS", /does not speak TLS on this port/);
	});

	test("presents the client certificate to a server that asks for one", async (t) => {
		const server = await startFor(t, { tls: { clients: true } });
		const [ca, cert, key] = ["ca", "cert", "key"].map((file) => pem(server.certificates[file]));
		await assertConnects(t, server, { url: server.url, tls: { ca, cert, key } });
		await assertRejects(
			() => open(t, { url: server.url, tls: { ca } }).storage.ping(),
			["TLS", "UNAVAILABLE"],
			/ertificate/,
		);
	});

	test("checks the name of tls.servername, which the certificate must have", async (t) => {
		const server = await startFor(t, { tls: { names: "DNS:redis.example" } });
		const ca = pem(server.certificates.ca);
		await assertConnects(t, server, { url: server.url, tls: { ca, servername: "Redis.Example" } });
		const other = { url: server.url, tls: { ca, servername: "other.example" } };
		await assertRejects(() => open(t, other).storage.ping(), "TLS", /is for another name/);
	});

	test("uses no older version than the option allows", async (t) => {
		const [old, both] = await Promise.all(
			["TLSv1.2", "TLSv1.2 TLSv1.3"].map((versions) =>
				startFor(t, { tls: true, config: [`tls-protocols "${versions}"`] }),
			),
		);
		const options = (server, minVersion) => ({
			url: server.url,
			tls: { ca: pem(server.certificates.ca), minVersion },
		});
		await assertConnects(t, old, options(old, "TLSv1.2"));
		await assertConnects(t, both, options(both, "TLSv1.3"));
		await assertRejects(() => open(t, options(old, "TLSv1.3")).storage.ping(), "TLS", /share no version of TLS/);
	});

	test("checks nothing with the option whose name says what that means", async (t) => {
		const server = await startFor(t, { tls: { names: "DNS:redis.example", life: "expired" } });
		const unverified = { url: server.url, tls: { dangerouslyDisableVerification: true } };
		await assertConnects(t, server, unverified);
		await assertRejects(() => open(t, server.url).storage.ping(), "TLS");
		const like = { url: server.url, tls: { rejectUnauthorized: false } };
		assert.throws(() => redisStorage(like), {
			code: "INVALID_ARGUMENT",
			message: /dangerouslyDisableVerification: true/,
		});
	});

	test("refused by the server after the handshake is a TLS error", async (t) => {
		const server = await startFor(t, { tls: { clients: true } });
		const ca = pem(server.certificates.ca);
		await assertRejects(() => open(t, { url: server.url, tls: { ca } }).storage.ping(), "TLS");
	});

	test("with an invalid client certificate is a TLS error", async (t) => {
		const server = await startFor(t, { tls: true });
		const ca = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
		await assertRejects(() => open(t, { url: server.url, tls: { ca } }).storage.ping(), "TLS");
	});

	test("with a server that does not speak it fails with that reason, within commandTimeout's default", async (t) => {
		const [plain, secure] = [await startFor(t, { password: "secret" }), await startFor(t, { tls: true })];
		const toPlain = `rediss://:secret@127.0.0.1:${plain.port}`;
		await assertRejects(
			() => open(t, toPlain).storage.ping(),
			"TLS",
			/does not speak TLS on this port, but answers without/,
		);
		const toSecure = `redis://127.0.0.1:${secure.port}`;
		await assertRejects(
			() => open(t, toSecure).storage.ping(),
			"UNAVAILABLE",
			/a port that expects TLS \(rediss:\/\/\)/,
		);
	});

	test("keeps the near cache fresh, as plain TCP does", async (t) => {
		const server = await startFor(t, { tls: true });
		const ca = pem(server.certificates.ca);
		const [one, other] = ["one", "other"].map((connectionName) =>
			open(t, { url: server.url, tls: { ca }, connectionName }),
		);
		const mine = session();
		await one.store.createSession(mine);
		assert.deepEqual(await other.store.getSession(mine.token), mine);
		assert.deepEqual(await other.store.getSession(mine.token), mine);
		assert.ok(counters(other.storage).enabled);
		await one.store.deleteSession(mine.token);
		await until("the end is seen", async () => (await other.store.getSession(mine.token)) === null);
	});
});

describe("a server that goes away", () => {
	test("is UNAVAILABLE at once, and in use again when it is back, with the data that it kept", async (t) => {
		const server = await startFor(t, { config: ["appendonly yes"] });
		const { storage, store } = open(t, server.url);
		const mine = session();
		await store.createSession(mine);
		for (let round = 0; round < rounds(3, 20); round++) {
			await server.kill("SIGTERM");
			const start = performance.now();
			for (const operation of Object.values(operations))
				await assertRejects(() => operation({ storage, store }), "UNAVAILABLE");
			const tookMs = performance.now() - start;
			assert.ok(tookMs < 2000, `${Object.keys(operations).length} refusals took ${tookMs} ms`);
			await server.restart();
			assert.deepEqual(await store.getSession(mine.token), mine); // the first call after it is back
			assert.equal(await storage.increment("counter", 600), round + 1);
		}
	});

	test("while idle is noticed: even at-most-once operations work at once after the restart", {
		skip: withoutProc,
	}, async (t) => {
		const server = await startFor(t, { config: ["appendonly yes"] });
		const { storage } = open(t, server.url);
		for (let round = 0; round < rounds(5, 100); round++) {
			assert.equal(await storage.increment("counter", 600), 2 * round + 1);
			await storage.set("key", "value", 60);
			const old = new Set(socketsTo(server.port));
			await server.restart();
			// There may be a new one already.
			await until("the old socket closed by us", () => !socketsTo(server.port).some((from) => old.has(from)));
			if (round % 2) assert.equal(await storage.getAndDelete("key"), "value");
			assert.equal(await storage.increment("counter", 600), 2 * round + 2);
		}
	});

	test("is found again over a Unix socket", async (t) => {
		const server = await startFor(t, { unixSocket: true, config: ["appendonly yes"] });
		const { storage } = open(t, `unix://${server.socket}`);
		for (let round = 0; round < 2; round++) {
			assert.equal(await storage.increment("counter", 600), round + 1);
			await server.restart();
			// Whether the loss was noticed cannot be seen in /proc: a read, which may be sent twice, makes it so.
			await storage.get("key");
		}
	});

	test("rejects the calls in flight with UNAVAILABLE", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url, commandTimeout: 20_000 });
		await storage.ping();
		await server.pause();
		const calls = Array.from({ length: 100 }, (_, at) =>
			at % 2 ? storage.increment(`counter ${at}`, 60) : storage.get("key"),
		);
		const outcomes = Promise.allSettled(calls);
		await new Promise(setImmediate); // the calls of this tick have been handed over
		await server.kill("SIGKILL");
		for (const { reason } of await outcomes) assert.equal(reason?.code, "UNAVAILABLE");
	});

	test("gets one connection attempt for all calls that wait", async (t) => {
		let attempts = 0;
		const port = await listen(t, (socket) => {
			attempts++;
			socket.once("data", () => socket.destroy());
		});
		const { storage } = open(t, `redis://127.0.0.1:${port}`);
		const outcomes = await Promise.allSettled(Array.from({ length: 1000 }, () => storage.get("key")));
		for (const { reason } of outcomes) assert.equal(reason.code, "UNAVAILABLE");
		// One, and those of the 250 ms for which it is hoped that it comes back.
		assert.ok(attempts <= 6, `${attempts} connections for 1,000 calls made at once`);
	});

	test("and comes back with another password is an AUTH error until the password is restored", async (t) => {
		const server = await startFor(t, { password: "first" });
		const { storage } = open(t, server.url);
		await storage.ping();
		server.password = "second";
		await server.restart();
		await assertRejects(() => storage.ping(), "AUTH");
		await assertRejects(() => storage.ping(), "AUTH");
		await server.cli("CONFIG", "SET", "requirepass", "first");
		server.password = "first";
		await storage.ping();
	});
});

describe("a server that stands still", () => {
	const commandTimeout = 400;
	const TOLERANCE_MS = 1000;

	test("makes every operation a TIMEOUT within commandTimeout, and is in use again when it goes on", async (t) => {
		const server = await startFor(t);
		const connected = open(t, { url: server.url, commandTimeout });
		const mine = session();
		await connected.store.createSession(mine);
		for (const doors of [connected, open(t, { url: server.url, commandTimeout, connectionName: "second" })]) {
			await server.pause(); // the second connects to it as it is
			await Promise.all(
				Object.entries(operations).map(async ([name, operation]) => {
					const start = performance.now();
					await assertRejects(() => operation(doors), "TIMEOUT", /within 400 ms \(option commandTimeout\)/);
					const tookMs = performance.now() - start;
					assert.ok(tookMs >= commandTimeout - 5, `${name}: ended after ${tookMs} ms`);
					assert.ok(tookMs < commandTimeout + TOLERANCE_MS, `${name}: ended after ${tookMs} ms`);
				}),
			);
			server.resume();
			await doors.storage.ping();
			await doors.storage.set("key", "value", 60);
			assert.equal(await doors.storage.get("key"), "value");
		}
	});

	test("may still carry out a call that timed out, at most once", async (t) => {
		const server = await startFor(t);
		const { storage } = open(t, { url: server.url, commandTimeout: 100 });
		let [calls, acknowledged] = [0, 0];
		for (let round = 0; round < 5; round++) {
			await storage.ping();
			await server.pause();
			const counts = Array.from({ length: 20 }, () => storage.increment("counter", 60));
			const outcomes = await Promise.allSettled(counts);
			calls += 20;
			acknowledged += outcomes.filter(({ status }) => status === "fulfilled").length;
			for (const { reason } of outcomes) if (reason) assert.equal(reason.code, "TIMEOUT");
			server.resume();
			await storage.ping(); // comes after them on the same connection
			const total = Number(await storage.get("counter"));
			assert.ok(total >= acknowledged && total <= calls, `${acknowledged} <= ${total} <= ${calls}`);
		}
	});
});

describe("under load", () => {
	/** Runs the load while `disturb` is called `times` times, one after the other. */
	async function disturbed(t, doors, times, disturb) {
		let over = false;
		t.after(() => {
			over = true;
		});
		const working = load(doors, () => over);
		const disturbing = (async () => {
			for (let n = 0; n < times; n++) await disturb(n);
		})();
		await Promise.race([disturbing, working]); // a failed check need not wait for the rest
		await disturbing;
		// What was done is counted by calls of which none may fail.
		await until("an answer", () => succeeds(doors.storage.ping()));
		over = true;
		const { done, failed } = await working;
		t.diagnostic(`${times} disturbances, ${done} operations done, ${failed} UNAVAILABLE`);
		assert.ok(done > times, "hardly anything was done");
		return { done, failed };
	}

	test("a killed connection causes UNAVAILABLE at most: nothing is wrong, lost or done twice", async (t) => {
		const server = await startFor(t);
		const doors = open(t, { url: server.url, connectionName: "load", commandTimeout: 20_000 });
		const kill = () => server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
		await disturbed(t, doors, rounds(60, 5000), () => until("a connection to kill", async () => (await kill()) > 0));
	});

	test("a restarted server causes UNAVAILABLE at most: nothing is wrong, lost or done twice", async (t) => {
		const server = await startFor(t, { config: ["appendonly yes"] });
		const doors = open(t, { url: server.url, commandTimeout: 20_000 });
		const { failed } = await disturbed(t, doors, rounds(5, 100), async (n) => {
			await server.restart();
			await until("an answer", () => succeeds(doors.storage.set(`round ${n}`, "", 60)));
		});
		assert.ok(failed > 0, "the restarts were not noticed");
	});
});
