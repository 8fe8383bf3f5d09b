// `next dev`: however often files change, there is one connection to Redis. And `next build`, when there is no Redis.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Instance } from "../../examples/nextjs/cluster/instance.js";
import { app, environment, NEXT, prepare } from "../../examples/nextjs/cluster/prepare.js";
import { root } from "../../scripts/programs.js";
import { rounds } from "../support/counts.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

prepare((line) => console.log(line));
const redis = redisPerFile();

const COPIED = ["src", "package.json", "package-lock.json", "tsconfig.json", "next.config.ts"];
const SECRET = "a secret, of thirty-two characters or more";

/** A copy of the application, to be changed, with the same files (not copies of them) as its packages. */
function copyFor(t) {
	mkdirSync(join(root, "target"), { recursive: true });
	const folder = mkdtempSync(join(root, "target/next-"));
	t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
	for (const name of COPIED) cpSync(join(app, name), join(folder, name), { recursive: true });
	const { status, stderr } = spawnSync("cp", ["-al", join(app, "node_modules"), folder], { encoding: "utf8" });
	assert.equal(status, 0, stderr);
	return folder;
}

/** The connections of the application, by name. */
async function connections() {
	const clients = (await redis.cli("CLIENT", "LIST")).trim().split("\n");
	return clients
		.filter((client) => !client.includes(" cmd=client|list "))
		.map((client) => / name=(\S*)/.exec(client)[1]);
}

test("next dev: files change repeatedly, and one connection remains", async (t) => {
	/** @type {Instance} */
	let instance;
	t.after(() => instance?.kill()); // before its folder goes
	const folder = copyFor(t);
	const route = join(folder, "src/app/api/edition/route.ts");
	const auth = join(folder, "src/lib/auth.ts");
	const source = readFileSync(auth, "utf8");
	const write = (edition) => writeFileSync(auth, `${source}\nexport const edition = ${edition};\n`);
	write(0);
	mkdirSync(join(folder, "src/app/api/edition"));
	writeFileSync(
		route,
		`import { edition, storage } from "@/lib/auth";
		import { getRedisClient } from "@/lib/redis";
		import { getSession } from "@/lib/session";
		export async function GET(request: Request) {
			await Promise.all([storage.ping(), getRedisClient().ping(), getSession(request)]);
			return Response.json(edition);
		}`,
	);
	const env = { REDIS_URL: redis.url, BETTER_AUTH_SECRET: SECRET, BETTER_AUTH_URL: "http://localhost" };
	instance = new Instance("development", env, { command: "dev", folder });
	await instance.start();
	const askFor = async (what) => (await fetch(`${instance.url}/api/${what}`)).json();

	for (let edition = 0; edition <= rounds(10, 50); edition++) {
		write(edition);
		await until(`edition ${edition}`, async () => (await askFor("edition")) === edition, 60_000);
	}
	assert.deepEqual((await connections()).sort(), ["application", "better-auth-redis-store"]);
});

for (const [name, env] of [
	["without REDIS_URL", {}],
	["with a REDIS_URL without a server", { REDIS_URL: "redis://127.0.0.1:1" }],
]) {
	// prepare() builds without it, too.
	test(`next build ${name}`, { skip: !process.env.TEST_LONG }, (t) => {
		const folder = copyFor(t);
		const { status, stdout, stderr } = spawnSync(process.execPath, [NEXT, "build"], {
			cwd: folder,
			encoding: "utf8",
			env: environment({ BETTER_AUTH_SECRET: SECRET, BETTER_AUTH_URL: "http://localhost", ...env }),
		});
		assert.equal(status, 0, stdout + stderr);
		assert.doesNotMatch(stdout + stderr, /redis/i);
	});
}
