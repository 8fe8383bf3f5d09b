// Everything that the example consists of, started on free ports: PostgreSQL with its tables, Redis, servers of the application, nginx in front of them.
// Expects what prepare.js has made.

import { spawnSync } from "node:child_process";
import { randomBytes, randomInt } from "node:crypto";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { startNginx } from "../../../__test__/support/nginx.js";
import { startPostgres } from "../../../__test__/support/postgres.js";
import { startRedis } from "../../../__test__/support/redis.js";
import { findPostgres } from "../../../scripts/programs.js";
import { Instance } from "./instance.js";
import { app } from "./prepare.js";

export class Servers {
	/** @type {import("../../../__test__/support/redis.js").RedisServer} Keeps its data over a restart. */
	redis;
	/** @type {Awaited<ReturnType<typeof startPostgres>>} */
	postgres;
	/** @type {Instance[]} */
	instances = [];
	/** @type {Awaited<ReturnType<typeof startNginx>>} */
	nginx;
	/** @type {string} Where nginx listens. */
	url;
	/** What each server of the application is told. @type {Record<string, string>} */
	env;

	/** @param {number} [count] of servers of the application */
	static async start(count = 3) {
		const servers = new Servers();
		try {
			await servers.#start(count);
		} catch (error) {
			await servers.stop();
			throw error;
		}
		return servers;
	}

	async #start(count) {
		// What was answered stays, also when the server ends a moment later.
		const config = ["appendonly yes", "appendfsync always", "maxmemory-policy noeviction"];
		[this.postgres, this.redis] = await Promise.all([startPostgres(), startRedis({ config })]);
		this.#createTables();
		this.env = {
			DATABASE_URL: this.postgres.url,
			REDIS_URL: this.redis.url,
			BETTER_AUTH_SECRET: randomBytes(32).toString("base64"),
			// Each single server is looked at as well; and the name is the one of nginx.conf, for whoever has it lead here.
			BETTER_AUTH_TRUSTED_ORIGINS: "http://localhost:*,http://your-domain.com",
		};
		const port = await freePort();
		this.url = `http://localhost:${port}`;
		this.env.BETTER_AUTH_URL = this.url;
		this.instances = Array.from({ length: count }, (_, at) => new Instance(`server ${at + 1}`, this.env));
		await Promise.all(this.instances.map((instance) => instance.start()));
		this.nginx = await startNginx(siteFor(port, this.instances));
	}

	#createTables() {
		const { status, stderr } = spawnSync(
			join(findPostgres(), "psql"),
			[this.postgres.url, "--quiet", "--set=ON_ERROR_STOP=1", `--file=${join(app, "prisma/tables.sql")}`],
			{ encoding: "utf8" },
		);
		if (status !== 0) throw new Error(`the tables could not be made\n${stderr}`);
	}

	async stop() {
		await this.nginx?.stop();
		await Promise.all(this.instances.map((instance) => instance.kill()));
		await Promise.all([this.redis?.stop(), this.postgres?.stop()]);
	}
}

/** One that nobody listens on now. The application has to know nginx' address before nginx can know the application's. */
export async function freePort() {
	for (;;) {
		const port = randomInt(10_000, 20_000);
		const server = createServer().listen(port, "127.0.0.1");
		const isFree = await once(server, "listening").then(
			() => true,
			() => false,
		);
		server.close();
		if (isFree) return port;
	}
}

/**
 * nginx.conf with the ports at hand.
 * @param {number} port where nginx listens
 * @param {{ port: number }[]} instances
 * @param {string} [file] another configuration of that form
 */
export function siteFor(port, instances, file = join(app, "nginx.conf")) {
	const servers = instances.map((instance) => `    server 127.0.0.1:${instance.port};\n`).join("");
	return readFileSync(file, "utf8")
		.replace(/( *server localhost:\d+;\n)+/, servers)
		.replace("listen 80;", `listen 127.0.0.1:${port};`);
}
