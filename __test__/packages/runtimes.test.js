// The other runtimes, in the long run only, since they are fetched for it: the suites of scripts/runtimes.js pass on each,
// and Bun and Deno install the package by themselves.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { root } from "../../scripts/programs.js";
import { redisPerFile } from "../support/redis.js";
import { installRuntime, RUNTIMES } from "../support/runtimes.js";
import { Consumer } from "./consumer.js";
import { LISTED, stores } from "./managers.js";
import { NAME, Release } from "./release.js";
import { runProgram } from "./run.js";

const skip = !process.env.TEST_LONG && "only in the long run";

describe("other runtimes", { skip }, () => {
	const redis = redisPerFile();
	const release = new Release();
	before(async () => {
		await release.prepare();
		await release.publish();
	});
	after(() => release.end());

	const runtime = (name) => installRuntime(RUNTIMES.find(({ title }) => title === name));

	test("Bun installs the package, and lists sessions", async (t) => {
		const bun = runtime("Bun");
		const consumer = Consumer.for(t, release);
		consumer.copy("sessions.mjs");
		await consumer.runtime(bun, "add", NAME);
		assert.equal(await consumer.runtime(bun, "sessions.mjs", ...stores(redis)), LISTED);
	});

	test("Deno installs the package, and lists sessions with three permissions", async (t) => {
		const deno = runtime("Deno");
		const consumer = Consumer.for(t, release);
		consumer.copy("sessions.mjs");
		await consumer.runtime(deno, "add", "--minimum-dependency-age=0", `npm:${NAME}`);
		const permissions = ["--no-prompt", "--allow-ffi", "--allow-env", "--allow-read"];
		assert.equal(await consumer.runtime(deno, "run", ...permissions, "sessions.mjs", ...stores(redis)), LISTED);
	});

	test("the suites pass on each runtime", async () => {
		const { code, output } = await runProgram(process.execPath, ["scripts/runtimes.js"], { cwd: root });
		assert.equal(code, 0, output);
	});
});
