// Whatever is wrong with an argument or an option comes as a SessionStoreError that names it; nothing is written; and no
// error tells a token, a key, a value, a user id or a password. (What is wrong at the server: contract/servers.test.js.)

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { runText } from "../support/child.js";
import { seeded } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertError, assertRejects, contents, SECRETS } from "../support/errors.js";
import { fromNow, record, session, signIn } from "../support/records.js";
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

describe("arguments of store methods", () => {
	const mine = session({ token: `${SECRETS.token}1`, userId: `${SECRETS.user}1` });
	let doors;
	let untouched;

	before(async () => {
		const closers = [];
		doors = open({ after: (close) => closers.push(close) }, server.url);
		doors.close = () => Promise.all(closers.map((close) => close()));
		await signIn(doors.storage, mine);
		await doors.storage.set(SECRETS.key, SECRETS.value);
		untouched = await contents(server);
	});
	afterEach(async () => assert.deepEqual(await contents(server), untouched, "something was written"));
	after(() => doors.close());

	const refused = (call, message) => assertRejects(() => call(doors), "INVALID_ARGUMENT", message);

	/** Every argument that is a text, by the name that messages give it. */
	const texts = {
		key: [
			({ storage }, text) => storage.set(text, SECRETS.value, 60),
			({ storage }, text) => storage.increment(text, 60),
		],
		// A bigint is already refused by JSON.
		"session(\\.token|: cannot be written)": [({ store }, token) => store.createSession(session({ token }))],
		"session(\\.userId|: .*userId|: cannot be written)": [
			({ store }, userId) => store.createSession(session({ userId })),
		],
		userId: [({ store }, text) => store.getUserSessions(text), ({ store }, text) => store.deleteUserSessions(text)],
	};
	/** What reads or ends what lies under a key that strangers choose (cookies, bearer tokens, tokens in links), by the argument's name. */
	const chosen = {
		key: [
			({ storage }, text) => storage.get(text),
			({ storage }, text) => storage.delete(text),
			({ storage }, text) => storage.getAndDelete(text),
		],
		token: [
			({ store }, text) => store.getSession(text),
			({ store }, text) => store.getSessionWithUser(text),
			({ store }, text) => store.deleteSession(text),
		],
	};
	const unstorable = {
		"an empty text": "",
		"10 kB": SECRETS.token.repeat(1000),
		"one byte more than allowed": "x".repeat(4097),
		"bytes, not letters, that are too many": "ž".repeat(2049),
		"a NUL": `${SECRETS.token}\0`,
		"half a surrogate pair": `${SECRETS.token}\ud800`,
		"the other half": `\udc00${SECRETS.token}`,
	};
	const noTexts = {
		undefined: undefined,
		null: null,
		"a number": 7,
		"a boolean": true,
		"a bigint": 7n,
		"a symbol": Symbol(SECRETS.token),
		"an object": { token: SECRETS.token },
		"an array": [SECRETS.token],
		"a function": () => SECRETS.token,
		"a String object": new String(SECRETS.token),
		"a Buffer": Buffer.from(SECRETS.token),
	};
	const wrong = { ...unstorable, ...noTexts };
	for (const [name, calls] of Object.entries(texts)) {
		test(`${name.replaceAll("\\", "")}: must be a text of 1 to 4096 bytes without NUL`, async () => {
			for (const call of calls) {
				for (const text of Object.values(wrong)) {
					await refused((doors) => call(doors, text), new RegExp(`^${name}`));
				}
			}
		});
	}

	for (const [name, calls] of Object.entries(chosen)) {
		test(`${name}: must be a text where it is read or ended; one that cannot be stored is absent`, async () => {
			for (const call of calls) {
				for (const text of Object.values(noTexts)) await refused((doors) => call(doors, text), new RegExp(`^${name}`));
				for (const text of Object.values(unstorable)) assert.equal((await call(doors, text)) ?? null, null);
			}
		});
	}

	test("token: one that cannot be stored has no session to update", async () => {
		const update = (token) => () => doors.store.updateSession(token, { note: SECRETS.value });
		for (const token of Object.values(unstorable)) await assertRejects(update(token), "NOT_FOUND");
		for (const token of Object.values(noTexts)) await assertRejects(update(token), "INVALID_ARGUMENT", /^token: /);
	});

	test("two keys never become one: a lone surrogate is refused, and not replaced by U+FFFD", async () => {
		const { storage } = doors;
		await storage.set("\ufffd", SECRETS.value, 60);
		for (const half of ["\ud800", "\udfff"]) {
			assert.equal(await storage.get(half), null);
			assert.equal(await storage.getAndDelete(half), null);
			await storage.delete(half);
		}
		assert.equal(await storage.getAndDelete("\ufffd"), SECRETS.value);
		await server.cli("DEL", "session:\ufffd");
	});

	test("the key of a list or of a not-before marker may have any length", async () => {
		for (const key of ["active-sessions-", "revoked-sessions-before-"]) {
			assert.equal(await doors.storage.get(key), null);
			assert.equal(await doors.storage.get(`${key}${"x".repeat(5000)}`), null);
		}
	});

	test("except: must be a text", async () => {
		for (const except of [null, 7, {}, [SECRETS.token], "\ud800"]) {
			await refused(({ store }) => store.deleteUserSessions(mine.userId, { except }), /^options\.except: /);
		}
	});

	test("except: may not be empty, which would end every session", async () => {
		const { store } = doors;
		const other = session();
		await store.createSession(other);
		await assertRejects(
			() => store.deleteUserSessions(other.userId, { except: "" }),
			"INVALID_ARGUMENT",
			/except/,
		).finally(() => clean(other));
	});

	test("options: null is refused", async () => {
		await refused(({ store }) => store.deleteUserSessions(mine.userId, null), /^options: /);
	});

	test("value: must be a text that UTF-8 can hold", async () => {
		const { "an empty text": _, "10 kB": __, "a NUL": ___, ...others } = wrong;
		delete others["one byte more than allowed"];
		delete others["bytes, not letters, that are too many"];
		for (const value of Object.values(others)) {
			await refused(({ storage }) => storage.set("key", value, 60), /^value: /);
		}
	});

	test("ttl: must be a finite number", async () => {
		for (const ttl of [Number.NaN, Infinity, -Infinity, "60", {}, [], true, 60n, Symbol("60"), new Date(), () => 60]) {
			await refused(({ storage }) => storage.set("key", SECRETS.value, ttl), /^ttl: /);
			await refused(({ storage }) => storage.increment("key", ttl), /^ttl: /);
		}
		for (const ttl of [undefined, null, 0, -1, -0.5]) {
			await refused(({ storage }) => storage.increment("key", ttl), /^ttl: /);
		}
	});

	test("session: must be an object that JSON can represent", async () => {
		const cyclic = session({ note: SECRETS.value });
		cyclic.self = { list: [cyclic] };
		for (const bad of [
			undefined,
			null,
			SECRETS.value,
			7,
			true,
			[mine],
			() => mine,
			Symbol(SECRETS.value),
			cyclic,
			session({ note: { deep: [7n] } }),
			session({ toJSON: () => undefined }),
			session({ toJSON: () => SECRETS.value }),
			session({ toJSON: () => ({ token: SECRETS.token }) }),
			Object.defineProperty(session(), "note", {
				enumerable: true,
				get() {
					throw new Error(SECRETS.value);
				},
			}),
		]) {
			await refused(({ store }) => store.createSession(bad), /^session/);
		}
		const updates = { note: SECRETS.value };
		updates.self = updates;
		for (const bad of [undefined, null, SECRETS.value, 7, [mine], () => mine, updates, { note: 7n }]) {
			await refused(({ store }) => store.updateSession(mine.token, bad), /^updates/);
		}
	});

	test("session.expiresAt: must be a date that has not passed", async () => {
		for (const expiresAt of [
			fromNow(-1),
			new Date(),
			new Date(0),
			fromNow(-86_400_000).toISOString(),
			0,
			Date.now() - 1000,
			new Date(Number.NaN),
			Number.NaN,
			Infinity,
			"",
			"tomorrow",
			SECRETS.value,
			{},
			[],
			true,
		]) {
			await refused(({ store }) => store.createSession(session({ expiresAt })), /^session\.expiresAt: /);
			await refused(({ store }) => store.updateSession(mine.token, { expiresAt }), /^updates\.expiresAt: /);
		}
		for (const expiresAt of [undefined, null]) {
			await refused(({ store }) => store.createSession(session({ expiresAt })), /^session\.expiresAt: /);
		}
		await refused(({ store }) => store.updateSession(mine.token, { expiresAt: null }), /^updates\.expiresAt: /);
	});

	test("createdAt and updatedAt must be dates when they are given", async () => {
		for (const name of ["createdAt", "updatedAt"]) {
			const bad = session({ [name]: new Date(Number.NaN) });
			await refused(({ store }) => store.createSession(bad), new RegExp(`^session\\.${name}: `)).finally(() =>
				clean(bad),
			);
			const call = () => doors.store.updateSession(other.token, { [name]: new Date(Number.NaN) });
			const other = session();
			await doors.store.createSession(other);
			await assertRejects(call, "INVALID_ARGUMENT", new RegExp(`^updates\\.${name}: `)).finally(() => clean(other));
		}
	});

	test("a token that JSON must escape is refused", async () => {
		for (const token of [`a"${SECRETS.token}`, `a\\${SECRETS.token}`, `a\n${SECRETS.token}`]) {
			await refused(({ store }) => store.createSession(session({ token })), /^session.*token/);
		}
	});

	test("a session that Better Auth sets needs an expiry", async () => {
		for (const expiresAt of [undefined, null, "never", {}]) {
			const bad = session({ token: SECRETS.token, userId: SECRETS.user, expiresAt });
			await refused(({ storage }) => storage.set(bad.token, record(bad)), /expiresAt/);
		}
	});

	test("updates may not give a session to another user, whatever else they hold", async () => {
		const other = { note: SECRETS.value };
		await refused(
			({ store }) => store.updateSession(mine.token, { ...other, token: SECRETS.token }),
			/^updates\.token: /,
		);
		await refused(
			({ store }) => store.updateSession(mine.token, { ...other, userId: SECRETS.user }),
			/^updates\.userId: /,
		);
	});

	test("errors of refused operations hold no secret either", async () => {
		const { storage, store } = doors;
		const theirs = session({ token: mine.token, userId: SECRETS.user });
		await assertRejects(() => store.createSession(theirs), "CONFLICT");
		await assertRejects(() => signIn(storage, theirs), "CONFLICT");
		await assertRejects(() => storage.increment(SECRETS.key, 60), "CONFLICT");
		await assertRejects(() => store.updateSession(SECRETS.token, { note: 1 }), "NOT_FOUND");
		const ended = session({ token: SECRETS.token, userId: SECRETS.user });
		await store.deleteSession(ended.token);
		await assertRejects(() => store.createSession(ended), "REVOKED").finally(() => clean(ended));
	});

	test("any text is accepted or refused, never crashes and never appears in an error", async () => {
		const random = seeded("bad input");
		const pieces = [
			"",
			"HUSH",
			"\0",
			"\ud800",
			"\udfff",
			'"',
			"\\",
			"{",
			"}",
			"[",
			"\n",
			" ",
			"*",
			"🐎",
			"\uffff",
			"x".repeat(5000),
		];
		const text = () => Array.from({ length: random.below(4) }, () => random.pick(pieces)).join("");
		const { storage, store } = doors;
		const calls = [
			() => storage.get(text()),
			() => store.getSession(text()),
			() => store.getUserSessions(text()),
			() => storage.set(text(), text(), random.pick([Number.NaN, Infinity, "HUSH"])),
			() => storage.increment(text(), random.pick([0, -1, Number.NaN])),
			() => store.updateSession(text(), { [text()]: text() }),
			() => store.createSession({ [text()]: text(), token: text(), userId: text(), expiresAt: text() }),
			() => store.deleteUserSessions(text(), { except: 7 }),
		];
		for (let n = 0; n < 2000; n++) {
			await random
				.pick(calls)()
				.catch((error) => assertError(error, ["INVALID_ARGUMENT", "NOT_FOUND"], /./));
		}
	});

	/** Takes away what a test wrote after all. */
	async function clean({ token, userId }) {
		await server.cli("DEL", `session:${token}`, `user-sessions:${userId}`);
	}
});

describe("a value above maxValueBytes", () => {
	const large = SECRETS.value.repeat(640_000);
	const limit =
		/^the session record has \d+ bytes; at most 8388608 are allowed \(option maxValueBytes\); its largest field is session\.large with \d+ bytes$/;

	test("rejects with LIMIT, which names the option and the largest field, and writes nothing", async (t) => {
		const { storage, store } = open(t, server.url);
		const mine = session({ token: SECRETS.token, userId: SECRETS.user, note: 1 });
		await store.createSession(mine);
		const untouched = await contents(server);
		const plain = /^the value has \d+ bytes; at most 8388608 are allowed \(option maxValueBytes\)$/;
		await assertRejects(() => storage.set(SECRETS.key, large, 60), "LIMIT", plain);
		await assertRejects(() => store.createSession(session({ large })), "LIMIT", limit);
		const other = session({ large });
		await assertRejects(() => storage.set(other.token, record(other), 60), "LIMIT", limit);
		// Better Auth's list is composed, never stored: of a user with very many sessions it must not fail a sign-in.
		const list = Array.from({ length: 100_000 }, () => ({ token: SECRETS.token, expiresAt: Date.now() + 1000 }));
		await storage.set(`active-sessions-${mine.userId}`, JSON.stringify(list), 60);
		assert.deepEqual(await contents(server), untouched);
		await server.cli("FLUSHALL");
	});

	test("ends the live session that it would have changed, which must not keep older rights", async (t) => {
		for (const url of [server.url, "memory://too-large"]) {
			const { storage, store } = open(t, url);
			for (const write of [
				(mine) => storage.set(mine.token, record({ ...mine, large }), 60),
				(mine) => store.createSession({ ...mine, large }),
				(mine) => store.updateSession(mine.token, { large }),
			]) {
				const mine = session();
				await store.createSession(mine);
				const before = store.metrics().refusedWrites.tooLarge;
				await assertRejects(() => write(mine), "LIMIT", limit);
				assert.equal(await store.getSession(mine.token), null);
				assert.deepEqual(await store.getUserSessions(mine.userId), []);
				assert.equal(store.metrics().refusedWrites.tooLarge, before + 1);
				await assertRejects(() => store.createSession(mine), "REVOKED");
			}
			// Another user's session is no session that the write was to change.
			const theirs = session();
			await store.createSession(theirs);
			await assertRejects(() => store.createSession({ ...theirs, userId: "another", large }), "CONFLICT");
			assert.deepEqual(await store.getSession(theirs.token), theirs);
		}
		await server.cli("FLUSHALL");
	});

	test("is accepted when the stored one is as large, and reads have no limit", async (t) => {
		const [generous, strict] = [16 * 1024 * 1024, 2048].map((maxValueBytes) => {
			return open(t, { url: server.url, maxValueBytes });
		});
		const mine = session({ note: "x".repeat(4000) });
		await generous.store.createSession(mine);
		await generous.storage.set("key", "x".repeat(4000), 60);
		assert.deepEqual(await strict.store.getSession(mine.token), mine);
		await strict.store.updateSession(mine.token, { note: "y".repeat(4000) });
		await strict.storage.set(mine.token, record({ ...mine, note: "z".repeat(3000) }, null), 60);
		assert.equal((await strict.store.getSession(mine.token)).note, "z".repeat(3000));
		await strict.storage.set("key", "y".repeat(4000), 60);
		await assertRejects(() => strict.storage.set("key", "y".repeat(4001), 60), "LIMIT");
		await assertRejects(() => strict.store.updateSession(mine.token, { note: "y".repeat(9000) }), "LIMIT");
		assert.equal(await strict.store.getSession(mine.token), null);
		await server.cli("FLUSHALL");
	});

	test("is preceded by one warning for a record above 64 KiB", async (t) => {
		const lines = [];
		const { storage, store } = open(t, {
			url: server.url,
			logger: { info: () => {}, warn: (line) => lines.push(line) },
		});
		const [mine, theirs] = [session({ note: "x".repeat(70_000) }), session({ note: "x".repeat(60_000) })];
		await storage.set(theirs.token, record(theirs), 60);
		await storage.set("a-value", "x".repeat(70_000), 60);
		const about = () => lines.filter((line) => line.includes("larger than 64 KiB"));
		assert.equal(about().length, 0);
		for (let n = 0; n < 3; n++) await storage.set(mine.token, record({ ...mine, n }), 60);
		assert.equal(about().length, 1);
		await store.createSession(session({ note: "x".repeat(70_000) }));
		await server.cli("FLUSHALL");
	});

	test("is at least one byte larger, as UTF-8", async (t) => {
		for (const options of [
			{ url: server.url, maxValueBytes: 2048 },
			{ url: "memory://limit", maxValueBytes: 2048 },
		]) {
			const { storage } = open(t, options);
			for (const letter of ["x", "ž", "🐎"]) {
				const fits = letter.repeat(2048 / Buffer.byteLength(letter));
				await storage.set("key", fits, 60);
				assert.equal(await storage.get("key"), fits);
				await assertRejects(
					() => storage.set("key", `${fits}x`, 60),
					"LIMIT",
					/has 2049 bytes; at most 2048 .*maxValueBytes/,
				);
				assert.equal(await storage.get("key"), fits);
			}
		}
	});

	test("is refused also when it grew by several small updates, and ends the session", async (t) => {
		const { store } = open(t, { url: server.url, maxValueBytes: 2048 });
		const mine = session();
		await store.createSession(mine);
		const grow = async () => {
			for (let n = 0; ; n++) await store.updateSession(mine.token, { [`field${n}`]: "x".repeat(200) });
		};
		await assertRejects(grow, "LIMIT");
		assert.equal(await store.getSession(mine.token), null);
	});
});

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

describe("without REDIS_URL", () => {
	const none = { REDIS_URL: undefined, NODE_ENV: undefined };
	const notice =
		/^\[better-auth-redis-store\] REDIS_URL is not set; sessions are kept in this process's memory and end with it\.\n$/;

	for (const NODE_ENV of ["production", undefined, "", "staging", "Development"]) {
		test(`NODE_ENV=${NODE_ENV}: import and construction work, and the first operation says what to set`, async () => {
			const source = `
			import { RedisSessionStore, redisSessionStore, redisStorage } from "better-auth-redis-store";
			const storage = redisStorage({ keyPrefix: "k:" });
			const store = new RedisSessionStore();
			const told = [];
			for (const call of [
				() => storage.get("key"),
				() => storage.set("key", "value"),
				() => store.getSession("token"),
				() => redisSessionStore.getUserSessions("user"),
				() => redisSessionStore.ping(),
			]) {
				await call().then(() => told.push("resolved"), ({ name, code, message }) => told.push({ name, code, message }));
			}
			try {
				redisStorage({ keyprefix: "k:" });
			} catch ({ code }) {
				told.push(code);
			}
			// The environment may name the server later.
			process.env.REDIS_URL = "memory://later";
			await storage.set("key", "value");
			told.push(await storage.get("key"), (await redisSessionStore.getUserSessions("user")).length);
			console.log(JSON.stringify(told));`;
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.equal(code, 0, stderr);
			assert.equal(stderr, "");
			const [first, ...others] = JSON.parse(stdout);
			assert.equal(first.name, "SessionStoreError");
			assert.equal(first.code, "INVALID_ARGUMENT");
			assert.match(
				first.message,
				/^url: no Redis server is named; set the environment variable REDIS_URL or the option url .*or url: "memory:\/\/"/,
			);
			assert.deepEqual(others, [first, first, first, first, "INVALID_ARGUMENT", "value", 0]);
		});
	}

	for (const NODE_ENV of ["development", "test"]) {
		test(`NODE_ENV=${NODE_ENV}: many stores use the embedded engine and log it once`, async () => {
			const source = `
				import { RedisSessionStore, redisSessionStore, redisStorage } from "better-auth-redis-store";
				const session = { token: "t", userId: "u", expiresAt: new Date(Date.now() + 60_000) };
				await redisSessionStore.createSession(session);
				for (let n = 0; n < 20; n++) {
					await new RedisSessionStore({}).getSession("t");
					await redisStorage({ keyPrefix: "k" + n + ":" }).set("key", "value");
				}
				const both = [await redisStorage().get("t"), await new RedisSessionStore().getSession("t")];
				console.log(both.every((found) => found !== null));`;
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.match(stderr, notice);
			assert.deepEqual({ stdout, code }, { stdout: "true\n", code: 0 });
		});
	}

	test("a store that is never used logs nothing, nor does one with memory://", async () => {
		const source = `
			import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
			redisStorage();
			new RedisSessionStore();
			await redisStorage("memory://").set("key", "value");`;
		for (const NODE_ENV of ["production", "development"]) {
			const { stdout, stderr, code } = await runText(source, { env: { ...none, NODE_ENV } });
			assert.deepEqual({ stdout, stderr, code }, { stdout: "", stderr: "", code: 0 });
		}
	});

	test("(set after all) every store without a url uses it, in production and outside", async () => {
		const source = `
			import { redisSessionStore, redisStorage } from "better-auth-redis-store";
			await redisStorage().set("from a child", "value", 60);
			await redisSessionStore.ping();`;
		for (const NODE_ENV of ["production", "development"]) {
			await server.cli("FLUSHALL");
			const { stderr, code } = await runText(source, { env: { NODE_ENV, REDIS_URL: server.url } });
			assert.deepEqual({ stderr, code }, { stderr: "", code: 0 });
			assert.equal(await server.cli("GET", "session:from a child"), "value");
		}
	});

	test("(invalid instead) the first operation rejects, without showing the value", async () => {
		const source = `
			import { redisStorage } from "better-auth-redis-store";
			const storage = redisStorage();
			await storage.get("key").catch(({ code, message }) => console.log(JSON.stringify({ code, message })));`;
		const env = { ...none, REDIS_URL: `http://:${SECRETS.password}@localhost` };
		const { stdout, code } = await runText(source, { env });
		assert.equal(code, 0);
		const error = JSON.parse(stdout);
		assert.equal(error.code, "INVALID_ARGUMENT");
		assert.match(error.message, /^url: is an HTTP address/);
		assert.doesNotMatch(stdout, /HUSH/);
	});
});
