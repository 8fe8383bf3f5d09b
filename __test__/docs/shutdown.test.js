// docs/shutdown.md: what a process loses that exits at once, and that its recipes of Express and Hono lose nothing: each is started as it stands there, gets
// SIGTERM while a write is in flight, and Redis has what was written.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { runText } from "../support/child.js";
import { redisPerFile } from "../support/redis.js";
import { terminate, writeRecipes } from "./shutdown.js";

const server = redisPerFile();

describe("a process that exits at once", () => {
	const run = (body) =>
		runText(
			`import { redisStorage } from "better-auth-redis-store"; const storage = redisStorage(); await storage.ping(); ${body}`,
			{
				env: { REDIS_URL: server.url },
			},
		);

	test("loses what was written in the same tick", async () => {
		const { code } = await run('storage.set("lost", "value", 60); process.exit(7);');
		assert.equal(code, 7);
		assert.equal(await server.cli("EXISTS", "session:lost"), 0);
	});

	test("loses nothing after close()", async () => {
		const { code, stderr } = await run(`
			for (let n = 0; n < 500; n++) storage.set("kept-" + n, "value", 60);
			const read = storage.get("kept-1");
			await storage.close();
			process.exit(7);`);
		assert.deepEqual({ code, stderr }, { code: 7, stderr: "" });
		for (const n of [0, 17, 499]) assert.equal(await server.cli("GET", `session:kept-${n}`), "value");
	});

	test("ends after commandTimeout when Redis does not answer close()", async (t) => {
		await server.pause();
		t.after(() => server.resume());
		const { stdout } = await runText(
			`import { redisStorage } from "better-auth-redis-store";
			const storage = redisStorage({ commandTimeout: 500, connectionName: "silent" });
			const outcome = storage.set("key", "value", 60).catch(({ code }) => code);
			await Promise.all([storage.close(), storage.close()]);
			console.log(await Promise.race([outcome, "not settled"]));
			await storage.get("key").catch(({ code }) => console.log(code));
			process.exit();`,
			{ env: { REDIS_URL: server.url } },
		);
		assert.equal(stdout, "TIMEOUT\nCLOSED\n");
	});
});

describe("the shutdown recipe", () => {
	for (const name of ["express", "hono"]) {
		test(`of ${name} delivers what is in flight`, async (t) => {
			const folder = writeRecipes(t, true);
			assert.equal(await terminate(t, server, folder, [`${name}.mjs`], name), 0);
		});
	}
});
