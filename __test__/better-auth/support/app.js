// A Better Auth application over this package's store, and the devices that its users sign in from. Nothing is replaced:
// requests go in as a browser sends them, cookies come out, and the users lie in Better Auth's own memory adapter.

import { createHash } from "node:crypto";
import { RedisSessionStore, redisStorage } from "better-auth-redis-store";

export const ORIGIN = "http://localhost:3000";
const SESSION_COOKIE = "better-auth.session_token";

/** Better Auth's default password hash takes 0.1 s of CPU. It is not what these tests are about. */
const quickPassword = {
	hash: async (password) => createHash("sha256").update(password).digest("hex"),
	verify: async ({ hash, password }) => (await quickPassword.hash(password)) === hash,
};

export const PASSWORD = "correct horse battery staple";

/** @typedef {{ status: number, body: any, setCookies: string[] }} Answer */

export class App {
	/** @type {import("./versions.js").Version} */
	version;
	/** What Better Auth was given. */
	storage;
	/** The same sessions by the package's other face. */
	sessions;
	/** Better Auth's database: its tables, each an array of rows. */
	db = Object.fromEntries(
		["user", "session", "account", "verification", "organization", "member", "invitation", "twoFactor"].map((table) => [
			table,
			[],
		]),
	);
	/**
	 * Called around each statement on the table of users, to hold it up or to look at it.
	 * @type {{ before?: (statement: string, args: any) => Promise<void>, after?: (statement: string, args: any) => Promise<void> }}
	 */
	statements = {};
	/** What Better Auth has logged as an error. A test that expects some takes them with `errors.splice(0)`. */
	errors = [];
	auth;

	/**
	 * @param {import("./versions.js").Version} version
	 * @param {string | import("better-auth-redis-store").StoreOptions} url of the store, or its options
	 * @param {object} [options] Better Auth's, beyond the ordinary ones
	 */
	constructor(version, url, options = {}) {
		this.version = version;
		this.storage = redisStorage(url);
		this.sessions = new RedisSessionStore(url);
		const { emailAndPassword, ...others } = options;
		this.auth = version.betterAuth({
			baseURL: ORIGIN,
			secret: "a secret of the tests, long enough for every version",
			database: (given) => this.#withStatements(version.memoryAdapter(this.db)(given)),
			secondaryStorage: this.storage,
			emailAndPassword: { enabled: true, password: quickPassword, ...emailAndPassword },
			logger: { level: "error", log: (_level, ...message) => this.errors.push(message) },
			telemetry: { enabled: false },
			...others,
		});
	}

	#withStatements(adapter) {
		const around = (statement) => async (args) => {
			if (args.model === "user") await this.statements.before?.(statement, args);
			const result = await adapter[statement](args);
			if (args.model === "user") await this.statements.after?.(statement, args);
			return result;
		};
		return { ...adapter, findOne: around("findOne"), update: around("update") };
	}

	/** A device that nobody has signed in on. */
	device() {
		return new Device(this);
	}

	/**
	 * A device on which a new user has just signed up.
	 * @param {string} [name] also the email's
	 */
	async signUp(name = "ada") {
		const device = this.device();
		await device.ok("/sign-up/email", { email: `${name}@example.com`, password: PASSWORD, name });
		return device;
	}

	/**
	 * A device on which a user who exists has just signed in.
	 * @param {string} [name]
	 */
	async signIn(name = "ada", password = PASSWORD) {
		const device = this.device();
		await device.ok("/sign-in/email", { email: `${name}@example.com`, password });
		return device;
	}

	/** The id of a user. */
	userId(name = "ada") {
		return this.db.user.find((user) => user.email === `${name}@example.com`).id;
	}

	async close() {
		await this.storage.close();
		await this.sessions.close();
	}
}

/** A browser: it keeps the cookies that it is given and sends them along. */
export class Device {
	#app;
	/** @type {Map<string, string>} */
	#cookies = new Map();

	constructor(app) {
		this.#app = app;
	}

	/**
	 * Sends a request: a POST of `body`, or a GET without one.
	 * @param {string} path below /api/auth
	 * @param {object} [body]
	 * @returns {Promise<Answer>}
	 */
	async send(path, body) {
		const headers = { origin: ORIGIN, "user-agent": "test", "x-forwarded-for": "203.0.113.7" };
		if (this.#cookies.size > 0) headers.cookie = this.cookieHeader;
		if (body) headers["content-type"] = "application/json";
		const request = new Request(`${ORIGIN}/api/auth${path}`, {
			method: body ? "POST" : "GET",
			headers,
			body: body && JSON.stringify(body),
		});
		const response = await this.#app.auth.handler(request);
		const setCookies = response.headers.getSetCookie();
		for (const cookie of setCookies) this.#keep(cookie);
		const text = await response.text();
		return { status: response.status, body: text ? JSON.parse(text) : undefined, setCookies };
	}

	/**
	 * Sends a request that must succeed; resolves to the answer's body.
	 * @param {string} path
	 * @param {object} [body]
	 */
	async ok(path, body) {
		const answer = await this.send(path, body);
		if (answer.status === 200) return answer.body;
		throw new Error(`${path} answered ${answer.status} ${JSON.stringify(answer.body)}`);
	}

	/** What Better Auth takes this device for: `{ session, user }`, or null when it is signed out. */
	whoAmI() {
		return this.ok("/get-session");
	}

	/** A second browser with the same cookies: what a thief has, or a request that is still under way. */
	copy() {
		const copy = new Device(this.#app);
		copy.#cookies = new Map(this.#cookies);
		return copy;
	}

	/** The token that its session cookie carries. */
	get token() {
		return decodeURIComponent(this.#cookies.get(SESSION_COOKIE)).split(".")[0];
	}

	/** What it sends along. */
	get cookieHeader() {
		return [...this.#cookies].map((pair) => pair.join("=")).join("; ");
	}

	/** Whether it holds a session cookie at all. */
	get holdsCookie() {
		return this.#cookies.has(SESSION_COOKIE);
	}

	#keep(setCookie) {
		const [pair, ...attributes] = setCookie.split("; ");
		const at = pair.indexOf("=");
		const name = pair.slice(0, at);
		if (attributes.some((attribute) => attribute.toLowerCase() === "max-age=0")) this.#cookies.delete(name);
		else this.#cookies.set(name, pair.slice(at + 1));
	}
}
