// The package in other people's test suites: Vitest runs each file in a new thread, process or context, and in watch mode again
// after each change, while its own main thread never loads the package; Jest looks for what is left open.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { root } from "../../scripts/programs.js";
import { runFile } from "../support/child.js";
import { endWithProcess } from "../support/lifetime.js";
import { redisPerFile } from "../support/redis.js";
import { until } from "../support/wait.js";

const require = createRequire(import.meta.url);
const VITEST = join(dirname(require.resolve("vitest/package.json")), "vitest.mjs");
const JEST = join(dirname(require.resolve("jest/package.json")), "bin/jest.js");
const NAME = "better-auth-redis-store";
const FILES = ["one.test.mjs", "two.test.mjs"];
const POOLS = ["threads", "forks", "vmThreads"];

const server = redisPerFile();

/** A folder outside the repository that has the package installed, and two test files. */
function project(t) {
	const folder = mkdtempSync(join(tmpdir(), "test-runners-"));
	t.after(() => rmSync(folder, { recursive: true, maxRetries: 5 }));
	const installed = join(folder, "node_modules", NAME);
	mkdirSync(installed, { recursive: true });
	const own = `${NAME}.${process.platform}-${process.arch}`;
	cpSync(root, installed, {
		recursive: true,
		filter: (source) => {
			const [first, ...rest] = source.slice(root.length).split("/");
			return ["", "package.json", "index.js", "dist"].includes(first) || (first.startsWith(own) && rest.length === 0);
		},
	});
	writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
	for (const file of FILES) cpSync(new URL("runners/sessions.mjs", import.meta.url), join(folder, file));
	const log = join(folder, "log");
	writeFileSync(log, "");
	const change = (content) =>
		writeFileSync(join(folder, "text.mjs"), `export const text = ${JSON.stringify(content)};\n`);
	change("at first");
	return {
		folder,
		change,
		/** What the test files have told: each line once, in no order. */
		told: () => new Set(readFileSync(log, "utf8").split("\n").filter(Boolean)),
		env: { STORE_URL: server.url, LOG: log, NO_COLOR: "1", CI: "" },
	};
}

/** What each test file tells in each pool. */
const expected = (pools, text) => pools.flatMap((pool) => FILES.map((file) => `${pool} ${file} ${text}`));

const isSuperset = (set, items) => items.every((item) => set.has(item));

test("Vitest runs test files in threads, forks and contexts, and again after each change", async (t) => {
	const { folder, change, told, env } = project(t);
	const projects = POOLS.map((pool) => ({ extends: true, test: { name: pool, pool, env: { POOL: pool } } }));
	const config = { test: { globals: true, projects } };
	writeFileSync(join(folder, "vitest.config.mjs"), `export default ${JSON.stringify(config)};\n`);
	const vitest = spawn(process.execPath, [VITEST, "--watch"], {
		cwd: folder,
		env: { ...process.env, ...env },
		stdio: ["ignore", "pipe", "pipe"],
	});
	t.after(endWithProcess(() => vitest.kill("SIGKILL")));
	const ended = once(vitest, "exit");
	const output = Promise.all([text(vitest.stdout), text(vitest.stderr)]).then((both) => both.join(""));
	const crashed = ended.then(async ([code, signal]) => {
		throw new Error(`Vitest ended with ${signal ?? `exit code ${code}`}\n${await output}`);
	});
	crashed.catch(() => {});

	for (const text of ["at first", "changed once", "changed twice"]) {
		change(text);
		const runs = until(`each test with "${text}" in each pool`, () => isSuperset(told(), expected(POOLS, text)));
		await Promise.race([runs, crashed]);
	}
	vitest.kill("SIGTERM");
	await ended;
	assert.doesNotMatch(await output, /failed|Unhandled|Error/);
});

test("Jest --detectOpenHandles finds nothing after close()", async (t) => {
	const { folder, change, told, env } = project(t);
	change("at first");
	const { code, stdout, stderr } = await runFile(JEST, {
		cwd: folder,
		args: ["--detectOpenHandles", "--testMatch", "**/*.test.mjs"],
		execArgv: ["--experimental-vm-modules"],
		env: { ...env, POOL: "jest" },
	});
	assert.equal(code, 0, stdout + stderr);
	assert.deepEqual(told(), new Set(expected(["jest"], "at first")));
	assert.doesNotMatch(stderr, /open handle|napi|did not exit/i);
});
