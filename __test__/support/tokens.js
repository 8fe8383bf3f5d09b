// A service that gives out passwords which expire, as clouds do: a connection whose login has expired is cut.
//
// Each password has a user of its own. Redis cuts the connections of a user that is deleted, and no others.

import { fresh } from "./records.js";

export class TokenService {
	/** How many passwords were given out. */
	given = 0;
	/** The name that its users' begin with. */
	prefix = fresh("u");

	#servers;
	#lifeMs;
	#timers = new Set();

	/**
	 * @param {import("node:test").TestContext} t
	 * @param {import("./redis.js").RedisServer[]} servers that know the passwords
	 * @param {number} lifeMs how long each password lives
	 */
	constructor(t, servers, lifeMs) {
		this.#servers = servers;
		this.#lifeMs = lifeMs;
		t.after(() => this.#timers.forEach(clearTimeout));
	}

	/** User name, password and when it expires: what option `credentials` takes. */
	credentials = async () => {
		const username = `${this.prefix}-${++this.given}`;
		const password = fresh("password");
		const expiresAt = Date.now() + this.#lifeMs;
		await this.#each("SETUSER", username, "on", `>${password}`, "~*", "&*", "+@all");
		const timer = setTimeout(() => {
			this.#timers.delete(timer);
			this.#each("DELUSER", username).catch(() => {}); // the test may have ended
		}, this.#lifeMs);
		this.#timers.add(timer);
		return { username, password, expiresAt: this.given % 2 ? expiresAt : new Date(expiresAt) };
	};

	/**
	 * The connections of its users at a server, by number.
	 * @returns {Promise<Map<string, { name: string, user: string, age: number }>>} age: in s
	 */
	async connections(server) {
		const list = await server.cli("CLIENT", "LIST");
		const clients = list
			.split("\n")
			.map((line) => Object.fromEntries(line.split(" ").map((field) => field.split("="))));
		const ours = clients.filter(({ user }) => user?.startsWith(`${this.prefix}-`));
		return new Map(ours.map(({ id, name, user, age }) => [id, { name, user, age: Number(age) }]));
	}

	#each(...rule) {
		return Promise.all(this.#servers.map((server) => server.cli("ACL", ...rule)));
	}
}
