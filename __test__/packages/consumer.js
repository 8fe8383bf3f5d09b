// A consumer of the package: a project in a folder of its own, outside this repository, whose node_modules would hide what
// is missing. It installs from a registry that has nothing but the package.

import assert from "node:assert/strict";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { runProgram } from "./run.js";

const require = createRequire(import.meta.url);

/** This checkout's own, by file: what the PATH has is the machine's. */
const YARN = join(dirname(require.resolve("@yarnpkg/cli-dist/package.json")), "bin/yarn.js");
const PNPM = join(dirname(require.resolve("pnpm/package.json")), "pnpm");
export const TSC = require.resolve("typescript/bin/tsc");

export class Consumer {
	folder = mkdtempSync(join(tmpdir(), "consumer-"));
	#registry;
	/** Package managers keep caches and settings in the user's home. */
	#home = join(this.folder, "home");

	/**
	 * One that goes when the test ends.
	 * @param {import("node:test").TestContext} t
	 * @param {import("./release.js").Release} release
	 */
	static for(t, release) {
		const consumer = new Consumer(release);
		t.after(() => consumer.end());
		return consumer;
	}

	/** @param {import("./release.js").Release} release */
	constructor(release) {
		this.#registry = release.registry.url;
		mkdirSync(this.#home);
		this.write("package.json", { name: "consumer", private: true });
	}

	end() {
		rmSync(this.folder, { recursive: true, maxRetries: 5 });
	}

	/**
	 * @param {string} path below the folder
	 * @param {string | object} content an object is written as JSON
	 */
	write(path, content) {
		const file = join(this.folder, path);
		mkdirSync(dirname(file), { recursive: true });
		writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
	}

	/**
	 * Takes one of the programs.
	 * @param {string} name
	 * @param {string} [to] the path below the folder
	 */
	copy(name, to = name) {
		mkdirSync(dirname(join(this.folder, to)), { recursive: true });
		copyFileSync(fileURLToPath(new URL(`programs/${name}`, import.meta.url)), join(this.folder, to));
	}

	/** A project that lies here, with its folders. */
	copyProject(name) {
		cpSync(fileURLToPath(new URL(`programs/${name}`, import.meta.url)), this.folder, { recursive: true });
	}

	/** @param {...string} args */
	async npm(...args) {
		return this.#succeed("npm", [...args, "--no-audit", "--no-fund", "--registry", this.#registry]);
	}

	/** As strict as it can be: a package sees what it names in its package.json, and nothing else. */
	async pnpm(...args) {
		this.write(".npmrc", `registry=${this.#registry}\n`);
		return this.#succeed(PNPM, args);
	}

	/** What pnpm-workspace.yaml says beside the packages. */
	pnpmSettings = ["hoist: false", "storeDir: ./home/store"];

	/**
	 * @param {"node-modules" | "pnp"} linker
	 * @param {...string} args
	 */
	async yarn(linker, ...args) {
		const settings = [
			`nodeLinker: ${linker}`,
			`npmRegistryServer: "${this.#registry}"`,
			"unsafeHttpWhitelist: [127.0.0.1]",
			"npmMinimalAgeGate: 0", // the package is younger than Yarn asks for
			"enableTelemetry: false",
		];
		this.write(".yarnrc.yml", `${settings.join("\n")}\n`);
		this.write("yarn.lock", ""); // the root of a project ends where one is
		return this.#succeed(process.execPath, [YARN, ...args]);
	}

	/** Node, as `yarn node` runs it: with Yarn's own resolution. */
	yarnNode(...args) {
		return this.#succeed(process.execPath, [YARN, "node", ...args]);
	}

	/**
	 * Runs another runtime in the folder; it must succeed. Bun and Deno install packages themselves.
	 * @param {{ path: string }} runtime
	 * @param {...string} args
	 */
	async runtime({ path }, ...args) {
		this.write(".npmrc", `registry=${this.#registry}\n`);
		return this.#succeed(path, args);
	}

	/** Runs Node in the folder; it must succeed. */
	node(...args) {
		return this.#succeed(process.execPath, args);
	}

	/** Runs Node in the folder, however it ends. */
	tryNode(...args) {
		return this.#run(process.execPath, args);
	}

	async #succeed(program, args) {
		const { code, output, stdout } = await this.#run(program, args);
		assert.equal(code, 0, `${program} ${args.join(" ")}\n${output}`);
		return stdout;
	}

	#run(program, args) {
		return runProgram(program, args, { cwd: this.folder, env: { HOME: this.#home, NEXT_TELEMETRY_DISABLED: "1" } });
	}
}
