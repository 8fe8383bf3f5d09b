// Whose certificate is accepted besides those that an authority signed: a self-signed one that is given itself, as tls.ca or by
// NODE_EXTRA_CA_CERTS. Its name and times are checked all the same.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, test } from "node:test";
import { runText } from "../support/child.js";
import { open } from "../support/engines.js";
import { assertRejects } from "../support/errors.js";
import { startRedis } from "../support/redis.js";

const pem = (path) => readFileSync(path, "utf8");

async function startFor(t, tls) {
	const server = await startRedis({ tls });
	t.after(() => server.stop());
	return server;
}

const startSelfSigned = (t, tls = {}) => startFor(t, { isSelfSigned: true, ...tls });

describe("a self-signed certificate (CA:TRUE)", () => {
	test("is accepted as tls.ca, in both versions of TLS and among others", async (t) => {
		const [server, other] = await Promise.all([startSelfSigned(t), startFor(t, true)]);
		const own = pem(server.certificates.ca);
		for (const tls of [
			{ ca: own },
			{ ca: own, minVersion: "TLSv1.3" },
			{ ca: `${pem(other.certificates.ca)}\n${own}` },
		]) {
			await open(t, { url: server.url, tls }).storage.ping();
		}
	});

	test("is refused with another tls.ca, or none, and the message says what to give", async (t) => {
		const [server, other] = await Promise.all([startSelfSigned(t), startSelfSigned(t)]);
		for (const tls of [{ ca: pem(other.certificates.ca) }, undefined]) {
			await assertRejects(
				() => open(t, { url: server.url, tls }).storage.ping(),
				"TLS",
				/\(CA:TRUE\), as openssl req -x509 makes it; give that very certificate as option tls\.ca/,
			);
		}
	});

	test("must be for the server's name, which it holds as a subjectAltName", async (t) => {
		const [other, nameless] = await Promise.all([
			startSelfSigned(t, { names: "DNS:redis.example" }),
			startSelfSigned(t, { names: "" }),
		]);
		const ping = (server, tls) => () =>
			open(t, { url: server.url, tls: { ca: pem(server.certificates.ca), ...tls } }).storage.ping();
		await assertRejects(ping(other), "TLS", /is for another name/);
		await ping(other, { servername: "redis.example" })();
		await assertRejects(ping(nameless), "TLS", /holds no name \(subjectAltName\).*-addext "subjectAltName=DNS:HOST"/);
	});

	test("must be valid now", async (t) => {
		for (const [life, message] of [
			["expired", /has expired/],
			["later", /is not valid yet/],
		]) {
			const server = await startSelfSigned(t, { life });
			const tls = { ca: pem(server.certificates.ca) };
			await assertRejects(() => open(t, { url: server.url, tls }).storage.ping(), "TLS", message);
		}
	});
});

describe("NODE_EXTRA_CA_CERTS", () => {
	/** What a process says whose store pings a server. `options`: as JSON. */
	async function ping(server, file, options = {}, before = "") {
		const source = `
			${before}
			const { redisStorage } = await import("better-auth-redis-store");
			const logger = { info() {}, warn: (line) => console.log(line) };
			const storage = redisStorage({ url: ${JSON.stringify(server.url)}, logger, ...${JSON.stringify(options)} });
			console.log(await storage.ping().then(() => "pong", (error) => error.code));`;
		// Node.js warns of a bad file on its own: on stderr.
		const { stdout } = await runText(source, { env: { NODE_EXTRA_CA_CERTS: file } });
		return stdout
			.trim()
			.split("\n")
			.filter((line) => !/\] (down|reconnecting): /.test(line) && !line.startsWith("  "));
	}

	test("adds to the authorities that are trusted, authorities and self-signed certificates alike", async (t) => {
		const [signed, own] = await Promise.all([startFor(t, true), startSelfSigned(t)]);
		const both = join(signed.dir, "both.pem");
		writeFileSync(both, pem(signed.certificates.ca) + pem(own.certificates.ca));
		for (const server of [signed, own]) {
			assert.deepEqual(await ping(server, both), ["pong"]);
			assert.deepEqual(await ping(server, ""), ["TLS"]);
		}
	});

	test("is ignored where tls.ca is given", async (t) => {
		const [server, other] = await Promise.all([startFor(t, true), startFor(t, true)]);
		assert.deepEqual(await ping(server, server.certificates.ca, { tls: { ca: pem(other.certificates.ca) } }), ["TLS"]);
	});

	test("with a bad file gives a warning; its readable part counts", async (t) => {
		const server = await startFor(t, true);
		const file = (name, text) => {
			writeFileSync(join(server.dir, name), text);
			return join(server.dir, name);
		};
		const ca = pem(server.certificates.ca);
		const isNone = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
		const holds =
			"[better-auth-redis-store] NODE_EXTRA_CA_CERTS: the file holds something that is no certificate (PEM, BEGIN CERTIFICATE); that is ignored";
		const missing = "[better-auth-redis-store] NODE_EXTRA_CA_CERTS: the file cannot be read (ENOENT); it is ignored";
		const given = { tls: { ca } };
		assert.deepEqual(await ping(server, "/no/such.pem", given), [missing, "pong"]);
		assert.deepEqual(await ping(server, "/no/such.pem"), [missing, "TLS"]);
		assert.deepEqual(await ping(server, file("none.pem", "hello"), given), [holds, "pong"]);
		assert.deepEqual(await ping(server, file("half.pem", ca + isNone)), [holds, "pong"]);
	});

	test("is ignored when it is set after the package is loaded", async (t) => {
		const server = await startFor(t, true);
		const late = `await import("better-auth-redis-store"); process.env.NODE_EXTRA_CA_CERTS = ${JSON.stringify(server.certificates.ca)};`;
		assert.deepEqual(await ping(server, "", {}, late), ["TLS"]);
	});
});
