// User name and password by a function: asked at each connection, of the newest store that lives, and never told.

import assert from "node:assert/strict";
import { EventEmitter, on, once } from "node:events";
import { readFileSync } from "node:fs";
import net from "node:net";
import { describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { runText } from "../support/child.js";
import { RedisCluster } from "../support/cluster.js";
import { rounds } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertRejects, SECRETS } from "../support/errors.js";
import { listen } from "../support/listener.js";
import { load } from "../support/load.js";
import { fresh } from "../support/records.js";
import { startRedis } from "../support/redis.js";
import { succeeds, until } from "../support/wait.js";

const { password, user } = SECRETS;

/** A server that is stopped when the test ends. */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/** Where a server is, without its password. */
const address = ({ host, port }) => ({ host, port });

/** Ends every connection but the one that says so. */
const killAll = (server) => server.cli("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");

describe("the credentials function", () => {
	test("is called for each connection, not before the first and not in between", async (t) => {
		const server = await startFor(t, { password });
		let asked = 0;
		const credentials = async () => {
			asked++;
			return { password };
		};
		const { storage, store } = open(t, { ...address(server), credentials });
		assert.equal(asked, 0);
		await Promise.all([storage.ping(), store.ping(), storage.set("key", "value", 60)]);
		assert.equal(asked, 1);
		await killAll(server);
		await until("another connection", () => asked === 2);
		assert.equal(await storage.get("key"), "value");
		assert.equal(asked, 2);
	});

	test("may give a user, or leave it to the option; it may return a plain value", async (t) => {
		const server = await startFor(t);
		await server.cli("ACL", "SETUSER", user, "on", `>${password}`, "~*", "+@all");
		await server.cli("ACL", "SETUSER", "default", "off");
		for (const options of [
			{ credentials: () => ({ username: user, password }) },
			{ username: user, credentials: () => ({ password }) },
			{ username: "other", credentials: async () => ({ username: user, password }) },
			{ username: user, credentials: async () => ({ username: "", password }) },
		]) {
			await open(t, { ...address(server), connectionName: fresh("name"), ...options }).storage.ping();
		}
	});

	test("is called once when the server has no RESP3", async (t) => {
		const server = await startFor(t, { password, config: ['rename-command HELLO ""'] });
		let asked = 0;
		const credentials = () => ({ password: asked++ === 0 ? password : "other" });
		await open(t, { ...address(server), credentials }).storage.ping();
		assert.equal(asked, 1);
	});

	test("gives the credentials for each server of a cluster", async (t) => {
		const cluster = new RedisCluster({ password, config: [`masterauth ${password}`] });
		t.after(() => cluster.stop());
		await cluster.start();
		let given = password;
		const { storage } = open(t, { cluster: cluster.nodes, credentials: async () => ({ password: given }) });
		const keys = Array.from({ length: 30 }, () => fresh("key"));
		await Promise.all(keys.map((key) => storage.set(key, "value", 60)));
		assert.deepEqual(
			await Promise.all(keys.map((key) => storage.get(key))),
			keys.map(() => "value"),
		);
		given = "wrong";
		const { storage: other } = open(t, {
			cluster: cluster.nodes,
			connectionName: "b",
			credentials: () => ({ password: given }),
		});
		await assertRejects(() => other.ping(), "AUTH", /refused the user name or password/);
	});

	test("must be a function, and excludes a password", () => {
		const message = "credentials: must be a function that resolves to { username?, password, expiresAt? }";
		for (const credentials of [true, null, { password }, password]) {
			assert.throws(() => redisStorage({ host: "a", credentials }), { code: "INVALID_ARGUMENT", message });
			assert.throws(() => new RedisSessionStore({ host: "a", credentials }), { code: "INVALID_ARGUMENT", message });
		}
		const both = { host: "a", password, credentials: () => ({ password }) };
		assert.throws(() => redisStorage(both), { code: "INVALID_ARGUMENT", message: /given together with a password/ });
		redisStorage({ host: "a", credentials: undefined });
	});
});

describe("a credentials function that", () => {
	const gives = (more) => async () => ({ password, ...more });
	for (const [what, credentials, code, says] of [
		["throws", () => JSON.parse(password), "AUTH", /rejected with SyntaxError/],
		["rejects", async () => Promise.reject(new Error(password)), "AUTH", /rejected with Error/],
		["rejects with no error", async () => Promise.reject(password), "AUTH", /rejected; its message is omitted/],
		[
			"hides a secret in a name",
			async () => Promise.reject(Object.assign(new Error(), { name: `a ${password}` })),
			"AUTH",
			/rejected;/,
		],
		["resolves to nothing", async () => undefined, "INVALID_ARGUMENT", /it resolved to undefined/],
		["resolves to null", async () => null, "INVALID_ARGUMENT", /it resolved to null/],
		["resolves to a text", async () => password, "INVALID_ARGUMENT", /it resolved to string/],
		[
			"gives no password",
			async () => ({ username: user }),
			"INVALID_ARGUMENT",
			/password must be a string that is not empty/,
		],
		[
			"gives an empty one",
			async () => ({ password: "" }),
			"INVALID_ARGUMENT",
			/password must be a string that is not empty/,
		],
		[
			"gives a user that is none",
			async () => ({ username: 1, password }),
			"INVALID_ARGUMENT",
			/username must be a string/,
		],
		["gives half a character", async () => ({ password: "\ud800" }), "INVALID_ARGUMENT", /half of a surrogate pair/],
		[
			"gives a time as a text",
			gives({ expiresAt: "2030-01-01" }),
			"INVALID_ARGUMENT",
			/expiresAt is a string; give ms/,
		],
		["gives no time", gives({ expiresAt: Number.NaN }), "INVALID_ARGUMENT", /expiresAt is no finite number/],
		["gives no Date", gives({ expiresAt: new Date("soon") }), "INVALID_ARGUMENT", /expiresAt is an invalid Date/],
		["gives seconds", gives({ expiresAt: 1_900_000_000 }), "INVALID_ARGUMENT", /expiresAt .* not seconds/],
		["gives a wrong password", async () => ({ username: user, password }), "AUTH", /refused the user name or password/],
	]) {
		test(`${what}: an error that says so and holds no secret`, async (t) => {
			const server = await startFor(t);
			const { storage } = open(t, { ...address(server), credentials, logger: false });
			await assertRejects(() => storage.ping(), code, says);
			await assertRejects(() => storage.get(SECRETS.key), code, says);
		});
	}

	test("hangs: an error within connectTimeout, and it is called again", async (t) => {
		const server = await startFor(t, { password });
		let asked = 0;
		const credentials = () => (asked++ === 0 ? new Promise(() => {}) : { password });
		const { storage } = open(t, { ...address(server), credentials, connectTimeout: 300, commandTimeout: 20_000 });
		const start = performance.now();
		await assertRejects(
			() => storage.ping(),
			"AUTH",
			/after 300 ms \(option connectTimeout\): the function of option credentials/,
		);
		assert.ok(performance.now() - start < 1300);
		await storage.ping();
		assert.equal(asked, 2);
	});

	describe("is slow: the error holds what the server said before it closed the connection", () => {
		/**
		 * Options of a store, whose connections are reset while its function answers.
		 * @param {(socket: net.Socket) => unknown} say resolves when the server has said what it has to say
		 */
		async function hangingUp(t, say) {
			const server = new EventEmitter();
			const connections = on(server, "connection");
			const port = await listen(t, (socket) => server.emit("connection", socket, say(socket)));
			const credentials = async () => {
				const [socket, said] = (await connections.next()).value;
				await said;
				const closed = once(socket, "close");
				socket.resetAndDestroy();
				await closed;
				return { password };
			};
			return { host: "127.0.0.1", port, credentials, logger: false };
		}

		test("without TLS", async (t) => {
			const options = await hangingUp(t, (socket) => socket.write("-DENIED Redis is running in protected mode\r\n"));
			await assertRejects(() => open(t, options).storage.ping(), "AUTH", /is in protected mode/);
		});

		test("by an alert of TLS", async (t) => {
			const server = await startFor(t, { tls: { clients: true } });
			const options = await hangingUp(t, (socket) => {
				const onward = net.connect(server.port, server.host).on("error", () => {});
				onward.on("data", (bytes) => socket.write(bytes));
				socket.on("data", (bytes) => onward.write(bytes));
				return new Promise((resolve) => onward.on("close", resolve));
			});
			const tls = { ca: readFileSync(server.certificates.ca, "utf8") };
			await assertRejects(() => open(t, { ...options, tls }).storage.ping(), "TLS", /certificate/);
		});
	});

	test("recovers makes the store work at once", async (t) => {
		const server = await startFor(t, { password });
		let works = false;
		const credentials = async () => {
			if (!works) throw new Error("not yet");
			return { password };
		};
		const { storage } = open(t, { ...address(server), credentials, logger: false });
		await assertRejects(() => storage.ping(), "AUTH");
		works = true;
		await storage.ping();
	});
});

describe("credentials functions of several stores that share a connection:", () => {
	test("the newest is called, and after its store closes the one before", async (t) => {
		const server = await startFor(t, { password });
		const asked = [];
		const store = (name) =>
			redisStorage({
				...address(server),
				credentials: async () => {
					asked.push(name);
					return { password };
				},
			});
		const [first, second] = [store("first"), store("second")];
		t.after(() => Promise.all([first.close(), second.close()]));
		await first.ping();
		await second.ping();
		assert.deepEqual(asked, ["first"], "one connection");
		await killAll(server);
		await until("another connection", () => asked.length === 2);
		await second.ping();
		await second.close();
		await killAll(server);
		await until("a third", () => asked.length === 3);
		await first.ping();
		assert.deepEqual(asked, ["first", "second", "first"]);
	});

	test("that of a closed store is still called for its calls in flight", async (t) => {
		const server = await startFor(t, { password });
		const storage = redisStorage({
			...address(server),
			credentials: async () => {
				await sleep(50);
				return { password };
			},
		});
		const under = storage.set("key", "value", 60);
		await storage.close();
		await under;
		assert.equal(await server.cli("GET", "session:key"), "value");
	});

	test("that of a worker thread ends with the thread, in the middle of its answer, and the one before is called", async (t) => {
		const server = await startFor(t, { password });
		const options = { ...address(server), connectionName: "shared" };
		let asked = 0;
		const credentials = async () => {
			asked++;
			return { password };
		};
		const { storage } = open(t, { ...options, credentials });
		await storage.ping();
		const source = `
			const { parentPort, workerData } = require("node:worker_threads");
			import("better-auth-redis-store").then(async ({ redisStorage }) => {
				const credentials = () => {
					parentPort.postMessage("asked");
					return new Promise(() => {});
				};
				await redisStorage({ ...workerData, credentials }).ping();
				parentPort.postMessage("open");
				setInterval(() => {}, 1000);
			});
		`;
		const worker = new Worker(source, { eval: true, workerData: options });
		const told = [];
		worker.on("message", (message) => told.push(message));
		await until("the worker's store", () => told.includes("open"));
		await killAll(server);
		await until("the worker asked, as the newest", () => told.includes("asked"));
		assert.equal(asked, 1);
		await worker.terminate();
		await until("the one before asked", () => asked === 2);
		await storage.ping();
	});
});

test("an idle store with a credentials function keeps no process alive, and one that waits for its answer does", async (t) => {
	const server = await startFor(t, { password });
	const source = `
		import { redisStorage } from "better-auth-redis-store";
		import { setTimeout as sleep } from "node:timers/promises";
		const credentials = async () => {
			await sleep(50);
			return { password: "${password}" };
		};
		const storage = redisStorage({ host: "${server.host}", port: ${server.port}, credentials });
		await storage.set("key", "value", 60);
		console.log(await storage.get("key"));
	`;
	const { stdout, code, wallMs } = await runText(source);
	assert.equal(stdout, "value\n");
	assert.equal(code, 0);
	assert.ok(wallMs < 5000, `${wallMs} ms`);
});

describe("a password that is rotated under load", () => {
	test("on the default user, with every connection killed: nothing is wrong, and no call is refused for long", async (t) => {
		const server = await startFor(t, { password: "0" });
		const doors = open(t, {
			...address(server),
			credentials: async () => ({ password: server.password }),
			commandTimeout: 20_000,
			logger: false,
		});
		let over = false;
		const working = load(doors, () => over, ["UNAVAILABLE", "AUTH"]);
		for (let n = 1; n <= rounds(20, 500); n++) {
			await sleep(20);
			await server.cli("CONFIG", "SET", "requirepass", String(n));
			server.password = String(n);
			await killAll(server);
		}
		await until("the server", () => succeeds(doors.storage.ping()));
		over = true;
		const { done, failed } = await working;
		t.diagnostic(`${done} done, ${failed} failed`);
		assert.ok(done > failed);
	});

	test("on a user of the ACL, with the old password removed later: no call is refused", async (t) => {
		const server = await startFor(t);
		const rules = ["on", "~*", "+@all"];
		await server.cli("ACL", "SETUSER", user, ...rules, ">0");
		let current = "0";
		const doors = open(t, {
			...address(server),
			username: user,
			credentials: async () => ({ password: current }),
			commandTimeout: 20_000,
			logger: false,
		});
		let over = false;
		const working = load(doors, () => over, ["UNAVAILABLE"]);
		for (let n = 1; n <= rounds(20, 500); n++) {
			await sleep(20);
			await server.cli("ACL", "SETUSER", user, `>${n}`);
			const old = current;
			current = String(n);
			await server.cli("ACL", "SETUSER", user, `<${old}`);
			await server.cli("CLIENT", "KILL", "USER", user);
		}
		await until("the server", () => succeeds(doors.storage.ping()));
		over = true;
		const { done, failed } = await working;
		t.diagnostic(`${done} done, ${failed} failed`);
		assert.ok(done > failed);
	});
});
