// No value and no number of values stops the process, and none of them holds up the others for long.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { describe, test } from "node:test";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { fresh, record, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();
const MIB = 1024 * 1024;

function open(t, options = {}) {
	const storage = redisStorage({ url: server.url, logger: false, commandTimeout: 20_000, ...options });
	t.after(() => storage.close());
	return storage;
}

/** Values of one letter each, put into Redis past the store. Resolves to their keys. */
async function fill(count, bytes) {
	const keys = Array.from({ length: count }, () => fresh("large"));
	const one = "x".repeat(bytes);
	for (const key of keys) await server.cli("SET", `session:${key}`, one);
	return keys;
}

async function readAll(storage, keys, bytes) {
	const values = await Promise.all(keys.map((key) => storage.get(key)));
	for (const value of values) assert.equal(value?.length, bytes);
}

describe("values that are read in one tick", () => {
	for (const nearCache of [true, false]) {
		test(`arrive in parts when they exceed one string (near cache ${nearCache})`, async (t) => {
			const storage = open(t, { nearCache });
			const keys = await fill(70, 8 * MIB); // 560 MiB: V8's longest string has about 512
			await readAll(storage, keys, 8 * MIB);
			await server.cli("FLUSHALL");
		});

		test(`are unchanged, whatever their sizes and characters (near cache ${nearCache})`, async (t) => {
			const storage = open(t, { nearCache });
			const texts = [0, 1, 100, 20 * MIB, 3, 33 * MIB, 5, 30 * MIB, 7, 40 * MIB, 9].map((size, n) => {
				return (n % 3 ? "x" : "ž").repeat(size);
			});
			const keys = texts.map(() => fresh("mixed"));
			for (const [n, key] of keys.entries()) await server.cli("SET", `session:${key}`, texts[n]);
			const asked = [...keys, fresh("absent"), ...keys];
			const values = await Promise.all(asked.map((key) => storage.get(key)));
			for (const [n, value] of values.entries()) {
				const text = n === keys.length ? null : texts[n % (keys.length + 1)];
				assert.ok(value === text, `value ${n}: ${value?.length} units, not ${text?.length}`);
			}
			await server.cli("FLUSHALL");
		});
	}

	test("do not block another caller's read", async (t) => {
		const storage = open(t, { nearCache: false });
		const keys = await fill(100, 4 * MIB);
		const reading = readAll(storage, keys, 4 * MIB);
		let isOver = false;
		reading.finally(() => {
			isOver = true;
		});
		let worst = 0;
		while (!isOver) {
			const since = performance.now();
			await storage.get("another");
			worst = Math.max(worst, performance.now() - since);
		}
		await reading;
		t.diagnostic(`the longest read beside 400 MiB took ${worst.toFixed(0)} ms`);
		await server.cli("FLUSHALL");
	});

	test("and have the longest keys are all returned", async (t) => {
		const storage = open(t);
		const keys = Array.from({ length: 5000 }, (_, n) => `${n}`.padEnd(4096, "k"));
		const values = await Promise.all(keys.map((key) => storage.get(key)));
		assert.ok(values.every((value) => value === null));
	});
});

test("a record of very many fields is written and read in linear time", async (t) => {
	const store = new RedisSessionStore({ url: server.url, logger: false });
	t.after(() => store.close());
	for (const fields of [30_000, 200_000]) {
		const many = Object.fromEntries(Array.from({ length: fields }, (_, n) => [`field${n}`, n]));
		const mine = session(many);
		await store.createSession(mine); // with a quadratic walk, this alone takes longer than commandTimeout
		await store.updateSession(mine.token, { field1: "changed" });
		assert.equal((await store.getSession(mine.token)).field1, "changed");
		await store.deleteSession(mine.token);
	}
});

test("writes that change the user half of a large record back and forth merge in linear time", async (t) => {
	const storage = open(t);
	const many = Object.fromEntries(Array.from({ length: 100_000 }, (_, n) => [`field${n}`, n]));
	const mine = session();
	await storage.set(mine.token, record(mine, many), 3600);
	const copy = JSON.parse(await storage.get(mine.token));
	const late = JSON.parse(await storage.get(mine.token));
	copy.user.field1 = "changed";
	late.user.field2 = "changed";
	await storage.set(mine.token, JSON.stringify(copy), 3600);
	await storage.set(mine.token, JSON.stringify(late), 3600);
	const { user } = JSON.parse(await storage.get(mine.token));
	assert.deepEqual([user.field1, user.field2], ["changed", "changed"]);
});

test("every function of the addon turns a panic into an error", () => {
	const folder = new URL("../../src/", import.meta.url);
	const exported = readdirSync(folder).flatMap((file) => {
		const source = readFileSync(new URL(file, folder), "utf8");
		const heads = source.match(/#\[napi[^\]]*\]\s*(?:#\[allow[^\]]*\]\s*)?pub fn \w+/g) ?? [];
		return heads.map((head) => ({ file, head }));
	});
	assert.ok(exported.length > 15, `${exported.length} are found`);
	for (const { file, head } of exported) assert.match(head, /catch_unwind/, `${file}: ${head}`);
});
