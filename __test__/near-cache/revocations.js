// A load that tells how old an answer can be: sessions are read in one store all the time, while strangers to it revoke
// some and sign others in. What was acknowledged is known with its time, so each answer can be judged.

import assert from "node:assert/strict";
import { now } from "../races/race.js";
import { session } from "../support/records.js";
import { until } from "../support/wait.js";
import { connect, isHit, keyOf, openStranger, readNow, seed, warm } from "./stores.js";

/** How many sessions are live at a time. */
const LIVE = 100;
/** Revocations and sign-ins under way at a time. */
const AT_ONCE = 8;
/** From one revocation to the next, and one sign-in to the next. */
const PAUSE_MS = 8;
/** How often a session is looked at that was revoked, and for how long. */
const REVOKED_EVERY_MS = 10;
const REVOKED_FOR_MS = 6000;

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
	/** @type {Map<string, { token: string, isEnding: boolean, revokedAt?: number, isAsked?: boolean, readAt: number }>} */
	#sessions = new Map();
	#pending = 0;
	#next = 0;
	/** How often all sessions that there were have ended otherwise. */
	#losses = 0;
	#unexpected = [];

	constructor(t, storage, server) {
		this.#storage = storage;
		this.#stranger = openStranger(t, server, { commandTimeout: 20_000 });
		this.redis = connect(t, server);
	}

	async start() {
		const first = Array.from({ length: LIVE }, () => session());
		await seed(this.redis, first);
		for (const { token } of first) this.#add(token);
		await warm(this.#storage, this.tokens());
		this.#working = Promise.all([this.#readAll(), this.#revokeSome()]);
		await this.progress();
	}

	/** Goes on until reads have hit, and sessions have been revoked, in some number. */
	async progress() {
		const [hits, revoked] = [this.hits, this.revoked];
		await until("hits", () => this.hits > hits + 1000);
		if (this.isRevoking) await until("revocations", () => this.revoked > revoked + 5);
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

	/** All tokens that are looked at. */
	tokens() {
		return [...this.#sessions.keys()];
	}

	/**
	 * Tells that sessions have ended in some other way.
	 * @param {string[]} tokens
	 * @param {number} [at] by this moment
	 */
	ended(tokens, at = now()) {
		for (const one of this.#those(tokens)) {
			one.isEnding = true;
			one.revokedAt = Math.min(at, one.revokedAt ?? at);
		}
	}

	/** Tells that all sessions that there are have ended by now. */
	allEnded() {
		this.#losses++;
		this.ended(this.tokens());
	}

	/** Tells that sessions may or may not end from now on. */
	mayEnd(tokens) {
		for (const one of this.#those(tokens)) one.isEnding = true;
	}

	#those(tokens) {
		return tokens.map((token) => this.#sessions.get(token)).filter(Boolean);
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
		const told = `${reads} reads, ${hits} hits, ${revoked} revocations, rejected ${JSON.stringify(rejected)}`;
		t.diagnostic(`${told}; the oldest answer ${worstMs.toFixed(1)} ms`);
		assert.deepEqual(this.#unexpected, []);
		assert.equal(this.wrongNulls, 0, "a live session was told to be absent");
		assert.ok(worstMs <= boundMs, `a session was found ${worstMs} ms after its revocation was acknowledged`);
	}

	#add(token, isEnding = false) {
		this.#sessions.set(token, { token, isEnding, readAt: 0 });
	}

	async #readAll() {
		while (!this.#isOver) {
			for (const one of this.#sessions.values()) this.#read(one);
			await new Promise((resolve) => setTimeout(resolve, 1));
		}
	}

	#read(one) {
		if (one.isAsked) return;
		const begun = now();
		if (one.revokedAt !== undefined) {
			if (begun < one.readAt + REVOKED_EVERY_MS) return;
			if (begun > one.revokedAt + REVOKED_FOR_MS) this.#sessions.delete(one.token);
		}
		one.readAt = begun;
		const answer = readNow(this.#storage, one.token);
		this.reads++;
		if (isHit(answer)) {
			this.hits++;
			this.#judge(one, begun, answer);
			return;
		}
		one.isAsked = true;
		answer
			.then(
				(value) => this.#judge(one, begun, value),
				(error) => {
					this.rejected[error.code] = (this.rejected[error.code] ?? 0) + 1;
					if (!AWAY.includes(error.code)) this.#unexpected.push(error.stack);
				},
			)
			.finally(() => {
				one.isAsked = false;
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
				for (let n = this.live().length; n < LIVE && this.#pending < AT_ONCE; n++) this.#underWay(this.#signIn());
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
		const losses = this.#losses;
		await this.#stranger.store.createSession(mine);
		this.#add(mine.token, losses !== this.#losses); // whether it was lost with the others is not known
	}
}
