// An invalid option throws a SessionStoreError that names it. All problems are reported at once, and none shows a password.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { open } from "../support/engines.js";
import { assertError, SECRETS } from "../support/errors.js";
import { redisPerFile } from "../support/redis.js";

/** Fails unless options are refused, in the constructor, of both faces, with these messages, a line each. */
function assertRefused(options, ...messages) {
	for (const make of [() => redisStorage(options), () => new RedisSessionStore(options)]) {
		assert.throws(make, (error) => {
			assertError(error, "INVALID_ARGUMENT", /./);
			const lines = error.message.split("\n");
			assert.equal(lines.length, messages.length, error.message);
			for (const [at, message] of messages.entries()) assert.match(lines[at], message);
			return true;
		});
	}
}

/** As `assertRefused`, whatever the message. */
function assertRefusedSomehow(options) {
	for (const make of [() => redisStorage(options), () => new RedisSessionStore(options)]) {
		assert.throws(make, (error) => {
			assertError(error, "INVALID_ARGUMENT", /./);
			return true;
		});
	}
}

const server = redisPerFile();

describe("options of a store", () => {
	const url = "redis://localhost";

	test("must be a URL or an object", () => {
		for (const options of [null, 7, true, [], [url], 7n, Symbol("url"), () => url]) {
			assertRefused(options, /^options: must be a Redis URL or an object of options$/);
		}
	});

	test("url: the error says what is wrong with it", () => {
		const secret = SECRETS.password;
		for (const [wrong, message] of [
			["", /^url: is empty; give a Redis URL/],
			["localhost:6379", /^url: must begin with a scheme/],
			["http://localhost:6379", /^url: is an HTTP address/],
			["postgres://localhost", /^url: must begin with redis:\/\/.*redis-cluster/],
			["redis://", /^url: has no/],
			["redis://localhost:0", /^url: .*port/],
			["redis://localhost:99999", /^url: .*port/],
			["redis://local host", /^url: is not a valid URL/],
			["redis://localhost/x", /^url: the database must be an integer/],
			["redis://localhost/-1", /^url: the database must be an integer/],
			["redis://localhost/1?db=2", /^url: names two databases/],
			["redis://localhost?timeout=5", /^url: query parameter timeout is not read; give option commandTimeout/],
			["redis://local\nhost", /^url: must not contain .*control character/],
			[`redis://:${secret}#1@localhost`, /^url: .*percent-encoded/],
			[`redis://:${secret}/@localhost`, /^url: .*percent-encoded/],
			[`redis://:${secret}?@localhost`, /^url: .*percent-encoded/],
			[`redis://${secret}:${secret}@localhost:${secret}`, /^url: .*port/],
			[`${secret}://localhost`, /^url: must begin with/],
			["redis-sentinel://a,,b", /^url: has no valid list of hosts/],
			["unix://", /^url: must be unix:\/\/ and the absolute path/],
			["memory://a b", /^url: memory:\/\/ takes .*a name/],
			[7, /^url: must be a string, not a number/],
			[null, /^url: must be a string, not null/],
			[new URL("https://localhost"), /^url: is an HTTP address/],
		]) {
			assertRefused({ url: wrong }, message);
			if (typeof wrong === "string") assertRefused(wrong, message);
		}
	});

	test("an unknown option is named, with a suggestion", () => {
		for (const [name, message] of [
			["keyprefix", /^unknown option "keyprefix": did you mean "keyPrefix"\?$/],
			["userprefx", /did you mean "userPrefix"\?/],
			["commandTimout", /did you mean "commandTimeout"\?/],
			["passwrd", /did you mean "password"\?/],
			["database", /^unknown option "database": see docs\/options/],
			["retryStrategy", /^retryStrategy: .*remove the option/],
			["nodes", /^nodes: give the servers of a cluster as option cluster/],
			["__proto__x", /^unknown option/],
		]) {
			assertRefused({ url, [name]: SECRETS.value }, message);
		}
	});

	test("each error says what the option must be", () => {
		for (const [option, values, message] of [
			["port", [0, 65_536, 1.5, -1, "6379", Number.NaN, Infinity, null, true], /^port: must be /],
			["db", [-1, 1.5, "0", Number.NaN], /^db: must be /],
			["commandTimeout", [0, -1, 600_001, "2000", Infinity, 7n], /^commandTimeout: must be /],
			["connectTimeout", [0, "10s", Number.NaN], /^connectTimeout: must be /],
			["keepAlive", [-1, 1e9, true], /^keepAlive: must be /],
			["tombstoneSeconds", [0, 86_401, "300"], /^tombstoneSeconds: must be /],
			["maxValueBytes", [0, 1023, 2 ** 40, "1mb"], /^maxValueBytes: must be /],
			["maxSessionsPerUser", [0, -1, 0.5, Infinity, "3"], /^maxSessionsPerUser: must be /],
			["keyPrefix", ["", "x".repeat(257), 7, null, "a\0"], /^keyPrefix: must /],
			["userPrefix", ["", "x".repeat(257), {}, "\0"], /^userPrefix: must /],
			["username", [7, null, "a\0", []], /^username: must /],
			["password", [7, {}, "a\0", [SECRETS.password]], /^password: must /],
			["connectionName", ["", "a b", "ž", 7], /^connectionName: must be /],
			["tls", ["true", 1, null, [], Buffer.from("x")], /^tls: must be true, false or an object/],
		]) {
			for (const value of values) {
				const base = option === "port" ? { host: "localhost" } : { url };
				assertRefused({ ...base, [option]: value }, message);
			}
		}
	});

	test("tls: takes PEM texts", () => {
		const tls = "rediss://localhost";
		const pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----";
		for (const [value, message] of [
			[{ ca: "/etc/ssl/ca.pem" }, /^tls: ca must be .*PEM/],
			[{ ca: Buffer.from(pem) }, /^tls: ca must be .*PEM.*Buffer.*utf8/],
			[{ ca: [pem] }, /^tls: ca must be .*PEM/],
			[{ cert: pem }, /^tls: cert and key go together/],
			[{ rejectUnauthorized: false }, /^tls: .*rejectUnauthorized/],
			[{ CA: pem }, /^tls: unknown member "CA"/],
		]) {
			assertRefused({ url: tls, tls: value }, message);
		}
		assertRefused({ url, tls: true }, /^tls: the url .*rediss:/);
		assertRefused({ url: tls, tls: false }, /^tls: .*url.*rediss:/);
	});

	test("may not contradict each other", () => {
		assertRefused({ url, host: "localhost", port: 1 }, /^url: given together with host, port/);
		assertRefused({ path: "/tmp/redis", host: "localhost" }, /^path: given together with host/);
		assertRefused(
			{ url: `redis://:${SECRETS.password}@localhost`, password: "HUSH" },
			/^password: differs from the password in url/,
		);
		assertRefused({ url: "redis://localhost/1", db: 2 }, /^db: differs from the db in url/);
		assertRefused({ url, keyPrefix: "a:", userPrefix: "a:b:" }, /^keyPrefix: .*userPrefix/);
		assertRefused({ url, keyPrefix: "user-sessions:x" }, /^keyPrefix: .*userPrefix/);
	});

	test("are all reported at once, in the order in which they were given", () => {
		assertRefused(
			{
				commandTimout: 5,
				url: `http://:${SECRETS.password}@localhost`,
				password: 7,
				maxSessionsPerUser: 0,
				keyPrefix: "",
			},
			/^unknown option "commandTimout"/,
			/^url: is an HTTP address/,
			/^password: must be a string, not a number/,
			/^maxSessionsPerUser: must be an integer/,
			/^keyPrefix: must /,
		);
	});

	test("that JSON cannot represent are refused too", () => {
		const cyclic = {};
		cyclic.self = cyclic;
		assertRefusedSomehow({ url, tls: cyclic });
		for (const value of [7n, Symbol("HUSH"), () => SECRETS.value]) {
			for (const option of ["db", "tls", "commandTimeout", "maxSessionsPerUser"]) {
				assertRefused({ url, [option]: value }, new RegExp(`^${option}: must be `));
			}
		}
	});

	test("that are texts may not be functions, bigints or symbols", () => {
		for (const value of [7n, Symbol("HUSH"), () => SECRETS.value]) {
			for (const option of ["username", "password", "keyPrefix", "userPrefix", "connectionName"]) {
				assertRefused({ url, [option]: value }, new RegExp(`^${option}: must be a string`));
			}
		}
	});

	test("given as undefined count as absent", async (t) => {
		const names = [
			"host",
			"port",
			"path",
			"username",
			"password",
			"db",
			"tls",
			"commandTimeout",
			"connectionName",
			"keyPrefix",
		];
		const options = Object.fromEntries(names.map((name) => [name, undefined]));
		await open(t, { ...options, url: server.url }).storage.ping();
	});
});
