// Applications for the gate's tests: real Better Auth of a release, over a store in Redis, with a user who has signed up.

import { createHash, createHmac, randomUUID } from "node:crypto";
import { redisStorage } from "better-auth-redis-store";
import { sessionGate } from "better-auth-redis-store/gate";
import { Redis } from "ioredis";
import { versions } from "../better-auth/support/versions.js";
import { OLD_SECRET, SECRET } from "./arbitraries.js";

/** The releases that the gate answers for. */
export const releases = await Promise.all(
	versions
		.filter(({ minor }) => minor >= 4)
		.map(async (version) => ({
			...version,
			...(await import(`${version.package}/api`)),
			integrations: {
				...(await import(`${version.package}/next-js`)),
				...(await import(`${version.package}/svelte-kit`)),
				...(await import(`${version.package}/tanstack-start`)),
				solid: await import(`${version.package}/tanstack-start/solid`),
			},
		})),
);

/** The newest. */
export const newest = releases.at(-1);

const quickPassword = {
	hash: async (password) => createHash("sha256").update(password).digest("hex"),
	verify: async ({ hash, password }) => (await quickPassword.hash(password)) === hash,
};

/** @typedef {Partial<import("./arbitraries.js").Settings>} Settings */

export class App {
	auth;
	storage;
	/** The same store, for records whose user is not the row: nothing that this one writes is compared with the database. */
	writer;
	gate;
	/** Options of its storage, besides the URL. */
	store;
	/** Writes what the store would not. @type {Redis} */
	redis;
	/** Better Auth's tables. */
	rows = Object.fromEntries(
		["user", "session", "account", "verification", "organization", "member", "invitation"].map((it) => [it, []]),
	);
	/** Of the user who has signed up: `{ session, user }` as it lies in the store. */
	record;
	/** The names of its cookies. */
	cookies;

	/**
	 * @param {typeof releases[number]} release
	 * @param {string} url of the Redis server
	 * @param {Settings} [settings]
	 * @param {{ options?: object, gate?: object, store?: object, like?: App }} [more] options of Better Auth, the gate, the
	 * store; an app whose user this one has as well, but nothing else
	 */
	static async open(release, url, settings = {}, { options = {}, gate = {}, store = {}, like } = {}) {
		const app = new App();
		app.redis = new Redis(url);
		app.store = store;
		app.storage = redisStorage({ url, ...store });
		app.writer = redisStorage({ url, ...store });
		try {
			await (like ? app.#copy(like) : app.#signUp(release, settings));
			app.auth = app.#betterAuth(release, settings, options);
			app.gate = sessionGate(app.auth, app.storage, gate);
			app.cookies = (await app.auth.$context).authCookies;
		} catch (error) {
			await app.close();
			throw error;
		}
		return app;
	}

	async #signUp(release, settings) {
		// Without what is only about reading, and without those that hand cookies to a framework.
		const plain = { ...settings, plugins: settings.plugins?.filter((name) => !name.endsWith("Cookies")) };
		const auth = this.#betterAuth(release, { ...plain, hooks: false, customSession: false, cookieCache: false }, {});
		const email = `${randomUUID()}@example.com`;
		const body = { email, password: "correct horse battery staple", name: "Ada", note: "told", secretNote: "not told" };
		const { token } = await auth.api.signUpEmail({ body });
		this.record = JSON.parse(await this.storage.get(token));
	}

	#copy({ rows, record }) {
		this.rows = structuredClone(rows);
		this.record = record;
	}

	#betterAuth({ betterAuth, memoryAdapter, plugins, integrations, createAuthMiddleware, minor }, settings, options) {
		/** In the order in which applications have them: nextCookies last. */
		const made = {
			organization: () => plugins.organization(),
			admin: () => plugins.admin(),
			anonymous: () => plugins.anonymous(),
			multiSession: () => plugins.multiSession(),
			lastLoginMethod: () => plugins.lastLoginMethod(),
			oneTimeToken: () => plugins.oneTimeToken(),
			bearer: () => plugins.bearer(),
			// Somebody's own: it answers in Better Auth's place when a header asks for it.
			nosy: () => ({
				id: "nosy",
				hooks: {
					before: [
						{
							matcher: (context) => context.path === "/get-session" && context.headers?.get("x-nosy") === "before",
							handler: createAuthMiddleware(async (ctx) => ctx.json({ nosy: true })),
						},
					],
					after: [
						{
							matcher: ({ headers, context: { returned } }) => headers?.get("x-nosy") === "after" && Boolean(returned),
							handler: createAuthMiddleware(async (ctx) => ctx.json({ ...ctx.context.returned, nosy: true })),
						},
					],
				},
			}),
			customSession: () => plugins.customSession(async (session) => ({ ...session, custom: true })),
			sveltekitCookies: () => integrations.sveltekitCookies(() => undefined),
			tanstackStartCookies: () => integrations.tanstackStartCookies(),
			solidStartCookies: () => integrations.solid.tanstackStartCookies(),
			nextCookies: () => integrations.nextCookies(),
		};
		const wanted = [...(settings.plugins ?? []), ...(settings.customSession ? ["customSession"] : [])];
		const note = { type: "string", required: false };
		const hidden = { ...note, returned: false };
		return betterAuth({
			baseURL: "http://localhost:3000",
			...(settings.rotatedSecret && minor >= 5
				? { secrets: [SECRET, OLD_SECRET].map((value, n) => ({ version: 2 - n, value })) }
				: { secret: SECRET }),
			database: memoryAdapter(this.rows),
			secondaryStorage: this.storage,
			emailAndPassword: { enabled: true, password: quickPassword },
			plugins: Object.keys(made)
				.filter((name) => wanted.includes(name))
				.map((name) => made[name]()),
			session: {
				...(settings.updateAge === undefined ? {} : { updateAge: settings.updateAge }),
				disableSessionRefresh: settings.disableSessionRefresh ?? false,
				deferSessionRefresh: settings.deferSessionRefresh ?? false,
				cookieCache: { enabled: settings.cookieCache ?? false },
				storeSessionInDatabase: settings.storeSessionInDatabase ?? false,
				preserveSessionInDatabase: settings.preserveSessionInDatabase ?? false,
				additionalFields: settings.hiddenFields ? { theme: { ...note, defaultValue: "dark" }, secretNote: hidden } : {},
			},
			user: { additionalFields: settings.hiddenFields ? { note, secretNote: hidden } : {} },
			advanced: {
				useSecureCookies: settings.useSecureCookies ?? false,
				...(settings.cookiePrefix ? { cookiePrefix: settings.cookiePrefix } : {}),
				cookies: settings.cookieName ? { session_token: { name: settings.cookieName } } : {},
			},
			...(settings.hooks ? { hooks: { before: createAuthMiddleware(async () => {}) } } : {}),
			logger: { disabled: true },
			telemetry: { enabled: false },
			...options,
		});
	}

	/**
	 * A session of the user, written as Better Auth writes it.
	 * @param {object} [fields] of its session half
	 * @returns {Promise<string>} its token
	 */
	async session(fields = {}) {
		const token = randomUUID().replaceAll("-", "");
		const now = Date.now();
		const [createdAt, expiresAt] = [new Date(now), new Date(now + 7 * 24 * 3600 * 1000 - 1000)];
		const session = { ...this.record.session, token, createdAt, updatedAt: createdAt, expiresAt, ...fields };
		await this.writer.set(token, JSON.stringify({ ...this.record, session }), 7 * 24 * 3600);
		return token;
	}

	/** The Cookie header that a browser sends for a session. */
	cookie(token) {
		const signature = createHmac("sha256", SECRET).update(token).digest("base64");
		return `${this.cookies.sessionToken.name}=${encodeURIComponent(`${token}.${signature}`)}`;
	}

	/** The headers of a request for a session. @param {Record<string, string>} [others] */
	headers(token, others = {}) {
		return new Headers({ cookie: this.cookie(token), ...others });
	}

	async close() {
		this.redis.disconnect();
		await Promise.all([this.storage.close(), this.writer.close()]);
	}
}
