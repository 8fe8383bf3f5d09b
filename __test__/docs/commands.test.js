// The commands in all pages, where they can run here: those for redis-cli and Redis itself, against a real server with a session in it; nginx
// starts with the configurations. Of other commands the shell reads the syntax, and what they name is there.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { after, before, describe, test } from "node:test";
import { RedisSessionStore } from "better-auth-redis-store";
import { findProgram, root } from "../../scripts/programs.js";
import { startNginx } from "../support/nginx.js";
import { redisPerFile } from "../support/redis.js";
import { blocksOf, pages } from "./pages.js";

/** Names in the pages that stand for values of the reader's. Longer ones first. */
const SESSION = { TOKEN: "token-of-the-pages", USER: "user-of-the-pages" };

const server = redisPerFile();

const blocks = [...pages()].flatMap(([page, text]) => blocksOf(text).map((block) => ({ page, ...block })));
const inLanguage = (name) => blocks.filter(({ language }) => language === name);
const linesOf = ({ page, code, line }) =>
	code
		.split("\n")
		.map((command, at) => ({ where: `${page}:${line + at}`, command }))
		.filter(({ command }) => command !== "" && !command.startsWith("#"));

/** The program that a line of shell begins with. */
const programOf = (command) => command.replace(/^(\w+=(\$\([^)]*\)|\S)*\s*)*/, "").split(" ")[0];

describe("redis-cli commands of the docs", () => {
	let bin;
	let store;
	before(async () => {
		bin = mkdtempSync(join(tmpdir(), "docs-bin-"));
		// The pages name no server: theirs is on the usual port.
		const real = findProgram("redis-cli", "valkey-cli");
		writeFileSync(join(bin, "redis-cli"), `#!/bin/sh\nexec ${real} -p ${server.port} "$@"\n`);
		chmodSync(join(bin, "redis-cli"), 0o755);
		store = new RedisSessionStore({ url: server.url });
		const expiresAt = new Date(Date.now() + 3_600_000);
		await store.createSession({ token: SESSION.TOKEN, userId: SESSION.USER, expiresAt });
		await store.getSession(SESSION.TOKEN); // it is tracked
	});
	after(async () => {
		rmSync(bin, { recursive: true });
		await store.close();
	});

	const commands = inLanguage("sh")
		.flatMap(linesOf)
		.filter(({ command }) => programOf(command) === "redis-cli");
	for (const { where, command } of commands) {
		test(`${where}: ${command}`, () => {
			const said = Object.entries(SESSION).reduce((line, [name, value]) => line.replaceAll(name, value), command);
			const path = [bin, process.env.PATH].join(delimiter);
			const { status, stdout, stderr } = spawnSync("bash", ["-o", "pipefail", "-c", said], {
				env: { ...process.env, PATH: path, REDIS_URL: server.url },
				encoding: "utf8",
			});
			assert.equal(status, 0, stderr);
			assert.doesNotMatch(stdout, /^(\(error\)|ERR|WRONGTYPE|\(nil\)|-2)/m);
			assert.notEqual(stdout.trim(), "", "nothing was found");
		});
	}

	test("are at least five", () => assert.ok(commands.length >= 5));
});

describe("Redis commands of the docs", () => {
	for (const block of inLanguage("redis")) {
		for (const { where, command } of linesOf(block)) {
			test(`${where}: ${command}`, async () => {
				assert.equal(await server.cli(...command.split(" ")), "OK");
			});
		}
	}
});

describe("nginx configurations of the docs", () => {
	for (const { page, line, code } of inLanguage("nginx")) {
		test(`${page}:${line}`, async () => {
			const folder = mkdtempSync(join(tmpdir(), "docs-nginx-"));
			try {
				const site = code.replaceAll(/listen \d+;/g, `listen unix:${join(folder, "site")};`);
				assert.notEqual(site, code, "it listens nowhere");
				await (await startNginx(site)).stop();
			} finally {
				rmSync(folder, { recursive: true });
			}
		});
	}
});

describe("shell commands of the docs", () => {
	const { scripts } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
	/** Programs that are not run here, with what is looked at of a line. */
	const LOOKED_AT = {
		pnpm: () => {},
		docker: () => {},
		npm: (_, [verb, name]) => assert.ok((verb === "run" ? name : verb) in scripts, "there is no such script"),
		node: (folder, args) => {
			const file = args.find((arg) => arg.endsWith(".js"));
			assert.ok(
				[folder, root].some((from) => existsSync(join(from, file))),
				"no such file",
			);
		},
		"redis-cli": () => {},
		"": () => {}, // only sets variables
	};
	for (const block of inLanguage("sh")) {
		for (const { where, command } of linesOf(block)) {
			test(`${where}: ${command}`, () => {
				const { status, stderr } = spawnSync("bash", ["-n", "-c", command], { encoding: "utf8" });
				assert.equal(status, 0, stderr);
				const program = programOf(command);
				if (existsSync(join(root, program)) && program.includes("/")) return;
				assert.ok(program in LOOKED_AT, `nobody looks at ${program}`);
				const args = command
					.slice(command.indexOf(program) + program.length)
					.trim()
					.split(/\s+/);
				LOOKED_AT[program](join(root, dirname(block.page)), args);
			});
		}
	}
});
