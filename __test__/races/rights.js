// What races of rights run on (rights.test.js): application servers that change the same users, over one PostgreSQL and one Redis.
//
// A server is real Better Auth with its admin plugin. Each statement on a user may be made late, on its way to the database and on its
// way back: that is where one server overtakes another.

import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { betterAuth } from "better-auth";
import { getAdapter } from "better-auth/db/adapter";
import { getMigrations } from "better-auth/db/migration";
import { admin } from "better-auth/plugins";
import { redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { Cluster, Redis } from "ioredis";
import pg from "pg";
import { runWorkers, sum } from "./race.js";

const URL_OF_SERVERS = "http://localhost:3000";
const PASSWORD = "correct horse battery staple";
const LOOKS_DEADLINE_MS = 60_000;

/** How many users race at a time, at most. */
const WAVE = 10;
/** How far one server's clock may be ahead, in ms. */
const MAX_AHEAD_MS = 2000;
/** When a request of a run begins, in ms from its start: those that read the user's row first begin early, so that all statements meet. */
const BEGINS_MS = { "set-role": [0, 60], "sign-in": [0, 20], rename: [60, 120], picture: [60, 120] };

/**
 * @typedef {object} Place
 * @property {string} postgres URL of the database server
 * @property {string} [url] of the Redis server
 * @property {{ host: string, port: number }[]} [cluster] or those of a cluster
 *
 * @typedef {{ token: string, cookie: string }} Session
 *
 * @typedef {object} Run one user's race
 * @property {string} id of the user
 * @property {string} email
 * @property {Session[]} sessions those that there are before
 * @property {UserRequest[]} requests
 *
 * @typedef {object} UserRequest
 * @property {number} server
 * @property {number} startMs
 * @property {"set-role" | "rename" | "picture" | "sign-in"} what
 * @property {string} [value] the role, name or picture
 *
 * @typedef {object} Wave runs that go side by side
 * @property {number[]} aheadMs how far each server's clock is ahead
 * @property {Run[]} runs
 *
 * @typedef {(statement: "update" | "findOne", when: "before" | "after") => unknown} Delay holds a statement on a user up, on its way to the
 * database or on its way back, until what it returns resolves
 */

export class Server {
	auth;
	storage;
	/** `undefined`: without looks. */
	gate;
	/** Sees what lies in Redis without the code under test. @type {Redis | Cluster} */
	redis;
	/** What Better Auth logged as an error. @type {string[]} */
	logged = [];
	/** What happened to each user's row, with the time by this machine's clock. @type {Map<string, string[]>} */
	statements = new Map();

	#pool;
	#internalAdapter;
	/** Without delays. */
	#adapter;

	/**
	 * @param {Place} place
	 * @param {object} [options]
	 * @param {boolean} [options.looks] whether a gate, and with that looks, are made
	 * @param {Delay} [options.delay]
	 * @param {import("better-auth-redis-store").StoreOptions} [options.store] further options of the storage
	 */
	static async open({ postgres, url, cluster }, { looks = true, delay = () => {}, store } = {}) {
		const server = new Server();
		server.storage = redisStorage({ url, cluster, ...store });
		server.#pool = new pg.Pool({ connectionString: postgres });
		server.redis = cluster ? new Cluster([...cluster]) : new Redis(url);
		const options = server.#options();
		server.#adapter = await getAdapter({ ...options, database: server.#pool });
		const database = () => server.#delayed(server.#adapter, delay);
		server.auth = betterAuth({ ...options, database });
		if (looks) server.gate = sessionGate(server.auth, server.storage);
		server.#internalAdapter = (await server.auth.$context).internalAdapter;
		return server;
	}

	#options() {
		return {
			baseURL: URL_OF_SERVERS,
			secret: "a secret of the race tests only, never of an application",
			secondaryStorage: this.storage,
			plugins: [admin()],
			emailAndPassword: {
				enabled: true,
				// The races are about rights; scrypt would take the time of a hundred of them.
				password: { hash: async (password) => password, verify: async ({ hash, password }) => hash === password },
			},
			logger: { level: "error", log: (_, message, ...rest) => this.logged.push([message, ...rest].join(" ")) },
			telemetry: { enabled: false },
		};
	}

	/** Makes Better Auth's tables. */
	async migrate() {
		const { runMigrations } = await getMigrations({ ...this.#options(), database: this.#pool });
		await runMigrations();
	}

	/** @param {Delay} delay */
	#delayed(adapter, delay) {
		const late = (statement) => async (query) => {
			if (query.model !== "user") return adapter[statement](query);
			await delay(statement, "before");
			const row = await adapter[statement](query);
			if (row) this.#note(statement, row);
			await delay(statement, "after");
			return row;
		};
		return { ...adapter, update: late("update"), findOne: late("findOne") };
	}

	#note(statement, { id, role, name, image, updatedAt }) {
		const seen = `${performance.timeOrigin + performance.now()} ${statement}: ${JSON.stringify({ role, name, image, updatedAt })}`;
		this.statements.set(id, [...(this.statements.get(id) ?? []), seen]);
	}

	// ---- What people do ----

	/** Signs up a user and lets her be an administrator. @returns {Promise<string>} her id */
	async addAdministrator(email) {
		const body = { email, name: "first name", password: PASSWORD, role: "admin" };
		return (await this.auth.api.createUser({ body })).user.id;
	}

	/** @returns {Promise<Session>} */
	async signIn(email) {
		const response = await this.#post("/sign-in/email", { email, password: PASSWORD });
		const [cookie] = response.headers.getSetCookie()[0].split(";");
		return { token: (await response.json()).token, cookie };
	}

	/** An administrator sets a user's role. */
	setRole(cookie, userId, role) {
		return this.#post("/admin/set-role", { userId, role }, cookie);
	}

	/** A user changes her own name. */
	rename(cookie, name) {
		return this.#post("/update-user", { name }, cookie);
	}

	/** A program of the application changes a user, without a request. */
	setPicture(userId, image) {
		return this.#internalAdapter.updateUser(userId, { image });
	}

	/** What a route that is for administrators answers: the HTTP status. */
	async askAsAdministrator(cookie) {
		const request = new Request(`${URL_OF_SERVERS}/api/auth/admin/list-users?limit=1`, { headers: { cookie } });
		return (await this.auth.handler(request)).status;
	}

	async #post(path, body, cookie = "") {
		const headers = { "content-type": "application/json", origin: URL_OF_SERVERS, cookie };
		const request = new Request(`${URL_OF_SERVERS}/api/auth${path}`, {
			method: "POST",
			headers,
			body: JSON.stringify(body),
		});
		const response = await this.auth.handler(request);
		if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
		return response;
	}

	// ---- What is to be seen ----

	/** A user's row as JSON has it. */
	async rowOf(id) {
		const row = await this.#adapter.findOne({ model: "user", where: [{ field: "id", value: id }] });
		return JSON.parse(JSON.stringify(row));
	}

	/** The copy of the user that lies in a session's record; `undefined` when there is no record. */
	async copyIn(token) {
		return userIn(await this.redis.get(`session:${token}`));
	}

	/** Of these sessions the copies of the user that differ from her row. @param {Session[]} sessions */
	async unlike(id, sessions) {
		const copies = await Promise.all(sessions.map(({ token }) => this.copyIn(token)));
		const row = await this.rowOf(id);
		return copies.filter((copy) => !isDeepStrictEqual(copy, row));
	}

	/** Everything by which this server shows a session's user, where it is not the row. @param {Session} session */
	async differences(row, { token, cookie }) {
		const headers = new Headers({ cookie });
		const [raw, read, gate, session, status] = await Promise.all([
			this.copyIn(token),
			this.storage.get(token).then(userIn),
			this.gate?.({ headers }),
			this.auth.api.getSession({ headers }),
			this.askAsAdministrator(cookie),
		]);
		const allowed = { user: 403, admin: 200 };
		return [
			["the record", raw, row],
			["storage.get", read, row],
			...(this.gate ? [["the role by the gate", gate?.user.role, row.role]] : []),
			["the role by getSession", session?.user.role, row.role],
			["the admin route", status, allowed[row.role]],
		]
			.filter(([, seen, right]) => !isDeepStrictEqual(seen, right))
			.map(([what, seen, right]) => `${what}: ${JSON.stringify(seen)}, not ${JSON.stringify(right)}`);
	}

	/** How its looks went. @returns {import("better-auth-redis-store").UserLookMetrics} */
	looks() {
		return this.storage.metrics().userLooks;
	}

	/** Waits until no look is to come, second ones included. */
	async looksAreOver() {
		const deadline = performance.now() + LOOKS_DEADLINE_MS;
		while (this.looks().queued > 0) {
			if (performance.now() > deadline) throw new Error(`looks that do not end: ${JSON.stringify(this.looks())}`);
			await sleep(5);
		}
	}

	async close() {
		this.redis.disconnect();
		await this.storage.close();
		await this.#pool.end();
	}
}

function userIn(text) {
	return text?.startsWith("{") ? JSON.parse(text).user : undefined;
}

/**
 * Two servers change the rights and the names of the same users (rights.worker.js).
 * @param {Place} place
 * @param {object} race
 * @param {number} race.runs how many users
 * @param {boolean} race.looks whether the servers look
 * @param {ReturnType<import("../support/counts.js").seeded>} race.random
 * @returns {Promise<Verdict>}
 *
 * @typedef {object} Verdict
 * @property {number} runs
 * @property {number} unlikeBefore runs with a record unlike the row when the last request had been answered
 * @property {number} unlikeAfter runs with a record unlike the row at the end
 * @property {number} tooMuch of these, runs with a record of an administrator who is none
 * @property {string[]} wrong everything that a server shows and that is not the row, with what happened to the row
 * @property {{ done: number, written: number, failed: number, dropped: number, queued: number }} looks
 * @property {string[]} unexpected
 */
export async function raceRights(place, { runs, looks, random }) {
	// Its own sign-ins are followed by no look, which would put right what the servers leave wrong.
	const preparing = await Server.open(place, { looks: false });
	try {
		const email = `boss-${random.below(2 ** 32)}@example.com`;
		const id = await preparing.addAdministrator(email);
		const boss = await preparing.signIn(email);
		const size = Math.min(WAVE, Math.ceil(runs / 2));
		const waves = [];
		for (let begun = 0; begun < runs; begun += size) {
			const names = Array.from({ length: Math.min(size, runs - begun) }, (_, n) => `${id}-${begun + n}`);
			const aheadMs = [0, 0];
			if (waves.length % 2 === 1) aheadMs[random.below(2)] = 1 + random.below(MAX_AHEAD_MS);
			const planned = names.map((name) => planRun(name.toLowerCase(), random));
			waves.push({ aheadMs, runs: await Promise.all(planned.map((plan) => prepareRun(preparing, plan))) });
		}
		return sum(await runWorkers("rights.worker.js", 2, { place, boss, waves, looks }));
	} finally {
		await preparing.close();
	}
}

function planRun(name, random) {
	const admins = random.below(2);
	const anywhere = () => random.below(2);
	const sometimes = (request) => (random.below(3) === 0 ? [request()] : []);
	const requests = [
		{ server: admins, what: "set-role", value: "user" },
		{ server: 1 - admins, what: "rename", value: "second name" },
		...sometimes(() => ({ server: admins, what: "rename", value: "third name" })),
		...sometimes(() => ({ server: anywhere(), what: "sign-in" })),
		...sometimes(() => ({ server: anywhere(), what: "set-role", value: "admin" })),
		...sometimes(() => ({ server: anywhere(), what: "picture", value: "https://example.com/picture.png" })),
	].map((request) => {
		const [from, to] = BEGINS_MS[request.what];
		return { ...request, startMs: from + random.below(to - from) };
	});
	return { email: `${name}@example.com`, signedIn: 1 + random.below(2), requests };
}

async function prepareRun(server, { email, signedIn, requests }) {
	const id = await server.addAdministrator(email);
	const sessions = await Promise.all(Array.from({ length: signedIn }, () => server.signIn(email)));
	return { id, email, sessions, requests };
}
