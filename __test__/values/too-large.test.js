// A value above `maxValueBytes` is refused, and ends the live session that it would have changed.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { open } from "../support/engines.js";
import { assertRejects, contents, SECRETS } from "../support/errors.js";
import { record, session } from "../support/records.js";
import { redisPerFile } from "../support/redis.js";

const server = redisPerFile();

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
