// Every way in which a connection cannot be made, and every state in which a server refuses what it is asked, on real servers: one clear
// message each, within connectTimeout, with no secret in it;
// and docs/connection-errors.md shows each as it is. TEST_WRITE_DOCS=1 writes that table anew.

import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import net from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import tls from "node:tls";
import { root } from "../../scripts/programs.js";
import { open } from "../support/engines.js";
import { assertError, SECRETS } from "../support/errors.js";
import { listen } from "../support/listener.js";
import { startOldRedis } from "../support/old-redis.js";
import { startProxy } from "../support/proxy.js";
import { startRedis } from "../support/redis.js";
import { isCode, STOPS_SOON, startWithoutDisk, stopNextScript } from "../support/states.js";
import { until } from "../support/wait.js";

const PAGE = join(root, "docs/connection-errors.md");
/** For everything but one case, which waits for it to pass. */
const CONNECT_TIMEOUT_MS = 3000;
const SLACK_MS = 1000;

const pem = (path) => readFileSync(path, "utf8");

/** A server that is stopped when the test ends. */
async function start(t, options) {
	const server = await startRedis(options);
	t.after(() => server.stop());
	return server;
}

/** A server with TLS, and the options for it. */
async function startTls(t, tls = {}, config = []) {
	const server = await start(t, { tls, config });
	return { server, options: { url: server.url, tls: { ca: pem(server.certificates.ca) } } };
}

const write = (storage) => storage.set(SECRETS.key, SECRETS.value, 60);

/** An address of this machine by which it is no loopback for Redis. */
const outside = Object.values(networkInterfaces())
	.flat()
	.find(({ family, internal }) => family === "IPv4" && !internal)?.address;

/** A user of a server's ACL, and the URL with it. */
async function withUser(server, ...rules) {
	const { user, password } = SECRETS;
	await server.cli("ACL", "SETUSER", user, "on", `>${password}`, ...rules);
	return `redis://${user}:${password}@127.0.0.1:${server.port}`;
}

const { user, password } = SECRETS;

/**
 * What is wrong, in the words of the page, and the options of a store that meets it.
 * @type {Record<string, Record<string, (t: import("node:test").TestContext) => Promise<object>>>}
 */
const cases = {
	Address: {
		"nothing listens there": async () => ({ host: "127.0.0.1", port: 1 }),
		"the Unix socket is not there": async () => ({ path: "/tmp/no-such.sock" }),
		"the host name does not exist": async () => ({ host: "no-such-host.invalid" }),
		"no answer to the attempt (a firewall, a machine that is off)": async (t) => {
			const deaf = await start(t, { config: ["tcp-backlog 1"] });
			await deaf.pause();
			// What is beyond the backlog is not answered.
			const waiting = Array.from({ length: 8 }, () => net.connect(deaf.port, "127.0.0.1").on("error", () => {}));
			t.after(() => {
				for (const socket of waiting) socket.destroy();
			});
			await new Promise((resolve) => setTimeout(resolve, 200));
			return { host: "127.0.0.1", port: deaf.port, connectTimeout: 500 };
		},
		"the server stands still": async (t) => {
			const server = await start(t);
			await server.pause();
			return { url: server.url, connectTimeout: 500 };
		},
		"the same, when commandTimeout passes before connectTimeout": async (t) => {
			const server = await start(t);
			await server.pause();
			return { url: server.url, commandTimeout: 500 };
		},
		"what answers there speaks HTTP": async (t) => {
			const answer = "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
			return { host: "127.0.0.1", port: await listen(t, (socket) => socket.on("data", () => socket.end(answer))) };
		},
		"what answers there speaks something else": async (t) => ({
			host: "127.0.0.1",
			port: await listen(t, (socket) => socket.on("data", () => socket.end("220 mail ready\r\n"))),
		}),
		"the server has as many clients as it allows": async (t) => {
			const server = await start(t, { config: ["maxclients 1"] });
			const other = net.connect(server.port, "127.0.0.1");
			t.after(() => other.destroy());
			other.write("PING\r\n");
			await once(other, "data");
			return { url: server.url };
		},
		"the same with TLS": async (t) => {
			const { server, options } = await startTls(t, {}, ["maxclients 1"]);
			const { host, port } = server;
			const other = tls.connect({ host, port, ca: options.tls.ca, checkServerIdentity: () => undefined });
			t.after(() => other.destroy());
			other.write("PING\r\n");
			await once(other, "data");
			return options;
		},
	},
	"What the server is": {
		"a replica": async (t) => {
			const server = await start(t, { config: ["replicaof 127.0.0.1 1"] });
			return { url: server.url };
		},
		"part of a cluster, and named as a single server": async (t) => {
			const server = await start(t, { config: ["cluster-enabled yes"] });
			return { url: server.url };
		},
		"a single server, and named as a cluster": async (t) => {
			const server = await start(t);
			return { cluster: [{ host: server.host, port: server.port }] };
		},
		"a sentinel, and named as a server": async (t) => {
			const server = await start(t, { sentinel: true });
			return { url: server.url };
		},
		"a server, and named as a sentinel": async (t) => {
			const server = await start(t);
			return { sentinels: [{ host: server.host, port: server.port }] };
		},
		"a sentinel that knows no such primary": async (t) => {
			const server = await start(t, { sentinel: true });
			return { sentinels: [{ host: server.host, port: server.port }], name: "sessions" };
		},
		"none of the sentinels is there": async () => ({ sentinels: [{ host: "127.0.0.1", port: 1 }] }),
		"none of the cluster's servers is there": async () => ({ cluster: [{ host: "127.0.0.1", port: 1 }] }),
		"without scripts": async (t) => {
			const config = ["EVAL", "EVALSHA"].map((name) => `rename-command ${name} ""`);
			return { url: (await start(t, { config })).url };
		},
		"older than Redis 6.2": async (t) => ({ host: "127.0.0.1", port: await startOldRedis(t, "5.0.14") }),
		"older than Redis 6.2, with RESP3": async (t) => ({ host: "127.0.0.1", port: await startOldRedis(t, "6.0.16") }),
		"without so many databases": async (t) => ({ url: (await start(t)).url, db: 99 }),
		"part of a cluster that has database 0 only": async (t) => {
			const { host, port } = await start(t, { config: ["cluster-enabled yes"] });
			return { cluster: [{ host, port }], db: 3 };
		},
	},
	Login: {
		"a wrong password": async (t) => {
			const server = await start(t, { password: "right" });
			return { host: server.host, port: server.port, password };
		},
		"an unknown user": async (t) => {
			const server = await start(t);
			return { url: server.url, username: user, password };
		},
		"no password, and the server asks for one": async (t) => {
			const server = await start(t, { password });
			return { host: server.host, port: server.port };
		},
		"a password, and the server (without RESP3) has none": async (t) => {
			const server = await start(t, { config: ['rename-command HELLO ""'] });
			return { url: server.url, password };
		},
		"the user may not run scripts": async (t) => ({
			url: await withUser(await start(t), "~*", "+@all", "-@scripting"),
		}),
		"the user may not use the keys": async (t) => ({ url: await withUser(await start(t), "~other:*", "+@all") }),
		"`credentials` rejects": async (t) => ({
			url: (await start(t)).url,
			credentials: async () => {
				throw new TypeError(password);
			},
		}),
		"`credentials` resolves to something else": async (t) => ({
			url: (await start(t)).url,
			credentials: async () => ({ pass: password }),
		}),
		"`credentials` gives an `expiresAt` in seconds": async (t) => ({
			url: (await start(t)).url,
			credentials: async () => ({ password, expiresAt: 1_900_000_000 }),
		}),
		"`credentials` does not answer": async (t) => ({
			url: (await start(t)).url,
			credentials: () => new Promise(() => {}),
			connectTimeout: 500,
		}),
	},
	"States of the server": {
		"a long script or function runs": async (t) => {
			const server = await start(t, { config: ["busy-reply-threshold 100"] });
			server.cli("EVAL", "while true do end", 0).catch(() => {}); // it ends with the server
			await until("a busy server", () => server.cli("PING").then(() => false, isCode("BUSY")));
			return { url: server.url };
		},
		"an operator stops a script of the store (SCRIPT KILL)": async (t) => {
			const server = await start(t, { config: [STOPS_SOON] });
			const proxy = await startProxy(t, server);
			const operation = async (storage) => {
				await storage.ping();
				await Promise.all([write(storage), stopNextScript(proxy, server)]);
			};
			return { url: proxy.url, failFastMs: 1, operation };
		},
		"fewer replicas than min-replicas-to-write, at a write": async (t) => ({
			url: (await start(t, { config: ["min-replicas-to-write 1"] })).url,
			operation: write,
		}),
		"the disk is full or cannot be written to, at a write": async (t) => ({
			url: (await startWithoutDisk(t)).url,
			operation: write,
		}),
		"a quota of a managed server is used up": async (t) => {
			const refusal = "-ERR max requests limit exceeded. Limit: 500000, Usage: 500000.\r\n";
			const commands = (chunk) => chunk.toString("latin1").match(/^\*\d/gm)?.length ?? 0;
			const refuse = (socket) => socket.on("data", (chunk) => socket.write(refusal.repeat(commands(chunk))));
			return { host: "127.0.0.1", port: await listen(t, refuse) };
		},
	},
	TLS: {
		"a certificate of an authority that was not given": async (t) => ({ url: (await startTls(t)).server.url }),
		"a certificate that has expired": async (t) => (await startTls(t, { life: "expired" })).options,
		"a certificate that is not valid yet": async (t) => (await startTls(t, { life: "later" })).options,
		"a certificate for another name": async (t) => (await startTls(t, { names: "DNS:redis.example" })).options,
		"a certificate without a subjectAltName": async (t) => (await startTls(t, { names: "" })).options,
		"a self-signed certificate (CA:TRUE) that was not given": async (t) => ({
			url: (await startTls(t, { isSelfSigned: true })).server.url,
		}),
		"no client certificate, and the server asks for one": async (t) => (await startTls(t, { clients: true })).options,
		"the same in TLS 1.2": async (t) => (await startTls(t, { clients: true }, ['tls-protocols "TLSv1.2"'])).options,
		"a client certificate of another authority": async (t) => {
			const [asking, other] = [await startTls(t, { clients: true }), await startTls(t)];
			const [cert, key] = ["cert", "key"].map((file) => pem(other.server.certificates[file]));
			return { ...asking.options, tls: { ...asking.options.tls, cert, key } };
		},
		"a client certificate and a key that do not belong together": async (t) => {
			const [asking, other] = [await startTls(t, { clients: true }), await startTls(t)];
			const cert = pem(asking.server.certificates.cert);
			const key = pem(other.server.certificates.key);
			return { ...asking.options, tls: { ...asking.options.tls, cert, key } };
		},
		"`tls.ca` holds no certificate": async (t) => ({
			url: (await startTls(t)).server.url,
			tls: { ca: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----" },
		}),
		"a server of TLS 1.2, and `minVersion` is TLSv1.3": async (t) => {
			const { options } = await startTls(t, {}, ['tls-protocols "TLSv1.2"']);
			return { ...options, tls: { ...options.tls, minVersion: "TLSv1.3" } };
		},
		"TLS to a port of Redis without it": async (t) => ({ url: (await start(t)).url.replace("redis:", "rediss:") }),
		"no TLS to a port of Redis that expects it": async (t) => ({
			url: (await startTls(t)).server.url.replace("rediss:", "redis:"),
		}),
		"TLS to a port that speaks HTTP": async (t) => {
			const answer = "HTTP/1.1 400 Bad Request\r\n\r\n";
			return { url: `rediss://127.0.0.1:${await listen(t, (socket) => socket.on("data", () => socket.end(answer)))}` };
		},
		"TLS to a port that says nothing": async (t) => ({
			url: `rediss://127.0.0.1:${await listen(t, () => {})}`,
			connectTimeout: 1000,
		}),
	},
};

if (outside) {
	cases.Login["no password on either side, from another machine (protected mode)"] = async (t) => {
		const server = await start(t);
		// Redis sees whence a connection comes: from this machine, but not by its loopback address.
		const port = await listen(t, (socket) => {
			const onward = net.connect({ host: "127.0.0.1", port: server.port, localAddress: outside });
			socket.on("close", () => onward.destroy());
			onward.on("error", () => socket.destroy());
			socket.pipe(onward).pipe(socket);
		});
		return { host: "127.0.0.1", port };
	};
}

/** The message as the page shows it: without the ports and the causes, which differ. */
function shown(message) {
	const [first] = message.split("\n");
	return first.replace(/127\.0\.0\.1:\d+/g, "HOST:PORT").replaceAll("|", "\\|");
}

const rows = new Map();

for (const [part, group] of Object.entries(cases)) {
	describe(part, { concurrency: 4 }, () => {
		for (const [what, make] of Object.entries(group)) {
			test(what, async (t) => {
				const options = await make(t);
				const limits = { connectTimeout: CONNECT_TIMEOUT_MS, commandTimeout: 20_000, logger: false, nearCache: true };
				const { operation = (storage) => storage.get(SECRETS.key), ...given } = options;
				const { storage } = open(t, { ...limits, ...given });
				const start = performance.now();
				const error = await operation(storage).then(
					() => assert.fail("it works"),
					(error) => error,
				);
				const tookMs = performance.now() - start;
				assertError(error, /^[A-Z_]+$/.exec(error.code)[0], /./);
				const within = Math.min(
					...[options.connectTimeout, options.commandTimeout, CONNECT_TIMEOUT_MS].filter(Boolean),
				);
				assert.ok(tookMs < within + SLACK_MS, `it took ${tookMs} ms`);
				rows.set(what, `| ${what} | \`${error.code}\` | ${shown(error.message)} |`);
			});
		}
	});
}

describe("docs/connection-errors.md", () => {
	after(() => {
		if (!process.env.TEST_WRITE_DOCS) return;
		const table = (group) => [
			"| cause | code | message |",
			"|---|---|---|",
			...Object.keys(group).map((what) => rows.get(what)),
		];
		const parts = Object.entries(cases).map(([part, group]) => [`## ${part}`, ...table(group), ""].join("\n"));
		const [before, rest] = pem(PAGE).split("<!-- messages -->\n");
		const end = rest.slice(rest.indexOf("<!-- end of messages -->"));
		writeFileSync(PAGE, `${before}<!-- messages -->\n${parts.join("\n")}${end}`);
	});

	test("shows every message as it is", { skip: Boolean(process.env.TEST_WRITE_DOCS) }, () => {
		const page = pem(PAGE).split("\n");
		const told = page.filter((line) => /^\| .* \| `[A-Z_]+` \|/.test(line));
		const expected = [...rows.values()].filter((row) => !told.includes(row));
		assert.deepEqual(expected, [], "not on the page; TEST_WRITE_DOCS=1 writes it anew");
		const others = told.filter((line) => ![...rows.values()].includes(line));
		// Without an address but the loopback's, protected mode is not met.
		assert.deepEqual(outside ? others : others.filter((line) => !line.includes("protected mode")), []);
	});
});
