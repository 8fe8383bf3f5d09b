// A user's row as the store reads it (by Better Auth's adapter), against the copy that Better Auth writes into each session: the same JSON,
// whatever the database, the fields and the ids. Else each look at a user would rewrite all of the user's sessions.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { sessionGate } from "better-auth-redis-store/gate";
import pg from "pg";
import { startPostgres } from "../support/postgres.js";
import { redisPerFile } from "../support/redis.js";
import { App, PASSWORD } from "./support/app.js";
import { preparePrisma } from "./support/prisma.js";
import { versions } from "./support/versions.js";

/** @typedef {import("./support/versions.js").Version} Version */

/** The second look comes 5 s after the last write. */
const LOOKS_DEADLINE_MS = 30_000;

const optional = (type, others) => ({ type, required: false, ...others });

const additionalFields = {
	secret: optional("string", { returned: false }),
	nickname: optional("string", { fieldName: "nick_name" }),
	bornAt: optional("date"),
	score: optional("number"),
	isMember: optional("boolean"),
	tags: optional("string[]"),
	settings: optional("json"),
	/** A user who signs up has none. */
	note: optional("string"),
};

/** What the user signs up with. */
const FIELDS = {
	secret: "hidden",
	nickname: 'Áda "the \u2028 first" </b>\u0007 😀',
	bornAt: "1815-12-10T01:02:03.004Z",
	score: -7,
	isMember: true,
	tags: ["maths", "", 'quo"ted'],
	settings: { zoom: 1.5, a: [1, null, { deep: true }], theme: "dark", big: 1e21 },
};

/** Tables and ids: Better Auth's options, and the name of the user's table. */
const MODELS = {
	"text ids": { table: "user", options: { user: { additionalFields } } },
	"number ids, renamed tables": {
		table: "person",
		options: {
			user: { modelName: "person", additionalFields },
			account: { modelName: "login" },
			advanced: { database: { generateId: "serial" } },
		},
	},
};

/**
 * @typedef {object} Database a new one, with the tables of one application
 * @property {unknown} database what Better Auth gets
 * @property {(id: string) => Promise<void>} change writes a user's row as a program without Better Auth does
 * @property {() => Promise<unknown>} [close]
 */

/** How to make a database. @type {Record<string, (version: Version, model: { table: string, options: object }, name: string) => Promise<Database>>} */
const DATABASES = {
	memory: async (version, { table }) => {
		const tables = Object.fromEntries(["account", "login", "verification", table].map((name) => [name, []]));
		const columns = { name: "Ada King", secret: null, nick_name: "Countess", bornAt: new Date(0), score: 0 };
		// The adapter keeps JSON as a text.
		const others = { isMember: false, tags: [], settings: '{"theme":"light"}', note: "new" };
		const change = async (id) => {
			const row = tables[table].find((row) => String(row.id) === id);
			Object.assign(row, { ...columns, ...others, updatedAt: new Date() });
		};
		return { database: version.memoryAdapter(tables), change };
	},

	Kysely: async (version, model, name) => {
		const pool = await migrate(version, model, name);
		return { database: pool, change: (id) => update(pool, model, id, "[]"), close: () => pool.end() };
	},

	Prisma: async (version, model, name) => {
		const pool = await migrate(version, model, name);
		// The one column whose type is another in the schemas that Better Auth generates for Prisma.
		await pool.query(`alter table "${model.table}" drop column tags, add column tags text[]`);
		const prisma = openPrisma(postgres.url, name);
		const { prismaAdapter } = await import(`${version.package}/adapters/prisma`);
		return {
			database: prismaAdapter(prisma, { provider: "postgresql" }),
			change: (id) => update(pool, model, id, "{}"),
			close: () => Promise.all([prisma.$disconnect(), pool.end()]),
		};
	},
};

/** Has Better Auth make its tables in a new schema of the PostgreSQL server. Resolves to a pool in which they are found. */
async function migrate(version, { options }, schema) {
	const pool = new pg.Pool({ connectionString: postgres.url, options: `-c search_path=${schema}`, max: 2 });
	await pool.query(`create schema ${schema}`);
	const others = { baseURL: "http://localhost", secondaryStorage: {}, logger: { disabled: true } };
	const auth = version.betterAuth({ ...options, ...others, database: pool });
	await (await auth.$context).runMigrations();
	return pool;
}

/** Times in it have microseconds, which JavaScript has not. */
async function update(pool, { table }, id, noTags) {
	const { rowCount } = await pool.query(
		`update "${table}" set name = 'Ada King', secret = null, nick_name = 'Countess', "bornAt" = to_timestamp(0.0019),
			score = 0, "isMember" = false, tags = '${noTags}', settings = '{"theme":"light"}', note = 'new',
			"updatedAt" = clock_timestamp() where id = $1`,
		[id],
	);
	assert.equal(rowCount, 1);
}

const openPrisma = preparePrisma(fileURLToPath(new URL("support/user-rows.prisma", import.meta.url)));
const redis = redisPerFile();
let postgres;
before(async () => {
	postgres = await startPostgres();
});
after(() => postgres?.stop());

/** An application whose sessions are extended each time that they are read, with one user. */
class OneUserApp {
	#keyPrefix;
	/** Those that the user has signed in on. @type {import("./support/app.js").Device[]} */
	devices = [];

	/** @param {string} name what its keys in Redis begin with */
	constructor(version, name, options) {
		this.#keyPrefix = `${name}:session:`;
		const store = { url: redis.url, keyPrefix: this.#keyPrefix, userPrefix: `${name}:user-sessions:` };
		this.app = new App(version, store, { ...options, session: { updateAge: 0 } });
	}

	async signUp(fields) {
		const device = this.app.device();
		const person = { email: "ada@example.com", password: PASSWORD, name: "ada" };
		const { user } = await device.ok("/sign-up/email", { ...person, ...fields });
		this.userId = user.id;
		this.devices.push(device);
	}

	async signIn() {
		this.devices.push(await this.app.signIn());
	}

	/** The row, as a look reads it. */
	async row() {
		const { adapter } = await this.app.auth.$context;
		return adapter.findOne({ model: "user", where: [{ field: "id", value: this.userId }] });
	}

	/** The text of the record of a device's session. */
	record({ token }) {
		return redis.cli("GET", this.#keyPrefix + token);
	}

	/** Asserts that the record of every session holds the row, to the letter. */
	async assertStored(when) {
		const json = JSON.stringify(await this.row());
		for (const device of this.devices) {
			const record = await this.record(device);
			assert.deepEqual(JSON.parse(record).user, JSON.parse(json), when);
			// Blanks of the store's own may follow the JSON.
			assert.ok(record.trimEnd().endsWith(`,"user":${json}}`), `${when}: ${record} does not end with ${json}`);
		}
	}

	/** Has the store look from now on. */
	beginLooks() {
		sessionGate(this.app.auth, this.app.storage);
	}

	/** Resolves to the counts when no look is due any more. */
	async looks() {
		const deadline = Date.now() + LOOKS_DEADLINE_MS;
		for (;;) {
			const { queued, ...counts } = this.app.storage.metrics().userLooks;
			if (queued === 0) return counts;
			assert.ok(Date.now() < deadline, `${queued} looks are still due`);
			await sleep(50);
		}
	}
}

describe("a user's row and Better Auth's copies of it", { concurrency: true }, () => {
	for (const version of versions.filter(({ minor }) => minor >= 4)) {
		for (const [database, open] of Object.entries(DATABASES)) {
			for (const [ids, model] of Object.entries(MODELS)) {
				const name = `${database}_${version.minor}_${model.table}`.toLowerCase();
				test(`are the same JSON: Better Auth ${version.release} on ${database}, ${ids}`, async (t) => {
					const { database, change, close } = await open(version, model, name);
					t.after(() => close?.());
					const one = new OneUserApp(version, name, { ...model.options, database });
					t.after(() => one.app.close());
					await checkCopies(one);
					await checkLooks(one);
					await checkRefresh(one, change);
					assert.deepEqual(one.app.errors, [], "Better Auth logged an error");
				});
			}
		}

		// Its parser of records makes a Date of each ISO 8601 text, and so a text with milliseconds.
		test(`the look corrects a text that looks like a time: Better Auth ${version.release}`, async (t) => {
			const model = MODELS["text ids"];
			const { database } = await DATABASES.memory(version, model);
			const one = new OneUserApp(version, `text_${version.minor}`, { ...model.options, database });
			t.after(() => one.app.close());
			await one.signUp({ nickname: "2026-01-02T03:04:05Z" });
			one.beginLooks();
			await one.devices[0].whoAmI(); // extends the session
			assert.equal((await one.looks()).written, 1);
			assert.equal((await one.row()).nickname, "2026-01-02T03:04:05Z");
			await one.assertStored("after the looks");
		});
	}
});

/** Before there are looks, so that none of them can have put a copy right. */
async function checkCopies(one) {
	await one.signUp(FIELDS);
	await one.assertStored("after sign-up");
	const { note, ...row } = JSON.parse(JSON.stringify(await one.row()));
	assert.equal(note ?? null, null);
	assert.deepEqual(Object.fromEntries(Object.keys(FIELDS).map((field) => [field, row[field]])), FIELDS);
	await one.signIn();
	await one.signIn();
	await one.assertStored("after two sign-ins");

	const [, device, other] = one.devices;
	const body = { name: "Ada Lovelace", nickname: "Ada", score: 2 ** 31 - 1, isMember: false, tags: ["poetry"] };
	await device.ok("/update-user", { ...body, bornAt: "1815-12-10T00:00:00Z", settings: { b: 1, a: 2 } });
	await one.assertStored("after /update-user");
	const { internalAdapter } = await one.app.auth.$context;
	const changes = { secret: "another", image: "https://example.com/ada.png", score: null, nickname: null };
	await internalAdapter.updateUser(one.userId, changes);
	await one.assertStored("after updateUser");
	await other.whoAmI();
	await one.assertStored("after a session was extended");
}

/** They compare what the older sessions got by each of these calls, too. */
async function checkLooks(one) {
	one.beginLooks();
	await one.signIn();
	const { done, ...counts } = await one.looks();
	assert.ok(done > 0);
	assert.deepEqual(counts, { written: 0, failed: 0, dropped: 0 });
	await one.assertStored("after the looks");
}

/** What another program writes into the row is in the sessions after `refreshUser`. */
async function checkRefresh(one, change) {
	const { storage } = one.app;
	const [device] = one.devices;
	await change(one.userId);
	assert.notEqual((await one.row()).name, JSON.parse(await one.record(device)).user.name);
	assert.equal(await storage.refreshUser(one.userId), one.devices.length);
	await one.assertStored("after refreshUser");
	assert.equal(await storage.refreshUser(one.userId), one.devices.length);
	const { written } = await one.looks();
	assert.equal(written, one.devices.length, "the second refreshUser wrote what was there");
}
