// One application server of a race: real Better Auth over a storage in Redis, and a plain view of what lies there.
//
// Users are rows of Better Auth's memory adapter, so every process seeds the same rows for itself; sessions are only in Redis.
// All that a race does goes through Better Auth's own endpoints, as requests with a signed cookie do.

import { createHmac } from "node:crypto";
import { redisStorage as officialStorage } from "@better-auth/redis-storage";
import { betterAuth } from "better-auth";
import { memoryAdapter } from "better-auth/adapters/memory";
import { organization } from "better-auth/plugins";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";
import { Cluster, Redis } from "ioredis";

const SECRET = "a secret of the race tests only, never of an application";
const PASSWORD = "correct horse battery staple";

/** Whose storage: this package's, or the one that Better Auth offers. */
export const OURS = "better-auth-redis-store";
export const OFFICIAL = "@better-auth/redis-storage";

/**
 * @typedef {object} Place
 * @property {string} [url] of the Redis server
 * @property {{ host: string, port: number }[]} [cluster] or those of a cluster, for our storage
 * @property {OURS | OFFICIAL} [kind]
 * @property {import("better-auth-redis-store").StoreOptions} [options] further ones, of our storage
 *
 * @typedef {"ended" | "gone" | { session: Record<string, any>, user: Record<string, any> }} Lying a tombstone, nothing,
 * or a record
 */

/**
 * @param {Place} place
 * @param {(storage: object) => object} [wrap] puts something between Better Auth and its storage
 */
export async function openApp(place, wrap = (storage) => storage) {
	const app = new App(place, wrap);
	const { internalAdapter, authCookies } = await app.auth.$context;
	app.internal = internalAdapter;
	app.cookieName = authCookies.sessionToken.name;
	return app;
}

export class App {
	/** @type {Redis | Cluster} Sees what lies in Redis without the code under test. */
	redis;
	/** Better Auth's secondary storage. */
	storage;
	/** @type {RedisSessionStore | undefined} The other face of ours. */
	sessions;
	auth;
	/** @type {import("better-auth").InternalAdapter} */
	internal;
	cookieName;
	/** What Better Auth logged as an error: it swallows some of what its storage rejects with. @type {string[]} */
	logged = [];

	#kind;
	#refreshing;
	#rows = { user: [], account: [], session: [], verification: [], organization: [], member: [], invitation: [] };

	/**
	 * @param {Place} place
	 * @param {(storage: object) => object} wrap
	 */
	constructor({ url, cluster, kind = OURS, options }, wrap) {
		this.#kind = kind;
		this.redis = cluster ? new Cluster([...cluster]) : new Redis(url);
		if (kind === OURS) {
			this.storage = wrap(redisStorage({ url, cluster, ...options }));
			this.sessions = new RedisSessionStore({ url, cluster, ...options });
		} else {
			this.storage = wrap(officialStorage({ client: new Redis(url) }));
		}
		this.auth = this.#betterAuth({});
		// Age 0: each look at a session is due to refresh it.
		this.#refreshing = this.#betterAuth({ updateAge: 0 });
	}

	#betterAuth(session) {
		return betterAuth({
			baseURL: "http://localhost:3000",
			secret: SECRET,
			database: memoryAdapter(this.#rows),
			secondaryStorage: this.storage,
			session,
			user: { additionalFields: { role: { type: "string", required: false } } },
			plugins: [organization()],
			emailAndPassword: {
				enabled: true,
				// The races are about sessions; scrypt would take the time of a hundred of them.
				password: { hash: async (password) => password, verify: async ({ hash, password }) => hash === password },
			},
			logger: { level: "error", log: (_, message, ...rest) => this.logged.push([message, ...rest].join(" ")) },
			telemetry: { enabled: false },
		});
	}

	/**
	 * Lets these users exist, and no others; each is a member of the organizations.
	 * @param {string[]} ids
	 * @param {string[]} [organizations]
	 */
	seedUsers(ids, organizations = []) {
		const long_ago = { createdAt: new Date("2026-01-01"), updatedAt: new Date("2026-01-01") };
		this.#rows.user = ids.map((id) => ({
			id,
			name: "first name",
			role: "first role",
			email: emailOf(id),
			emailVerified: true,
			image: null,
			...long_ago,
		}));
		this.#rows.account = ids.map((id) => ({
			id: `account-${id}`,
			userId: id,
			accountId: id,
			providerId: "credential",
			password: PASSWORD,
			...long_ago,
		}));
		this.#rows.organization = organizations.map((id) => ({ id, name: id, slug: id, ...long_ago }));
		this.#rows.member = ids.flatMap((userId) =>
			organizations.map((id) => ({
				id: `member-${id}-${userId}`,
				userId,
				organizationId: id,
				role: "member",
				...long_ago,
			})),
		);
	}

	// ---- What people do ----

	/** @returns {Promise<string>} the token of the new session */
	async signIn(user) {
		return (await this.auth.api.signInEmail({ body: { email: emailOf(user), password: PASSWORD } })).token;
	}

	signOut(token) {
		return this.auth.api.signOut({ headers: this.#request(token) });
	}

	/** The session as its owner sees it. @returns {Promise<{ session: any, user: any } | null>} */
	look(token) {
		return this.auth.api.getSession({ headers: this.#request(token) });
	}

	/** Looks at a session so old that the look extends it; null when it is not there. */
	refresh(token) {
		return this.#refreshing.api.getSession({ headers: this.#request(token) });
	}

	setOrganization(token, organizationId) {
		return this.auth.api.setActiveOrganization({ headers: this.#request(token), body: { organizationId } });
	}

	/** @param {{ name?: string, role?: string }} changes */
	updateProfile(token, changes) {
		return this.auth.api.updateUser({ headers: this.#request(token), body: changes });
	}

	revokeAll(token) {
		return this.auth.api.revokeSessions({ headers: this.#request(token) });
	}

	revokeOthers(token) {
		return this.auth.api.revokeOtherSessions({ headers: this.#request(token) });
	}

	/** The sessions of the token's owner. @returns {Promise<string[]>} */
	async listed(token) {
		const sessions = await this.auth.api.listSessions({ headers: this.#request(token) });
		return sessions.map((session) => session.token);
	}

	#request(token) {
		const signature = createHmac("sha256", SECRET).update(token).digest("base64");
		return new Headers({ cookie: `${this.cookieName}=${encodeURIComponent(`${token}.${signature}`)}` });
	}

	// ---- What lies in Redis ----

	/** @param {string[]} tokens @returns {Promise<Lying[]>} */
	async lying(tokens) {
		const found = await Promise.all(tokens.map((token) => this.redis.getBuffer(this.#prefix + token)));
		return found.map((bytes) => {
			if (bytes === null) return "gone";
			if (bytes[0] === 0xff) return "ended";
			return JSON.parse(bytes.toString());
		});
	}

	/** Every key of a pattern. @returns {Promise<string[]>} */
	async keys(pattern) {
		const servers = this.redis instanceof Cluster ? this.redis.nodes("master") : [this.redis];
		return (await Promise.all(servers.map((server) => server.keys(pattern)))).flat();
	}

	/** The tokens in a user's index, with their scores where it has them. @returns {Promise<Map<string, number>>} */
	async index(user) {
		if (this.#kind === OFFICIAL) {
			const list = JSON.parse((await this.redis.get(`${this.#prefix}active-sessions-${user}`)) ?? "[]");
			return new Map(list.map(({ token, expiresAt }) => [token, expiresAt]));
		}
		const flat = await this.redis.zrange(`user-sessions:${user}`, 0, -1, "WITHSCORES");
		return new Map(Array.from({ length: flat.length / 2 }, (_, i) => [flat[2 * i], Number(flat[2 * i + 1])]));
	}

	get #prefix() {
		return this.#kind === OFFICIAL ? "better-auth:" : "session:";
	}

	async close() {
		this.redis.disconnect();
		await this.storage.close?.();
		await this.sessions?.close();
	}
}

/** Whether a caller was told in this way that its session was ended. Better Auth's set-active, when it happens meanwhile, stumbles over it. */
export function foundEnded(error) {
	const stumbled = error instanceof TypeError && error.stack.includes("setSessionCookie");
	return stumbled || error.status === "UNAUTHORIZED" || error.code === "NOT_FOUND";
}

function emailOf(user) {
	return `${user}@example.com`.toLowerCase(); // as Better Auth looks for it
}
