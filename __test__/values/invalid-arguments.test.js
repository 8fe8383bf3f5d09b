// An invalid argument of a method rejects with a SessionStoreError that names it. Nothing is written, and no error holds a token, a key,
// a value, a user id or a password. (Errors that a server causes: contract/servers.test.js.)

import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { seeded } from "../support/counts.js";
import { open } from "../support/engines.js";
import { assertError, assertRejects, contents, SECRETS } from "../support/errors.js";
import { fromNow, record, session, signIn } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

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
