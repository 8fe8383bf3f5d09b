// Makes the example ready to start: Debian packages, this package as a tarball, the npm packages, a build. What is in place is left alone.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { getByApt, SetupError } from "../../../scripts/apt.js";
import { pack } from "../../../scripts/pack.js";
import { findProgram, root } from "../../../scripts/programs.js";

/** The folder of the example. */
export const app = fileURLToPath(new URL("..", import.meta.url));

/** Next.js' own program, in a folder of the application. */
export const NEXT = "node_modules/next/dist/bin/next";

const TARBALL = "better-auth-redis-store.tgz";

/** What no process here needs, and what it does: nothing is reported to anybody, and Prisma's engines are not downloaded. */
const QUIET = {
	NEXT_TELEMETRY_DISABLED: "1",
	CHECKPOINT_DISABLE: "1",
	PRISMA_SCHEMA_ENGINE_BINARY: findProgram("true"),
};

/**
 * The environment of a process of the example: this one's without what would name a server or a secret of somebody else.
 * @param {Record<string, string>} [own]
 */
export function environment(own) {
	const { REDIS_URL: _, DATABASE_URL: __, BETTER_AUTH_URL: ___, BETTER_AUTH_SECRET: ____, ...others } = process.env;
	const { NODE_TEST_CONTEXT: _____, NODE_ENV: ______, ...kept } = others;
	return { ...kept, ...QUIET, ...own };
}

/**
 * @param {(line: string) => void} say takes a line about each step that took a while
 * @throws {SetupError} when a step failed, in words for whoever started it
 */
export function prepare(say) {
	const step = (title, work) => {
		const start = performance.now();
		const done = work();
		if (done !== "in place") say(`${title}: ${done} (${((performance.now() - start) / 1000).toFixed(1)} s)`);
	};
	step("Debian packages", () => getByApt(["postgresql", "redis-server", "nginx"], "the example") ?? "in place");
	step("this package", getPackage);
	step("npm packages", installPackages);
	step("application", build);
}

function getPackage() {
	const isBuilt = existsSync(join(root, "dist/next.mjs")) && readdirSync(root).some((name) => name.endsWith(".node"));
	if (!isBuilt) run(process.execPath, [join(root, "scripts/setup.js")], "building this package");
	pack(join(app, TARBALL));
	return isBuilt ? "in place" : "built";
}

function installPackages() {
	const inputs = hashOf(["package.json", "package-lock.json", TARBALL]);
	if (isMade("node_modules/.made-of", inputs)) return "in place";
	// Without scripts of packages: they download what is not needed here.
	run("npm", ["ci", "--include=dev", "--ignore-scripts", "--no-audit", "--no-fund"], "installing the npm packages");
	return made("node_modules/.made-of", inputs, "installed");
}

function build() {
	const inputs = hashOf(["package-lock.json", TARBALL, "next.config.ts", "tsconfig.json", "prisma", "src"]);
	if (isMade(".next/.made-of", inputs)) return "in place";
	run("npm", ["run", "build"], "building the application");
	return made(".next/.made-of", inputs, "built");
}

/** With its output only when it fails. */
function run(program, args, what) {
	const { status, stdout, stderr, error } = spawnSync(program, args, {
		cwd: app,
		encoding: "utf8",
		env: environment({
			BETTER_AUTH_SECRET: "only for the build: nothing is signed with it",
			BETTER_AUTH_URL: "http://localhost",
		}),
	});
	if (status !== 0) throw new SetupError(`${what} failed:\n${error?.message ?? ""}${stdout}${stderr}`);
}

function hashOf(paths) {
	const hash = createHash("sha256");
	for (const file of paths.flatMap(filesIn)) hash.update(`${file}\n`).update(readFileSync(join(app, file)));
	return hash.digest("hex");
}

/** What is generated follows from the rest. */
function filesIn(path) {
	if (path === "src/generated") return [];
	if (!statSync(join(app, path)).isDirectory()) return [path];
	return readdirSync(join(app, path))
		.sort()
		.flatMap((name) => filesIn(`${path}/${name}`));
}

function isMade(stamp, inputs) {
	const path = join(app, stamp);
	return existsSync(path) && readFileSync(path, "utf8") === inputs;
}

function made(stamp, inputs, done) {
	mkdirSync(dirname(join(app, stamp)), { recursive: true });
	writeFileSync(join(app, stamp), inputs);
	return done;
}
