// Read your writes: once a write of this process is told, no read of this process finds what was there before, however many
// others read the same key at the time; and when a write fails, nothing that it may have changed is answered from before.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { rounds, seeded } from "../support/counts.js";
import { fresh, fromNow, record, session, signIn } from "../support/records.js";
import { redisPerFile, startRedis } from "../support/redis.js";
import { counters, hit, isHit, miss, openCached, readNow, turn, warm } from "./stores.js";

const server = redisPerFile();
const READERS = 32;

/**
 * Reads the key of `seat` in 32 loops while `write` works. A seat tells what must hold of reads that begin now:
 *   { key, least: the version that was acknowledged, isEnding, hasEnded }
 * @returns {Promise<{ reads: number, hits: number }>}
 */
async function amongReaders(storage, seatNow, write) {
	const counts = { reads: 0, hits: 0 };
	let isOver = false;
	const read = async () => {
		while (!isOver) {
			const seat = seatNow();
			const { least, hasEnded } = seat;
			const answer = readNow(storage, seat.key);
			counts.reads++;
			if (isHit(answer)) counts.hits++;
			const value = await answer;
			if (hasEnded) assert.equal(value, null, "what was ended was found");
			else if (value === null) assert.ok(seat.isEnding, "what was there was not found");
			else assert.ok(seat.versionOf(value) >= least, `${seat.versionOf(value)} was read after ${least}`);
			await turn();
		}
	};
	const reading = Array.from({ length: READERS }, read);
	const writing = write().finally(() => {
		isOver = true;
	});
	await Promise.all([writing, ...reading]);
	return counts;
}

test("a process reads its own last write of a session, or its end, with 32 readers", async (t) => {
	const total = rounds(4000, 100_000);
	const random = seeded("own writes");
	const { storage, store } = await openCached(t, server);
	const versionOf = (value) => Number(/"version":(\d+)/.exec(value)[1]);
	let mine;
	let seat;
	let cachedBefore = 0;

	const changes = [
		(version) => signIn(storage, changed(version)),
		(version) => signIn(storage, changed(version)),
		(version) => store.updateSession(mine.token, { version }),
		(version) => store.createSession(changed(version)),
		// What Better Auth does: reads, and writes back what it changed.
		async (version) => {
			const copy = JSON.parse(await storage.get(mine.token));
			Object.assign(copy.session ?? copy, { version, updatedAt: changed(version).updatedAt });
			await storage.set(mine.token, JSON.stringify(copy), 3600);
		},
	];
	const endings = [
		() => storage.delete(mine.token),
		() => storage.getAndDelete(mine.token),
		() => storage.set(mine.token, record(mine), 0),
		() => store.deleteSession(mine.token),
		() => store.deleteUserSessions(mine.userId),
		() => storage.set(`revoked-sessions-before-${mine.userId}`, String(Date.now() + 1000), 60),
	];
	function changed(version) {
		return { ...mine, version, updatedAt: new Date(mine.createdAt.getTime() + version) };
	}
	async function create() {
		mine = session({ version: 0 });
		await signIn(storage, mine, null);
		seat = { key: mine.token, least: 0, isEnding: false, hasEnded: false, versionOf };
	}

	await create();
	const { reads, hits } = await amongReaders(
		storage,
		() => seat,
		async () => {
			for (let version = 1; version <= total; version++) {
				if (isHit(readNow(storage, mine.token))) cachedBefore++;
				else await storage.get(mine.token);
				if (random.below(8) > 0) {
					await random.pick(changes)(version);
					seat.least = version;
					assert.equal(versionOf(await storage.get(mine.token)), version);
				} else {
					seat.isEnding = true;
					await random.pick(endings)();
					seat.hasEnded = true;
					assert.equal(await storage.get(mine.token), null);
					await create();
				}
				// Sometimes at once, sometimes when the value is in the cache again.
				for (let steps = random.below(4); steps > 0; steps--) await turn();
			}
		},
	);
	t.diagnostic(`${total} writes, ${cachedBefore} of what was in the cache; ${reads} reads, ${hits} hits`);
	assert.ok(cachedBefore > total / 2, "hardly a write was of what was in the cache");
	assert.ok(hits > reads / 10, "hardly a read was a hit");
});

test("a process reads its own last write of a not-before marker, with 32 readers", async (t) => {
	const total = rounds(1000, 20_000);
	const { storage } = await openCached(t, server);
	let seat;
	let cachedBefore = 0;
	const begin = () => {
		// It is absent at first, which is as well known.
		seat = { key: `revoked-sessions-before-${fresh("user")}`, least: 0, isEnding: true, versionOf: Number };
	};
	begin();
	await amongReaders(
		storage,
		() => seat,
		async () => {
			for (let version = 1; version <= total; version++) {
				if (isHit(readNow(storage, seat.key))) cachedBefore++;
				else await storage.get(seat.key);
				await storage.set(seat.key, String(version), 60);
				seat.least = version;
				seat.isEnding = false;
				assert.equal(await storage.get(seat.key), String(version));
				if (version % 5 === 0) {
					seat.isEnding = true;
					await storage.getAndDelete(seat.key);
					seat.hasEnded = true;
					assert.equal(await storage.get(seat.key), null);
					begin();
				}
				await turn();
			}
		},
	);
	assert.ok(cachedBefore > total / 2, `${cachedBefore} of ${total} writes were of what was in the cache`);
});

test("a process reads both of two concurrent changes of different fields", async (t) => {
	const { storage, store } = await openCached(t, server);
	const mine = session({ a: 0, b: 0 });
	await store.createSession(mine);
	for (let n = 1; n <= rounds(500, 20_000); n++) {
		await storage.get(mine.token);
		const both = [store.updateSession(mine.token, { a: n }), store.updateSession(mine.token, { b: n })];
		both.push(storage.get(mine.token)); // begins a reading in the middle
		await Promise.all(both);
		const { a, b } = JSON.parse(await storage.get(mine.token));
		assert.deepEqual({ a, b }, { a: n, b: n });
	}
});

describe("ending many sessions ends them for every reader of the process:", () => {
	const ways = {
		deleteUserSessions: ({ store }, userId) => store.deleteUserSessions(userId),
		"deleteUserSessions but one": ({ store }, userId, { token }) => store.deleteUserSessions(userId, { except: token }),
		"a time of revocation": ({ storage }, userId) =>
			storage.set(`revoked-sessions-before-${userId}`, String(Date.now() + 1000), 60),
		clear: ({ storage }) => storage.clear(),
	};
	for (const [name, end] of Object.entries(ways)) {
		test(name, async (t) => {
			const own = await startRedis(); // clear ends everybody's
			t.after(() => own.stop());
			const doors = await openCached(t, own);
			const { storage } = doors;
			for (let round = 0; round < rounds(30, 2000); round++) {
				const userId = fresh("user");
				const all = Array.from({ length: 5 }, () => session({ userId }));
				await Promise.all(all.map((one) => signIn(storage, one)));
				await warm(
					storage,
					all.map(({ token }) => token),
				);
				// Readings that are under way meanwhile leave nothing either.
				const meanwhile = [end(doors, userId, all[0]), ...all.map(({ token }) => storage.get(token))];
				await Promise.all(meanwhile);
				const stays = name.endsWith("but one") ? 1 : 0;
				for (const [at, one] of all.entries()) {
					assert.equal(await storage.get(one.token), at < stays ? record(one) : null, `round ${round}`);
				}
			}
		});
	}

	test("maxSessionsPerUser", async (t) => {
		const { storage } = await openCached(t, server, {}, { maxSessionsPerUser: 3 });
		for (let round = 0; round < rounds(30, 1000); round++) {
			const userId = fresh("user");
			const tokens = [];
			for (let n = 0; n < 6; n++) {
				const mine = session({ userId, createdAt: fromNow(n - 1000) });
				await signIn(storage, mine);
				tokens.push(mine.token);
				const found = await Promise.all(tokens.map((token) => storage.get(token)));
				assert.deepEqual(
					found.map((value) => value !== null),
					tokens.map((_, at) => at > n - 3),
				);
				await warm(storage, tokens.slice(-3));
			}
		}
	});
});

describe("a write without an answer", () => {
	const one = (mine) => [mine];
	/** What is written, and of which of the user's three sessions nothing may be answered from before. */
	const writes = {
		delete: [({ storage }, { token }) => storage.delete(token), one],
		set: [({ storage }, mine) => signIn(storage, { ...mine, changed: true, updatedAt: fromNow(5000) }), one],
		"set without a life": [({ storage }, mine) => storage.set(mine.token, record(mine), 0), one],
		getAndDelete: [({ storage }, { token }) => storage.getAndDelete(token), one],
		deleteSession: [({ store }, { token }) => store.deleteSession(token), one],
		deleteUserSessions: [({ store }, { userId }) => store.deleteUserSessions(userId), (_, all) => all],
		// These ask before they write, so they do not come to write.
		updateSession: [({ store }, { token }) => store.updateSession(token, { changed: true }), one, "unchanged"],
		createSession: [({ store }, mine) => store.createSession({ ...mine, changed: true }), one, "unchanged"],
	};
	for (const [name, [write, touched, isUnchanged]] of Object.entries(writes)) {
		test(`leaves no older entry in the near cache: ${name}`, async (t) => {
			const { server: own, ...doors } = await openImpatient(t);
			const { storage } = doors;
			const userId = fresh("user");
			const all = Array.from({ length: 3 }, () => session({ userId }));
			const other = session();
			for (const mine of [...all, other]) await signIn(storage, mine);
			// The server has seen the script before, so that it need not be sent again after a refusal.
			const first = session();
			await signIn(storage, first);
			await write(doors, first);
			await warm(
				storage,
				[...all, other].map(({ token }) => token),
			);
			const { flushes } = counters(storage);

			await own.pause();
			await assert.rejects(write(doors, all[0]), { code: "TIMEOUT" });
			const gone = touched(all[0], all);
			const asked = gone.map(({ token }) => miss(storage, token));
			for (const answer of asked) await assert.rejects(answer, { code: "TIMEOUT" });
			if (gone.length === 1) {
				// The cache is at work: what the write did not touch is still in it.
				for (const mine of [...all.slice(1), other]) assert.equal(hit(storage, mine.token), record(mine));
				assert.equal(counters(storage).flushes.uncertain, flushes.uncertain);
			} else {
				assert.equal(counters(storage).flushes.uncertain, flushes.uncertain + 1);
			}
			own.resume();
			await storage.ping();
			for (const mine of gone) {
				const lies = await own.cli("GET", `session:${mine.token}`);
				const value = lies.endsWith(" ") ? lies.slice(0, -1) : null;
				if (!isUnchanged) assert.notEqual(value, record(mine), "nothing was written: the test is none");
				for (let n = 0; n < 3; n++) assert.equal(await storage.get(mine.token), value);
			}
		});
	}

	test("leaves no older entry in the near cache: a not-before marker", async (t) => {
		const { server: own, storage } = await openImpatient(t);
		const mine = session();
		const key = `revoked-sessions-before-${mine.userId}`;
		await signIn(storage, mine);
		await storage.set(`revoked-sessions-before-${fresh("user")}`, "1", 60);
		await warm(storage, [mine.token, key]);
		await own.pause();
		const before = String(Date.now() + 1000);
		await assert.rejects(storage.set(key, before, 60), { code: "TIMEOUT" });
		await assert.rejects(miss(storage, key), { code: "TIMEOUT" });
		own.resume();
		await storage.ping();
		assert.equal(await storage.get(key), before);
		// It was not come to ending its sessions: they are as they are, and read by nobody.
		assert.equal(await own.cli("GET", `session:${mine.token}`), `${record(mine)} `);
		assert.equal(await storage.get(mine.token), null);
	});

	/** A server, and a store of it that waits for nothing long. */
	async function openImpatient(t) {
		const server = await startRedis();
		t.after(() => server.stop());
		const nearCache = { heartbeatMs: 100, maxStalenessMs: 20_000 };
		return { server, ...(await openCached(t, server, nearCache, { commandTimeout: 150 })) };
	}
});
