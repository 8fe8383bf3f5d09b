// Next.js' standalone output has the package and its binary: built where they are installed, moved, started elsewhere.
// Next.js itself comes from the npm registry, so that only the long run does this.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, before, describe, test } from "node:test";
import { outputOf, root } from "../../scripts/programs.js";
import { endWithProcess } from "../support/lifetime.js";
import { redisPerFile } from "../support/redis.js";
import { Consumer } from "./consumer.js";
import { NAME, Release } from "./release.js";
import { ownEnv } from "./run.js";

const skip = !process.env.TEST_LONG && "only in the long run";

describe("Next.js", { skip }, () => {
	const redis = redisPerFile();
	const release = new Release({ upstream: outputOf("npm", ["config", "get", "registry"]) });
	before(async () => {
		await release.prepare();
		await release.publish();
	});
	after(() => release.end());

	test("standalone output, moved and started elsewhere, lists sessions", async (t) => {
		const consumer = Consumer.for(t, release);
		consumer.copyProject("next");
		await consumer.npm("install", NAME, ...["next", "react", "react-dom"].map((name) => `${name}@${versionOf(name)}`));
		await consumer.node("node_modules/next/dist/bin/next", "build");

		const elsewhere = mkdtempSync(join(tmpdir(), "standalone-"));
		t.after(() => rmSync(elsewhere, { recursive: true }));
		cpSync(join(consumer.folder, ".next/standalone"), elsewhere, { recursive: true });
		renameSync(join(consumer.folder, "node_modules"), join(consumer.folder, "away")); // no link leads back

		const address = await start(t, elsewhere, redis.url);
		const response = await fetch(new URL("/sessions", address));
		assert.equal(await response.text(), "listed 2, ended 2, left 0");
	});
});

/** Of this checkout. */
function versionOf(name) {
	return JSON.parse(readFileSync(join(root, "package.json"), "utf8")).devDependencies[name];
}

/** Starts `server.js`, and returns its address. */
async function start(t, folder, url) {
	const env = { ...ownEnv(), REDIS_URL: url, PORT: "0", HOSTNAME: "127.0.0.1" };
	const server = spawn(process.execPath, ["server.js"], { cwd: folder, env, stdio: ["ignore", "pipe", "inherit"] });
	const release = endWithProcess(() => server.kill("SIGKILL"));
	t.after(async () => {
		server.kill("SIGKILL");
		await once(server, "close");
		release();
	});
	for await (const line of createInterface(server.stdout)) {
		const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
		if (address) return address;
	}
	throw new Error("the server ended before it listened");
}
