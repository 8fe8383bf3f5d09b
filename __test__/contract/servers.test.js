// What a server does wrong comes as a SessionStoreError whose code tells what, in time, and it is never told as a missing
// session; and no error tells a token, a key, a value, a user id or a password, whatever the server said.

import assert from "node:assert/strict";
import { once } from "node:events";
import net from "node:net";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import {
	assertError,
	assertNoSecret,
	assertRejects,
	contents,
	operations,
	SECRETS,
	secretSession,
} from "../support/errors.js";
import { listen } from "../support/listener.js";
import { session } from "../support/records.js";
import { redisPerFile, startRedis } from "../support/redis.js";
import { succeeds, until } from "../support/wait.js";

const server = redisPerFile();

/** Fails unless every operation, all at once, rejects with one of the codes within `withinMs`. */
async function assertAllReject(t, options, code, message, withinMs = 5000) {
	const doors = open(t, options);
	const start = performance.now();
	await Promise.all(Object.values(operations).map((operation) => assertRejects(() => operation(doors), code, message)));
	const tookMs = performance.now() - start;
	assert.ok(tookMs < withinMs, `took ${tookMs} ms`);
}

/** The URL of a port at which each connection is treated as told. */
async function urlOf(t, serve) {
	return `redis://:${SECRETS.password}@127.0.0.1:${await listen(t, serve)}`;
}

describe("a server that refuses or misbehaves:", () => {
	const address = /127\.0\.0\.1:\d+/;

	test("a refused password is an AUTH error, for every user", async (t) => {
		const guarded = await startRedis({ password: "right" });
		t.after(() => guarded.stop());
		const { port } = guarded;
		const refused = /refused the user name or password: check url, username and password/;
		for (const [login, says] of [
			[`:${SECRETS.password}@`, refused],
			[`${SECRETS.user}:${SECRETS.password}@`, refused],
			["", /asks for a password: give it in url, or as option password/],
		]) {
			await assertAllReject(t, `redis://${login}127.0.0.1:${port}`, "AUTH", says);
		}
		assert.deepEqual(await guarded.cli("KEYS", "*"), []);
	});

	test("an ACL that forbids keys or commands is an AUTH error", async (t) => {
		const rules = [
			["~other:*", "+@all"],
			["~*", "-@all", "+hello", "+client"],
		];
		for (const [at, rule] of rules.entries()) {
			const username = `${SECRETS.user}${at}`;
			await server.cli("ACL", "SETUSER", username, "on", `>${SECRETS.password}`, ...rule);
			const url = `redis://${username}:${SECRETS.password}@127.0.0.1:${server.port}`;
			const doors = open(t, url);
			for (const name of ["get", "set", "createSession", "getUserSessions", "increment", "deleteSession"]) {
				await assertRejects(() => operations[name](doors), "AUTH", /lacks a permission/);
			}
		}
	});

	test("a port without a server is UNAVAILABLE at once", async (t) => {
		const listener = net.createServer().listen(0, "127.0.0.1");
		await once(listener, "listening");
		const { port } = listener.address();
		listener.close();
		await once(listener, "close");
		for (const options of [
			`redis://:${SECRETS.password}@127.0.0.1:${port}`,
			{ host: "127.0.0.1", port, password: SECRETS.password, commandTimeout: 60_000 },
			`unix:///tmp/no-such-socket-${process.pid}`,
		]) {
			await assertAllReject(t, options, "UNAVAILABLE", /cannot be reached: check that it runs and that url is right/);
		}
	});

	test("a server that speaks HTTP is a PROTOCOL error", async (t) => {
		const answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
		for (const how of ["write", "end"]) {
			const url = await urlOf(t, (socket) => socket.on("data", () => socket.writable && socket[how](answer)));
			await assertAllReject(t, url, ["PROTOCOL", "UNAVAILABLE"], address);
			await assertRejects(() => open(t, url).storage.ping(), "PROTOCOL", /the server there speaks HTTP/);
		}
	});

	test("a server that never answers is a TIMEOUT, within commandTimeout", async (t) => {
		for (const serve of [() => {}, (socket) => socket.on("data", () => {}), (socket) => socket.write("$1000000\r\n")]) {
			const url = await urlOf(t, serve);
			await assertAllReject(
				t,
				{ url, commandTimeout: 300 },
				"TIMEOUT",
				/within 300 ms \(option commandTimeout\)/,
				1500,
			);
		}
	});

	test("a server that closes the connection is UNAVAILABLE", async (t) => {
		for (const serve of [
			(socket) => socket.destroy(),
			(socket) => socket.end(),
			(socket) => socket.on("data", () => socket.end()),
		]) {
			await assertAllReject(t, await urlOf(t, serve), "UNAVAILABLE", /cannot be reached/);
		}
	});

	test("invalid bytes from a server do no harm", async (t) => {
		for (const rubbish of [
			Buffer.from([0, 1, 2, 255, 254, 13, 10]),
			"220 mail ready\r\n",
			"*999999999\r\n",
			"$-7\r\n\r\n",
			"$99999999999999999999\r\n",
			`${"*1\r\n".repeat(100_000)}:1\r\n`,
			"%2\r\n+a\r\n+b\r\n",
			">2\r\n+invalidate\r\n*-1\r\n",
		]) {
			const url = await urlOf(t, (socket) => socket.on("data", () => socket.write(rubbish)));
			await assertAllReject(t, { url, commandTimeout: 500 }, ["PROTOCOL", "TIMEOUT", "UNAVAILABLE"], /./);
		}
	});

	for (const [what, serve] of Object.entries({
		"sends everything back": (socket) => socket.pipe(socket),
		"quotes what it was sent in its errors": (socket) =>
			socket.on("data", (chunk) => {
				const quoted = `-ERR what is ${JSON.stringify(chunk.toString())}\r\n`;
				socket.write(quoted.repeat(chunk.toString().match(/^\*\d+\r$/gm).length));
			}),
	})) {
		test(`no secret appears in the error of a server that ${what}`, async (t) => {
			const { storage, store } = open(t, { url: await urlOf(t, serve), commandTimeout: 500 });
			for (const operation of Object.values(operations)) {
				await operation({ storage, store }).catch((error) => assertError(error, ["PROTOCOL", "TIMEOUT", "AUTH"], /./));
			}
		});
	}

	test("no secret appears in the error for a disabled command", async (t) => {
		// As managed services do. Redis answers: unknown command 'GET', with args beginning with: 'session:TOKEN'
		const config = ["GET", "SET", "EVAL", "EVALSHA", "SCAN", "SORT"].map((name) => `rename-command ${name} ""`);
		const limited = await startRedis({ config });
		t.after(() => limited.stop());
		const doors = open(t, limited.url);
		for (const name of ["get", "set", "createSession", "getUserSessions", "increment", "deleteSession", "listKeys"]) {
			await assertRejects(() => operations[name](doors), "PROTOCOL", /unknown command|command/);
		}
	});

	test("no password appears in the error of a server without HELLO", async (t) => {
		const { password } = SECRETS;
		const old = await startRedis({ password, config: ['rename-command HELLO ""'] });
		t.after(() => old.stop());
		await open(t, old.url).storage.ping().catch(assertNoSecret);
		await open(t, old.url.replace(password, `not${password}`))
			.storage.ping()
			.catch(assertNoSecret);
	});

	test("keys of another type are a PROTOCOL error, and stay as they are", async (t) => {
		await server.cli("FLUSHALL");
		await server.cli("HSET", `session:${SECRETS.key}`, "field", SECRETS.value);
		await server.cli("RPUSH", `session:${SECRETS.token}`, SECRETS.value);
		await server.cli("HSET", `user-sessions:${SECRETS.user}`, SECRETS.token, "1");
		const untouched = await contents(server);
		const doors = open(t, server.url);
		for (const name of [
			"get",
			"get of the list",
			"delete",
			"getAndDelete",
			"increment",
			"createSession",
			"set of a session",
			"getSession",
			"updateSession",
			"deleteSession",
			"deleteUserSessions",
			"getUserSessions",
			"cleanupExpiredSessions",
		]) {
			await assertRejects(
				() => operations[name](doors),
				"PROTOCOL",
				/holds another type: another program writes there/,
			);
			assert.deepEqual(await contents(server), untouched, name);
		}
		const elsewhere = session({ token: `${SECRETS.token}2`, userId: SECRETS.user });
		await assertRejects(() => doors.store.createSession(elsewhere), "PROTOCOL", /holds another type/);
		assert.deepEqual(await contents(server), untouched, "a record was written without its index entry");
		await server.cli("FLUSHALL");
	});

	test("a full memory is an OUT_OF_MEMORY error: nothing is half written, and sessions can be ended", async (t) => {
		const full = await startRedis({ config: ["maxmemory-policy noeviction"] });
		t.after(() => full.stop());
		const doors = open(t, full.url);
		const { storage, store } = doors;
		const mine = Array.from({ length: 3 }, (_, at) =>
			session({ token: `${SECRETS.token}${at}`, userId: SECRETS.user }),
		);
		for (const one of mine) await store.createSession(one);
		await storage.set(SECRETS.key, SECRETS.value, 60);
		await full.cli("CONFIG", "SET", "maxmemory", "1");
		const keys = (await full.cli("KEYS", "*")).sort();
		const outOfMemory = /has reached maxmemory: raise maxmemory, or end sessions/;
		await assertRejects(() => store.createSession(session({ userId: SECRETS.user })), "OUT_OF_MEMORY", outOfMemory);
		await assertRejects(() => storage.set("other", SECRETS.value, 60), "OUT_OF_MEMORY", outOfMemory);
		await assertRejects(() => storage.increment("counter", 60), "OUT_OF_MEMORY", outOfMemory);
		const change = { note: SECRETS.value };
		await assertRejects(() => store.updateSession(mine[0].token, change), "OUT_OF_MEMORY", outOfMemory);
		assert.deepEqual((await full.cli("KEYS", "*")).sort(), keys);
		assert.equal(await full.cli("ZCARD", `user-sessions:${SECRETS.user}`), 3);

		assert.equal(await storage.getAndDelete(SECRETS.key), SECRETS.value);
		await store.deleteSession(mine[0].token);
		assert.equal(await store.getSession(mine[0].token), null);
		assert.equal(await store.deleteUserSessions(SECRETS.user, { except: mine[1].token }), 1);
		assert.equal(await store.deleteUserSessions(SECRETS.user), 1);
		await full.cli("CONFIG", "SET", "maxmemory", "0");
		await assertRejects(() => store.createSession(mine[2]), "REVOKED");
	});

	test("a demoted primary is a READONLY error, and is not read any more after the first failed write", async (t) => {
		const replica = await startRedis();
		t.after(() => replica.stop());
		const doors = open(t, { url: replica.url, nearCache: false });
		await doors.store.createSession(secretSession());
		await replica.cli("REPLICAOF", "127.0.0.1", "1");
		for (const name of ["set", "createSession", "increment", "getAndDelete", "deleteSession"]) {
			await assertRejects(() => operations[name](doors), "READONLY", /is a read-only replica: connect to its primary/);
		}
		await assertRejects(() => doors.store.getSession(SECRETS.token), "READONLY");
		await replica.cli("REPLICAOF", "NO", "ONE");
		await until("the primary", () => succeeds(doors.storage.set(SECRETS.key, SECRETS.value, 60)));
	});
});
