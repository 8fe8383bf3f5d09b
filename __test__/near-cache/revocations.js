// A load that tells how old an answer can be: sessions are read in one store all the time, while strangers to it revoke
// some and sign others in. What was acknowledged is known with its time, so each answer can be judged.

import assert from "node:assert/strict";
import { session } from "../contract/records.js";
import { until } from "../contract/wait.js";
import { now } from "../races/race.js";
import { connect, isHit, keyOf, openStranger, seed, warm } from "./stores.js";

/** How many sessions are live at a time. */
const LIVE = 100;
/** Revocations under way at a time. */
const AT_ONCE = 4;
const PAUSE_MS = 4;

/** What may happen to a call while the server is away. */
const AWAY = ["UNAVAILABLE", "TIMEOUT", "READONLY"];

/**
 * Begins to read and to revoke; ends with the test.
 * @param {import("node:test").TestContext} t
 * @param {import("better-auth-redis-store").RedisStorage} storage of the reader
 * @param {{ url: string }} server where the strangers go
 */
export async function startRevocations(t, storage, server) {
	const load = new Revocations(t, storage, server);
	await load.start();
	t.after(() => load.stop());
	return load;
}

class Revocations {
	/** The longest time from the acknowledgement of a revocation to the beginning of a read that found the session, in ms. */
	worstMs = 0;
	hits = 0;
	reads = 0;
	/** Reads that rejected, by code. @type {Record<string, number>} */
	rejected = {};
	/** Revocations that were acknowledged. */
	revoked = 0;
	/** Sessions that were told to be absent though nobody had touched them. */
	wrongNulls = 0;
	/** Whether strangers revoke and sign in just now. */
	isRevoking = true;
	/** A client that is no store. */
	redis;

	#storage;
	#stranger;
	#isOver = false;
	#working;
	/** @type {Map<string, { token: string, isEnding: boolean, revokedAt?: number, isRead?: boolean }>} */
	#sessions = new Map();
	#pending = 0;
	#next = 0;
	#unexpected = [];

	constructor(t, storage, server) {
		this.#storage = storage;
		this.#stranger = openStranger(t, server, { commandTimeout: 20_000 });
		this.redis = connect(t, server);
	}

	async start() {
		const first = Array.from({ length: LIVE }, () => session());
		await seed(this.redis, first);
		for (const one of first) this.#add(one.token);
		await warm(this.#storage, [...this.#sessions.keys()]);
		this.#working = Promise.all([this.#readAll(), this.#revokeSome()]);
		await this.progress();
	}

	/** Goes on until reads have hit, and sessions have been revoked, in some number. */
	async progress() {
		const [hits, revoked] = [this.hits, this.revoked];
		await until("hits", () => this.hits > hits + 1000);
		if (this.isRevoking) await until("revocations", () => this.revoked > revoked + 20);
	}

	/** Goes on for this long: there is nothing to wait for where nothing may happen. */
	async goOn(ms) {
		await new Promise((resolve) => setTimeout(resolve, ms));
	}

	async stop() {
		this.#isOver = true;
		await this.#working;
	}

	/** The tokens of live sessions, which nobody is ending. */
	live() {
		return [...this.#sessions.values()].filter(({ isEnding }) => !isEnding).map(({ token }) => token);
	}

	/**
	 * Tells that sessions have ended by this moment in some other way.
	 * @param {string[]} [tokens] all of those that there are, unless told
	 * @param {number} [at]
	 */
	ended(tokens = [...this.#sessions.keys()], at = now()) {
		for (const token of tokens) {
			const one = this.#sessions.get(token);
			one.isEnding = true;
			one.revokedAt = Math.min(at, one.revokedAt ?? at);
		}
	}

	/** Tells that sessions may or may not end from now on. */
	mayEnd(tokens = [...this.#sessions.keys()]) {
		for (const token of tokens) this.#sessions.get(token).isEnding = true;
	}

	/** Stops revoking and signing in, and returns when none of it is under way. */
	async rest() {
		this.isRevoking = false;
		await until("the last revocation", () => this.#pending === 0);
	}

	/** Stops, and fails unless every answer was younger than `boundMs` and none was wrong. */
	async assertNeverOlder(t, boundMs) {
		await this.stop();
		const { hits, reads, revoked, rejected, worstMs } = this;
		t.diagnostic(
			`${reads} reads, ${hits} hits, ${revoked} revocations, rejected ${JSON.stringify(rejected)}; the oldest answer ${worstMs.toFixed(1)} ms`,
		);
		assert.deepEqual(this.#unexpected, []);
		assert.equal(this.wrongNulls, 0, "a live session was told to be absent");
		assert.ok(worstMs <= boundMs, `a session was found ${worstMs} ms after its revocation was acknowledged`);
	}

	#add(token) {
		this.#sessions.set(token, { token, isEnding: false });
	}

	async #readAll() {
		while (!this.#isOver) {
			for (const one of this.#sessions.values()) this.#read(one);
			await new Promise((resolve) => setTimeout(resolve, 1));
		}
	}

	#read(one) {
		if (one.isRead) return; // its last read has not been answered
		const begun = now();
		const answer = this.#storage.get(one.token);
		this.reads++;
		if (isHit(answer)) {
			this.hits++;
			this.#judge(one, begun, answer);
			return;
		}
		one.isRead = true;
		answer
			.then(
				(value) => this.#judge(one, begun, value),
				(error) => {
					this.rejected[error.code] = (this.rejected[error.code] ?? 0) + 1;
					if (!AWAY.includes(error.code)) this.#unexpected.push(error.stack);
				},
			)
			.finally(() => {
				one.isRead = false;
			});
	}

	#judge({ isEnding, revokedAt }, begun, value) {
		if (value === null && !isEnding) this.wrongNulls++;
		if (value !== null && begun > revokedAt) this.worstMs = Math.max(this.worstMs, begun - revokedAt);
	}

	async #revokeSome() {
		while (!this.#isOver) {
			if (this.isRevoking && this.#pending < AT_ONCE) {
				const one = [...this.#sessions.values()].find(({ isEnding }) => !isEnding);
				if (one) this.#underWay(this.#revoke(one));
				if (this.live().length < LIVE) this.#underWay(this.#signIn());
			}
			await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
		}
	}

	#underWay(work) {
		this.#pending++;
		work
			.catch((error) => {
				// Whether it was carried out is not known; the session counts as neither.
				if (!this.#isOver && !AWAY.includes(error.code)) this.#unexpected.push(error.stack);
			})
			.finally(() => this.#pending--);
	}

	async #revoke(one) {
		one.isEnding = true;
		if (this.#next++ % 2) await this.redis.del(keyOf(one));
		else await this.#stranger.store.deleteSession(one.token);
		one.revokedAt = Math.min(now(), one.revokedAt ?? Number.POSITIVE_INFINITY);
		this.revoked++;
	}

	async #signIn() {
		const mine = session();
		await this.#stranger.store.createSession(mine);
		this.#add(mine.token);
	}
}
