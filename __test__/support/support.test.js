// Shows that the harness of the other tests does what they rely on: test servers, child processes, counts and seeds.

import assert from "node:assert/strict";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { makeCertificates } from "./certificates.js";
import { runFile, runText, spawnWorkers } from "./child.js";
import { rounds, seeded } from "./counts.js";
import { stateOf } from "./processes.js";
import { startProxy } from "./proxy.js";
import { RedisServer, redisPerFile, startRedis } from "./redis.js";
import { ReplyError, sendCommand } from "./resp.js";
import { until } from "./wait.js";

const redisModule = new URL("./redis.js", import.meta.url).href;
const workerModule = new URL("./worker.js", import.meta.url).href;

/** Whether a process runs; a zombie, which its new parent has yet to bury, does not. */
function isRunning(pid) {
	return ![undefined, "Z"].includes(stateOf(pid));
}

/** A server that is stopped when the test ends. */
async function startFor(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

describe("redisPerFile: a server for all tests of a suite", () => {
	const server = redisPerFile();

	test("answers", async () => {
		assert.equal(await server.cli("PING"), "PONG");
		assert.equal(server.url, `redis://127.0.0.1:${server.port}`);
		assert.match(await server.cli("INFO", "server"), new RegExp(`process_id:${server.pid}\r\n`));
	});

	test("gives every kind of reply", async () => {
		assert.equal(await server.cli("SET", "text", "žluťoučký"), "OK");
		assert.equal(await server.cli("GET", "text"), "žluťoučký");
		assert.equal(await server.cli("INCRBY", "number", 42), 42);
		assert.equal(await server.cli("GET", "absent"), null);
		assert.deepEqual(await server.cli("MGET", "text", "absent"), ["žluťoučký", null]);
		await assert.rejects(server.cli("LPUSH", "text", "x"), { name: "ReplyError", code: "WRONGTYPE" });
		const [error, two] = await server.cli("EVAL", "return {redis.error_reply('ERR inside'), {1, 2}}", 0);
		assert.ok(error instanceof ReplyError);
		assert.deepEqual(two, [1, 2]);
	});

	test("gives bytes and large values back unchanged", async () => {
		const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, at) => at % 256));
		await server.cli("SET", "bytes", bytes);
		assert.ok(bytes.equals(await server.cliBuffer("GET", "bytes")));
	});
});

test("RedisServer has its own port and folder, and stop() leaves neither process nor folder", async () => {
	const servers = await Promise.all([startRedis(), startRedis(), startRedis()]);
	assert.equal(new Set(servers.map(({ port }) => port)).size, 3);
	for (const server of servers) {
		const { pid, dir } = server;
		await server.stop();
		assert.equal(server.pid, undefined);
		assert.ok(!isRunning(pid));
		assert.ok(!existsSync(dir));
	}
});

test("RedisServer.restart keeps the port, and the data with appendonly", async (t) => {
	const server = await startFor(t, { config: ["appendonly yes"] });
	const { port, pid } = server;
	await server.cli("SET", "key", "value");
	await server.restart();
	assert.equal(server.port, port);
	assert.notEqual(server.pid, pid);
	assert.equal(await server.cli("GET", "key"), "value");

	await server.kill();
	await assert.rejects(server.cli("PING"), { code: "ECONNREFUSED" });
	await server.restart();
	assert.equal(await server.cli("GET", "key"), "value");
});

test("RedisServer.pause: the server answers nothing until resume", async (t) => {
	const server = await startFor(t);
	await server.pause();
	await assert.rejects(sendCommand(server, ["PING"], { deadlineMs: 100 }), /no reply to PING within 100 ms/);
	server.resume();
	assert.equal(await server.cli("PING"), "PONG");
	await server.pause();
	await server.restart();
	assert.equal(await server.cli("PING"), "PONG");
	await server.pause(); // stop() must end it as it is
});

test("RedisServer requires its password, which is in its URL", async (t) => {
	const password = 'p@ss "w:rd\\';
	const server = await startFor(t, { password });
	assert.equal(decodeURIComponent(new URL(server.url).password), password);
	assert.equal(await server.cli("PING"), "PONG");
	const { host, port } = server;
	await assert.rejects(sendCommand({ host, port }, ["PING"]), { code: "NOAUTH" });
});

test("RedisServer applies config lines", async (t) => {
	const server = await startFor(t, { config: ["maxmemory 10mb", "maxmemory-policy noeviction"] });
	assert.deepEqual(await server.cli("CONFIG", "GET", "maxmemory"), ["maxmemory", String(10 * 1024 * 1024)]);
});

test("RedisServer listens on a Unix socket", async (t) => {
	const server = await startFor(t, { unixSocket: true });
	const socket = net.connect(server.socket);
	socket.end("PING\r\n");
	const [reply] = await once(socket, "data");
	assert.equal(reply.toString(), "+PONG\r\n");
});

test("RedisServer may be a Cluster node", async (t) => {
	const server = await startFor(t, { config: ["cluster-enabled yes"] });
	assert.match(await server.cli("CLUSTER", "INFO"), /cluster_state:fail/); // no slots yet
	await server.cli("CLUSTER", "ADDSLOTSRANGE", 0, 16383);
	assert.match(await server.cli("CLUSTER", "SLOTS").then(JSON.stringify), new RegExp(`${server.port}`));
});

describe("RedisServer with TLS", () => {
	const folder = mkdtempSync(join(tmpdir(), "certificates-"));
	after(() => rmSync(folder, { recursive: true }));

	test("has certificates that a client can check", async (t) => {
		const server = await startFor(t, { tls: true, password: "secret" });
		assert.match(server.url, /^rediss:/);
		assert.equal(await server.cli("PING"), "PONG");
		await server.restart();

		const address = { host: "localhost", port: server.port, password: "secret" };
		const ca = readFileSync(server.certificates.ca);
		assert.equal(await sendCommand({ ...address, tls: { ca } }, ["PING"]), "PONG");
		const stranger = readFileSync(makeCertificates(folder).ca);
		await assert.rejects(sendCommand({ ...address, tls: { ca: stranger } }, ["PING"]), /certificate|signature/);
	});

	test("serves other names, and may require client certificates", async (t) => {
		const server = await startFor(t, { tls: { names: "DNS:redis.example", clients: true } });
		assert.equal(await server.cli("PING"), "PONG");
		const { host, port } = server;
		const [ca, cert, key] = ["ca", "cert", "key"].map((file) => readFileSync(server.certificates[file]));
		const wrongName = sendCommand({ host, port, tls: { ca, cert, key } }, ["PING"]);
		await assert.rejects(wrongName, { code: "ERR_TLS_CERT_ALTNAME_INVALID" });
		const noCertificate = { host, port, tls: { ca, servername: "redis.example" } };
		await assert.rejects(sendCommand(noCertificate, ["PING"]));
	});
});

test("RedisServer that cannot start rejects with its log", async () => {
	const server = new RedisServer({ config: ["no-such-directive yes"] });
	await assert.rejects(
		server.start(),
		/did not start on port \d+: it ended with exit code 1\n[\s\S]*no-such-directive/,
	);
	assert.ok(!existsSync(server.dir));
});

test("RedisServer ends with the test process: by its end, an error, a signal", async () => {
	for (const ending of [
		"",
		"process.exit(3)",
		"throw new Error('on purpose')",
		"process.kill(process.pid, 'SIGTERM'); setInterval(() => {}, 1000)",
	]) {
		const source = `
			import { startRedis } from ${JSON.stringify(redisModule)};
			const { pid, dir } = await startRedis();
			console.log(JSON.stringify({ pid, dir }));
			${ending}`;
		const { stdout, signal } = await runText(source);
		const { pid, dir } = JSON.parse(stdout);
		assert.ok(!existsSync(dir), ending);
		assert.equal(signal, ending.includes("SIGTERM") ? "SIGTERM" : null);
		while (isRunning(pid)) await new Promise(setImmediate); // the signal is sent, and takes its time to arrive
	}
});

test("startProxy: a cut at the moment in which the server ends leaves no socket open", async (t) => {
	const sockets = () => process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length;
	const before = sockets();
	const server = await startFor(t);
	const proxy = await startProxy(t, server);
	const client = net.connect(new URL(proxy.url).port, "127.0.0.1").on("error", () => {});
	client.write("PING\r\n");
	await once(client, "data");
	const { pid } = server;
	const killed = server.kill("SIGKILL");
	while (isRunning(pid)); // one turn of the event loop then finds both, the end of the connection and that of the process
	await killed;
	proxy.cut();
	client.destroy();
	await until("sockets that are closed", () => sockets() <= before);
});

test("runText returns a child's output, ending and time", async () => {
	const source = "console.log(process.argv[1]); console.error(process.env.WORD); process.exit(7)";
	const child = await runText(source, { args: ["argument"], env: { WORD: "word" } });
	assert.equal(child.stdout, "argument\n");
	assert.equal(child.stderr, "word\n");
	assert.equal(child.code, 7);
	assert.equal(child.signal, null);
	assert.ok(child.wallMs > 0);
});

test("runText: a child may import this package's own files, and reports to no test runner", async () => {
	const source = "import './__test__/support/counts.js'; console.log(process.env.NODE_TEST_CONTEXT)";
	assert.equal((await runText(source)).stdout, "undefined\n");
});

test("runFile runs a script file as runText runs a text", async () => {
	const file = join(import.meta.dirname, "counts.js");
	assert.equal((await runFile(file)).code, 0);
});

test("runText ends a child that misses its deadline, and returns its output", async () => {
	const source = "console.log('so far'); setInterval(() => {}, 1000)";
	await assert.rejects(runText(source, { deadlineMs: 500 }), /still running after 500 ms\nso far/);
});

describe("spawnWorkers", () => {
	const folder = mkdtempSync(join(tmpdir(), "workers-"));
	after(() => rmSync(folder, { recursive: true }));

	function workerFile(name, body) {
		const path = join(folder, `${name}.mjs`);
		writeFileSync(path, `import { count, index, ready, report } from ${JSON.stringify(workerModule)};\n${body}`);
		return path;
	}

	test("all workers start at the barrier and report in order", async () => {
		const file = workerFile(
			"echo",
			`const input = await ready();
			await report({ index, count, word: process.env.WORD, at: Date.now(), bytes: input.bytes });`,
		);
		const workers = await spawnWorkers(file, 3, { env: { WORD: "word" } });
		const opened = Date.now();
		const results = await workers.go({ bytes: Buffer.from([0, 255]) });
		assert.deepEqual(
			results.map(({ index }) => index),
			[0, 1, 2],
		);
		for (const { count, word, at, bytes } of results) {
			assert.equal(count, 3);
			assert.equal(word, "word");
			assert.ok(at >= opened);
			assert.deepEqual([...bytes], [0, 255]);
		}
		for (const { pid } of workers.children) assert.ok(!isRunning(pid));
	});

	test("a worker may be killed at work", async () => {
		const file = workerFile(
			"stuck",
			"await ready(); if (index === 1) setInterval(() => {}, 1000); else await report('done');",
		);
		const workers = await spawnWorkers(file, 3);
		const results = workers.go();
		workers.kill(1);
		assert.deepEqual(await results, ["done", undefined, "done"]);
	});

	test("a worker that fails rejects with its stderr, and the others are ended", async () => {
		const file = workerFile(
			"failing",
			"await ready(); if (index === 1) throw new Error('on purpose'); setInterval(() => {}, 1000);",
		);
		const workers = await spawnWorkers(file, 2);
		await assert.rejects(workers.go(), /worker 1 ended with exit code 1 before "report"\n[\s\S]*on purpose/);
		for (const { pid } of workers.children) assert.ok(!isRunning(pid));
	});

	test("a worker that never gets ready rejects at the deadline", async () => {
		const file = workerFile("late", "if (index === 0) await ready(); else setInterval(() => {}, 1000);");
		await assert.rejects(spawnWorkers(file, 2, { deadlineMs: 1000 }), /not every worker sent "ready" within 1000 ms/);
	});
});

test("rounds() follows TEST_LONG", () => {
	assert.equal(rounds(10, 1000), process.env.TEST_LONG ? 1000 : 10);
});

test("seeded() replays the same numbers for a seed, and others for another name or seed", async () => {
	const draw = (name) => {
		const random = seeded(name);
		return [random.below(1e9), random.pick([..."abcdefgh"]), random.next()];
	};
	assert.deepEqual(draw("a"), draw("a"));
	assert.notDeepEqual(draw("a"), draw("b"));

	const source = "import { seeded } from './__test__/support/counts.js'; console.log(seeded('a').next());";
	const run = async (TEST_SEED) => (await runText(source, { env: { TEST_SEED } })).stdout;
	assert.equal(await run("1"), await run("1"));
	assert.notEqual(await run("1"), await run("2"));
	assert.match(await run("1"), /^a: TEST_SEED=1\n0\.\d+\n$/);
});

test("seeded() draws evenly distributed numbers", () => {
	const random = seeded("evenness");
	const counts = new Array(10).fill(0);
	for (let n = 0; n < 100_000; n++) counts[random.below(10)]++;
	// 10 standard deviations (95 each): no seed fails this, a broken generator does.
	for (const count of counts) assert.ok(Math.abs(count - 10_000) < 950, `${counts}`);
});
