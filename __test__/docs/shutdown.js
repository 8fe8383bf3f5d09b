// The recipes of docs/shutdown.md as programs: written into a folder, started, and sent SIGTERM while a write is in flight.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import net from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import ts from "typescript";
import { root } from "../../scripts/programs.js";
import { endWithProcess } from "../support/lifetime.js";
import { until } from "../support/wait.js";
import { blocksOf } from "./pages.js";

/** A process that is seen for so long after it has closed its server waits for its write. */
const STAYS_MS = 200;

const blocks = blocksOf(readFileSync(join(root, "docs/shutdown.md"), "utf8"));

/**
 * Writes the blocks of the page into a folder below the package.
 * @param {import("node:test").TestContext} t
 * @param {boolean} toJavaScript as JavaScript that Node.js runs; else as they stand there
 * @returns {string} the folder
 */
export function writeRecipes(t, toJavaScript) {
	mkdirSync(join(root, "target"), { recursive: true });
	const folder = mkdtempSync(join(root, "target/shutdown-"));
	t.after(() => rmSync(folder, { recursive: true, force: true }));
	for (const { code } of blocks) {
		const [, name] = /^\/\/ (\S+)\n/.exec(code);
		const path = join(folder, toJavaScript ? name.replace(/ts$/, "mjs") : name);
		mkdirSync(dirname(path), { recursive: true });
		writeFileSync(path, toJavaScript ? javaScript(code) : code);
	}
	return folder;
}

function javaScript(code) {
	const { ESNext } = ts.ModuleKind;
	const { outputText } = ts.transpileModule(code, {
		compilerOptions: { module: ESNext, target: ts.ScriptTarget.ES2022 },
	});
	return outputText.replaceAll(/from "(\.[^"]*)"/g, 'from "$1.mjs"');
}

async function freePort() {
	const probe = net.createServer().listen(0, "127.0.0.1");
	await once(probe, "listening");
	const { port } = probe.address();
	probe.close();
	await once(probe, "close");
	return port;
}

/**
 * Starts a program of a recipe, sends SIGTERM while a write is in flight, and fails unless the write is in Redis in the end.
 * @param {import("node:test").TestContext} t
 * @param {import("../support/redis.js").RedisServer} server
 * @param {string} folder
 * @param {string[]} args Node.js'
 * @param {string} id what is written
 * @returns {Promise<number | string>} the exit code, or the signal
 */
export async function terminate(t, server, folder, args, id) {
	const port = await freePort();
	const env = { ...process.env, REDIS_URL: server.url, PORT: String(port), NODE_ENV: "production" };
	const child = spawn(process.execPath, args, { cwd: folder, env, stdio: ["ignore", "ignore", "inherit"] });
	const release = endWithProcess(() => child.kill("SIGKILL"));
	t.after(() => {
		child.kill("SIGKILL");
		release();
		server.resume();
	});
	const exit = once(child, "exit");
	const visit = (id) => fetch(`http://127.0.0.1:${port}/visits/${id}`, { method: "POST" });
	// The first write makes the connection.
	await until("the server answers", async () => (await visit(`first-${id}`).catch(() => undefined))?.status === 202);
	await until("the first write", async () => (await server.cli("EXISTS", `session:visit-first-${id}`)) === 1);
	await server.pause();
	assert.equal((await visit(id)).status, 202);
	child.kill("SIGTERM");
	// While the write is in flight, the process takes no more requests and does not end.
	await until("the server is closed", () =>
		visit("late").then(
			() => false,
			() => true,
		),
	);
	const isOver = await Promise.race([exit.then(() => true), sleep(STAYS_MS, false)]);
	assert.ok(!isOver, "it ended with a write in flight");
	server.resume();
	const [code, signal] = await exit;
	assert.match(await server.cli("GET", `session:visit-${id}`), /^\d{4}-/);
	return code ?? signal;
}
